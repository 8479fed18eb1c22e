use super::*;
use crate::algorithm::testing::specs;
use crate::health::machine::Rhythm;
use crate::health::probe::Probe;
use crate::health::probe::tcp::TcpProbe;
use crate::pool::Settings;
use crate::state::Health;

fn watch_over(pool: Arc<Pool>) -> Watch {
    let (verdicts, _) = mpsc::unbounded_channel();
    let (lines, _) = mpsc::unbounded_channel();
    let second = Duration::from_secs(1);
    let rhythm = Rhythm {
        every: second,
        fast: second,
        down: second,
        timeout: second,
        jitter: 0.0,
        rise: 2,
        fall: 2,
    };
    let probe = Probe::Tcp(TcpProbe { send: Vec::new(), expect: Vec::new() });
    let care = Care {
        probing: Some(Probing { probe, rhythm, port: None }),
        drain: Some(second),
        ..Care::default()
    };
    let station = Station {
        worker: Worker::new(0),
        tasks: Tasks::new(),
        permits: Arc::new(Semaphore::new(AT_ONCE)),
    };
    Watch::new(pool, care, station, Arc::new(|_, _| {}), (verdicts, lines), Instant::now())
}

/// What was thought of the one that left does not hold for the one that came back, of which the pool
/// knows nothing.
#[test]
fn who_left_and_came_back_between_two_looks_is_judged_anew() {
    let pool = Pool::new("p", specs(&[1, 1]), Settings::default(), None);
    let mut watch = watch_over(pool.clone());
    let now = Instant::now();
    watch.muster(None, now);
    let first = pool.members()[1].clone();
    let key = first.spec.endpoint.key;
    let refused = || Verdict { key, outcome: Err("refused".to_owned()) };
    watch.hear(refused(), now);
    assert_eq!(first.state.health(), Health::Down);
    let all: Vec<_> = pool.members().iter().map(|member| member.spec.clone()).collect();
    pool.replace(all[..1].to_vec());
    pool.replace(all);
    watch.muster(None, now);
    let again = pool.members()[1].clone();
    assert_eq!(again.state.health(), Health::Unchecked);
    assert_eq!(watch.gone.len(), 1, "what is open at the one that left ends in time");
    assert!(watch.wards[&key].due <= now, "it is probed at once");
    // the first probe decides by itself, as for everybody who joins
    watch.hear(refused(), now);
    assert_eq!(again.state.health(), Health::Down);
}
