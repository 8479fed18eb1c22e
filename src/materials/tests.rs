use std::cell::RefCell;
use std::fs;

use super::*;

fn config(text: &str) -> Arc<Config> {
    let loaded = crate::load::from_text(Path::new("f"), text, false, &|_| None);
    loaded.map_err(|findings| findings.render()).unwrap().config
}

#[test]
fn every_file_that_is_missing_is_found_at_once() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("here.html"), "hello").unwrap();
    let config = config(
        "listeners:\n  web:\n    address: :443\n    tls: { certificate: a.pem, key: a.key }\n    \
         error-pages: { 404: here.html, 5xx: gone.html }\n    \
         routes: [{ match: { path: /s/** }, files: public }, { forward: p }]\n\
         pools:\n  p:\n    endpoints: 127.0.0.1:1\n    tls: { ca: ca.pem }\n",
    );
    let found = Materials::load(&config, folder.path(), &mut Seen::default()).unwrap_err();
    let paths: Vec<_> = found.findings().iter().map(|finding| finding.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "listeners.web.tls.certificate",
            "listeners.web.tls.key",
            "listeners.web.error-pages.5xx",
            "listeners.web.routes[0].files.root",
            "pools.p.tls.ca",
        ]
    );
    let said = found.render();
    assert!(said.contains("cannot read `a.pem`: there is no such file"), "{said}");
    assert!(said.contains("the directory `public` does not exist"), "{said}");
}

#[test]
fn a_change_of_a_file_is_seen_and_a_self_signed_certificate_stays() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("a.html");
    fs::write(&page, "one").unwrap();
    let text = "listeners:\n  web:\n    address: :443\n    tls: { self-signed: [localhost, \"*.a.example\", 127.0.0.1, \"[::1]\"] }\n    \
                error-pages: { 404: a.html }\n    routes: [{ respond: hello }]\n";
    let config = config(text);
    let mut seen = Seen::default();
    let first = Materials::load(&config, folder.path(), &mut seen).map_err(|f| f.render()).unwrap();
    assert!(!seen.has_changed());
    assert_eq!(first.file(Path::new("a.html")).unwrap(), "one");
    fs::write(&page, "three").unwrap();
    assert!(seen.has_changed());
    let second = Materials::load(&config, folder.path(), &mut Seen::default());
    let second = second.map_err(|f| f.render()).unwrap();
    let own = second.self_signed("web").unwrap().key.clone();
    let kept = first.self_signed("web").unwrap().key.clone();
    assert_ne!(own, kept);
    let third = Materials::following(&config, folder.path(), &first, &mut Seen::default());
    let third = third.map_err(|f| f.render()).unwrap();
    assert_eq!(third.self_signed("web").unwrap().key, kept);
    fs::remove_file(&page).unwrap();
    assert!(seen.has_changed());
    // one that is missing may come
    let mut seen = Seen::default();
    assert!(Materials::load(&config, folder.path(), &mut seen).is_err() && !seen.has_changed());
    fs::write(&page, "again").unwrap();
    assert!(seen.has_changed());
}

#[test]
fn lists_are_read_once_and_their_wrong_lines_told() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("bad.txt");
    let config = config(
        "listeners:\n  web:\n    address: :80\n    clients: { deny-files: bad.txt }\n    \
         routes: [{ policies: [{ address: { allow-files: bad.txt } }], respond: hello }]\n",
    );
    fs::write(&list, "192.0.2.0/24\n10.0.0.1/8\n").unwrap();
    let said = Materials::load(&config, folder.path(), &mut Seen::default()).unwrap_err().render();
    let expected = "listeners.web.clients.deny-files: bad.txt:2: `10.0.0.1/8` is not an address \
                    block: the address is not the first of the block";
    assert!(said.contains(expected), "{said}");
    assert!(said.contains("hint: did you mean `10.0.0.0/8`"), "{said}");
    fs::write(&list, "192.0.2.0/24\n").unwrap();
    let first = Materials::load(&config, folder.path(), &mut Seen::default());
    let first = first.map_err(|f| f.render()).unwrap();
    let seen = RefCell::default();
    let following = |previous| {
        let mut now = Seen::default();
        let next = Materials::following(&config, folder.path(), previous, &mut now);
        seen.replace(now);
        next.map_err(|f| f.render()).unwrap()
    };
    let second = following(&first);
    let path = Path::new("bad.txt");
    assert!(Arc::ptr_eq(first.list(path).unwrap(), second.list(path).unwrap()));
    assert_eq!((first.lists_read().count(), second.lists_read().count()), (1, 0));
    fs::write(&list, "192.0.2.0/24\n10.0.0.0/8\n").unwrap();
    assert!(seen.borrow().has_changed());
    assert_eq!(following(&second).list(path).unwrap().len(), 2);
}
