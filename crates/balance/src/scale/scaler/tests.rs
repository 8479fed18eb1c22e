use super::*;

#[test]
fn a_server_that_is_stopped_while_it_starts_is_never_ready() {
    let server = |phase| Server {
        address: Mutex::new(None),
        name: Mutex::new(String::new()),
        phase: Mutex::new(phase),
        stop: Notify::new(),
    };
    for (phase, becomes, then) in
        [(Phase::Starting, true, Phase::Ready), (Phase::Stopping, false, Phase::Stopping)]
    {
        let server = server(phase);
        assert_eq!(server.becomes_ready(), becomes);
        assert!(server.phase() == then);
    }
}
