use super::*;
use crate::algorithm::testing::specs;
use crate::pool::{Pool, Settings};
use crate::state::{Health, Standing};

/// No detector.
const RULES: OutlierRules =
    OutlierRules { connect_failures: None, failures: None, ..OutlierRules::DEFAULT };

fn pool_of(weights: &[u32]) -> Arc<Pool> {
    Pool::new("p", specs(weights), Settings::default(), None)
}

fn outcome(result: AttemptResult) -> Outcome {
    Outcome { result, began: Instant::now(), latency: Some(Duration::from_millis(1)) }
}

/// What of these results makes a member suspect: `c` refused, `r` reset, `5` 500, `g` 503, `.`
/// 200, `a` abandoned.
fn suspected(rules: OutlierRules, results: &str) -> String {
    let pool = pool_of(&[1]);
    let outliers = Outliers::new(rules);
    let member = &pool.members()[0];
    let suspects = results.chars().map(|result| {
        let result = match result {
            'c' => AttemptResult::Failed(Code::ConnectRefused),
            'r' => AttemptResult::Failed(Code::BadResponse),
            '5' => AttemptResult::Answered(500),
            'g' => AttemptResult::Answered(503),
            'a' => AttemptResult::Abandoned,
            _ => AttemptResult::Answered(200),
        };
        outliers.ended(member, &outcome(result));
        let suspects = std::mem::take(&mut *outliers.suspects.lock().unwrap());
        suspects.first().map_or('-', |s| if s.unreachable { 'u' } else { 's' })
    });
    suspects.collect()
}

#[test]
fn who_fails_in_a_row_is_suspect() {
    let three = Some(3);
    for (rules, results, expected) in [
        (OutlierRules { connect_failures: three, ..RULES }, "cc.ccc", "-----u"),
        (OutlierRules { connect_failures: three, ..RULES }, "rrrrr", "-----"),
        (OutlierRules { connect_failures: three, ..RULES }, "ccacrc", "---u--"),
        (OutlierRules { failures: three, ..RULES }, "crr", "--s"),
        (OutlierRules { failures: three, ..RULES }, "rrcr5rrr", "--u----s"),
        (OutlierRules { failures: three, ..RULES }, "555555", "------"),
        (OutlierRules { errors: three, ..RULES }, "5g5", "--s"),
        (OutlierRules { errors: three, ..RULES }, "55.55r", "-----s"),
        (OutlierRules { gateway_errors: three, ..RULES }, "5g5ggr", "-----s"),
        // asked again with each further three
        (OutlierRules { errors: three, ..RULES }, "5555555", "--s--s-"),
        (RULES, "cccccccc", "--------"),
    ] {
        assert_eq!(suspected(rules, results), expected, "{results}");
    }
}

fn fail(outliers: &Outliers, member: &PoolMember, times: usize) {
    for _ in 0..times {
        outliers.ended(member, &outcome(AttemptResult::Failed(Code::BadResponse)));
    }
}

#[test]
fn ejections_grow_and_are_forgiven() {
    let pool = pool_of(&[1, 1, 1]);
    let members = pool.members();
    let outliers = Outliers::new(OutlierRules { failures: Some(1), ..RULES });
    let mut now = Instant::now();
    let eject = |now: Instant| {
        fail(&outliers, &members[0], 1);
        outliers.judge(&members, now, || 0.0)[0].time.as_secs()
    };
    for seconds in [30, 60, 90] {
        assert_eq!(eject(now), seconds);
        now += Duration::from_secs(seconds);
    }
    outliers.sweep(&members, now);
    outliers.sweep(&members, now);
    assert_eq!(eject(now), 60, "two quiet sweeps take two off");
    now += Duration::from_secs(60);
    for _ in 0..20 {
        eject(now);
        now += Duration::from_secs(300);
    }
    assert_eq!(eject(now), 300);
    assert_eq!(members[0].state.passive.ejected.load(Ordering::Relaxed), 25);
}

#[test]
fn few_may_be_out_at_a_time_and_never_the_last() {
    let now = Instant::now();
    for (members, most, suspects, out) in [
        // a tenth of three is none, but one may always be
        (3, 0.1, 3, 1),
        (20, 0.1, 20, 2),
        (3, 1.0, 3, 2),
        (2, 1.0, 2, 1),
        (1, 1.0, 1, 0),
    ] {
        let pool = pool_of(&vec![1; members]);
        let members = pool.members();
        let outliers = Outliers::new(OutlierRules { failures: Some(1), most, ..RULES });
        for member in &members[..suspects] {
            fail(&outliers, member, 1);
        }
        assert_eq!(outliers.judge(&members, now, || 0.0).len(), out, "{} {most}", members.len());
    }
    // The one that is left is usable no more: then the suspect is the last.
    let pool = pool_of(&[1, 1]);
    let members = pool.members();
    members[1].state.set_health(Health::Down, "refused");
    let outliers = Outliers::new(OutlierRules { failures: Some(1), most: 1.0, ..RULES });
    fail(&outliers, &members[0], 1);
    assert!(outliers.judge(&members, now, || 0.0).is_empty());
    // Who is drained by hand is not ejected on top.
    members[1].state.set_health(Health::Up, "passed");
    members[0].state.set_administrative(Administrative::Drain, "by hand");
    fail(&outliers, &members[0], 1);
    assert!(outliers.judge(&members, now, || 0.0).is_empty());
    assert_eq!(members[0].state.standing(now), Standing::Drain);
}

#[test]
fn members_are_compared_at_each_sweep() {
    let pool = pool_of(&[1; 5]);
    let members = pool.members();
    let volume = Volume { members: 5, requests: 10 };
    let rules = OutlierRules { success_rate: Some((volume, 1.9)), ..RULES };
    let outliers = Outliers::new(rules);
    let now = Instant::now();
    for round in 0..20 {
        for (index, member) in members.iter().enumerate() {
            let status = if index == 4 && round % 2 == 0 { 500 } else { 200 };
            outliers.ended(member, &outcome(AttemptResult::Answered(status)));
        }
    }
    outliers.sweep(&members, now);
    let ejections = outliers.judge(&members, now, || 0.0);
    assert_eq!(ejections[0].reason, "50.0 % of its requests succeeded, less than 52.0 %");
    assert_eq!(ejections[0].member.spec.endpoint.name, "e");
    outliers.sweep(&members, now);
    assert!(outliers.judge(&members, now, || 0.0).is_empty(), "counted anew");
}
