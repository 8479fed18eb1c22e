//! What a configuration was made of, and whether that has changed since.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What shows that a file has changed; `None` where it cannot be looked at.
///
/// Its time, size and number, and when the system last changed any of them: what is unpacked, put in place
/// of another or copied with its times may well have the same time and size as what stood there.
pub type Stamp = Option<(SystemTime, u64, [u64; 2], [i64; 2])>;

/// How a file is now.
pub fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    let number = [metadata.dev(), metadata.ino()];
    let changed = [metadata.ctime(), metadata.ctime_nsec()];
    Some((metadata.modified().ok()?, metadata.len(), number, changed))
}

/// Files as they were before they were read, and patterns with what they named.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    files: Vec<(PathBuf, Stamp)>,
    patterns: Vec<(String, Vec<PathBuf>)>,
}

impl Seen {
    /// To be called before the file is read: a change meanwhile is seen then.
    pub fn note(&mut self, path: &Path) {
        self.add(path, stamp(path));
    }

    pub fn add(&mut self, path: &Path, stamp: Stamp) {
        if !self.files.iter().any(|(known, _)| known == path) {
            self.files.push((path.to_owned(), stamp));
        }
    }

    /// What a pattern names.
    ///
    /// # Errors
    /// The rest of a sentence about why it cannot be known.
    pub fn matching(&mut self, pattern: &str) -> Result<Vec<PathBuf>, String> {
        let found = matching(pattern)?;
        self.patterns.push((pattern.to_owned(), found.clone()));
        Ok(found)
    }

    /// The same files and patterns as they are now.
    pub fn anew(&self) -> Self {
        let files = self.files.iter().map(|(path, _)| (path.clone(), stamp(path)));
        let again = |pattern: &String| (pattern.clone(), matching(pattern).unwrap_or_default());
        let patterns = self.patterns.iter().map(|(pattern, _)| again(pattern));
        Seen { files: files.collect(), patterns: patterns.collect() }
    }

    /// What the other one has and this one has not.
    pub fn join(&mut self, other: Seen) {
        for (path, stamp) in other.files {
            self.add(&path, stamp);
        }
        for (pattern, found) in other.patterns {
            if !self.patterns.iter().any(|(known, _)| *known == pattern) {
                self.patterns.push((pattern, found));
            }
        }
    }

    /// Looks at each of them.
    pub fn has_changed(&self) -> bool {
        self.files.iter().any(|(path, then)| stamp(path) != *then)
            || self
                .patterns
                .iter()
                .any(|(pattern, then)| matching(pattern).is_ok_and(|now| now != *then))
    }
}

fn matching(pattern: &str) -> Result<Vec<PathBuf>, String> {
    let found = glob::glob(pattern).map_err(|error| error.msg.to_owned())?;
    found.map(|path| path.map_err(|error| error.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_same_time_and_size_is_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let write = |name: &str, text: &str| {
            fs::write(at(name), text).unwrap();
            // as all files of a package or an image may have it
            fs::File::open(at(name)).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        };
        write("a.yaml", "1");
        let mut seen = Seen::default();
        seen.note(&at("a.yaml"));
        assert!(!seen.has_changed());
        write("b.yaml", "2");
        fs::rename(at("b.yaml"), at("a.yaml")).unwrap();
        assert!(seen.has_changed(), "it was replaced");
    }

    #[test]
    fn a_change_of_any_of_them_is_seen_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a.yaml"), "1").unwrap();
        let mut seen = Seen::default();
        seen.note(&at("a.yaml"));
        seen.note(&at("later"));
        let pattern = at("*.yaml").display().to_string();
        assert_eq!(seen.matching(&pattern).unwrap(), [at("a.yaml")]);
        assert!(!seen.has_changed());
        let changes: [&dyn Fn(); 4] = [
            &|| fs::write(at("a.yaml"), "22").unwrap(),
            &|| fs::write(at("later"), "").unwrap(),
            &|| fs::write(at("b.yaml"), "").unwrap(),
            &|| fs::remove_file(at("a.yaml")).unwrap(),
        ];
        for (n, change) in changes.into_iter().enumerate() {
            change();
            assert!(seen.has_changed(), "{n}");
            seen = seen.anew();
            assert!(!seen.has_changed(), "{n}");
        }
    }
}
