//! How a call ended: its code, what HTTP calls the same, and what more there is to tell.

use crate::escapes;
use prost::Message;
use prost_reflect::prost_types::Any;
use transom_proxy::fields::Fields;

/// A code of gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub u32);

/// Number, name and status of HTTP (google.rpc.Code says the same).
const CODES: [(&str, u16); 17] = [
    ("OK", 200),
    ("CANCELLED", 499),
    ("UNKNOWN", 500),
    ("INVALID_ARGUMENT", 400),
    ("DEADLINE_EXCEEDED", 504),
    ("NOT_FOUND", 404),
    ("ALREADY_EXISTS", 409),
    ("PERMISSION_DENIED", 403),
    ("RESOURCE_EXHAUSTED", 429),
    ("FAILED_PRECONDITION", 400),
    ("ABORTED", 409),
    ("OUT_OF_RANGE", 400),
    ("UNIMPLEMENTED", 501),
    ("INTERNAL", 500),
    ("UNAVAILABLE", 503),
    ("DATA_LOSS", 500),
    ("UNAUTHENTICATED", 401),
];

impl Code {
    pub const OK: Code = Code(0);
    pub const UNKNOWN: Code = Code(2);
    pub const INTERNAL: Code = Code(13);

    /// Its name; one that nobody knows is UNKNOWN.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// What HTTP calls it.
    pub fn http(self) -> u16 {
        self.row().1
    }

    fn row(self) -> (&'static str, u16) {
        CODES.get(self.0 as usize).copied().unwrap_or(CODES[2])
    }

    /// What a response means that is not gRPC (gRPC, "HTTP to gRPC Status Code Mapping").
    pub fn of_http(status: u16) -> Code {
        Code(match status {
            400 => 13,
            401 => 16,
            403 => 7,
            404 => 12,
            429 | 502 | 503 | 504 => 14,
            _ => 2,
        })
    }
}

/// google.rpc.Status.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}

/// The most details of one error.
const MOST_DETAILS: usize = 64;

impl Status {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Status { code: code.0 as i32, message: message.into(), details: Vec::new() }
    }

    pub fn code(&self) -> Code {
        Code(u32::try_from(self.code).unwrap_or(2))
    }

    pub fn is_ok(&self) -> bool {
        self.code == 0
    }

    /// What trailers say, or the head of a response without messages; nothing where they do not say
    /// how the call ended.
    pub fn of(fields: &Fields) -> Option<Status> {
        let code = std::str::from_utf8(fields.get("grpc-status")?).ok()?;
        // a number that cannot be read is a broken server: UNKNOWN
        let code = code.trim().parse::<u32>().map_or(Code::UNKNOWN, Code);
        let message = fields
            .get("grpc-message")
            .map(|text| escapes::text(&escapes::undone(text)))
            .unwrap_or_default();
        let mut status = Status::new(code, message);
        if let Some(bytes) = fields.get("grpc-status-details-bin")
            && let Some(bytes) = base64(bytes)
            && let Ok(whole) = Status::decode(&*bytes)
            // they must speak of the same error
            && whole.code == status.code
        {
            status.details = whole.details;
            status.details.truncate(MOST_DETAILS);
        }
        Some(status)
    }
}

/// Of binary metadata, which may come with padding or without.
pub fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.trim_ascii();
    let end = text.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    data_encoding::BASE64_NOPAD.decode(&text[..end]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[(&str, &str)]) -> Option<Status> {
        let mut fields = Fields::new();
        for (name, value) in lines {
            fields.append(*name, value.as_bytes());
        }
        Status::of(&fields)
    }

    #[test]
    fn trailers_say_how_a_call_ended() {
        for (lines, expected) in [
            (&[][..], None),
            (&[("grpc-status", "0")], Some((0, "", 0))),
            (
                &[("grpc-status", "5"), ("grpc-message", "no%20such%C3%BC %2")],
                Some((5, "no suchü %2", 0)),
            ),
            (&[("grpc-status", "x")], Some((2, "", 0))),
            (&[("grpc-status", "99")], Some((99, "", 0))),
        ] {
            let found = of(lines);
            let found = found.as_ref().map(|s| (s.code, &*s.message, s.details.len()));
            assert_eq!(found, expected, "{lines:?}");
        }
    }

    #[test]
    fn details_come_along_if_they_speak_of_the_same_error() {
        let detail = Any { type_url: "type.googleapis.com/a.B".to_owned(), value: vec![8, 1] };
        let whole = Status { code: 5, message: "m".to_owned(), details: vec![detail] };
        let text = data_encoding::BASE64.encode(&whole.encode_to_vec());
        for (code, text, expected) in [
            ("5", &*text, 1),
            ("5", text.trim_end_matches('='), 1),
            ("3", &text, 0),
            ("5", "no base64!", 0),
            ("5", "////", 0),
        ] {
            let found = of(&[("grpc-status", code), ("grpc-status-details-bin", text)]).unwrap();
            assert_eq!(found.details.len(), expected, "{code} {text}");
        }
    }

    #[test]
    fn g_01_http_and_grpc_know_what_the_other_calls_it() {
        for (http, name) in [
            (400, "INTERNAL"),
            (401, "UNAUTHENTICATED"),
            (403, "PERMISSION_DENIED"),
            (404, "UNIMPLEMENTED"),
            (429, "UNAVAILABLE"),
            (502, "UNAVAILABLE"),
            (503, "UNAVAILABLE"),
            (504, "UNAVAILABLE"),
            (500, "UNKNOWN"),
            (200, "UNKNOWN"),
        ] {
            assert_eq!(Code::of_http(http).name(), name);
        }
        for (code, http) in
            [(0, 200), (3, 400), (5, 404), (8, 429), (14, 503), (16, 401), (77, 500)]
        {
            assert_eq!(Code(code).http(), http);
        }
    }
}
