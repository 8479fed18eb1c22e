//! Some endpoints and not others: subsets, shards, splits, and what a route asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use transom_testkit::endpoint::ok;
use transom_testkit::{Endpoint, Port, Transom, until};

use super::{cookie, get, named, over, shares};
use crate::rows::rig::TRANSOM;

#[test]
fn lb_14_a_route_may_choose_among_a_subset() {
    let endpoints = [named("a", ""), named("b", ""), named("c", "")];
    let [a, b, c] = [0, 1, 2].map(|n: usize| endpoints[n].address);
    let config = format!(
        "workers: 1\nlisteners:\n  web:\n    address: '@WEB'\n    routes:\n\
         \x20     - match: {{ header: {{ x-version: v2 }} }}\n\
         \x20       forward: {{ to: o, subset: {{ version: v2 }} }}\n\
         \x20     - match: {{ path: /first }}\n\
         \x20       forward: {{ to: o, algorithm: first-available }}\n\
         \x20     - forward: o\n\
         pools:\n  o:\n    endpoints:\n\
         \x20     - '{a}'\n\
         \x20     - {{ address: '{b}', labels: {{ version: v2 }} }}\n\
         \x20     - {{ address: '{c}', labels: {{ version: v2 }} }}\n"
    );
    let transom = Transom::run(TRANSOM, &config);
    let v2 = shares(&transom, 10, |_| "X-Version: v2\r\n".to_owned());
    assert_eq!(v2, [("b".to_owned(), 5), ("c".to_owned(), 5)].into());
    assert_eq!(shares(&transom, 9, |_| String::new()).len(), 3);
    assert!((0..5).all(|_| get(&transom, "/first", "").text() == "a"));
}

#[test]
fn lb_12_a_backup_serves_when_nobody_else_does() {
    let backup = named("backup", "");
    let gone = Port::reserve().unwrap();
    let config = format!(
        "workers: 1\nlisteners:\n  web: {{ address: '@WEB', routes: [{{ forward: o }}] }}\n\
         pools:\n  o:\n    endpoints: ['{}', {{ address: '{}', priority: 1 }}]\n",
        gone.address, backup.address
    );
    let transom = Transom::run(TRANSOM, &config);
    assert!((0..5).all(|_| get(&transom, "/", "").text() == "backup"));
}

/// A Transom that divides between two pools.
fn split(a: &Endpoint, b: &Endpoint, settings: &str) -> Transom {
    let config = format!(
        "workers: 2\nlisteners:\n  web: {{ address: '@WEB', routes: [{{ forward: shop }}] }}\n\
         splits:\n  shop: {{ {settings} }}\n\
         pools:\n  stable: {{ endpoints: '{}' }}\n  canary: {{ endpoints: '{}' }}\n",
        a.address, b.address
    );
    Transom::run(TRANSOM, &config)
}

#[test]
fn a_canary_gets_its_share_and_keeps_its_clients() {
    let (stable, canary) = (named("stable", ""), named("canary", ""));
    let pools = "pools: { stable: 80, canary: 20 }";
    let transom = split(&stable, &canary, pools);
    let drawn = shares(&transom, 500, |_| String::new());
    assert!((60..140).contains(&drawn["canary"]), "{drawn:?}");

    let transom = split(&stable, &canary, &format!("{pools}, cookie: version"));
    let mut seen = BTreeMap::new();
    for _ in 0..100 {
        let first = get(&transom, "/", "");
        let sent = cookie(&first).unwrap();
        assert!(!sent.contains("canary") && !sent.contains("stable"));
        let again = get(&transom, "/", &sent);
        assert_eq!(again.text(), first.text());
        assert_eq!(again.field("set-cookie"), None);
        seen.insert(first.text(), sent);
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
}

/// Answers with its name until somebody poisons it; from then on it resets every connection.
fn mortal(name: &'static str) -> (Endpoint, Arc<AtomicBool>) {
    let dead = Arc::new(AtomicBool::new(false));
    let is_dead = dead.clone();
    let endpoint = Endpoint::early(move |request, line| {
        if is_dead.load(Ordering::SeqCst) || request.target == "/poison" {
            is_dead.store(true, Ordering::SeqCst);
            return line.reset();
        }
        line.send(ok(name));
    });
    (endpoint, dead)
}

#[test]
fn u_22_what_one_tenant_sends_hurts_its_own_few_endpoints_and_no_others() {
    let endpoints = ["a", "b", "c", "d", "e", "f"].map(mortal);
    let members: Vec<&Endpoint> = endpoints.iter().map(|(endpoint, _)| endpoint).collect();
    let pool = "algorithm: { shards: { key: '{header.x-tenant}', size: 2 } }, \
                outliers: { max-ejected: 50% }";
    let transom = over(&members, pool);
    let ask =
        |target: &str, tenant: &str| get(&transom, target, &format!("X-Tenant: {tenant}\r\n"));
    let shard =
        |tenant: &str| -> BTreeSet<String> { (0..12).map(|_| ask("/", tenant).text()).collect() };
    let tenants: Vec<String> = (0..12).map(|n| format!("tenant-{n}")).collect();
    let shards: Vec<BTreeSet<String>> = tenants.iter().map(|tenant| shard(tenant)).collect();
    assert!(shards.iter().all(|shard| shard.len() == 2), "{shards:?}");
    // as often as it likes, and again when its endpoints have been taken out
    for _ in 0..40 {
        let _ = ask("/poison", &tenants[0]);
    }
    let dead = endpoints.iter().filter(|(_, dead)| dead.load(Ordering::SeqCst)).count();
    assert_eq!(dead, 2, "its own");
    until("they are known to be dead", || {
        let _ = ask("/", &tenants[0]);
        let ejected = |one: &Endpoint| {
            let labels = format!("pool=\"o\",endpoint=\"{}\",state=\"ejected\"", one.address);
            transom.metric(&format!("transom_member_state{{{labels}}}")) == 1.0
        };
        members.iter().filter(|one| ejected(one)).count() == 2
    });
    assert!(ask("/", &tenants[0]).status >= 500);
    let others = tenants.iter().zip(&shards).filter(|(_, shard)| **shard != shards[0]);
    for (tenant, _) in others {
        for _ in 0..6 {
            assert_eq!(ask("/", tenant).status, 200, "{tenant}");
        }
    }
}

#[test]
fn lb_14_each_instance_uses_its_few_and_all_together_use_all() {
    let endpoints: Vec<Endpoint> = (0..6).map(|_| named("x", "")).collect();
    let list: Vec<String> = endpoints.iter().map(|e| format!("'{}'", e.address)).collect();
    for instance in 0..3 {
        let config = format!(
            "workers: 1\ninstance: {instance}\n\
             listeners:\n  web: {{ address: '@WEB', routes: [{{ forward: o }}] }}\n\
             pools:\n  o: {{ endpoints: [{}], subsetting: 2, algorithm: round-robin, \
             health: {{ tcp: on, every: 50ms }} }}\n",
            list.join(", ")
        );
        let transom = Transom::run(TRANSOM, &config);
        for _ in 0..8 {
            assert_eq!(get(&transom, "/", "").status, 200);
        }
        let shown = transom.admin("GET", "/pools/o").text();
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown["members"].as_array().unwrap().len(), 2, "{shown}");
        assert_eq!(shown["left-out"], 4);
    }
    let asked: Vec<usize> = endpoints.iter().map(|e| e.requests().len()).collect();
    assert_eq!(asked, [4; 6], "each by one instance alone");
}

#[test]
fn lb_03_path_and_header_decide_which_pool_serves_and_which_of_its_endpoints() {
    let (old, new, x, y) = (named("old", ""), named("new", ""), named("x", ""), named("y", ""));
    let config = format!(
        "workers: 2\nlisteners:\n  web:\n    address: '@WEB'\n    routes:\n      \
         - {{ match: {{ path: /api/**, header: {{ x-version: '2' }} }}, forward: new }}\n      \
         - {{ match: {{ path: /api/** }}, forward: old }}\n      \
         - {{ match: {{ path: '/carts/{{cart}}/**' }}, forward: {{ to: carts, \
              algorithm: {{ ring: '{{capture.cart}}' }} }} }}\n\
         pools:\n  old: {{ endpoints: '{}' }}\n  new: {{ endpoints: '{}' }}\n  \
         carts: {{ endpoints: ['{}', '{}'] }}\n",
        old.address, new.address, x.address, y.address
    );
    let transom = Transom::run(TRANSOM, &config);
    for (path, lines, expected) in [
        ("/api/orders", "", "old"),
        ("/api/orders", "X-Version: 2\r\n", "new"),
        ("/api/orders", "X-Version: 3\r\n", "old"),
        ("/api/orders?x-version=2", "", "old"),
    ] {
        assert_eq!(get(&transom, path, lines).text(), expected, "{path} {lines}");
    }
    assert_eq!(get(&transom, "/other", "").status, 404);
    let mut used = BTreeSet::new();
    for cart in 0..30 {
        let first = get(&transom, &format!("/carts/{cart}/items"), "").text();
        // whatever stands beside the part that decides
        for path in [format!("/carts/{cart}/items?a=1"), format!("/carts/{cart}/pay")] {
            assert_eq!(get(&transom, &path, "X-Version: 2\r\n").text(), first, "{path}");
        }
        used.insert(first);
    }
    assert_eq!(used.len(), 2, "carts are spread");
}
