//! What a member says of its own load, with a field of its responses.
//!
//! Three forms are read: a number (`0.75`), a percentage (`75%`), and the open request cost
//! aggregation of Envoy and gRPC (ORCA) as text or JSON:
//!
//! ```text
//! endpoint-load-metrics: TEXT cpu_utilization=0.3,application_utilization=0.75,eps=2,rps_fractional=50
//! endpoint-load-metrics: JSON {"cpu_utilization": 0.3}
//! ```
//!
//! As in Envoy, `application_utilization` comes before `cpu_utilization`, and errors make a member
//! look busier: load = utilisation + eps / rps. The binary form is not read.

use std::borrow::Cow;

/// The field of ORCA.
pub const FIELD: &str = "endpoint-load-metrics";

/// The load that a field's value tells: 0 is idle, 1 is what the member can do. Nothing where it
/// tells nothing that could be understood.
pub fn parse(value: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let report: Cow<'_, str> = match text.split_once(' ') {
        Some(("TEXT", pairs)) => Cow::Borrowed(pairs),
        // the object is flat but for maps that hold nothing of what is looked for
        Some(("JSON", object)) => {
            Cow::Owned(object.replace(['{', '}', '"'], ",").replace(':', "="))
        }
        _ => return number(text),
    };
    let find = |name: &str| {
        let mut words = report.split([',', '=']).map(str::trim).filter(|word| !word.is_empty());
        words.find(|word| *word == name)?;
        words.next()?.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0)
    };
    let used = find("application_utilization").filter(|used| *used > 0.0);
    let used = used.or_else(|| find("cpu_utilization"))?;
    let errors = match (find("eps"), find("rps_fractional")) {
        (Some(errors), Some(requests)) if requests > 0.0 => errors / requests,
        _ => 0.0,
    };
    Some(used + errors)
}

fn number(text: &str) -> Option<f64> {
    let (text, whole) = match text.strip_suffix('%') {
        Some(percent) => (percent.trim_end(), 100.0),
        None => (text, 1.0),
    };
    // neither `inf` nor `nan` is a load
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0)?;
    Some(number / whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lb08_what_a_field_tells() {
        for (value, expected) in [
            ("0.75", Some(0.75)),
            ("75%", Some(0.75)),
            ("75 %", Some(0.75)),
            ("0", Some(0.0)),
            ("1.5", Some(1.5)),
            ("-1", None),
            ("inf", None),
            ("nan", None),
            ("busy", None),
            ("", None),
            ("TEXT cpu_utilization=0.3,mem_utilization=0.8", Some(0.3)),
            ("TEXT cpu_utilization=0.3, application_utilization=0.75", Some(0.75)),
            ("TEXT application_utilization=0,cpu_utilization=0.4", Some(0.4)),
            ("TEXT cpu_utilization=0.3,eps=10,rps_fractional=100", Some(0.4)),
            ("TEXT cpu_utilization=0.3,eps=10,rps_fractional=0", Some(0.3)),
            ("TEXT mem_utilization=0.3", None),
            ("TEXT cpu_utilization=x", None),
            (r#"JSON {"cpu_utilization": 0.3, "mem_utilization": 0.8}"#, Some(0.3)),
            (r#"JSON {"utilization":{"a":1},"application_utilization":0.5}"#, Some(0.5)),
            ("JSON {", None),
            ("BIN CZqZmZmZmbk/", None),
        ] {
            let found = parse(value.as_bytes());
            match (found, expected) {
                (Some(a), Some(b)) => assert!((a - b).abs() < 1e-9, "{value}: {a}"),
                _ => assert_eq!(found, expected, "{value}"),
            }
        }
        assert_eq!(parse(b"\xff"), None);
    }
}
