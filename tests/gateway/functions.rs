//! GW-41: functions of a cloud, called at their HTTPS address with a signature of ours.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use data_encoding::HEXLOWER;
use transom_testkit::certificate::Authority;
use transom_testkit::endpoint::echo;
use transom_testkit::{Endpoint, Http2, Received, Transom, client, http2};

use super::rig::TRANSOM;

const HOST: &str = "abc123.lambda-url.eu-west-1.on.aws";
const ID: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

fn hash(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest(&SHA256, bytes).as_ref())
}

/// `text` with everything escaped but what RFC 3986 calls unreserved.
fn escaped(text: &[u8]) -> String {
    let escape = |byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(*byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    text.iter().map(escape).collect()
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let mut digit = || char::from(bytes.next().unwrap()).to_digit(16).unwrap() as u8;
        out.push(match byte {
            b'%' => digit() << 4 | digit(),
            b'+' => b' ',
            byte => byte,
        });
    }
    out
}

/// Whether a request is signed as AWS asks for it ("Create a signed AWS API request"), worked out from what came
/// over the wire alone.
fn is_signed(request: &Received) -> bool {
    let Some(authorization) = request.field("authorization") else { return false };
    let part = |name: &str| {
        let (_, rest) = authorization.split_once(name)?;
        rest.split(", ").next()
    };
    let (Some(credential), Some(names), Some(signature)) =
        (part("Credential="), part("SignedHeaders="), part("Signature="))
    else {
        return false;
    };
    let time = request.field("x-amz-date").unwrap();
    let scope = format!("{}/eu-west-1/lambda/aws4_request", &time[..8]);
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let path: Vec<_> = path.split('/').map(|segment| escaped(segment.as_bytes())).collect();
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (escaped(&unescaped(name)), escaped(&unescaped(value))))
        .collect();
    pairs.sort();
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let fields: String = names
        .split(';')
        .map(|name| format!("{name}:{}\n", request.field(name).unwrap_or_default()))
        .collect();
    let body = hash(&request.body);
    let canonical = format!(
        "{}\n{}\n{}\n{fields}\n{names}\n{body}",
        request.method,
        path.join("/"),
        pairs.join("&"),
    );
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hash(canonical.as_bytes()));
    let mut key = format!("AWS4{SECRET}").into_bytes();
    for part in scope.split('/') {
        key = sign(&Key::new(HMAC_SHA256, &key), part.as_bytes()).as_ref().to_vec();
    }
    let right = sign(&Key::new(HMAC_SHA256, &key), text.as_bytes());
    let whole = ["host", "x-amz-date"].iter().all(|name| names.split(';').any(|one| one == *name));
    whole && credential == format!("{ID}/{scope}") && signature == HEXLOWER.encode(right.as_ref())
}

/// What the client has asked for is rewritten first, and what is sent is what is signed: whichever way its
/// escapes are written, over both versions of HTTP, with a body and without.
#[test]
fn gw_41_a_function_is_called_at_its_address_with_a_signature() {
    let authority = Authority::new();
    let function =
        Endpoint::tls(authority.issue(&[HOST]).server(), |request, line| {
            match is_signed(request) {
            true => line.send(echo(request)),
            false => line.send(
                "HTTP/1.1 403 Forbidden\r\nContent-Length: 23\r\n\r\n{\"Message\":\"Forbidden\"}",
            ),
        }
        });
    let config = format!(
        "workers: 1\n\
         listeners:\n  \
           web:\n    \
             address: '@WEB'\n    \
             routes:\n      \
               - match: {{ path: /fn/** }}\n        \
                 policies: [as-us]\n        \
                 rewrite: {{ strip-prefix: /fn }}\n        \
                 request-headers: {{ set: {{ x-from: gateway }} }}\n        \
                 forward: function\n      \
               - match: {{ path: /unsigned/** }}\n        \
                 forward: function\n\
         pools:\n  \
           function: {{ endpoints: '{}', tls: {{ ca: '@folder/ca.pem', name: {HOST} }} }}\n\
         policies:\n  \
           as-us:\n    \
             credentials:\n      \
               aws: {{ access-key: {ID}, secret-key: '{SECRET}', region: eu-west-1, service: lambda, host: {HOST} }}\n",
        function.address
    );
    let transom = Transom::run_with(TRANSOM, &config, |folder| {
        std::fs::write(folder.join("ca.pem"), &authority.pem).unwrap();
    });
    let ask = |start: &str, lines: &str| {
        client::ask(transom.web(), format!("{start} HTTP/1.1\r\nHost: shop.example\r\n{lines}\r\n"))
    };
    for target in [
        "/fn/",
        "/fn/orders/7",
        "/fn/orders/7?b=2&a=1&a=0",
        "/fn/@me/a:b/c%20d?q=a/b:c,d&acl&name=%c3%a4~+x",
        "/fn/%E2%82%AC?%61=1",
    ] {
        let response = ask(&format!("GET {target}"), "Authorization: Bearer the-clients\r\n");
        assert_eq!(response.status, 200, "{target}: {}", response.text());
    }
    let lines = "X-Amz-Security-Token: of-another-key\r\nX-Amz-Date: forged\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(ask("POST /fn/orders", lines).status, 200);
    let seen = function.requests().pop().unwrap();
    assert_eq!(
        (&*seen.target, seen.field("host"), seen.text()),
        ("/orders", Some(HOST), "hello".into())
    );
    assert_eq!((seen.field("x-amz-security-token"), seen.field("x-from")), (None, Some("gateway")));
    let mut http2 = Http2::connect(transom.web());
    assert_eq!(http2.get("/fn/orders?x=a%2Fb").status, 200);
    let post = http2.ask(http2::request("POST", "/fn/orders", &[]), b"hello");
    assert_eq!(post.status, 200, "{}", post.text());
    assert_eq!(ask("GET /unsigned/orders", "").status, 403, "the function looks at signatures");
}
