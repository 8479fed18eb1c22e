//! The policy `grpc-json` with `streaming: websocket`: calls whose messages go both ways, from clients
//! that know WebSocket and JSON.

use std::time::Duration;

use rustix::process::Signal;
use transom_testkit::{Client, H2Endpoint, H2Exchange, Http2, Manners, Transom, http2, until};

use super::rig::TRANSOM;

const PROTO: &str = r#"
syntax = "proto3";
package talk.v1;
message Line { string text = 1; int64 number = 2; }
service Talk {
    rpc Echo(stream Line) returns (stream Line);
    rpc Last(stream Line) returns (Line);
    rpc Thrice(Line) returns (stream Line);
    rpc Fail(stream Line) returns (stream Line);
    rpc FailEarly(stream Line) returns (stream Line);
    rpc Silent(stream Line) returns (stream Line);
    rpc NoGrpc(stream Line) returns (stream Line);
}
"#;

const GRPC: (&str, &str) = ("content-type", "application/grpc");
const NOT_FOUND: [(&str, &str); 2] = [("grpc-status", "5"), ("grpc-message", "no such line")];

async fn answer(mut exchange: H2Exchange) {
    match exchange.received.target.rsplit('/').next().unwrap_or_default() {
        "Echo" => {
            let mut sending = exchange.head(200, &[GRPC], false);
            while let Some(part) = exchange.part().await {
                sending.send(part).await;
            }
            sending.trailers(&[("grpc-status", "0")]);
        }
        "Last" => {
            exchange.read().await;
            let mut rest = &exchange.received.body[..];
            let mut last = rest;
            while !rest.is_empty() {
                last = rest;
                rest = &rest[5 + usize::from(rest[4])..];
            }
            let last = last.to_vec();
            let mut sending = exchange.head(200, &[GRPC], false);
            sending.send(last).await;
            sending.trailers(&[("grpc-status", "0")]);
        }
        "Thrice" => {
            exchange.read().await;
            let body = exchange.received.body.clone();
            let mut sending = exchange.head(200, &[GRPC], false);
            for _ in 0..3 {
                sending.send(body.clone()).await;
            }
            sending.trailers(&[("grpc-status", "0")]);
        }
        "Fail" => {
            let part = exchange.part().await.unwrap_or_default();
            let mut sending = exchange.head(200, &[GRPC], false);
            sending.send(part).await;
            sending.trailers(&NOT_FOUND);
        }
        "FailEarly" => drop(exchange.head(200, &[&[GRPC][..], &NOT_FOUND].concat(), true)),
        "NoGrpc" => exchange.answer(404, &[("content-type", "text/html")], "<html>").await,
        _ => drop(exchange.until_reset().await),
    }
}

struct Rig {
    transom: Transom,
    endpoint: H2Endpoint,
}

impl Rig {
    fn with(more: &str) -> Self {
        Rig::over("", more)
    }

    /// With further lines of the file, and further settings of the policy.
    fn over(lines: &str, more: &str) -> Self {
        let endpoint = H2Endpoint::new(Manners::default(), answer);
        let config = format!(
            "workers: 1\n{lines}\
             listeners:\n  \
               web: {{ address: '@WEB', routes: [{{ policies: [talk], forward: o }}] }}\n\
             pools:\n  \
               o: {{ endpoints: '{}', http: 2 }}\n\
             policies:\n  \
               talk: {{ grpc-json: {{ proto: talk.proto, {more} }} }}\n",
            endpoint.address,
        );
        let transom = Transom::run_with(TRANSOM, &config, |folder| {
            std::fs::write(folder.join("talk.proto"), PROTO).unwrap();
        });
        Rig { transom, endpoint }
    }

    fn open(&self, method: &str) -> Talk {
        let mut client = Client::connect(self.transom.web());
        client.send(head(method, "13"));
        let response = client.response();
        assert_eq!(response.status, 101, "{}", response.text());
        let accept = response.field("sec-websocket-accept");
        assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        Talk(client)
    }
}

fn head(method: &str, version: &str) -> String {
    format!(
        "GET /talk.v1.Talk/{method} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: {version}\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A frame as clients write it (RFC 6455 §5.2), of at most 125 bytes.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [7, 1, 9, 2];
    let masked = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    [first, 0x80 | payload.len() as u8].into_iter().chain(mask).chain(masked).collect()
}

struct Talk(Client);

impl Talk {
    fn say(&mut self, text: &str) -> &mut Self {
        self.0.send(frame(0x81, text.as_bytes()));
        self
    }

    /// The kind of the next frame, and what is in it.
    fn hear(&mut self) -> (u8, Vec<u8>) {
        let head = self.0.read(2).unwrap();
        assert!(head[1] < 126, "short ones only");
        (head[0], self.0.read(usize::from(head[1])).unwrap())
    }

    #[track_caller]
    fn hears(&mut self, text: &str) -> &mut Self {
        let (kind, payload) = self.hear();
        let heard = String::from_utf8_lossy(&payload).into_owned();
        assert_eq!((kind, &*heard), (0x81, text));
        self
    }

    #[track_caller]
    fn ends(&mut self, code: u16, reason: &str) {
        let (kind, payload) = self.hear();
        let (heard, why) = payload.split_at(2);
        let heard = u16::from_be_bytes([heard[0], heard[1]]);
        assert_eq!((kind, heard, &*String::from_utf8_lossy(why)), (0x88, code, reason));
        self.0.send(frame(0x88, &payload[..2])).ends();
    }
}

#[test]
fn gw_23_gw_27_messages_go_both_ways_one_after_the_other() {
    let rig = Rig::with("streaming: websocket");
    let mut talk = rig.open("Echo");
    for number in 0..20 {
        let line = format!(r#"{{"text":"line","number":"{number}"}}"#);
        talk.say(&line);
        match number {
            0 => talk.hears(r#"{"text":"line"}"#),
            _ => talk.hears(&line),
        };
    }
    talk.0.send(frame(0x89, b"still there?"));
    assert_eq!(talk.hear(), (0x8a, b"still there?".to_vec()));
    talk.say("").ends(1000, "");
    let request = rig.endpoint.requests().pop().unwrap();
    assert_eq!((&*request.method, &*request.target), ("POST", "/talk.v1.Talk/Echo"));
    assert_eq!(
        (request.field("te"), request.field("content-type")),
        (Some("trailers"), Some("application/grpc"))
    );
    assert_eq!((request.field("sec-websocket-key"), request.field("upgrade")), (None, None));
    let line = rig.transom.lines_when(1).pop().unwrap();
    assert_eq!((&line["status"], &line["path"]), (&101.into(), &"/talk.v1.Talk/Echo".into()));
}

#[test]
fn gw_23_the_end_of_what_the_client_sends_is_an_empty_text() {
    let rig = Rig::with("streaming: websocket");
    let mut talk = rig.open("Last");
    talk.say(r#"{"text":"a"}"#).say(r#"{"text":"b"}"#).say("");
    talk.hears(r#"{"text":"b"}"#).ends(1000, "");
    // a method that takes one message needs none
    let mut talk = rig.open("Thrice");
    talk.say(r#"{"text":"a"}"#);
    talk.hears(r#"{"text":"a"}"#).hears(r#"{"text":"a"}"#).hears(r#"{"text":"a"}"#);
    talk.ends(1000, "");
}

/// RFC 6455 §7.4.1: 1001 is for a server that goes down.
#[test]
fn gw_23_a_call_that_outlasts_the_grace_is_told_that_the_program_goes() {
    let mut rig = Rig::over("grace: 3s\n", "streaming: websocket");
    let mut talk = rig.open("Echo");
    talk.say(r#"{"text":"a"}"#).hears(r#"{"text":"a"}"#);
    let mut silent = rig.open("Silent");
    rig.transom.signal(Signal::TERM);
    until("it drains", || Client::try_connect(rig.transom.web()).is_err());
    // what is under way has the grace
    talk.say(r#"{"text":"b"}"#).hears(r#"{"text":"b"}"#);
    talk.ends(1001, "going away");
    silent.ends(1001, "going away");
    assert_eq!(rig.transom.ended().code(), Some(0));
}

#[test]
fn gw_23_the_closing_frame_says_how_the_call_ended() {
    let rig = Rig::with("streaming: websocket");
    let mut talk = rig.open("Fail");
    talk.say(r#"{"text":"a"}"#).hears(r#"{"text":"a"}"#).ends(4005, "NOT_FOUND: no such line");
    rig.open("FailEarly").ends(4005, "NOT_FOUND: no such line");
    rig.open("NoGrpc").ends(4012, "UNIMPLEMENTED");
    let mut talk = rig.open("Echo");
    let (kind, payload) = talk.say(r#"{"nothing":1}"#).hear();
    assert_eq!((kind, &payload[..2]), (0x88, &4003_u16.to_be_bytes()[..]));
    assert!(String::from_utf8_lossy(&payload[2..]).starts_with("INVALID_ARGUMENT: "));
    let mut talk = rig.open("Echo");
    talk.say("").say("{}");
    // the end of the call and the message after it are on their way at once
    let (kind, payload) = talk.hear();
    assert!(kind == 0x88 && matches!(u16::from_be_bytes([payload[0], payload[1]]), 1000 | 4003));
    for (frame, code) in [
        (frame(0x82, b"bytes"), 1003),
        (frame(0x81, b"\xff"), 1007),
        (b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(), 1009),
        (b"\x81\x02{}".to_vec(), 1002),
    ] {
        let mut talk = rig.open("Echo");
        talk.0.send(frame);
        let (kind, payload) = talk.hear();
        assert_eq!((kind, u16::from_be_bytes([payload[0], payload[1]])), (0x88, code));
    }
}

#[test]
fn gw_23_a_client_that_leaves_ends_the_call() {
    let rig = Rig::with("streaming: websocket");
    for leave in [true, false] {
        let before = rig.endpoint.log().resets.len();
        let mut talk = rig.open("Silent");
        talk.say("{}");
        rig.endpoint.until("it is asked", |log| log.requests.len() > before);
        match leave {
            true => drop(talk),
            false => {
                talk.0.send(frame(0x88, &1000_u16.to_be_bytes()));
                assert_eq!(talk.hear(), (0x88, vec![3, 0xe8]));
                talk.0.ends();
            }
        }
        rig.endpoint.until("it is given up", |log| log.resets.len() > before);
    }
}

#[test]
fn gw_23_a_stream_of_http_2_converses_as_well() {
    use transom_testkit::http2::request;
    let rig = Rig::with("streaming: websocket");
    let mut client = Http2::connect(rig.transom.web());
    assert_eq!(client.ask(http2::request("GET", "/nothing", &[]), b"").status, 404);
    let mut connect = request("CONNECT", "/talk.v1.Talk/Echo", &[("sec-websocket-version", "13")]);
    connect.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    let mut asked = client.begin(connect, false).unwrap();
    let say = |text: &[u8]| bytes::Bytes::from(frame(0x81, text));
    asked.body.send_data(say(br#"{"text":"a"}"#), false).unwrap();
    asked.body.send_data(say(b""), false).unwrap();
    let response = client.wait(&mut asked.response).unwrap();
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    let mut heard = Vec::new();
    while let Some(data) = client.wait(body.data()) {
        heard.extend_from_slice(&data.unwrap());
    }
    assert_eq!(heard, b"\x81\x0c{\"text\":\"a\"}\x88\x02\x03\xe8");
}

#[test]
fn gw_23_only_names_of_methods_and_only_by_choice() {
    let rig = Rig::with("streaming: websocket");
    let ask = |rig: &Rig, method: &str, version: &str| {
        let mut client = Client::connect(rig.transom.web());
        client.send(head(method, version)).response()
    };
    assert_eq!(ask(&rig, "Nothing", "13").status, 404);
    let old = ask(&rig, "Echo", "8");
    assert_eq!((old.status, old.field("sec-websocket-version")), (426, Some("13")));
    let plain = Rig::with("");
    assert_ne!(ask(&plain, "Echo", "13").status, 101);
    let mut talk = rig.open("Echo");
    talk.0.is_silent_for(Duration::from_millis(50));
}
