//! What is deprecated, and what is gone.

use transom_testkit::message::all;

use super::rig::Rig;

#[test]
fn gw_36_what_ends_is_announced_and_then_gone() {
    let rig = Rig::with(
        &["old: { lifecycle: { deprecated: 2024-01-31, sunset: 2999-12-31, \
           successor: https://a.example/v2, documentation: https://a.example/docs } }"],
        "",
    );
    let response = rig.get("/", &[]);
    assert_eq!(response.status, 200);
    assert_eq!(response.field("deprecation"), Some("@1706659200"));
    assert_eq!(response.field("sunset"), Some("Tue, 31 Dec 2999 00:00:00 GMT"));
    let links: Vec<_> = all(&response.fields, "link").collect();
    assert_eq!(
        links,
        [
            "<https://a.example/v2>; rel=\"successor-version\"",
            "<https://a.example/docs>; rel=\"deprecation\""
        ]
    );
    let rig = Rig::with(
        &["old: { lifecycle: { deprecated: 2024-01-31, sunset: 2024-12-31, \
           successor: https://a.example/v2 } }"],
        "",
    );
    let gone = rig.get("/", &[]);
    assert_eq!((gone.status, gone.field("deprecation")), (410, Some("@1706659200")));
    assert!(rig.endpoint.requests().is_empty());
    let rig = Rig::with(
        &["old: { lifecycle: { deprecated: 2024-01-31, \
           brown-outs: [{ from: 2024-02-01, to: 2999-01-01 }] } }"],
        "",
    );
    let refused = rig.get("/", &[]);
    assert_eq!((refused.status, refused.field("retry-after").is_some()), (410, true));
}

#[test]
fn gw_36_a_dry_run_announces_and_lets_pass_what_is_over() {
    let rig = Rig::with(
        &["old: { lifecycle: { deprecated: 2024-01-31, sunset: 2024-12-31, dry-run: true } }"],
        "",
    );
    let passed = rig.get("/", &[]);
    assert_eq!((passed.status, passed.field("deprecation")), (200, Some("@1706659200")));
    assert_eq!(passed.field("sunset"), Some("Tue, 31 Dec 2024 00:00:00 GMT"));
    assert_eq!(rig.transom.lines_when(1)[0]["dry_run"], "old");
    rig.transom.metric_becomes("transom_dry_run_total{listener=\"web\",route=\"web[0]\"", 1.0);
}
