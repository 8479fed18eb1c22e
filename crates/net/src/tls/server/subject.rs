//! Names in certificates as text: `CN=alice, O=Shop\, Inc.`, in the order of the certificate.
//!
//! What stands in a value never looks like the end of it: special characters are escaped as in RFC 4514
//! §2.4. Else whoever has a certificate for `CN=a, O=b` in a single value would be taken for another.

use std::fmt::Write;

use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

pub(super) fn text(name: &X509Name<'_>) -> String {
    let part = |one: &AttributeTypeAndValue<'_>| {
        let kind = oid2abbrev(one.attr_type(), oid_registry());
        let kind = kind.map_or_else(|_| one.attr_type().to_id_string(), str::to_owned);
        let value = value(one.attr_value());
        // RFC 4514 §2.4: what is no text stands there in hexadecimal
        let value = value.map_or_else(|| hexadecimal(one.attr_value().data), |text| escaped(&text));
        format!("{kind}={value}")
    };
    let parts = name.iter_rdn().map(|several| several.iter().map(part).collect::<Vec<_>>());
    parts.map(|several| several.join(" + ")).collect::<Vec<_>>().join(", ")
}

/// The first `CN`, as it is.
pub(super) fn common_name(name: &X509Name<'_>) -> Option<String> {
    name.iter_common_name().find_map(|one| value(one.attr_value()))
}

fn value(any: &Any<'_>) -> Option<String> {
    match any.tag() {
        Tag::BmpString => {
            let (pairs, []) = any.data.as_chunks::<2>() else { return None };
            let units: Vec<u16> = pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
            String::from_utf16(&units).ok()
        }
        Tag::NumericString
        | Tag::VisibleString
        | Tag::PrintableString
        | Tag::GeneralString
        | Tag::GraphicString
        | Tag::T61String
        | Tag::Utf8String
        | Tag::Ia5String => String::from_utf8(any.data.to_vec()).ok(),
        _ => None,
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut out = String::from("#");
    for byte in bytes {
        // writing into memory cannot fail
        let _ = write!(out, "{byte:02X}");
    }
    out
}

fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for (at, char) in value.char_indices() {
        let (first, last) = (at == 0, at + char.len_utf8() == value.len());
        match char {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => out.extend(['\\', char]),
            ' ' if first || last => out.push_str("\\ "),
            '#' if first => out.push_str("\\#"),
            char if char.is_control() => {
                for byte in char.encode_utf8(&mut [0; 4]).bytes() {
                    let _ = write!(out, "\\{byte:02X}");
                }
            }
            char => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use rcgen::{DistinguishedName, DnType, DnValue, KeyPair};
    use x509_parser::parse_x509_certificate;

    use super::*;
    use crate::tls::testing::Authority;

    #[test]
    fn a_06_no_value_looks_like_more_than_one() {
        let cn = DnType::CommonName;
        let o = DnType::OrganizationName;
        for (values, expected, expected_name) in [
            (vec![(cn.clone(), "alice"), (o.clone(), "Shop")], "CN=alice, O=Shop", "alice"),
            (vec![(cn.clone(), "alice, O=Shop")], "CN=alice\\, O=Shop", "alice, O=Shop"),
            (
                vec![(o.clone(), "x, CN=admin"), (cn.clone(), "mallory")],
                "O=x\\, CN=admin, CN=mallory",
                "mallory",
            ),
            (vec![(cn.clone(), "a + O=b")], "CN=a \\+ O=b", "a + O=b"),
            (vec![(cn.clone(), "a\\, O=b")], "CN=a\\\\\\, O=b", "a\\, O=b"),
            (vec![(cn.clone(), "#61")], "CN=\\#61", "#61"),
            (vec![(cn.clone(), " a ")], "CN=\\ a\\ ", " a "),
            (vec![(cn.clone(), "a\r\nX: b\0")], "CN=a\\0D\\0AX: b\\00", "a\r\nX: b\0"),
            (vec![(cn.clone(), "Zoë")], "CN=Zoë", "Zoë"),
            (vec![(cn, "")], "CN=", ""),
        ] {
            let issued = Authority::new().issue_with(&[], KeyPair::generate().unwrap(), |params| {
                params.distinguished_name = DistinguishedName::new();
                for (kind, value) in values {
                    params.distinguished_name.push(kind, DnValue::Utf8String(value.into()));
                }
            });
            let (_, parsed) = parse_x509_certificate(&issued.der).unwrap();
            assert_eq!(text(parsed.subject()), expected);
            assert_eq!(common_name(parsed.subject()).as_deref(), Some(expected_name));
        }
    }
}
