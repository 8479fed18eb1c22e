//! The transcoder by itself, without a server: for whoever tries out texts.

use bytes::Bytes;
use prost_reflect::SerializeOptions;
use transom_proxy::message::Method;

use super::request::{self, Asked, Reading};
use super::response::{Sent, Shape, Writing};
use super::rules::{Found, Table};
use crate::grpc::proto::compiled;

/// See the module.
pub struct Trial {
    table: Table,
    reading: Reading,
    writing: Writing,
}

impl Trial {
    /// Of the services of one `.proto` file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(proto: &str) -> Result<Self, String> {
        let files = [("trial.proto".to_owned(), proto.to_owned())];
        let (table, wrong) = Table::of(compiled(&files).map_err(|(_, what)| what)?, &[]);
        let reading = Reading { refuse_unknown_fields: true, refuse_unknown_query: true };
        let options = SerializeOptions::new();
        let writing = Writing { options, proto_names: false, google_errors: false };
        match wrong.is_empty() {
            true => Ok(Trial { table, reading, writing }),
            false => Err(wrong.join("; ")),
        }
    }

    /// The path of the call that a request makes, and its messages, framed; nothing where it makes none.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        query: &str,
        body: &[u8],
    ) -> Option<Result<(String, Bytes), String>> {
        let Found::Call { method, binding, bound } =
            self.table.find(&Method::of(method), path, true)
        else {
            return None;
        };
        let asked = Asked { bound, query, body, content_type: "" };
        let messages = request::messages(method, binding, asked, self.reading);
        Some(match messages {
            Ok(messages) => Ok((method.path.clone(), messages)),
            Err(bad) => Err(format!("{bad:?}")),
        })
    }

    /// What is sent of a message with which the method of this path answers.
    ///
    /// # Errors
    /// Why it is no such message.
    pub fn answer(&self, path: &str, message: Bytes) -> Result<Vec<u8>, String> {
        let method = self.table.methods.iter().find(|method| method.path == path);
        let output = method.ok_or("there is no such method")?.output.clone();
        match (Shape { output, field: None }).of(message, &self.writing)? {
            Sent::Json(json) => Ok(json),
            Sent::Raw(_, bytes) => Ok(bytes.to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROTO: &str = r#"syntax = "proto3"; package t; import "google/api/annotations.proto";
        message Node { Node n = 1; string some_text = 2; double value = 3; }
        service S {
            rpc Get(Node) returns (Node) { option (google.api.http) = { get: "/nodes" }; }
            rpc Put(Node) returns (Node) {
                option (google.api.http) = { put: "/nodes/{some_text}" body: "*" };
            }
        }"#;

    #[test]
    fn sl_16_messages_in_messages_of_their_kind_come_to_an_end() {
        let trial = Trial::of(PROTO).unwrap();
        let ask = |query: &str| trial.request("GET", "/nodes", query, b"").unwrap();
        assert!(ask("n.n.n.some_text=x").is_ok());
        assert!(ask(&format!("{}some_text=x", "n.".repeat(63))).is_ok());
        for query in ["n.".repeat(64) + "some_text=x", "n.".repeat(50_000) + "n", ".".repeat(100)] {
            let why = ask(&query).unwrap_err();
            assert!(why.contains("names more than 64 fields"), "{why}");
        }
    }

    #[test]
    fn sl_16_a_field_stands_once_by_either_of_its_names() {
        let trial = Trial::of(PROTO).unwrap();
        for (method, path, body, right) in [
            ("POST", "/t.S/Get", r#"{"n":{"someText":"a"}}"#, true),
            ("POST", "/t.S/Get", r#"{"someText":"a","some_text":"b"}"#, false),
            ("POST", "/t.S/Get", r#"{"n":{"some_text":"a","someText":"b"}}"#, false),
            ("PUT", "/nodes/7", r#"{"some_text":"a"}"#, true),
            ("PUT", "/nodes/7", r#"{"n":{"some_text":"a","someText":"b"}}"#, false),
        ] {
            let asked = trial.request(method, path, "", body.as_bytes()).unwrap();
            assert_eq!(asked.is_ok(), right, "{method} {path} {body}: {asked:?}");
        }
    }

    #[test]
    fn gw_23_a_number_read_and_written_is_the_same_number() {
        let trial = Trial::of(PROTO).unwrap();
        let many = "7".repeat(97);
        for number in [many.as_str(), "0.1", "1e300", "5e-324", "2.2250738585072011e-308"] {
            let body = format!(r#"{{"value":{number}}}"#);
            let (call, framed) =
                trial.request("POST", "/t.S/Get", "", body.as_bytes()).unwrap().unwrap();
            let json = trial.answer(&call, framed.slice(5..)).unwrap();
            let text = String::from_utf8(json).unwrap();
            let written = text.trim_start_matches(r#"{"value":"#).trim_end_matches('}');
            assert_eq!(written.parse::<f64>(), number.parse::<f64>(), "{number} in {text}");
        }
    }
}
