//! gRPC: deadlines, and faults in the form that its clients read.

use transom_testkit::Endpoint;

use super::rig::{Rig, post};

const GRPC: &str = "Content-Type: application/grpc\r\nContent-Length: 5\r\n";

#[test]
fn g_02_the_clients_deadline_ends_the_exchange_and_is_passed_on_shortened() {
    let mut rig = Rig::over(Endpoint::new(|request, line| match &*request.target {
        target if target.starts_with("/victim") => {
            line.send(transom_testkit::endpoint::echo(request))
        }
        _ => line.stall(),
    }));
    let response = rig.ask(post(&format!("{GRPC}grpc-timeout: 200m\r\n"), "\0\0\0\0\0"));
    assert_eq!((response.status, response.field("grpc-status")), (200, Some("4")));
    let passed = rig.endpoint.request();
    let passed = passed.field("grpc-timeout").expect("it is passed on");
    let left: u64 = passed.strip_suffix('u').and_then(|n| n.parse().ok()).expect("microseconds");
    assert!((1..200_000).contains(&left), "{passed}");
    rig.holds();
}

#[test]
fn g_02_a_deadline_that_is_none_is_refused() {
    let mut rig = Rig::echo();
    for timeout in ["x", "-1S", "100000000n", "1"] {
        let bytes = post(&format!("{GRPC}grpc-timeout: {timeout}\r\n"), "\0\0\0\0\0");
        assert_eq!(rig.ask(bytes).status, 400, "{timeout}");
    }
    assert!(rig.endpoint.requests().is_empty());
    rig.holds();
}
