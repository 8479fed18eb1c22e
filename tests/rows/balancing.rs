//! Who gets which request: algorithms, subsets, stickiness and splits against real endpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use transom_testkit::endpoint::ok;
use transom_testkit::{Client, Endpoint, Port, Response, Transom, until};

use super::rig::TRANSOM;

/// Answers with its name, and with further field lines.
fn named(name: &'static str, lines: &'static str) -> Endpoint {
    let lines = lines.replace('\n', "\r\n");
    let length = name.len();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{lines}\r\n{name}");
    Endpoint::new(move |_, line| line.send(&answer))
}

/// A Transom whose pool `o` has these settings beside these endpoints.
fn over(endpoints: &[&Endpoint], settings: &str) -> Transom {
    let list: Vec<String> = endpoints.iter().map(|e| format!("'{}'", e.address)).collect();
    let config = format!(
        "workers: 2\nlisteners:\n  web: {{ address: '@WEB', routes: [{{ forward: o }}] }}\n\
         pools:\n  o: {{ endpoints: [{}], {settings} }}\n",
        list.join(", ")
    );
    Transom::run(TRANSOM, &config)
}

fn get(transom: &Transom, path: &str, lines: &str) -> Response {
    let mut client = Client::connect(transom.web());
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n")).response()
}

/// How often each endpoint answers.
fn shares(
    transom: &Transom,
    count: usize,
    lines: impl Fn(usize) -> String,
) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    let mut client = Client::connect(transom.web());
    for n in 0..count {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", lines(n));
        let response = client.send(head).response();
        assert_eq!(response.status, 200, "{}", response.text());
        *shares.entry(response.text()).or_default() += 1;
    }
    shares
}

/// The first part of a `Set-Cookie`, as the client sends it back.
fn cookie(response: &Response) -> Option<String> {
    let line = response.field("set-cookie")?;
    Some(format!("Cookie: {}\r\n", line.split(';').next().unwrap()))
}

#[test]
fn lb_05_a_slow_endpoint_gets_less_and_idle_ones_take_turns() {
    let (a, b) = (named("a", ""), named("b", ""));
    let done = Arc::new(AtomicBool::new(false));
    let is_done = done.clone();
    let slow = Endpoint::new(move |_, line| {
        while !is_done.load(Ordering::Relaxed) {
            line.wait(Duration::from_millis(5));
        }
        line.send(ok("slow"));
    });
    let transom = over(&[&a, &b], "keep-alive: { idle: 5s }");
    let mut order = String::new();
    for _ in 0..6 {
        order.push_str(&get(&transom, "/", "").text());
    }
    assert_eq!(order, "ababab");
    let transom = over(&[&a, &slow], "keep-alive: { idle: 5s }");
    let mut first = Client::connect(transom.web());
    // the slow one has one in flight as soon as two were asked for
    let mut second = Client::connect(transom.web());
    for client in [&mut first, &mut second] {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    until("it is at work", || slow.requests().len() == 1);
    until("it alone", || transom.metric("transom_member_in_flight{pool=\"o\"") == 1.0);
    for _ in 0..10 {
        assert_eq!(get(&transom, "/", "").text(), "a");
    }
    done.store(true, Ordering::Relaxed);
}

#[test]
fn lb_08_the_load_that_a_response_tells_counts() {
    let busy = named("busy", "endpoint-load-metrics: TEXT cpu_utilization=0.95\n");
    let idle = named("idle", "endpoint-load-metrics: JSON {\"cpu_utilization\": 0.1}\n");
    let transom = over(&[&busy, &idle], "algorithm: reported-load");
    until("both have told", || {
        get(&transom, "/", "");
        !busy.requests().is_empty() && !idle.requests().is_empty()
    });
    assert_eq!(shares(&transom, 20, |_| String::new()), [("idle".to_owned(), 20)].into());
}

#[test]
fn lb_10_equal_keys_go_to_the_same_endpoint() {
    let endpoints = [named("a", ""), named("b", ""), named("c", "")];
    let all: Vec<&Endpoint> = endpoints.iter().collect();
    for (algorithm, line) in [
        ("{ ring: '{header.x-user}' }", "X-User: {}\r\n"),
        ("{ maglev: '{cookie.id}' }", "Cookie: a=b; id={}\r\n"),
        ("{ maglev: { key: '{header.x-user}/{cookie.id}', load-factor: 1.5 } }", "X-User: {}\r\n"),
    ] {
        let transom = over(&all, &format!("algorithm: {algorithm}"));
        let user = |n: usize| line.replace("{}", &n.to_string());
        let once = shares(&transom, 60, user);
        assert_eq!(once.len(), 3, "{algorithm}: {once:?}");
        for n in 0..10 {
            let same = shares(&transom, 5, |_| user(n));
            assert_eq!(same.len(), 1, "{algorithm}: {same:?}");
        }
        // without a key they go anywhere
        assert_eq!(shares(&transom, 60, |_| String::new()).len(), 3, "{algorithm}");
    }
}

#[test]
fn lb_10_a_key_can_be_a_part_of_the_path_or_the_query() {
    let endpoints = [named("a", ""), named("b", ""), named("c", "")];
    let all: Vec<&Endpoint> = endpoints.iter().collect();
    let transom = over(&all, "algorithm: { maglev: '{path.2}{query.id}' }");
    let mut seen = BTreeMap::new();
    for n in 0..40 {
        let first = get(&transom, &format!("/users/{n}/cart"), "").text();
        assert_eq!(get(&transom, &format!("/users/{n}/orders"), "").text(), first);
        assert_eq!(get(&transom, &format!("/users//?x=1&id={n}"), "").status, 200);
        *seen.entry(first).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
}

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

#[test]
fn lb_27_u_14_a_cookie_brings_clients_back_and_shows_nothing() {
    let endpoints = [named("a", ""), named("b", ""), named("c", "")];
    let all: Vec<&Endpoint> = endpoints.iter().collect();
    let settings = "affinity: { cookie: { name: shop, secret: '0123456789abcdef', max-age: 1h } }";
    let transom = over(&all, settings);
    let first = get(&transom, "/", "");
    let line = first.field("set-cookie").unwrap().to_owned();
    let (value, attributes) = line.split_once(';').unwrap();
    assert_eq!(attributes, " Path=/; HttpOnly; SameSite=Lax; Max-Age=3600");
    let token = value.strip_prefix("shop=").unwrap();
    assert!(token.len() == 32 && token.bytes().all(|c| c.is_ascii_hexdigit()), "{token}");
    let sent = cookie(&first).unwrap();
    for _ in 0..6 {
        let again = get(&transom, "/", &sent);
        assert_eq!(again.text(), first.text());
        assert_eq!(again.field("set-cookie"), None, "it has what it needs");
    }
    // another process with the same secret knows the client
    let other = over(&all, settings);
    assert_eq!(get(&other, "/", &sent).text(), first.text());
    // what was made up is nothing, and gets a new one
    for wrong in [
        "Cookie: shop=1\r\n".to_owned(),
        sent.to_uppercase().replace("COOKIE", "Cookie").replace("SHOP", "shop"),
    ] {
        assert!(get(&transom, "/", &wrong).field("set-cookie").is_some(), "{wrong}");
    }
}

#[test]
fn lb_27_a_client_whose_endpoint_is_gone_sticks_to_another() {
    let mut endpoints = vec![named("a", ""), named("b", "")];
    let all: Vec<&Endpoint> = endpoints.iter().collect();
    let transom = over(&all, "affinity: { cookie: shop }");
    let first = get(&transom, "/", "");
    let sent = cookie(&first).unwrap();
    endpoints.remove(usize::from(first.text() == "b"));
    let second = get(&transom, "/", &sent);
    assert_ne!(second.text(), first.text());
    let sent = cookie(&second).expect("it is told where it is now");
    assert_eq!(get(&transom, "/", &sent).text(), second.text());
}

#[test]
fn lb_20_a_member_that_drains_keeps_its_clients_and_gets_no_others() {
    let endpoints = [named("a", ""), named("b", "")];
    let all: Vec<&Endpoint> = endpoints.iter().collect();
    let transom = over(&all, "affinity: { cookie: shop }");
    let first = get(&transom, "/", "");
    let (sent, name) = (cookie(&first).unwrap(), first.text());
    let mine = &endpoints[usize::from(name == "b")];
    let stands = |how: &str| {
        let place = format!("/pools/o/members/{}/{how}", mine.address);
        assert_eq!(transom.admin("POST", &place).status, 200);
    };
    stands("drain");
    for _ in 0..6 {
        let again = get(&transom, "/", &sent);
        assert_eq!((again.text(), again.field("set-cookie")), (name.clone(), None));
        assert_ne!(get(&transom, "/", "").text(), name, "a new client goes elsewhere");
    }
    stands("maintenance");
    let moved = get(&transom, "/", &sent);
    assert_ne!(moved.text(), name);
    assert!(cookie(&moved).is_some(), "it is told where it is now");
    stands("ready");
    assert_eq!(get(&transom, "/", &sent).text(), name, "its old cookie still says where it was");
}

#[test]
fn lb_27_who_waits_in_the_queue_still_comes_back_to_where_it_was() {
    let open = Arc::new(AtomicBool::new(false));
    let named = |name: &'static str| {
        let is_open = open.clone();
        Endpoint::new(move |request, line| {
            while request.target == "/held" && !is_open.load(Ordering::SeqCst) {
                line.wait(Duration::from_millis(2));
            }
            line.send(ok(name));
        })
    };
    let (a, b) = (named("a"), named("b"));
    let pool = "affinity: { header: x-who }, limits: { requests: 1 }, queue: { timeout: 20s }";
    let transom = over(&[&a, &b], pool);
    let ask = |path: &str, who: &str| {
        let mut client = Client::connect(transom.web());
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nX-Who: {who}\r\n\r\n"));
        client
    };
    let all = ["1", "2", "3", "4", "5", "6", "7", "8"];
    let before = all.map(|who| ask("/", who).response().text());
    let mut busy = ask("/held", "somebody");
    until("it is busy", || transom.metric("transom_member_in_flight{pool=\"o\"") == 1.0);
    let mut waiting = all.map(|who| ask("/", who));
    until("all wait", || transom.metric("transom_pool_waiting{pool=\"o\"") == 8.0);
    open.store(true, Ordering::SeqCst);
    assert_eq!(busy.response().status, 200);
    let after = waiting.each_mut().map(|client| client.response().text());
    assert_eq!(after, before);
    let waited = |line: &&serde_json::Value| line["queued_ms"].is_number();
    assert_eq!(transom.lines_when(17).iter().filter(waited).count(), 8, "the log says who waited");
}

#[test]
fn lb_27_a_session_of_the_application_stays_where_it_began() {
    let a = named("a", "Set-Cookie: sid=session-of-a; Path=/\n");
    let b = named("b", "Set-Cookie: sid=session-of-b; Path=/\n");
    let transom = over(&[&a, &b], "affinity: { application-cookie: sid }");
    for _ in 0..2 {
        let first = get(&transom, "/", "");
        let sent = format!("Cookie: sid=session-of-{}\r\n", first.text());
        for _ in 0..5 {
            assert_eq!(get(&transom, "/", &sent).text(), first.text());
        }
    }
    let transom = over(&[&a, &b], "affinity: { header: mcp-session-id }");
    for session in 0..6 {
        let sent = format!("Mcp-Session-Id: {session}\r\n");
        let first = get(&transom, "/", &sent).text();
        assert!((0..4).all(|_| get(&transom, "/", &sent).text() == first));
    }
    let transom = over(&[&a, &b], "algorithm: random, affinity: { address: {} }");
    let first = get(&transom, "/", "").text();
    assert!((0..10).all(|_| get(&transom, "/", "").text() == first));
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

/// A Transom that copies what it sends to `a` to another address.
fn mirrored(a: &Endpoint, to: SocketAddr, settings: &str) -> Transom {
    let config = format!(
        "workers: 1\nlisteners:\n  web:\n    address: '@WEB'\n    routes:\n\
         \x20     - forward: {{ to: '{}', mirror: {{ to: '{to}', {settings} }} }}\n",
        a.address
    );
    Transom::run(TRANSOM, &config)
}

#[test]
fn a_mirror_gets_whole_copies() {
    let (a, shadow) = (named("a", ""), named("shadow", ""));
    let transom = mirrored(&a, shadow.address, "max-body: 1KiB");
    let mut client = Client::connect(transom.web());
    let post = |body: &str, framing: &str| {
        format!("POST /x?y HTTP/1.1\r\nHost: a\r\nX-A: b\r\n{framing}\r\n\r\n{body}")
    };
    let sent = [
        "GET /g HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        post("hello", "Content-Length: 5"),
        post("5\r\nhello\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
        // too long
        post(&"x".repeat(2000), "Content-Length: 2000"),
        post(&format!("7d0\r\n{}\r\n0\r\n\r\n", "x".repeat(2000)), "Transfer-Encoding: chunked"),
    ];
    for request in sent {
        assert_eq!(client.send(request).response().text(), "a");
    }
    shadow.until("three copies came", |log| log.requests.len() >= 3);
    let mut copies: Vec<(String, String)> =
        shadow.requests().iter().map(|copy| (copy.target.clone(), copy.text())).collect();
    copies.sort();
    let expected = [("/g", ""), ("/x?y", "hello"), ("/x?y", "hello")];
    assert_eq!(copies, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    let fields = |endpoint: &Endpoint| {
        endpoint.requests().iter().filter(|it| it.field("x-forwarded-for").is_some()).count()
    };
    assert_eq!((fields(&a), fields(&shadow)), (5, 3));
    assert_eq!(transom.lines_when(5).len(), 5, "copies are no exchanges of clients");
}

#[test]
fn a_16_a_mirror_gets_no_credentials_unless_the_file_says_so() {
    for (settings, expected) in
        [("at-once: 9", [None, None]), ("credentials: true", [Some("Bearer t"), Some("a=b")])]
    {
        let (a, shadow) = (named("a", ""), named("shadow", ""));
        let transom = mirrored(&a, shadow.address, settings);
        let lines = "Authorization: Bearer t\r\nCookie: a=b\r\nX-A: b\r\n";
        assert_eq!(get(&transom, "/", lines).text(), "a");
        shadow.until("the copy came", |log| log.requests.len() == 1);
        let copy = &shadow.requests()[0];
        assert_eq!([copy.field("authorization"), copy.field("cookie")], expected, "{settings}");
        assert_eq!(copy.field("x-a"), Some("b"));
        assert_eq!(a.requests()[0].field("authorization"), Some("Bearer t"));
    }
}

#[test]
fn u_08_a_mirror_never_matters_to_the_client() {
    let a = named("a", "");
    let stuck = Endpoint::raw(|line| line.stall());
    let gone = Port::reserve().unwrap();
    for to in [stuck.address, gone.address] {
        let transom = mirrored(&a, to, "at-once: 2");
        let start = Instant::now();
        for _ in 0..20 {
            assert_eq!(get(&transom, "/", "").text(), "a");
        }
        assert!(start.elapsed() < Duration::from_secs(5), "nobody waits for copies");
    }
    assert!(stuck.connections() <= 2, "{} copies at once", stuck.connections());
    let shadow = named("shadow", "");
    let transom = mirrored(&a, shadow.address, "share: 25%, at-once: 1000");
    for _ in 0..200 {
        assert_eq!(get(&transom, "/", "").text(), "a");
    }
    shadow.until("some copies came", |log| log.requests.len() >= 20);
    assert!(shadow.requests().len() <= 90, "{}", shadow.requests().len());
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

/// Where the connections of an endpoint come from: one by one, each is answered and closed.
fn seen_from() -> (SocketAddr, std::sync::mpsc::Receiver<std::net::IpAddr>) {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (told, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let _ = connection.read(&mut [0; 1024]);
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = connection.write_all(answer.as_bytes());
            if told.send(connection.peer_addr().unwrap().ip()).is_err() {
                return;
            }
        }
    });
    (address, heard)
}

#[test]
fn lb_33_an_endpoint_sees_the_address_that_the_file_says() {
    use std::io::{Read as _, Write as _};
    for (from, sees) in [("any", "127.0.0.1"), ("127.0.0.7", "127.0.0.7"), ("client", "127.0.0.5")]
    {
        if from == "client"
            && let Err(error) = transom_net::dial::may_be_transparent()
        {
            eprintln!("nothing is tested of `client`: {error}");
            continue;
        }
        for listener in ["routes: [{ forward: o }]", "tcp: o"] {
            let (endpoint, heard) = seen_from();
            let from =
                if from == "any" { String::new() } else { format!(", connect-from: {from}") };
            let config = format!(
                "workers: 1\nlisteners:\n  web: {{ address: '@WEB', {listener} }}\n\
                 pools:\n  o: {{ endpoints: '{endpoint}'{from} }}\n"
            );
            let transom = Transom::run(TRANSOM, &config);
            let socket =
                socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.bind(&"127.0.0.5:0".parse::<SocketAddr>().unwrap().into()).unwrap();
            socket.connect(&transom.web().into()).unwrap();
            let mut client = std::net::TcpStream::from(socket);
            client.set_read_timeout(Some(transom_testkit::PATIENCE)).unwrap();
            client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{config}: {answer}");
            let seen = heard.recv_timeout(transom_testkit::PATIENCE).unwrap();
            assert_eq!(seen.to_string(), sees, "{config}");
        }
    }
}

/// Two that stand beside each other (one address by VRRP, or one each by DNS) need not speak with each
/// other for a client to come to the same endpoint, when one takes the place of the other.
#[test]
fn lb_34_when_one_instance_takes_over_clients_stay_where_they_were() {
    let names = ["a", "b", "c", "d"];
    let endpoints: Vec<Endpoint> = names.into_iter().map(|name| named(name, "")).collect();
    let endpoints: Vec<&Endpoint> = endpoints.iter().collect();
    for settings in
        ["algorithm: { maglev: '{header.x-user}' }", "algorithm: { ring: '{header.x-user}' }"]
    {
        let mut first = over(&endpoints, settings);
        let second = over(&endpoints, settings);
        let user = |n: usize| format!("X-User: user-{n}\r\n");
        let served: Vec<String> = (0..40).map(|n| get(&first, "/", &user(n)).text()).collect();
        first.kill();
        for (n, before) in served.iter().enumerate() {
            assert_eq!(get(&second, "/", &user(n)).text(), *before, "user {n} with {settings}");
        }
    }
    let settings = "affinity: { cookie: { name: shop, secret: '0123456789abcdef' } }";
    let mut first = over(&endpoints, settings);
    let second = over(&endpoints, settings);
    let met: Vec<(String, String)> = (0..8)
        .map(|_| {
            let response = get(&first, "/", "");
            (cookie(&response).expect("a cookie is set"), response.text())
        })
        .collect();
    first.kill();
    // in another order, so that turns alone would not lead there
    for (cookie, before) in met.iter().rev() {
        let again = get(&second, "/", cookie);
        assert_eq!((again.text(), again.field("set-cookie")), (before.clone(), None));
    }
}
