//! What is built from a configuration, and what of it outlives a reload.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use transom::build::{Snapshot, build};
use transom::config::Config;
use transom::load::{Seen, from_text};
use transom::materials::Materials;
use transom_net::Background;
use transom_proxy::destination::{Destination, Member};

/// What is built from a text in a folder, or what is said about it.
fn built(text: &str, base: &Path, previous: Option<&Snapshot>) -> Result<Snapshot, String> {
    let loaded = from_text(&base.join("transom.yaml"), text, false, &|_| None)
        .map_err(|findings| findings.render())?;
    let said = |found| {
        let mut all = loaded.findings.clone();
        all.extend(found);
        all.render()
    };
    let materials = Materials::load(&loaded.config, base, &mut Seen::default()).map_err(said)?;
    build(&loaded.config, &materials, previous, &|_, _| Vec::new()).map_err(said)
}

fn of(text: &str, previous: Option<&Snapshot>) -> Snapshot {
    built(text, Path::new("."), previous).unwrap_or_else(|said| panic!("{said}"))
}

const SHOP: &str = "
listeners:
  web:
    address: ['127.0.0.1:0', 'unix:/tmp/x.sock']
    proxy-protocol: { from: 10.0.0.0/8 }
    timeouts: { header: off, response: 7s }
    routes:
      - { name: orders, match: { path: /orders/** }, limits: { body: 1KiB }, forward: orders }
      - { match: { path: /users/** }, forward: 127.0.0.1:1 }
      - { match: { path: /old }, request-headers: { set: { x-a: '{header.x-b}' } }, redirect: /new }
      - respond: hello
pools:
  orders:
    endpoints: [127.0.0.1:1, { address: 127.0.0.2:1, weight: 3 }]
    timeouts: { response: 3s }
";

#[test]
fn a_snapshot_holds_what_the_file_says() {
    let first = of(SHOP, None);
    assert_eq!(first.generation, 1);
    let listening = &first.listeners[0];
    assert_eq!(listening.addresses.len(), 2);
    assert!(listening.tls.is_none());
    assert_eq!(listening.proxy_protocol.as_ref().unwrap().from.len(), 1);
    let site = &listening.site;
    let names: Vec<&str> = site.routes.iter().map(|route| &*route.name).collect();
    assert_eq!(names, ["orders", "web[1]", "web[2]", "web[3]"]);
    let response = |route: usize| site.routes[route].timeouts.response.unwrap().as_secs();
    assert_eq!((response(0), response(1)), (3, 7));
    assert_eq!(site.routes[0].body_limit, Some(1024));
    assert_eq!(site.routes[2].keep.len(), 1);
    assert_eq!(site.routes[0].action.describe(), "forward to orders: 127.0.0.1:1, 127.0.0.2:1");
    assert!(first.warnings.is_empty());
}

#[test]
fn endpoints_keep_their_key_and_their_state_over_reloads() {
    let keys = |snapshot: &Snapshot| -> Vec<u64> {
        snapshot.pools["orders"].candidates().iter().map(|endpoint| endpoint.key).collect()
    };
    let first = of(SHOP, None);
    let changed = SHOP.replace("127.0.0.1:1, {", "127.0.0.9:1, 127.0.0.1:1, {");
    let second = of(&changed, Some(&first));
    assert_eq!(second.generation, 2);
    let (before, after) = (keys(&first), keys(&second));
    assert_eq!(after[1..], before[..]);
    assert!(!before.contains(&after[0]));
    let members = |snapshot: &Snapshot| snapshot.pools["orders"].members();
    assert!(Arc::ptr_eq(&members(&first)[0].state, &members(&second)[1].state));
    // the pool's endpoint and the route's own are the same address, so the same connections
    let third = of(SHOP, Some(&second));
    assert_eq!(keys(&third), before);
    let _ = members(&third)[0].endpoint();
}

#[test]
fn the_same_address_with_other_tls_has_another_key() {
    let snapshot = of(
        "
listeners: { web: { address: '127.0.0.1:0', routes: [{ match: { path: /a }, forward: a }, { match: { path: /b }, forward: b }, { match: { path: /c }, forward: c }, { match: { path: /d }, forward: d }] } }
pools:
  a: { endpoints: 127.0.0.1:1 }
  b: { endpoints: 127.0.0.1:1, tls: { name: b.example } }
  c: { endpoints: 127.0.0.1:1, tls: { name: c.example } }
  d: { endpoints: 127.0.0.1:1, tls: { name: c.example, insecure-skip-verify: true } }
",
        None,
    );
    let mut keys: Vec<u64> =
        snapshot.pools.values().flat_map(|pool| pool.candidates()).map(|e| e.key).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 4);
}

#[test]
fn tls_that_cannot_be_used_is_found_at_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (one, other) = (rcgen_pair(), rcgen_pair());
    std::fs::write(at("a.pem"), &one.0).unwrap();
    std::fs::write(at("a.key"), &one.1).unwrap();
    std::fs::write(at("other.key"), &other.1).unwrap();
    std::fs::write(at("empty.pem"), "nothing").unwrap();
    let text = |tls: &str| {
        format!(
            "listeners:\n  web:\n    address: 127.0.0.1:0\n    tls: {{ {tls} }}\n    routes: [{{ respond: hello }}]\n"
        )
    };
    for (tls, expected) in [
        ("certificate: a.pem, key: a.key", ""),
        ("self-signed: [localhost]", ""),
        (
            "certificate: a.pem, key: other.key",
            "4:37: listeners.web.tls.certificate: the key of `a.pem` does not belong to its certificate",
        ),
        (
            "certificate: empty.pem, key: a.key",
            "4:25: listeners.web.tls.certificate: `empty.pem` has no certificate in PEM form",
        ),
        (
            "certificate: a.pem, key: empty.pem",
            "4:37: listeners.web.tls.certificate: `a.pem` has no private key in PEM form",
        ),
        (
            "certificate: a.pem, key: a.key, client-certificates: { mode: required, ca: empty.pem }",
            "listeners.web.tls.client-certificates.ca: the file of authorities has no certificate in PEM form",
        ),
    ] {
        match built(&text(tls), folder.path(), None) {
            Ok(snapshot) => {
                assert!(expected.is_empty() && snapshot.listeners[0].tls.is_some(), "{tls}")
            }
            Err(said) => assert!(!expected.is_empty() && said.contains(expected), "{tls}\n{said}"),
        }
    }
}

fn rcgen_pair() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[test]
fn a_name_that_is_not_known_does_not_keep_the_rest_from_running() {
    // nobody answers there
    let snapshot = of(
        "
resolver: { servers: ['127.0.0.1:9'], timeout: 100ms }
listeners: { web: { address: '127.0.0.1:0', routes: [{ match: { path: /a }, forward: a }, { forward: 'nowhere.example:81' }] } }
pools: { a: { endpoints: ['nowhere.example:80', '127.0.0.1:1'] } }
",
        None,
    );
    assert_eq!(snapshot.pools["a"].candidates().len(), 1);
    let background = Background::start(0).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(snapshot.settle(&background, Duration::from_secs(10)));
    assert_eq!(snapshot.pools["a"].candidates().len(), 1);
    let said: Vec<_> = snapshot.troubles().into_iter().map(|found| found.what).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].starts_with("the name `nowhere.example` has no address now: DNS"), "{said:?}");
}

#[test]
fn every_setting_that_is_understood_can_run() {
    let folder = tempfile::tempdir().unwrap();
    let pair = rcgen_pair();
    for name in ["a", "b", "c"] {
        std::fs::write(folder.path().join(format!("{name}.pem")), &pair.0).unwrap();
        std::fs::write(folder.path().join(format!("{name}.key")), &pair.1).unwrap();
    }
    std::fs::write(folder.path().join("ca.pem"), &pair.0).unwrap();
    std::fs::create_dir(folder.path().join("public")).unwrap();
    for page in ["missing", "sorry", "busy"] {
        std::fs::write(folder.path().join(format!("{page}.html")), page).unwrap();
    }
    let text = include_str!("config/everything.yaml").replace("${PORT}", "8080");
    let text = text.replace("      - unix:/run/orders.sock\n", "");
    let snapshot = built(&text, folder.path(), None).unwrap_or_else(|said| panic!("{said}"));
    assert_eq!(snapshot.listeners.len(), 2);
    let site = &snapshot.listeners[0].site;
    assert_eq!(site.pages.for_status(502).unwrap().content_type, "text/html; charset=utf-8");
    let kinds: Vec<_> = site.routes[0].chain.iter().map(|policy| policy.describe()).collect();
    assert_eq!(kinds.len(), 4, "{kinds:?}");
    let config: &Config = &snapshot.config;
    assert_eq!(config.pools.len(), 1);
}

/// What keeps a composition from running is found when the file is checked.
#[test]
fn gw_28_a_composition_that_cannot_run_is_refused_with_its_place() {
    let said = |compose: &str| {
        let text = format!(
            "listeners: {{ web: {{ address: '127.0.0.1:0', routes: [{{ compose: {compose} }}] }} }}"
        );
        built(&text, Path::new("."), None).err().unwrap_or_default()
    };
    let part = |name: &str, more: &str| format!("{name}: {{ to: 127.0.0.1:1, {more} }}");
    for (parts, expected) in [
        (vec![], "it has no parts"),
        (vec![part("a", "path: '/{b.id}'")], "no part named `b`"),
        (vec![part("a", "path: '/{a.id}'")], "`a` waits for itself"),
        (
            vec![part("a", "path: '/{b.id}'"), part("b", "path: /, after: a")],
            "`a` and `b` wait for each other",
        ),
        (vec![part("query", "path: /")], "a part cannot be called `query`"),
        (vec![part("a", "path: '{b}'"), part("b", "path: /")], "`{b}` is no path"),
        (vec![part("a", "path: /, rename: { x: 'y.*' }")], "`y.*` has more `*` than `x`"),
        (vec![part("a", "path: /, body: ['{']")], "`{` has a lone `{`"),
        (vec![part("a", "path: '/{keys}'")], "no part named `keys`"),
        (
            vec![
                part("a", "path: /"),
                part("b", "path: /, join: { items: 'a.*', key: x, into: y }"),
            ],
            "it asks for no `{keys}`",
        ),
        (vec![part("a", "path: /, max-body: 33MiB")], "the answers may have"),
        (
            (0..21).map(|number| part(&format!("p{number}"), "path: /")).collect(),
            "21 calls are more than 20",
        ),
        (
            (0..6)
                .map(|number| match number {
                    0 => part("p0", "path: /"),
                    _ => part(&format!("p{number}"), &format!("path: /, after: p{}", number - 1)),
                })
                .collect(),
            "6 calls wait for each other, more than 5",
        ),
    ] {
        let said = said(&format!("{{ parts: {{ {} }} }}", parts.join(", ")));
        assert!(said.contains(expected), "{parts:?}: {said}");
        assert!(said.contains("hint: "), "{said}");
    }
    let right = [part("a", "path: /"), part("b", "path: '/{a.id}', max-body: 3KiB, timeout: 1s")];
    let text = format!(
        "listeners: {{ web: {{ address: '127.0.0.1:0', routes: [{{ compose: {{ parts: {{ {} }} }} }}] }} }}",
        right.join(", ")
    );
    assert_eq!(
        of(&text, None).listeners[0].site.routes[0].action.describe(),
        "compose a, b: at most 2 calls, 2 of them one after another, 1027 KiB and 2s"
    );
}
