//! The published signatures of RFC 9421 §B.2, and what is not taken for one.

use data_encoding::BASE64;
use transom_proxy::fields::Fields;

use super::*;
use crate::signing::Key;

const SECRET: &str =
    "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";
const ED25519: &str = "-----BEGIN PUBLIC KEY-----\n\
    MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=\n\
    -----END PUBLIC KEY-----\n";
const RSA: &str = "-----BEGIN PUBLIC KEY-----\n\
    MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAr4tmm3r20Wd/PbqvP1s2\n\
    +QEtvpuRaV8Yq40gjUR8y2Rjxa6dpG2GXHbPfvMs8ct+Lh1GH45x28Rw3Ry53mm+\n\
    oAXjyQ86OnDkZ5N8lYbggD4O3w6M6pAvLkhk95AndTrifbIFPNU8PPMO7OyrFAHq\n\
    gDsznjPFmTOtCEcN2Z1FpWgchwuYLPL+Wokqltd11nqqzi+bJ9cvSKADYdUAAN5W\n\
    Utzdpiy6LbTgSxP7ociU4Tn0g5I6aDZJ7A8Lzo0KSyZYoA485mqcO0GVAdVw9lq4\n\
    aOT9v6d+nb4bnNkQVklLQ3fVAvJm+xdDOp9LCNCN48V2pnDOkFV6+U9nV5oyc6XI\n\
    2wIDAQAB\n\
    -----END PUBLIC KEY-----\n";

/// RFC 9421 §B.2: the request that is signed.
fn fields() -> Fields {
    let mut fields = Fields::new();
    for (name, value) in [
        ("Date", "Tue, 20 Apr 2021 02:07:55 GMT"),
        ("Content-Type", "application/json"),
        (
            "Content-Digest",
            "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:",
        ),
    ] {
        fields.append(name, value.as_bytes());
    }
    fields
}

fn message(fields: &Fields) -> Message<'_> {
    Message {
        method: "POST",
        scheme: "http",
        authority: "example.com",
        path: "/foo",
        query: Some("param=Value&Pet=dog"),
        fields,
        length: Some(18),
    }
}

fn secret() -> Key {
    Key::Secret(BASE64.decode(SECRET.as_bytes()).unwrap().into())
}

fn is_right(key: &Key, input: &str, signature: &str) -> bool {
    let input = format!("sig={input}");
    let input = &parse::inputs(&input).unwrap()[0];
    let text = base::base(input, &message(&fields())).unwrap();
    let signature = BASE64.decode(signature.as_bytes()).unwrap();
    key.verifies(input.text("alg"), text.as_bytes(), &signature)
}

/// All that sign a request; B.2.4 signs a response.
#[test]
fn rfc_9421_appendix_b_2_1_to_b_2_6() {
    let (rsa, ed25519) = (Key::read(RSA).unwrap(), Key::read(ED25519).unwrap());
    for (name, key, input, signature) in [
        (
            "B.2.1",
            &rsa,
            "();created=1618884473;keyid=\"test-key-rsa-pss\";nonce=\"b3k2pp5k7z-50gnwp.yemd\"",
            "d2pmTvmbncD3xQm8E9ZV2828BjQWGgiwAaw5bAkgibUopemLJcWDy/lkbbHAve4cRAtx31Iq786U7it++wgGxbtRxf8Udx7zFZsckzXaJMkA7ChG52eSkFxykJeNqsrWH5S+oxNFlD4dzVuwe8DhTSja8xxbR/Z2cOGdCbzR72rgFWhzx2VjBqJzsPLMIQKhO4DGezXehhWwE56YCE+O6c0mKZsfxVrogUvA4HELjVKWmAvtl6UnCh8jYzuVG5WSb/QEVPnP5TmcAnLH1g+s++v6d4s8m0gCw1fV5/SITLq9mhho8K3+7EPYTU8IU1bLhdxO5Nyt8C8ssinQ98Xw9Q==",
        ),
        (
            "B.2.2",
            &rsa,
            "(\"@authority\" \"content-digest\" \"@query-param\";name=\"Pet\");created=1618884473;keyid=\"test-key-rsa-pss\";tag=\"header-example\"",
            "LjbtqUbfmvjj5C5kr1Ugj4PmLYvx9wVjZvD9GsTT4F7GrcQEdJzgI9qHxICagShLRiLMlAJjtq6N4CDfKtjvuJyE5qH7KT8UCMkSowOB4+ECxCmT8rtAmj/0PIXxi0A0nxKyB09RNrCQibbUjsLS/2YyFYXEu4TRJQzRw1rLEuEfY17SARYhpTlaqwZVtR8NV7+4UKkjqpcAoFqWFQh62s7Cl+H2fjBSpqfZUJcsIk4N6wiKYd4je2U/lankenQ99PZfB4jY3I5rSV2DSBVkSFsURIjYErOs0tFTQosMTAoxk//0RoKUqiYY8Bh0aaUEb0rQl3/XaVe4bXTugEjHSw==",
        ),
        (
            "B.2.3",
            &rsa,
            "(\"date\" \"@method\" \"@path\" \"@query\" \"@authority\" \"content-type\" \"content-digest\" \"content-length\");created=1618884473;keyid=\"test-key-rsa-pss\"",
            "bbN8oArOxYoyylQQUU6QYwrTuaxLwjAC9fbY2F6SVWvh0yBiMIRGOnMYwZ/5MR6fb0Kh1rIRASVxFkeGt683+qRpRRU5p2voTp768ZrCUb38K0fUxN0O0iC59DzYx8DFll5GmydPxSmme9v6ULbMFkl+V5B1TP/yPViV7KsLNmvKiLJH1pFkh/aYA2HXXZzNBXmIkoQoLd7YfW91kE9o/CCoC1xMy7JA1ipwvKvfrs65ldmlu9bpG6A9BmzhuzF8Eim5f8ui9eH8LZH896+QIF61ka39VBrohr9iyMUJpvRX2Zbhl5ZJzSRxpJyoEZAFL2FUo5fTIztsDZKEgM4cUA==",
        ),
        (
            "B.2.5",
            &secret(),
            "(\"date\" \"@authority\" \"content-type\");created=1618884473;keyid=\"test-shared-secret\"",
            "pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=",
        ),
        (
            "B.2.6",
            &ed25519,
            "(\"date\" \"@method\" \"@path\" \"@authority\" \"content-type\" \"content-length\");created=1618884473;keyid=\"test-key-ed25519\"",
            "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==",
        ),
    ] {
        assert!(is_right(key, input, signature), "{name}");
        assert!(!is_right(key, &input.replace("1618884473", "1618884474"), signature), "{name}");
    }
}

/// a public key is no secret, and what a signature says of its algorithm changes no key.
#[test]
fn a_02_the_algorithm_follows_from_the_key() {
    let ed25519 = Key::read(ED25519).unwrap();
    let Key::Public(_, der) = &ed25519 else { panic!("it is a public key") };
    let forged = aws_lc_rs::hmac::sign(
        &aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, der),
        b"text",
    );
    for algorithm in [None, Some("hmac-sha256"), Some("none"), Some(""), Some("rsa-pss-sha512")] {
        assert!(!ed25519.verifies(algorithm, b"text", forged.as_ref()), "{algorithm:?}");
    }
    for algorithm in ["ed25519", "none", "rsa-v1_5-sha256"] {
        assert!(!secret().verifies(Some(algorithm), b"text", b""), "{algorithm}");
    }
}

#[test]
fn gw_09_what_is_not_there_cannot_be_signed() {
    for components in [
        "\"x-missing\"",
        "\"@status\"",
        "\"@nothing\"",
        "\"date\";sf",
        "\"date\";req",
        "\"Date\"",
        "\"@query-param\"",
        "\"@query-param\";name=\"none\"",
        "\"@method\";bs",
        "\"date\";bs;sf",
    ] {
        let input = format!("sig=({components});created=1");
        let input = &parse::inputs(&input).unwrap()[0];
        assert_eq!(base::base(input, &message(&fields())), None, "{components}");
    }
    let input = "sig=(\"@target-uri\" \"@request-target\" \"@scheme\" \"date\";bs)";
    let input = &parse::inputs(input).unwrap()[0];
    let expected = "\"@target-uri\": http://example.com/foo?param=Value&Pet=dog\n\
        \"@request-target\": /foo?param=Value&Pet=dog\n\"@scheme\": http\n\
        \"date\";bs: :VHVlLCAyMCBBcHIgMjAyMSAwMjowNzo1NSBHTVQ=:\n\
        \"@signature-params\": (\"@target-uri\" \"@request-target\" \"@scheme\" \"date\";bs)";
    assert_eq!(base::base(input, &message(&fields())).as_deref(), Some(expected));
}

#[test]
fn gw_09_signatures_are_for_their_time_and_cover_what_they_must() {
    let settings = HttpSignature::default();
    let way = Signatures {
        settings,
        consumers: Consumers::default(),
        replays: Arc::default(),
        challenge: String::new(),
    };
    let of = |text: &'static str| parse::inputs(text).unwrap().remove(0);
    for (text, now, right) in [
        ("s=();created=1000", 1000, true),
        ("s=();created=1000", 1360, true),
        ("s=();created=1000", 1361, false),
        ("s=();created=1060", 1000, true),
        ("s=();created=1061", 1000, false),
        ("s=();created=1000;expires=1100", 1160, true),
        ("s=();created=1000;expires=1100", 1161, false),
        ("s=();created=1000;expires=\"x\"", 1000, false),
        ("s=();created=-1", 0, false),
        ("s=()", 1000, false),
    ] {
        assert_eq!(way.is_timely(&of(text), now).is_ok(), right, "{text} {now}");
    }
    for (text, body, right) in [
        ("s=(\"@method\" \"@authority\" \"@path\" \"@query\")", false, true),
        ("s=(\"@method\" \"@target-uri\")", false, true),
        ("s=(\"@method\" \"@authority\" \"@request-target\")", false, true),
        ("s=(\"@method\" \"@request-target\")", false, false),
        ("s=(\"@target-uri\")", false, false),
        ("s=(\"@method\" \"@target-uri\")", true, false),
        ("s=(\"@method\" \"@target-uri\" \"content-digest\")", true, true),
        ("s=(\"@method\" \"@target-uri\" \"content-digest\";bs)", true, false),
    ] {
        assert_eq!(way.covers(&of(text), body).is_ok(), right, "{text}");
    }
}
