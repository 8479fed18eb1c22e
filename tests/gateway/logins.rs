//! GW-05: people log in at a provider. The provider here says what a test wants; how a real one does is
//! tried apart.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use transom_testkit::endpoint::ok;
use transom_testkit::{Endpoint, Response, until};

use super::issuer::{Key, in_seconds};
use super::rig::Rig;
use super::tokens::operator;

const PAGE: &str = "Accept: text/html,application/xhtml+xml";

/// What the provider does next.
struct Script {
    nonce: String,
    /// Claims that differ from what is right.
    changes: Value,
    lasts: u64,
    refuse: bool,
    /// Takes a question and never answers.
    silent: bool,
    /// Does not say where it has what; how often that was asked for.
    away: bool,
    discovered: usize,
    /// How often each grant was asked for.
    codes: usize,
    refreshed: usize,
}

struct Provider {
    endpoint: Endpoint,
    script: Arc<Mutex<Script>>,
}

impl Provider {
    fn start() -> Self {
        let script = Arc::new(Mutex::new(Script {
            nonce: String::new(),
            changes: json!({}),
            lasts: 3600,
            refuse: false,
            silent: false,
            away: false,
            discovered: 0,
            codes: 0,
            refreshed: 0,
        }));
        let (its, key) = (script.clone(), Key::es256());
        let endpoint = Endpoint::new(move |request, line| {
            let base = format!("http://{}", request.field("host").unwrap());
            let answer = match &*request.target {
                "/.well-known/openid-configuration" => {
                    let mut script = its.lock().unwrap();
                    script.discovered += 1;
                    if script.away {
                        return line.send("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
                    }
                    json!({
                        "issuer": base, "authorization_endpoint": format!("{base}/auth?a=b"),
                        "token_endpoint": format!("{base}/token"),
                        "jwks_uri": format!("{base}/jwks"),
                        "end_session_endpoint": format!("{base}/end"),
                    })
                }
                "/jwks" => json!({"keys": [key.jwk("1")]}),
                "/token" => {
                    let mut script = its.lock().unwrap();
                    if script.refuse {
                        line.send(
                            "HTTP/1.1 400 No\r\nContent-Length: 25\r\n\r\n{\"error\":\"invalid_grant\"}\n",
                        );
                        return;
                    }
                    let form = request.text();
                    let refreshes = form.contains("grant_type=refresh_token");
                    script.codes += usize::from(!refreshes);
                    script.refreshed += usize::from(refreshes);
                    if script.silent {
                        drop(script);
                        return line.stall();
                    }
                    let mut claims = json!({
                        "iss": base, "aud": "shop", "sub": "ada", "email": "ada@example",
                        "iat": in_seconds(0), "exp": in_seconds(60), "nonce": script.nonce,
                    });
                    for (name, value) in script.changes.as_object().unwrap() {
                        claims[name] = value.clone();
                    }
                    let number = script.codes + script.refreshed;
                    json!({
                        "access_token": format!("access{number}"), "expires_in": script.lasts,
                        "refresh_token": format!("refresh{number}"),
                        "id_token": key.token("1", &claims),
                    })
                }
                other => panic!("{other}"),
            };
            line.send(ok(&answer.to_string()));
        });
        Provider { endpoint, script }
    }

    fn rig(&self, more: &str) -> Rig {
        let policy = format!(
            "people: {{ oidc: {{ provider: 'http://{}', client: {{ id: shop, secret: pw }}, \
             secret: 'a secret of thirty-two bytes, or more', relay: true, \
             headers: {{ x-mail: email }}, {more} }} }}",
            self.endpoint.address
        );
        Rig::with(&[&policy], "")
    }
}

/// A browser, as far as cookies go.
#[derive(Default)]
struct Browser(Vec<(String, String)>);

impl Browser {
    fn get(&mut self, rig: &Rig, target: &str) -> Response {
        let pairs: Vec<_> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookie = format!("Cookie: {}", pairs.join("; "));
        let mut lines = vec![PAGE];
        if !pairs.is_empty() {
            lines.push(&cookie);
        }
        let response = rig.get(target, &lines);
        for line in
            response.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"))
        {
            let (pair, rules) = line.1.split_once("; ").unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            assert!(rules.contains("HttpOnly; SameSite=Lax"), "{rules}");
            self.0.retain(|(other, _)| other != name);
            if !rules.contains("Max-Age=0;") {
                self.0.push((name.to_owned(), value.to_owned()));
            }
        }
        response
    }

    /// Asks for a page, and comes back from the provider.
    fn log_in(&mut self, rig: &Rig, provider: &Provider, target: &str) -> Response {
        let response = self.get(rig, target);
        assert_eq!(response.status, 302, "{}", response.text());
        let to = response.field("location").unwrap().to_owned();
        provider.script.lock().unwrap().nonce = parameter(&to, "nonce");
        self.get(rig, &format!("/oauth2/callback?code=c&state={}", parameter(&to, "state")))
    }
}

fn parameter(url: &str, name: &str) -> String {
    let (_, query) = url.split_once('?').unwrap();
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(other, _)| *other == name).unwrap_or_else(|| panic!("{name}: {url}")).1.to_owned()
}

#[test]
fn gw_05_a_person_logs_in_and_out() {
    let provider = Provider::start();
    let rig = provider.rig("");
    let mut browser = Browser::default();
    let response = browser.get(&rig, "/orders?full=1");
    let to = response.field("location").unwrap();
    assert!(
        to.starts_with(&format!(
            "http://{}/auth?a=b&response_type=code",
            provider.endpoint.address
        ))
    );
    assert_eq!(parameter(to, "redirect_uri"), "http%3A%2F%2Fa%2Foauth2%2Fcallback");
    assert_eq!(parameter(to, "code_challenge_method"), "S256");
    assert_eq!(response.field("cache-control"), Some("no-store"));
    let back = browser.log_in(&rig, &provider, "/orders?full=1");
    assert_eq!((back.status, back.field("location")), (302, Some("/orders?full=1")));
    assert_eq!(browser.0.len(), 1, "the cookie of the login is gone");
    assert!(!browser.0[0].1.contains("ada"));
    let asked = provider.endpoint.requests();
    let form = asked.iter().find(|request| request.target == "/token").unwrap();
    assert_eq!(form.field("authorization"), Some("Basic c2hvcDpwdw=="));
    assert!(form.text().contains("code_verifier="));
    for _ in 0..3 {
        assert_eq!(browser.get(&rig, "/orders").status, 200);
        let seen = rig.seen();
        assert_eq!(seen.field("x-mail"), Some("ada@example"));
        assert_eq!(seen.field("authorization"), Some("Bearer access1"));
        assert_eq!(seen.field("cookie"), None, "endpoints have no use for it");
    }
    // the first two were sent to log in, and one came back from there
    let lines = rig.transom.lines_when(6);
    let known = lines.iter().filter(|line| line["consumer"] == "ada");
    assert_eq!(known.filter(|line| line["path"] == "/orders").count(), 3, "{lines:#?}");
    let out = browser.get(&rig, "/oauth2/logout");
    let to = out.field("location").unwrap();
    assert!(to.starts_with(&format!("http://{}/end?id_token_hint=", provider.endpoint.address)));
    assert_eq!(parameter(to, "post_logout_redirect_uri"), "http%3A%2F%2Fa%2F");
    assert!(browser.0.is_empty());
    assert_eq!(browser.get(&rig, "/orders").status, 302);
}

#[test]
fn gw_20_who_logs_in_may_have_to_be_a_consumer() {
    let provider = Provider::start();
    for (consumers, status) in [("join", 200), ("require", 401)] {
        let rig = provider.rig(&format!("consumers: {consumers}"));
        let mut browser = Browser::default();
        browser.log_in(&rig, &provider, "/orders");
        assert_eq!(browser.get(&rig, "/orders").status, status, "{consumers}");
    }
}

#[test]
fn gw_05_who_has_shown_something_else_need_not_log_in() {
    let provider = Provider::start();
    let people = format!(
        "people: {{ oidc: {{ provider: 'http://{}', client: {{ id: shop, secret: pw }}, \
         secret: 'a secret of thirty-two bytes, or more' }} }}",
        provider.endpoint.address
    );
    let keys = "keys: { api-key: { header: X-Key } }";
    let rig = Rig::with(&[keys, &people], "consumers: { ann: { keys: [0123456789abcdef0123] } }\n");
    let key = "X-Key: 0123456789abcdef0123";
    assert_eq!(rig.get("/orders", &[PAGE, key]).status, 200);
    let mut browser = Browser::default();
    browser.log_in(&rig, &provider, "/orders");
    let pairs: Vec<_> = browser.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let cookie = format!("Cookie: {}", pairs.join("; "));
    assert_eq!(rig.get("/orders", &[PAGE, key, &cookie]).status, 200, "the key says who it is");
}

#[test]
fn gw_05_only_pages_are_sent_to_log_in() {
    let provider = Provider::start();
    let rig = provider.rig("");
    for (start, lines) in [
        ("GET /a", &["Accept: application/json"][..]),
        ("GET /a", &[]),
        ("POST /a", &[PAGE, "Content-Length: 0"]),
        ("GET /a", &[PAGE, "Sec-Fetch-Mode: cors"]),
    ] {
        let response = rig.ask(start, lines);
        assert_eq!(response.status, 401, "{start} {lines:?}");
        assert_eq!(response.field("location"), None);
    }
    assert!(rig.endpoint.requests().is_empty());
    let back = Browser::default().log_in(&rig, &provider, "//evil.example/");
    let to = back.field("location").unwrap();
    assert!(to.starts_with('/') && !to.starts_with("//"), "{to}");
}

#[test]
fn a_18_a_login_belongs_to_one_browser_and_one_answer() {
    let provider = Provider::start();
    let rig = provider.rig("");
    let begin = |browser: &mut Browser| {
        let response = browser.get(&rig, "/");
        let to = response.field("location").unwrap().to_owned();
        provider.script.lock().unwrap().nonce = parameter(&to, "nonce");
        parameter(&to, "state")
    };
    let back = |state: &str| format!("/oauth2/callback?code=c&state={state}");
    let (mut ada, mut eve) = (Browser::default(), Browser::default());
    let (of_ada, of_eve) = (begin(&mut ada), begin(&mut eve));
    for target in [
        back(&of_eve),
        back(""),
        "/oauth2/callback".to_owned(),
        format!("/oauth2/callback?state={of_ada}"),
        format!("/oauth2/callback?code=c&state={of_ada}&state={of_eve}"),
        format!("/oauth2/callback?code=c&state={of_ada}&iss=http%3A%2F%2Fevil"),
    ] {
        assert_eq!(ada.get(&rig, &target).status, 400, "{target}");
    }
    assert_eq!(Browser::default().get(&rig, &back(&of_ada)).status, 400, "no login has begun");
    let denied = format!("/oauth2/callback?error=access_denied&state={of_ada}");
    assert_eq!(ada.get(&rig, &denied).status, 403);
    assert_eq!(provider.script.lock().unwrap().codes, 0);
    // a nonce of another login, and claims that are for another
    assert_eq!(ada.get(&rig, &back(&of_ada)).status, 401);
    for changes in [
        json!({"aud": "mail"}),
        json!({"iss": "http://evil"}),
        json!({"exp": in_seconds(-120)}),
        json!({"aud": ["shop", "mail"], "azp": "mail"}),
    ] {
        provider.script.lock().unwrap().changes = changes.clone();
        let mut browser = Browser::default();
        assert_eq!(browser.log_in(&rig, &provider, "/").status, 401, "{changes}");
        assert!(browser.0.iter().all(|(name, _)| name.ends_with("_login")));
    }
    provider.script.lock().unwrap().changes = json!({});
    // a session that was changed, or belongs to a cookie of another use, is none
    let mut browser = Browser::default();
    assert_eq!(browser.log_in(&rig, &provider, "/").status, 302);
    let good = browser.0[0].clone();
    let other = if good.1.as_bytes()[20] == b'A' { "B" } else { "A" };
    let changed = format!("{}{other}{}", &good.1[..20], &good.1[21..]);
    for value in [changed, String::new(), good.1[..40].to_owned()] {
        browser.0[0].1 = value;
        assert_eq!(browser.get(&rig, "/").status, 302);
        browser.0.truncate(1);
    }
    browser.0[0].1 = ada.0[0].1.clone();
    assert_eq!(browser.get(&rig, "/").status, 302, "the cookie of a login is no session");
}

#[test]
fn gw_05_a_session_is_refreshed_once_for_all_who_come_with_it() {
    let provider = Provider::start();
    let rig = provider.rig("");
    provider.script.lock().unwrap().lasts = 0;
    let mut browser = Browser::default();
    assert_eq!(browser.log_in(&rig, &provider, "/").status, 302);
    provider.script.lock().unwrap().lasts = 3600;
    let old = browser.0.clone();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(Browser(old.clone()).get(&rig, "/").status, 200));
        }
    });
    assert_eq!(provider.script.lock().unwrap().refreshed, 1);
    assert_eq!(browser.get(&rig, "/").status, 200);
    assert_eq!(rig.seen().field("authorization"), Some("Bearer access2"));
    assert_ne!(browser.0, old);
    assert_eq!(browser.get(&rig, "/").status, 200);
    assert_eq!(provider.script.lock().unwrap().refreshed, 1);
}

/// One who waits for a provider that is silent waits for all: it is asked again only after a while.
#[test]
fn gw_05_a_silent_provider_is_waited_for_once_and_not_by_each_session() {
    let provider = Provider::start();
    let rig = provider.rig("timeout: 1s");
    provider.script.lock().unwrap().lasts = 0;
    let mut browsers: Vec<Browser> = (0..6).map(|_| Browser::default()).collect();
    for browser in &mut browsers {
        assert_eq!(browser.log_in(&rig, &provider, "/").status, 302);
    }
    provider.script.lock().unwrap().silent = true;
    for browser in &mut browsers {
        assert_eq!(browser.get(&rig, "/").status, 200);
    }
    assert_eq!(provider.script.lock().unwrap().refreshed, 1);
}

/// Of which nothing is known yet.
#[test]
fn gw_05_an_absent_provider_is_not_asked_anew_by_each_page() {
    let provider = Provider::start();
    let rig = provider.rig("timeout: 1s");
    provider.script.lock().unwrap().away = true;
    for _ in 0..6 {
        let response = Browser::default().get(&rig, "/");
        assert_eq!(response.status, 503, "{}", response.text());
    }
    assert_eq!(provider.script.lock().unwrap().discovered, 1);
}

#[test]
fn gw_14_a_session_is_revoked_from_the_next_request_on() {
    let provider = Provider::start();
    let rig = provider.rig("");
    let mut browser = Browser::default();
    assert_eq!(browser.log_in(&rig, &provider, "/").status, 302);
    assert_eq!(browser.get(&rig, "/").status, 200);
    let revoke = |claim: &str, value: &str| {
        let body = json!({ "claim": claim, "value": value }).to_string();
        operator(&rig.transom, "POST", "/revoked", &body)
    };
    assert!(revoke("sub", "eve").ends_with("201"));
    assert_eq!(browser.get(&rig, "/").status, 200);
    assert!(revoke("sub", "ada").ends_with("201"));
    let refused = browser.get(&rig, "/");
    assert_eq!(
        (refused.status, refused.field("location")),
        (401, None),
        "and not sent round in circles"
    );
    until("the log tells why", || rig.log().contains("the session was revoked"));
    assert!(operator(&rig.transom, "DELETE", "/revoked/sub/ada", "").ends_with("204"));
    assert_eq!(browser.get(&rig, "/").status, 200);
}

/// The same secret in two policies, as one variable of the environment gives it, joins nothing: who is known to
/// one provider, or as a user of one client, is nobody to another.
#[test]
fn gw_05_a_session_is_of_one_provider_and_one_client() {
    let provider = Provider::start();
    let endpoint = Endpoint::echo();
    let policy = |client: &str| {
        format!(
            "{{ oidc: {{ provider: 'http://{}', client: {{ id: {client}, secret: pw }}, \
             secret: 'a secret of thirty-two bytes, or more' }} }}",
            provider.endpoint.address
        )
    };
    let config = format!(
        "workers: 2\n\
         listeners:\n  \
           web:\n    \
             address: '@WEB'\n    \
             routes:\n      \
               - {{ match: {{ path: /staff/** }}, policies: [staff], forward: '{0}' }}\n      \
               - {{ policies: [people], forward: '{0}' }}\n\
         policies:\n  people: {1}\n  staff: {2}\n",
        endpoint.address,
        policy("shop"),
        policy("office"),
    );
    let rig = Rig::of(endpoint, &config);
    let mut browser = Browser::default();
    assert_eq!(browser.log_in(&rig, &provider, "/").status, 302);
    assert_eq!(browser.get(&rig, "/").status, 200);
    assert_eq!(browser.get(&rig, "/staff/x").status, 302, "to log in there, too");
    assert_eq!(rig.seen().target, "/");
}

#[test]
fn gw_05_who_is_refused_a_refresh_logs_in_again_and_an_absent_provider_throws_nobody_out() {
    let provider = Provider::start();
    let rig = provider.rig("timeout: 1s");
    provider.script.lock().unwrap().lasts = 0;
    let (mut ada, mut bob) = (Browser::default(), Browser::default());
    assert_eq!(ada.log_in(&rig, &provider, "/").status, 302);
    assert_eq!(bob.log_in(&rig, &provider, "/").status, 302);
    provider.script.lock().unwrap().refuse = true;
    assert_eq!(ada.get(&rig, "/").status, 302, "to the provider");
    drop(provider);
    assert_eq!(bob.get(&rig, "/").status, 200);
    let mut new = Browser::default();
    let response = new.get(&rig, "/");
    assert_eq!(response.status, 302, "where to log in is known");
    until("the log has her", || rig.log().contains("ada"));
}
