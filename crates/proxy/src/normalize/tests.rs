use std::borrow::Cow;

use proptest::prelude::*;

use super::*;

const KEEP: PathRules = PathRules {
    merge_slashes: true,
    encoded_slashes: EncodedSlashes::Keep,
    parameters: Parameters::Keep,
};

fn canonical(raw: &[u8], rules: PathRules) -> Result<String, PathError> {
    let mut out = Vec::new();
    let form = path(raw, rules, &mut out)?.bytes();
    Ok(String::from_utf8(form.to_vec()).expect("canonical paths are ASCII"))
}

fn check(rules: PathRules, rows: &[(&str, &str, Result<&str, PathError>)]) {
    for (id, raw, expected) in rows {
        let found = canonical(raw.as_bytes(), rules);
        assert_eq!(found.as_deref().map_err(|e| *e), *expected, "{id}: {raw:?}");
    }
}

#[test]
fn a_path_has_one_form() {
    use PathError::*;
    check(
        PathRules::default(),
        &[
            ("usual", "/", Ok("/")),
            ("usual", "/api/v1/users", Ok("/api/v1/users")),
            ("usual", "/a/", Ok("/a/")),
            ("usual", "/.well-known/acme", Ok("/.well-known/acme")),
            ("usual", "/a/...", Ok("/a/...")),
            ("usual", "", Err(Relative)),
            ("usual", "a", Err(Relative)),
            ("usual", "*", Err(Relative)),
            ("P-01", "/a/../admin", Ok("/admin")),
            ("P-01", "/%2e%2e/admin", Err(AboveRoot)),
            ("P-01", "/a/%2e./admin", Ok("/admin")),
            ("P-01", "/.%2e/", Err(AboveRoot)),
            ("P-01", "/..;/admin", Err(DisguisedDots)),
            ("P-01", "/a/..;x=1/admin", Err(DisguisedDots)),
            ("P-01", "/a/..%3b/admin", Err(DisguisedDots)),
            ("P-01", "/a/..%00/", Err(Control(0))),
            ("P-01", "/a/./b/.", Ok("/a/b/")),
            ("P-01", "/a/b/..", Ok("/a/")),
            ("P-01", "/a/..", Ok("/")),
            ("P-01", "/a/../..", Err(AboveRoot)),
            ("P-01", "/a/b/c/./../../g", Ok("/a/g")),
            ("P-02", "/a%2fb", Err(EncodedSlash)),
            ("P-02", "/a%5Cb", Err(EncodedSlash)),
            ("P-02", "/a\\b", Err(EncodedSlash)),
            ("P-02", "/%252e%252e%252f", Ok("/%252e%252e%252f")),
            ("P-02", "/%25%32%65", Ok("/%252e")),
            ("P-03", "//admin", Ok("/admin")),
            ("P-03", "/a//b", Ok("/a/b")),
            ("P-03", "///", Ok("/")),
            ("P-03", "/a//../b", Ok("/b")),
            ("P-04", "/admin;x=1", Ok("/admin;x=1")),
            ("P-04", "/;/admin", Ok("/;/admin")),
            ("P-04", "/a;..", Ok("/a;..")),
            ("P-04", "/admin%3b", Ok("/admin%3B")),
            ("P-05", "/%00", Err(Control(0))),
            ("P-05", "/\0", Err(Control(0))),
            ("P-05", "/a\tb", Err(Control(9))),
            ("P-05", "/%0d%0a", Err(Control(13))),
            ("P-05", "/%7f", Err(Control(127))),
            ("P-05", "/a b", Err(Byte(b' '))),
            ("P-05", "/a%20b", Ok("/a%20b")),
            ("P-05", "/%zz", Err(BadEscape)),
            ("P-05", "/%u002e", Err(BadEscape)),
            ("P-05", "/a%", Err(BadEscape)),
            ("P-05", "/a%2", Err(BadEscape)),
            ("P-05", "/a%2/b", Err(BadEscape)),
            ("P-05", "/%c0%ae%c0%ae/x", Ok("/%C0%AE%C0%AE/x")),
            ("P-05", "/caf\u{e9}", Err(Byte(0xc3))),
            ("P-05", "/caf%c3%a9", Ok("/caf%C3%A9")),
            ("P-05", "/a[1]|{x}^", Ok("/a%5B1%5D%7C%7Bx%7D%5E")),
            ("P-06", "/ADMIN", Ok("/ADMIN")),
            ("P-06", "/%41dmin", Ok("/Admin")),
            ("P-06", "/a!%21", Ok("/a!%21")),
            ("P-07", "//evil", Ok("/evil")),
            ("H1-52", "/a#b", Err(Fragment)),
            ("H1-52", "/a%23b", Ok("/a%23b")),
            ("H1-52", "/a?b", Err(Query)),
            ("H1-52", "/a%3fb", Ok("/a%3Fb")),
        ],
    );
}

#[test]
fn encoded_slashes_can_be_kept_but_not_to_climb() {
    use PathError::*;
    check(
        KEEP,
        &[
            ("P-02", "/a%2fb", Ok("/a%2Fb")),
            ("P-02", "/a%2F%2Fb", Ok("/a%2F%2Fb")),
            ("P-02", "/a\\b", Ok("/a%5Cb")),
            ("P-02", "/a/..%2fb", Err(DisguisedDots)),
            ("P-02", "/a%2f%2e%2e%2fb", Err(DisguisedDots)),
            ("P-02", "/a%5c..", Err(DisguisedDots)),
            ("P-02", "/a%2f..;x", Err(DisguisedDots)),
            ("P-02", "/a%2f..b", Ok("/a%2F..b")),
            ("P-06", "/%2F", Ok("/%2F")),
            ("P-06", "/%2f", Ok("/%2F")),
        ],
    );
}

#[test]
fn slashes_can_be_left_alone_and_parameters_refused() {
    use PathError::*;
    let rules =
        PathRules { merge_slashes: false, parameters: Parameters::Refuse, ..PathRules::default() };
    check(
        rules,
        &[
            ("P-03", "//admin", Ok("//admin")),
            ("P-03", "/a//../b", Ok("/a/b")),
            ("P-03", "/a//..//b", Ok("/a//b")),
            ("P-03", "//..", Ok("/")),
            ("P-03", "//../..", Err(AboveRoot)),
            ("P-04", "/admin;x=1", Err(Parameter)),
            ("P-04", "/admin%3bx", Err(Parameter)),
        ],
    );
}

#[test]
fn a_canonical_path_is_not_copied() {
    for raw in ["/", "/a/b.c", "/.well-known/x", "/caf%C3%A9", "/a;b=c", "/a@b:c!", "/%253B"] {
        let mut out = Vec::new();
        let form = path(raw.as_bytes(), PathRules::default(), &mut out);
        assert_eq!(form, Ok(Canonical::Borrowed(raw.as_bytes())), "{raw}");
    }
}

// SL-10: 10,000 segments and 1 MiB take linear time; a quadratic reading would not end.
#[test]
fn sl_10_long_paths_take_linear_time() {
    let climbs = "/a".repeat(10_000) + &"/..".repeat(10_000);
    assert_eq!(canonical(climbs.as_bytes(), KEEP).as_deref(), Ok("/"));
    let slashes = "/".repeat(1 << 20);
    assert_eq!(canonical(slashes.as_bytes(), KEEP).as_deref(), Ok("/"));
    let disguised = format!("/{}", "%2f.a".repeat(200_000));
    assert!(canonical(disguised.as_bytes(), KEEP).is_ok());
}

#[test]
fn a_host_has_one_form() {
    use HostError::*;
    let long = "a".repeat(300);
    let longest = "a".repeat(255);
    type Read<'a> = Result<(&'a str, Option<u16>), HostError>;
    let rows: &[(&str, &str, Read<'_>)] = &[
        ("usual", "example.com", Ok(("example.com", None))),
        ("usual", "example.com:8080", Ok(("example.com", Some(8080)))),
        ("usual", "example.com:", Ok(("example.com", None))),
        ("usual", "my_service-1", Ok(("my_service-1", None))),
        ("usual", "10.0.0.1:80", Ok(("10.0.0.1", Some(80)))),
        ("usual", "[::1]:65535", Ok(("[::1]", Some(65535)))),
        ("usual", "[0:0::0:1]", Ok(("[::1]", None))),
        ("usual", "[FE80::A]", Ok(("[fe80::a]", None))),
        ("usual", &longest, Ok((&longest, None))),
        ("P-06", "A.B.Example.COM", Ok(("a.b.example.com", None))),
        ("P-06", "a.com.", Ok(("a.com", None))),
        ("P-06", "a.com.:80", Ok(("a.com", Some(80)))),
        ("P-06", "a.com..", Err(EmptyLabel)),
        ("P-06", "xn--bcher-kva.example", Ok(("xn--bcher-kva.example", None))),
        ("P-06", "b\u{fc}cher.example", Err(Byte(0xc3))),
        ("P-13", "010.0.0.1", Err(Ipv4)),
        ("P-13", "127.1", Err(Ipv4)),
        ("P-13", "0x7f.0x1", Err(Ipv4)),
        ("H1-44", "", Err(Empty)),
        ("H1-44", ".", Err(EmptyLabel)),
        ("H1-44", ":80", Err(Empty)),
        ("H1-44", ".a", Err(EmptyLabel)),
        ("H1-44", "a..b", Err(EmptyLabel)),
        ("H1-44", "a,b", Err(Byte(b','))),
        ("H1-44", "a b", Err(Byte(b' '))),
        ("H1-44", "a\t", Err(Byte(b'\t'))),
        ("H1-44", "a/..", Err(Byte(b'/'))),
        ("H1-44", "a%00", Err(Byte(b'%'))),
        ("H1-44", "a\0", Err(Byte(0))),
        ("H1-44", "u@a", Err(Userinfo)),
        ("H1-44", "a:0", Err(Port)),
        ("H1-44", "a:080", Err(Port)),
        ("H1-44", "a:99999", Err(Port)),
        ("H1-44", "a:65536", Err(Port)),
        ("H1-44", "a:80:80", Err(Port)),
        ("H1-44", "a:+80", Err(Port)),
        ("H1-44", "u:p@a", Err(Port)),
        ("H1-44", "[::1", Err(Address)),
        ("H1-44", "[::1]80", Err(Address)),
        ("H1-44", "[fe80::1%25eth0]", Err(Address)),
        ("H1-44", "[v1.a]", Err(Address)),
        ("H1-44", "[1.2.3.4]", Err(Address)),
        ("H1-44", "::1", Err(Port)),
        ("H1-44", &long, Err(TooLong)),
    ];
    for (id, raw, expected) in rows {
        let found = host(raw.as_bytes());
        let found = found.as_ref().map(|h| (&*h.name, h.port)).map_err(|e| *e);
        assert_eq!(found, *expected, "{id}: {raw:?}");
    }
}

#[test]
fn a_target_has_one_of_four_forms() {
    use TargetError::{Asterisk, Connect, Empty, EmptyAuthority, Fragment};
    use TargetError::{QueryByte, Relative, Userinfo};
    let origin = |path: &'static str, query: Option<&'static str>| {
        Ok(Target::Origin { path: path.as_bytes(), query: query.map(str::as_bytes) })
    };
    let absolute = |scheme, authority: &'static str, path: &'static str, query| {
        let query: Option<&'static str> = query;
        Ok(Target::Absolute {
            scheme,
            authority: authority.as_bytes(),
            path: path.as_bytes(),
            query: query.map(str::as_bytes),
        })
    };
    let rows = [
        ("usual", "GET", "/", origin("/", None)),
        ("usual", "GET", "/a?b=c?d", origin("/a", Some("b=c?d"))),
        ("usual", "GET", "/a?", origin("/a", Some(""))),
        ("H1-36", "GET", "http://b/x", absolute(Scheme::Http, "b", "/x", None)),
        ("H1-36", "GET", "HTTPS://b:1?q", absolute(Scheme::Https, "b:1", "/", Some("q"))),
        ("H1-36", "GET", "http://b", absolute(Scheme::Http, "b", "/", None)),
        ("H1-37", "GET", "http://u:p@a/", Err(Userinfo)),
        ("H1-37", "GET", "ftp://a/", Err(TargetError::Scheme)),
        ("H1-37", "GET", "//a/", origin("//a/", None)),
        ("H1-37", "GET", "a/", Err(Relative)),
        ("H1-37", "GET", "a:80", Err(Relative)),
        ("H1-37", "GET", "http:/a", Err(Relative)),
        ("H1-37", "GET", "http:///a", Err(EmptyAuthority)),
        ("H1-37", "GET", "*", Err(Asterisk)),
        ("H1-37", "GET", "", Err(Empty)),
        ("H1-38", "OPTIONS", "*", Ok(Target::Asterisk { authority: None })),
        ("H1-38", "OPTIONS", "http://a", Ok(Target::Asterisk { authority: Some(b"a") })),
        ("H1-38", "OPTIONS", "http://a/", absolute(Scheme::Http, "a", "/", None)),
        ("H1-38", "OPTIONS", "**", Err(Relative)),
        ("H1-52", "GET", "/a#b", Err(Fragment)),
        ("H1-52", "GET", "/a?b#c", Err(Fragment)),
        ("H1-52", "GET", "http://a#b", Err(Fragment)),
        ("H1-52", "GET", "/a%23b", origin("/a%23b", None)),
        ("P-05", "GET", "/a?b c", Err(QueryByte(b' '))),
        ("P-05", "GET", "/a?b\0", Err(QueryByte(0))),
        ("P-05", "GET", "/a?\u{e9}", Err(QueryByte(0xc3))),
        ("CONNECT", "CONNECT", "a:443", Ok(Target::Authority(b"a:443"))),
        ("CONNECT", "CONNECT", "a", Err(Connect)),
        ("CONNECT", "CONNECT", "/a", Err(Connect)),
        ("CONNECT", "CONNECT", "u@a:443", Err(Userinfo)),
    ];
    for (id, method, raw, expected) in rows {
        assert_eq!(target(method.as_bytes(), raw.as_bytes()), expected, "{id}: {raw:?}");
    }
}

fn rules() -> impl Strategy<Value = PathRules> {
    (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(merge_slashes, keep, refuse)| {
        PathRules {
            merge_slashes,
            encoded_slashes: if keep { EncodedSlashes::Keep } else { EncodedSlashes::Refuse },
            parameters: if refuse { Parameters::Refuse } else { Parameters::Keep },
        }
    })
}

/// Paths made of the pieces attacks are made of.
fn nasty() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&'static [u8]> = vec![
        b"/", b"/", b"/", b"//", b".", b"..", b"%2e", b"%2E", b"%2f", b"%2F", b"%5c", b"\\", b";",
        b"%3b", b"%25", b"%", b"%zz", b"a", b"Z", b"%61", b"%41", b"~", b"[", b"%7c", b"%c0%ae",
        b"%00", b"!", b"%21", b":", b"@", b" ", b"\xff", b"#", b"?",
    ];
    proptest::collection::vec(proptest::sample::select(pieces), 0..24)
        .prop_map(|pieces| [b"/".as_slice(), &pieces.concat()].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn p_01_canonical_paths_are_stable_and_without_dot_segments(
        raw in nasty(), rules in rules(),
    ) {
        let Ok(once) = canonical(&raw, rules) else { return Ok(()) };
        let mut out = Vec::new();
        let twice = path(once.as_bytes(), rules, &mut out);
        prop_assert_eq!(twice, Ok(Canonical::Borrowed(once.as_bytes())));
        prop_assert!(once.starts_with('/') && once.bytes().all(|b| (0x21..=0x7e).contains(&b)));
        prop_assert!(!once[1..].split('/').any(|s| s == "." || s == ".."));
        prop_assert!(!rules.merge_slashes || !once.contains("//"));
        for hidden in ["%2e", "%2E", "%2f", "%00", "\\", "#", "?"] {
            prop_assert!(!once.contains(hidden), "{} in {}", hidden, once);
        }
    }

    #[test]
    fn nothing_panics(raw in proptest::collection::vec(any::<u8>(), 0..64), rules in rules()) {
        let mut out = Vec::new();
        let _ = path(&raw, rules, &mut out);
        let _ = host(&raw);
        for method in ["GET", "OPTIONS", "CONNECT"] {
            let _ = target(method.as_bytes(), &raw);
        }
    }

    #[test]
    fn p_06_hosts_are_stable(raw in "[A-Za-z0-9._:\\[\\]-]{0,24}") {
        let Ok(once) = host(raw.as_bytes()) else { return Ok(()) };
        let again = host(once.name.as_bytes());
        prop_assert_eq!(again, Ok(Host { name: Cow::Borrowed(&once.name), port: None }));
    }
}
