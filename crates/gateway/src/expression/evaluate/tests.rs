use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use transom_net::Worker;
use transom_proxy::body::Body;
use transom_proxy::exchange::{Exchange, Identity};
use transom_proxy::local::Local;
use transom_proxy::message::{Method, Request};
use transom_settings::json::json;

use super::*;
use crate::expression::{Type, compile};

fn asked() -> (Exchange, Request) {
    let mut exchange = Exchange::alone(&Rc::new(Local::new(Worker::new(0))));
    exchange.client = "10.1.2.3".parse().unwrap();
    exchange.identity = Some(std::sync::Arc::new(Identity {
        name: "ada".into(),
        groups: vec!["staff".into(), "night".into()],
        scopes: vec!["orders:read".into()],
        plan: None,
        is_consumer: false,
        is_anonymous: false,
        by: "jwt",
        until: None,
        claims: Some(Arc::new(json!({
            "sub": "ada", "age": 42, "share": 1.5, "admin": false, "nothing": null,
            "roles": ["a", "b"], "org": { "id": 7, "tags": [] }, "exp": 1_800_000_000,
        }))),
    }));
    let mut request = Request::new(Method::Post, "shop.example:8443", "/api/orders");
    request.query = Some("a=1&b=x%20y".into());
    request.body = Body::of("12345");
    for (name, value) in [("X", "y"), ("Accept", "a"), ("accept", "b"), ("Cookie", "sid=7; t=1")] {
        request.fields.append(name, value.as_bytes());
    }
    (exchange, request)
}

fn evaluate(text: &str) -> Result<String, String> {
    let program = compile(text, &Type::Any).map_err(|wrong| wrong.what)?;
    let (exchange, request) = asked();
    // a Sunday evening
    let facts = Facts::new(&exchange, &request).at(UNIX_EPOCH + Duration::from_secs(1_795_386_600));
    let value = program.evaluate(&facts).map_err(|trouble| format!("{trouble:?}"))?;
    Ok(String::from_utf8(text_of(&value).map_err(|_| format!("{value:?}"))?.into_owned()).unwrap())
}

#[test]
fn gw_13_what_expressions_come_to() {
    for (text, expected) in [
        ("request.path.startsWith(\"/api\") && request.headers[\"x\"] == \"y\"", "true"),
        ("request.method == 'POST' ? 5 : 1", "5"),
        ("request.host + request.path", "shop.example/api/orders"),
        ("request.size > 4 && request.size <= 5", "true"),
        ("request.headers.accept", "a, b"),
        ("request.query.b + request.cookies.sid", "x y7"),
        ("request.query[\"a\"] == '1'", "true"),
        ("'x' in request.headers && !('z' in request.headers)", "true"),
        ("request.scheme", "http"),
        ("client.address == '10.1.2.3' && client.address != '::1'", "true"),
        ("client.address in ['192.0.2.1', '10.0.0.0/8']", "true"),
        ("client.address in cidr('10.1.0.0/16')", "true"),
        ("cidr('192.168.0.0/16').containsIP(client.address)", "false"),
        ("ip('10.1.2.3') == client.address", "true"),
        ("string(client.address)", "10.1.2.3"),
        ("identity.name + ' ' + identity.by", "ada jwt"),
        ("'staff' in identity.groups && size(identity.groups) == 2", "true"),
        ("identity.groups.exists(g, g.startsWith('ni'))", "true"),
        ("identity.groups.all(g, g.size() == 5)", "true"),
        ("identity.groups.exists_one(g, g == 'staff')", "true"),
        ("identity.groups.exists(g, identity.claims.roles.exists(r, r == g))", "false"),
        ("identity.groups[1]", "night"),
        ("identity.claims.sub == identity.name", "true"),
        ("identity.claims.age + 1", "43"),
        ("identity.claims.share * 2.0", "3"),
        ("identity.claims.age > 41.5", "true"),
        ("identity.claims.org.id == 7 && identity.claims['org']['id'] == 7.0", "true"),
        ("'b' in identity.claims.roles && 'org' in identity.claims", "true"),
        ("identity.claims.nothing == null && has(identity.claims.sub)", "true"),
        ("has(identity.claims.email) || has(identity.plan) || has(request.headers.z)", "false"),
        ("has(identity.claims.email) ? identity.claims.email : 'none'", "none"),
        ("timestamp(identity.claims.exp) > now", "true"),
        ("now - timestamp('2026-11-22T22:00:00Z') == duration('30m')", "true"),
        ("now.getHours() + now.getDayOfWeek()", "22"),
        ("now.getHours('Europe/Berlin')", "23"),
        ("request.path.matches('^/api/[a-z]+$') && !matches(request.path, '[0-9]')", "true"),
        ("'AbC'.lowerAscii() + 'AbC'.upperAscii()", "abcABC"),
        ("'gr\u{fc}n'.size()", "4"),
        ("int('7') + int(2.9) - -1", "10"),
        ("7 / 2 * 2 + 7 % 2", "7"),
        ("double('0.5') + 1.0", "1.5"),
        ("'a' < 'b' && 'b' >= 'b'", "true"),
        ("1 in [1, 2] && !(3 in [])", "true"),
        ("[1, 2].all(n, n in [2, 1])", "true"),
        // one side alone decides, whatever the other one comes to
        ("identity.claims.email == 'x' || true", "true"),
        ("false && identity.claims.email == 'x'", "false"),
        ("!(identity.claims.email == 'x' && false)", "true"),
    ] {
        assert_eq!(evaluate(text), Ok(expected.to_owned()), "{text}");
    }
}

#[test]
fn gw_13_what_comes_to_nothing_says_why() {
    let deep = "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22]";
    let long = format!("{deep}.all(a, {deep}.all(b, {deep}.all(c, a + b + c > 0)))");
    for (text, expected) in [
        ("request.headers.z == 'a'", "Missing"),
        ("request.headers.z != 'a' || identity.plan == 'vip'", "Missing"),
        ("identity.claims.email == 'x' && true", "Missing"),
        ("identity.claims.sub.email == 'x'", "Type"),
        ("identity.claims.sub > 3", "Type"),
        ("identity.claims.sub && true", "Type"),
        ("identity.claims.roles[7] == 'a'", "Missing"),
        ("identity.claims.roles[-1] == 'a'", "Missing"),
        ("9223372036854775807 + 1", "Number"),
        ("1 / 0", "Number"),
        ("1 % 0", "Number"),
        ("int('seven')", "Form"),
        ("timestamp('soon') > now", "Form"),
        (&long, "Steps"),
    ] {
        assert_eq!(evaluate(text), Err(expected.to_owned()), "{text}");
    }
}

#[test]
fn gw_13_what_cannot_be_right_is_refused_before_it_runs() {
    for (text, expected) in [
        ("reqest.path", "there is no `reqest`"),
        ("request.paht", "`request` has no `paht`"),
        ("request", "`request` alone is no value"),
        ("request.path == 1", "comparing a text with a whole number never gives true"),
        ("client.address == 'localhost'", "`localhost` is no address"),
        ("client.address in ['10.0.0.0/8', 'x']", "`x` is no address"),
        ("cidr('10.0.0.0/99')", "`10.0.0.0/99` is no block of addresses"),
        ("duration('5 minutes')", "`5 minutes` is no duration"),
        ("request.path && true", "expected true or false, but this is a text"),
        ("request.path.startWith('/a')", "there is no function `startWith`"),
        (
            "request.path.startsWith(1)",
            "`startsWith` takes no such thing as a text and a whole number",
        ),
        ("request.path.matches('(')", "`(` is not a regular expression: unclosed group"),
        ("request.path.matches(request.host)", "the pattern must stand here as it is"),
        ("now.getHours('Mars/Olympus')", "`Mars/Olympus` is no time zone"),
        ("now + now", "this cannot be done with a time and a time"),
        ("1 + 'a'", "this cannot be done with a whole number and a text"),
        ("true ? 1 : 'a'", "it is a whole number or a text"),
        ("-'a'", "a text has no negative"),
        ("request.path.x", "a text has no `x`"),
        ("request.path[0]", "a text has no items"),
        ("identity.groups['a']", "expected a whole number here, but this is a text"),
        ("request.path.exists(x, true)", "`exists` goes over lists, but this is a text"),
        ("identity.groups.exists('x', true)", "a name for each item was expected here"),
        ("identity.groups.exists(x, x)", "expected true or false, but this is a text"),
        ("has(1)", "`has` asks for what may be missing"),
        ("1 in request.headers", "a whole number is never in a map"),
        ("'a' < 1", "a text is neither less nor more than a whole number"),
    ] {
        assert_eq!(evaluate(text), Err(expected.to_owned()), "{text}");
    }
}
