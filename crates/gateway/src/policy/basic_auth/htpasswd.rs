//! The file that `htpasswd` writes: `user:hash` in each line.

use std::collections::HashMap;
use std::sync::Arc;

use crate::consumer::password::Hashed;

pub(super) type Users = HashMap<String, Arc<Hashed>>;

/// The users of a file; or the number of the line that is wrong, and why. Weak hashes are counted.
pub(super) fn read(text: &[u8]) -> Result<(Users, usize), (usize, String)> {
    let mut users = Users::new();
    let mut weak = 0;
    for (index, line) in text.split(|b| *b == b'\n').enumerate() {
        let wrong = |why: &str| (index + 1, why.to_owned());
        let line = std::str::from_utf8(line).map_err(|_| wrong("it is not UTF-8"))?;
        let line = line.trim_end_matches('\r');
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let (user, hash) = line.split_once(':').ok_or_else(|| wrong("it has no `:`"))?;
        if user.is_empty() {
            return Err(wrong("it names no user"));
        }
        // what Apache allows behind the hash is a remark
        let hash = hash.split(':').next().unwrap_or_default().trim_end();
        let hash = Hashed::read(hash).map_err(wrong)?;
        weak += usize::from(hash.is_weak());
        if users.insert(user.to_owned(), Arc::new(hash)).is_some() {
            return Err(wrong("its user stands there twice"));
        }
    }
    Ok((users, weak))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";

    #[test]
    fn gw_08_lines_are_users_and_what_is_wrong_has_its_number() {
        let (users, weak) =
            read(format!("# staff\n\nann:{SHA}\r\nbob:{SHA}:Bob of sales\n").as_bytes()).unwrap();
        assert_eq!((users.len(), weak), (2, 2));
        assert!(users["ann"].is_of(b"secret"));
        for (text, expected) in [
            ("ann", (1, "it has no `:`")),
            ("\n:x", (2, "it names no user")),
            ("ann:plain", (1, "the password is not hashed, or in a form that is not known")),
            (&format!("ann:{SHA}\nann:{SHA}"), (2, "its user stands there twice")),
        ] {
            let (line, why) = read(text.as_bytes()).unwrap_err();
            assert_eq!((line, &*why), expected);
        }
        assert_eq!(read(b"\xff:x").unwrap_err().0, 1);
    }
}
