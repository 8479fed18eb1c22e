//! What a member says of its own load, with a field of its responses.
//!
//! Three forms are read: a number (`0.75`), a percentage (`75%`), and the open request cost
//! aggregation of Envoy and gRPC (ORCA) as text or JSON:
//!
//! ```text
//! endpoint-load-metrics: TEXT cpu_utilization=0.3,application_utilization=0.75,eps=2,rps_fractional=50
//! endpoint-load-metrics: JSON {"cpu_utilization": 0.3}
//! endpoint-load-metrics: BIN CTMzMzMzM9M/
//! endpoint-load-metrics-bin: CTMzMzMzM9M/
//! ```
//!
//! The last two are the message `xds.data.orca.v3.OrcaLoadReport` in base64, which servers of gRPC
//! send among their trailers.
//!
//! As in Envoy, `application_utilization` comes before `cpu_utilization`, and errors make a member
//! look busier: load = utilisation + eps / rps.

use std::borrow::Cow;

use data_encoding::{BASE64, BASE64_NOPAD};
use transom_proxy::fields::Fields;

/// The field of ORCA.
pub const FIELD: &str = "endpoint-load-metrics";

/// The same field as gRPC names what is binary.
const BINARY: &str = "endpoint-load-metrics-bin";

/// The load that this field of a response tells, where it is there. Whoever looks for [`FIELD`] finds
/// its binary form too.
pub fn find(fields: &Fields, field: &str) -> Option<f64> {
    match fields.get(field) {
        Some(value) => parse(value),
        None if field == FIELD => binary(fields.get(BINARY)?),
        None => None,
    }
}

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
        Some(("BIN", base64)) => return binary(base64.as_bytes()),
        _ => return number(text),
    };
    let find = |name: &str| {
        let mut words = report.split([',', '=']).map(str::trim).filter(|word| !word.is_empty());
        words.find(|word| *word == name)?;
        words.next()?.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0)
    };
    Report {
        application: find("application_utilization"),
        cpu: find("cpu_utilization"),
        errors: find("eps"),
        requests: find("rps_fractional"),
    }
    .load()
}

/// What a report says, as far as it matters here.
#[derive(Default)]
struct Report {
    application: Option<f64>,
    cpu: Option<f64>,
    errors: Option<f64>,
    requests: Option<f64>,
}

impl Report {
    fn load(&self) -> Option<f64> {
        let used = self.application.filter(|used| *used > 0.0).or(self.cpu)?;
        let errors = match (self.errors, self.requests) {
            (Some(errors), Some(requests)) if requests > 0.0 => errors / requests,
            _ => 0.0,
        };
        Some(used + errors)
    }
}

fn binary(base64: &[u8]) -> Option<f64> {
    let base64 = base64.trim_ascii();
    // gRPC senders may leave the padding out
    let bytes = BASE64.decode(base64).or_else(|_| BASE64_NOPAD.decode(base64)).ok()?;
    message(&bytes)?.load()
}

/// Reads the numbers of an `OrcaLoadReport`; what else is in it is passed over.
fn message(mut bytes: &[u8]) -> Option<Report> {
    let mut report = Report::default();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let (field, wire) = (key >> 3, key & 7);
        let skipped = match wire {
            0 => {
                varint(&mut bytes)?;
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut bytes)?).ok()?,
            5 => 4,
            _ => return None,
        };
        let (value, rest) = bytes.split_at_checked(skipped)?;
        bytes = rest;
        let place = match (field, wire) {
            (1, 1) => &mut report.cpu,
            (6, 1) => &mut report.requests,
            (7, 1) => &mut report.errors,
            (9, 1) => &mut report.application,
            _ => continue,
        };
        let number = f64::from_le_bytes(value.try_into().ok()?);
        *place = Some(number).filter(|number| number.is_finite() && *number >= 0.0);
    }
    Some(report)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
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
            ("BIN CZqZmZmZmbk/", Some(0.1)),
            ("BIN CZqZmZmZmbk", None),
            ("BIN !", None),
            ("BIN ", None),
        ] {
            let found = parse(value.as_bytes());
            match (found, expected) {
                (Some(a), Some(b)) => assert!((a - b).abs() < 1e-9, "{value}: {a}"),
                _ => assert_eq!(found, expected, "{value}"),
            }
        }
        assert_eq!(parse(b"\xff"), None);
    }

    #[test]
    fn lb08_what_a_binary_report_tells() {
        let double = |field: u8, number: f64| {
            let mut bytes = vec![field << 3 | 1];
            bytes.extend(number.to_le_bytes());
            bytes
        };
        let map = [0x22, 3, 1, 2, 3];
        for (parts, expected) in [
            (vec![double(1, 0.3)], Some(0.3)),
            (vec![double(1, 0.3), double(2, 0.9), double(9, 0.7)], Some(0.7)),
            (vec![double(1, 0.3), double(7, 10.0), double(6, 100.0)], Some(0.4)),
            // the deprecated number of requests, a map, and something unheard of
            (
                vec![vec![0x18, 0xff, 1], map.to_vec(), vec![0x7d, 0, 0, 0, 0], double(1, 0.5)],
                Some(0.5),
            ),
            (vec![double(1, f64::NAN)], None),
            (vec![double(1, -1.0)], None),
            (vec![double(2, 0.9)], None),
            (vec![], None),
            // what is cut off, longer than it says, or of no known form
            (vec![double(1, 0.3)[..5].to_vec()], None),
            (vec![vec![0x22, 200, 1]], None),
            (vec![vec![0x0b]], None),
            (vec![vec![0xff; 11]], None),
        ] {
            let bytes = parts.concat();
            let found = message(&bytes).and_then(|report| report.load());
            assert_eq!(
                found.map(|load| (load * 1e6).round()),
                expected.map(|e| e * 1e6),
                "{parts:?}"
            );
            let mut fields = Fields::new();
            fields.append(BINARY, BASE64_NOPAD.encode(&bytes).as_bytes());
            assert_eq!(find(&fields, FIELD), found);
            assert_eq!(find(&fields, "x-load"), None);
        }
    }
}
