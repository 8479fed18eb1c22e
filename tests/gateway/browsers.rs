//! What browsers are told.

use super::rig::Rig;

#[test]
fn browsers_are_told_to_be_careful_with_every_answer() {
    let rig = Rig::with(
        &[
            "careful: { security-headers: { frames: deny, content-security-policy: default-src self } }",
        ],
        "",
    );
    let response = rig.get("/", &[]);
    assert_eq!(response.status, 200);
    assert_eq!(rig.endpoint.request().target, "/");
    assert_eq!(response.field("x-content-type-options"), Some("nosniff"));
    assert_eq!(response.field("x-frame-options"), Some("DENY"));
    assert_eq!(response.field("content-security-policy"), Some("default-src self"));
    assert_eq!(response.field("strict-transport-security"), None, "it was asked without TLS");
}
