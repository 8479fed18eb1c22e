//! REST to gRPC: whatever a request says, it is refused or becomes one message, whose JSON becomes the
//! same message again.
//!
//! The first line is the method and the target, the rest the body.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use transom_gateway::policy::grpc_json::Trial;

const PROTO: &str = include_str!("transcoder.proto");

fn trial() -> &'static Trial {
    static TRIAL: OnceLock<Trial> = OnceLock::new();
    TRIAL.get_or_init(|| Trial::of(PROTO).expect("the file is right"))
}

fuzz_target!(|text: &str| {
    let (line, body) = text.split_once('\n').unwrap_or((text, ""));
    let Some((method, target)) = line.split_once(' ') else { return };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if !path.starts_with('/') {
        return;
    }
    let Some(Ok((call, framed))) = trial().request(method, path, query, body.as_bytes()) else {
        return;
    };
    let mut rest = &framed[..];
    while let Some((head, after)) = rest.split_first_chunk::<5>() {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let (message, after) = after.split_at(length);
        let json =
            trial().answer(&call, message.to_vec().into()).expect("what was made is a message");
        let again = trial().request("POST", &call, "", &json).expect("every method has a name");
        let (_, again) = again.expect("what was written is read");
        let json_again = trial().answer(&call, again.slice(5..)).expect("a message");
        // the order of a map's entries is nobody's
        let value = |json: &[u8]| serde_json::from_slice::<serde_json::Value>(json).expect("JSON");
        assert_eq!(value(&json), value(&json_again));
        rest = after;
    }
    assert!(rest.is_empty());
});
