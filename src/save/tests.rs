use super::*;

#[test]
fn only_what_changes_is_changed() {
    let add = |text: &str| Edit::Add(Listed::read(text).unwrap());
    let at = |text: &str| EndpointAddress::from_text(text).unwrap();
    for (endpoints, edit, expected) in [
        ("endpoints: a:1 # one", add("b:1"), "endpoints: [a:1, b:1] # one"),
        ("endpoints: [a:1, b:1]", add("c:1"), "endpoints: [a:1, b:1, c:1]"),
        ("endpoints: [ a:1 ]", add("c:1"), "endpoints: [ a:1, c:1 ]"),
        ("endpoints: [\"[::1]:1\"]", add("'[::2]:1'"), "endpoints: [\"[::1]:1\", \"[::2]:1\"]"),
        (
            "endpoints:\n      - a:1   # first\n      - b:1\n    algorithm: round-robin",
            add("{address: c:1, weight: 2}"),
            "endpoints:\n      - a:1   # first\n      - b:1\n      - { address: c:1, weight: 2 }\n    algorithm: round-robin",
        ),
        (
            "endpoints:\n    - a:1\n    - address: b:1\n      weight: 3\n    - c:1",
            Edit::Remove(at("b:1")),
            "endpoints:\n    - a:1\n    - c:1",
        ),
        ("endpoints: [a:1, b:1, c:1]", Edit::Remove(at("b:1")), "endpoints: [a:1, c:1]"),
        (
            "endpoints: [a:1, { address: b:1, weight: 2 }]",
            Edit::Remove(at("a:1")),
            "endpoints: [{ address: b:1, weight: 2 }]",
        ),
        ("endpoints: [a:1, b:1]", Edit::Remove(at("b:1")), "endpoints: [a:1]"),
        (
            "endpoints: [a:1, b:1]",
            Edit::Weight(at("b:1"), 5),
            "endpoints: [a:1, { address: b:1, weight: 5 }]",
        ),
        (
            "endpoints: [{ address: b:1, weight: 2 }]",
            Edit::Weight(at("b:1"), 5),
            "endpoints: [{ address: b:1, weight: 5 }]",
        ),
        ("endpoints: [a:1]", Edit::Remove(at("x:1")), "endpoints: [a:1]"),
        (
            "endpoints:\n      - a:1\n      - address: b:1\n\n        weight: 3\n\n      # last\n      - c:1",
            Edit::Remove(at("b:1")),
            "endpoints:\n      - a:1\n\n      # last\n      - c:1",
        ),
        (
            "endpoints: [\n      a:1, # first, and best\n      b:1, # second\n      c:1,\n    ]",
            Edit::Remove(at("b:1")),
            "endpoints: [\n      a:1, # first, and best\n      c:1,\n    ]",
        ),
        (
            "endpoints: [\n      a:1, # first, and best\n      { address: b:1, weight: 2 },\n    ]",
            Edit::Remove(at("b:1")),
            "endpoints: [\n      a:1, # first, and best\n    ]",
        ),
        (
            "endpoints: [a:1]",
            add("{address: a:1, weight: 3}"),
            "endpoints: [{ address: a:1, weight: 3 }]",
        ),
        (
            "endpoints: [a:1]",
            add("{address: b:1, zone: z, labels: {v: '2'}}"),
            "endpoints: [a:1, {\"address\":\"b:1\",\"labels\":{\"v\":\"2\"},\"weight\":1,\"zone\":\"z\"}]",
        ),
    ] {
        let whole = |endpoints: &str| format!("# top\npools:\n  p:\n    {endpoints}\n# end\n");
        let edited = edited(&whole(endpoints), "p", &edit).unwrap();
        assert_eq!(edited, whole(expected));
    }
}

#[test]
fn what_is_not_understood_is_left_alone() {
    for (text, edit) in [
        (
            "pools: { p: { endpoints: a:1 } }",
            Edit::Remove(EndpointAddress::from_text("a:1").unwrap()),
        ),
        ("pools: { p: { sources: [] } }", Edit::Add(Listed::read("a:1").unwrap())),
    ] {
        assert!(edited(text, "p", &edit).is_err(), "{text}");
    }
}

const FILE: &str = "listeners: { web: { address: :1, routes: [{ forward: p }] } }\npools:\n  p:\n";

fn saved(endpoints: &str, edit: &Edit) -> (Result<String, String>, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("transom.yaml");
    fs::write(&path, format!("{FILE}    {endpoints}\n")).unwrap();
    let outcome = save(Some(&path), "p", edit);
    let text = fs::read_to_string(&path).unwrap();
    (outcome, text[FILE.len()..].trim().to_owned())
}

/// What was taken for the end of an endpoint went on, and was then said of the one before it.
#[test]
fn what_would_change_another_endpoint_is_not_written() {
    let file = "endpoints:\n    - a:1\n    - { address: b:1,\n    weight: 3 }\n    - c:1";
    let edit = Edit::Remove(EndpointAddress::from_text("b:1").unwrap());
    let (outcome, text) = saved(file, &edit);
    assert!(outcome.is_err(), "{text}");
    assert_eq!(text, file);
    let file = "endpoints:\n    - address: a:1\n    - address: b:1\n\n      weight: 3\n    - c:1";
    let (outcome, text) = saved(file, &edit);
    outcome.unwrap();
    assert_eq!(text, "endpoints:\n    - address: a:1\n    - c:1");
}

#[test]
fn a_file_keeps_its_permissions_and_what_a_killed_process_left_is_in_nobodys_way() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("transom.yaml");
    fs::write(&path, format!("{FILE}    endpoints: a:1\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let left = folder.path().join(format!(".transom.yaml.{}", std::process::id()));
    let elsewhere = folder.path().join("elsewhere");
    fs::write(&elsewhere, "other").unwrap();
    std::os::unix::fs::symlink(&elsewhere, &left).unwrap();
    save(Some(&path), "p", &Edit::Add(Listed::read("b:1").unwrap())).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.ends_with("endpoints: [a:1, b:1]\n"), "{text}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "other");
    assert!(fs::symlink_metadata(&left).is_err());
}
