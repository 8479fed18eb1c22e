use std::net::IpAddr;
use std::sync::Mutex;

use transom_proxy::destination::KeepAlive;
use transom_settings::FromText;

use super::*;
use crate::discovery::Resolver;
use crate::pool::Settings;
use crate::state::Standing;

/// Endpoints whose key is their address.
struct Plain;

impl Make for Plain {
    fn endpoint(&self, place: Place<'_>) -> Result<Endpoint, String> {
        let Address::Tcp(address) = &place.address else { return Err("no socket".into()) };
        let IpAddr::V4(ip) = address.ip() else { return Err("not of this family".into()) };
        Ok(Endpoint {
            key: u64::from(u32::from(ip)) << 16 | u64::from(address.port()),
            target: transom_net::Target {
                address: place.address.clone(),
                tls: None,
                source: transom_net::Source::Any,
            },
            name: place.name,
            authority: place.written.to_string(),
            pool: Arc::from("p"),
            http2: None,
            ceilings: Vec::new(),
            keep_alive: KeepAlive::default(),
            announce: None,
        })
    }
}

fn listed(text: &str) -> Vec<Listed> {
    text.split_whitespace().map(|one| Listed::read(one).unwrap()).collect()
}

fn at(text: &str) -> EndpointAddress {
    EndpointAddress::from_text(text).unwrap()
}

/// A source that is told of by hand.
struct Silent;

impl Source for Silent {
    fn follow<'a>(&'a mut self, _: &'a Reach, _: &'a News) -> crate::discovery::Following<'a> {
        Box::pin(std::future::pending())
    }
}

fn roster(
    written: &str,
    log: &Arc<Mutex<Vec<String>>>,
    earlier: Option<&Arc<Roster>>,
) -> Arc<Roster> {
    let before = earlier.map(|earlier| earlier.pool().clone());
    let log = log.clone();
    let plan = Plan {
        name: "p".into(),
        pool: Box::new(move |specs| Pool::new("p", specs, Settings::default(), before.as_deref())),
        written: listed(written),
        sources: vec![("etcd /p".into(), Box::new(Silent) as Box<dyn Source>)],
        registrations: None,
        scaler: None,
        allow_empty: false,
        subsetting: None,
        make: Arc::new(Plain),
        names: Names::new(Arc::new(Resolver::new(Default::default()))),
        tell: Arc::new(move |remark| {
            let (Remark::Change(what) | Remark::Trouble(what)) = remark;
            log.lock().unwrap().push(what);
        }),
    };
    Roster::new(plan, earlier.map(|earlier| &**earlier))
}

/// As [`roster`], in the place of the earlier one.
fn successor(written: &str, log: &Arc<Mutex<Vec<String>>>, earlier: &Arc<Roster>) -> Arc<Roster> {
    let made = roster(written, log, Some(earlier));
    made.follow_hand(&earlier.manual());
    made
}

/// Members with their weights and standing, where that is not the usual one.
fn members(roster: &Roster) -> String {
    let one = |view: MemberView| {
        let weight = if view.weight == 1 { String::new() } else { format!("*{}", view.weight) };
        let standing = match view.standing {
            Standing::Unchecked => "",
            other => other.as_str(),
        };
        format!("{}{weight}{standing}", view.endpoint.name)
    };
    roster.pool().view().into_iter().map(one).collect::<Vec<_>>().join(" ")
}

#[test]
fn lists_are_joined_and_an_address_is_one_member() {
    let log = Arc::default();
    let roster = roster("10.0.0.1:1 10.0.0.2:1", &log, None);
    assert_eq!(members(&roster), "10.0.0.1:1 10.0.0.2:1");
    let news = roster.lists.news[0].clone();
    news.found(listed(r#"10.0.0.3:1 {"address":"10.0.0.2:1","weight":9}"#));
    roster.apply();
    assert_eq!(members(&roster), "10.0.0.1:1 10.0.0.2:1 10.0.0.3:1", "the file comes first");
    news.failed("gone");
    roster.apply();
    assert_eq!(members(&roster).matches(' ').count(), 2, "the last good list goes on");
    news.found(listed("10.0.0.4:1"));
    roster.scaled().found(listed("10.0.0.5:1"));
    roster.apply();
    assert_eq!(members(&roster), "10.0.0.1:1 10.0.0.2:1 10.0.0.4:1 10.0.0.5:1");
    assert_eq!(
        *log.lock().unwrap(),
        [
            "pool `p`: new: 10.0.0.3:1",
            "pool `p`: source etcd /p: gone",
            "pool `p`: new: 10.0.0.4:1, 10.0.0.5:1",
            "pool `p`: gone: 10.0.0.3:1",
            "pool `p`: source etcd /p is well again",
        ]
    );
}

#[test]
fn changes_by_hand_hold_until_the_file_says_otherwise() {
    let log = Arc::default();
    let first = roster("10.0.0.1:1 10.0.0.2:1", &log, None);
    first.change(&at("10.0.0.3:1"), |change| change.added = Some(listed("10.0.0.3:1").remove(0)));
    first.change(&at("10.0.0.1:1"), |change| change.weight = Some(5));
    first.set_standing(&at("10.0.0.2:1"), Administrative::Drain);
    assert_eq!(members(&first), "10.0.0.1:1*5 10.0.0.2:1drain 10.0.0.3:1");
    // a reload of a file that says the same of them
    let second = successor("10.0.0.1:1 10.0.0.2:1 10.0.0.9:1", &log, &first);
    assert_eq!(members(&second), "10.0.0.1:1*5 10.0.0.2:1drain 10.0.0.9:1 10.0.0.3:1");
    // and of one that says otherwise of two of them
    let file = r#"{"address":"10.0.0.1:1","weight":2} {"address":"10.0.0.2:1","weight":3}"#;
    let third = successor(file, &log, &second);
    assert_eq!(members(&third), "10.0.0.1:1*2 10.0.0.2:1*3 10.0.0.3:1");
    third.set_standing(&at("10.0.0.2:1"), Administrative::Maintenance);
    third.set_standing(&at("10.0.0.2:1"), Administrative::Ready);
    assert_eq!(third.manual().iter().count(), 1, "what was taken back leaves nothing");
    assert!(third.has(&at("10.0.0.3:1")) && !third.has(&at("10.0.0.9:1")));
}

#[test]
fn d_02_a_roster_that_comes_to_nothing_leaves_what_was_changed_by_hand() {
    let log = Arc::default();
    let runs = roster("10.0.0.1:1 10.0.0.2:1", &log, None);
    runs.set_standing(&at("10.0.0.2:1"), Administrative::Drain);
    let file = r#"10.0.0.1:1 {"address":"10.0.0.2:1","weight":3}"#;
    // its file was refused after it was made
    drop(roster(file, &log, Some(&runs)));
    assert_eq!(members(&runs), "10.0.0.1:1 10.0.0.2:1drain");
    assert!(log.lock().unwrap().is_empty(), "{log:?}");
    // what is changed by hand meanwhile holds in the one that takes its place
    let next = roster("10.0.0.1:1 10.0.0.2:1 10.0.0.9:1", &log, Some(&runs));
    runs.set_standing(&at("10.0.0.2:1"), Administrative::Ready);
    runs.set_standing(&at("10.0.0.1:1"), Administrative::Maintenance);
    runs.change(&at("10.0.0.1:1"), |change| change.weight = Some(7));
    next.follow_hand(&runs.manual());
    assert_eq!(members(&next), "10.0.0.1:1*7maintenance 10.0.0.2:1 10.0.0.9:1");
}

/// What this thread has had of a processor: however busy the machine is with something else.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn u10_ten_thousand_that_come_and_go_are_a_matter_of_milliseconds() {
    let log = Arc::default();
    let roster = roster("", &log, None);
    let all: Vec<Listed> = (0..10_000u32)
        .map(|n| Listed::new(at(&format!("{}:1", std::net::Ipv4Addr::from(0x0a00_0000 + n)))))
        .collect();
    roster.lists.news[0].found(all.clone());
    roster.apply();
    assert_eq!(roster.pool().members().len(), 10_000);
    let kept = roster.pool().members()[77].state.clone();
    let begun = processor_time();
    for round in 0..10 {
        let mut next = all.clone();
        next.remove(5000 + round);
        roster.lists.news[0].found(next);
        roster.apply();
    }
    let took = processor_time() - begun;
    assert!(took < Duration::from_secs(10), "{took:?} for ten changes");
    assert!(Arc::ptr_eq(&kept, &roster.pool().members()[77].state), "who stays keeps its state");
}
