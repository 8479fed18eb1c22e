//! From files to a checked [`Config`]: the only code that reads what a configuration is made of.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use transom_settings::{Diagnostic, Diagnostics, Outside, Span, assemble, quote};

use crate::config::{self, Config};

mod seen;

pub use seen::{Seen, Stamp, stamp};

/// Where a configuration is looked for that is not named.
pub const DEFAULT_PATHS: [&str; 2] = ["transom.yaml", "/etc/transom/transom.yaml"];

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file, or the first default path that exists.
    File(Option<PathBuf>),
    /// Text that a command made, as if it stood in this file.
    Text { path: PathBuf, text: String },
}

impl Source {
    /// Reads it to run it, and tells `seen` what it looks at. The error holds every finding.
    pub fn load(&self, seen: &mut Seen) -> Result<Loaded, Box<Diagnostics>> {
        match self {
            Source::File(path) => from_disk(path.as_deref(), false, None, seen),
            Source::Text { path, text } => {
                from_text(path, text, false, &|name| std::env::var(name).ok())
            }
        }
    }
}

/// A configuration without errors, and what it was made of.
#[derive(Debug)]
pub struct Loaded {
    pub config: Arc<Config>,
    /// Remarks; no errors.
    pub findings: Diagnostics,
    /// Every file that was read.
    pub files: Vec<PathBuf>,
    /// The directory of the main file. Relative paths in the configuration start here.
    pub base: PathBuf,
}

/// Reads the file at `path`, or at the first default path that exists, with all it includes.
///
/// The error holds every finding about it; an unreadable file is one of them. With `strict`,
/// safe defaults that were relaxed are errors.
pub fn load(path: Option<&Path>, strict: bool) -> Result<Loaded, Box<Diagnostics>> {
    from_disk(path, strict, None, &mut Seen::default())
}

/// What [`load`] would give if `text` stood in `file`, one of [`Loaded::files`].
pub fn load_with(path: Option<&Path>, file: &Path, text: &str) -> Result<Loaded, Box<Diagnostics>> {
    from_disk(path, false, Some((file, text)), &mut Seen::default())
}

fn from_disk(
    path: Option<&Path>,
    strict: bool,
    other: Other<'_>,
    seen: &mut Seen,
) -> Result<Loaded, Box<Diagnostics>> {
    let path = match path {
        Some(path) => path.to_owned(),
        None => find()?,
    };
    seen.note(&path);
    let text = text_of(&path, other).map_err(|why| {
        let hint = match path.exists() {
            true => "name another file with `-c FILE`",
            false => "write it, or name another with `-c FILE`",
        };
        alone(Diagnostic::error(Span::NOWHERE, "", unreadable(&path, &why)).hint(hint))
    })?;
    assembled(&path, &text, strict, &|name| std::env::var(name).ok(), other, seen)
}

/// Checks `text` as if it stood in the file `path`; `variable` answers for the environment.
pub fn from_text(
    path: &Path,
    text: &str,
    strict: bool,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, Box<Diagnostics>> {
    assembled(path, text, strict, variable, None, &mut Seen::default())
}

fn assembled(
    path: &Path,
    text: &str,
    strict: bool,
    variable: &dyn Fn(&str) -> Option<String>,
    other: Other<'_>,
    seen: &mut Seen,
) -> Result<Loaded, Box<Diagnostics>> {
    let base = match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let read = RefCell::new(vec![path.to_owned()]);
    let disk = Disk { main: path, base: &base, read, seen: RefCell::new(seen), variable, other };
    let mut findings = Diagnostics::new();
    let root = assemble(&path.display().to_string(), text, &disk, &mut findings);
    let mut config = root.and_then(|root| Config::decode(&root, &mut findings));
    if let Some(config) = &mut config {
        config::expand(config, &|path| disk.bytes(path), &mut findings);
    }
    if let Some(config) = &config {
        config::check(config, strict, &mut findings);
    }
    let files = disk.read.into_inner();
    match config {
        Some(config) if !findings.has_errors() => {
            Ok(Loaded { config: Arc::new(config), findings, files, base })
        }
        _ => Err(Box::new(findings)),
    }
}

fn find() -> Result<PathBuf, Box<Diagnostics>> {
    let found = DEFAULT_PATHS.iter().map(Path::new).find(|path| path.exists());
    found.map(Path::to_owned).ok_or_else(|| {
        let [here, there] = DEFAULT_PATHS;
        let what = format!("there is no configuration: neither `{here}` nor `{there}` exists");
        let hint = "write one, name another with `-c FILE`, or try `transom demo`";
        alone(Diagnostic::error(Span::NOWHERE, "", what).hint(hint))
    })
}

fn alone(finding: Diagnostic) -> Box<Diagnostics> {
    let mut findings = Box::new(Diagnostics::new());
    findings.push(finding);
    findings
}

fn unreadable(path: &Path, why: &str) -> String {
    format!("cannot read {}: {why}", quote(&path.display().to_string()))
}

/// Larger files are refused before they fill the memory.
const MAX_SIZE: u64 = 32 << 20;

/// The text of a file, or the rest of a sentence about why there is none.
fn read(path: &Path) -> Result<String, String> {
    String::from_utf8(read_bytes(path)?).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|&&byte| byte == b'\n')
            .count();
        format!("line {} is not UTF-8", line + 1)
    })
}

/// The bytes of a file, or the rest of a sentence about why there are none.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>, String> {
    let mut file = File::open(path).map_err(reason)?;
    if file.metadata().map_err(reason)?.is_dir() {
        return Err("it is a directory".into());
    }
    let mut bytes = Vec::new();
    file.by_ref().take(MAX_SIZE + 1).read_to_end(&mut bytes).map_err(reason)?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(format!("it is larger than {} MiB", MAX_SIZE >> 20));
    }
    Ok(bytes)
}

pub(crate) fn reason(error: io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => error.to_string(),
    }
}

/// A file that is taken to hold another text than it does.
type Other<'a> = Option<(&'a Path, &'a str)>;

fn text_of(path: &Path, other: Other<'_>) -> Result<String, String> {
    match other {
        Some((file, text)) if file == path => Ok(text.to_owned()),
        _ => read(path),
    }
}

/// Files around the main one, and the environment.
struct Disk<'a> {
    main: &'a Path,
    base: &'a Path,
    read: RefCell<Vec<PathBuf>>,
    seen: RefCell<&'a mut Seen>,
    variable: &'a dyn Fn(&str) -> Option<String>,
    other: Other<'a>,
}

impl Disk<'_> {
    /// A file of which routes are made.
    fn bytes(&self, path: &Path) -> Result<Vec<u8>, String> {
        let path = self.base.join(path);
        self.seen.borrow_mut().note(&path);
        let bytes = read_bytes(&path)?;
        self.note(path);
        Ok(bytes)
    }

    fn note(&self, path: PathBuf) {
        let mut files = self.read.borrow_mut();
        if !files.contains(&path) {
            files.push(path);
        }
    }
}

impl Outside for Disk<'_> {
    fn read(&self, path: &str) -> Result<String, String> {
        let path = self.base.join(path);
        self.seen.borrow_mut().note(&path);
        let text = text_of(&path, self.other)?;
        self.note(path);
        Ok(text)
    }

    fn matching(&self, pattern: &str) -> Result<Vec<String>, String> {
        if !pattern.contains(['*', '?', '[']) {
            // named outright: that it cannot be read is found where it is read
            return Ok(vec![pattern.to_owned()]);
        }
        // the directory of the main file is no part of the pattern
        let base = glob::Pattern::escape(&self.base.display().to_string());
        let whole = match Path::new(pattern).is_absolute() {
            true => pattern.to_owned(),
            false => format!("{base}/{pattern}"),
        };
        let found = self.seen.borrow_mut().matching(&whole)?;
        let inside =
            |path: &PathBuf| path.strip_prefix(self.base).unwrap_or(path).display().to_string();
        Ok(found.iter().map(inside).collect())
    }

    fn identity(&self, path: Option<&str>) -> String {
        let path = path.map_or_else(|| self.main.to_owned(), |path| self.base.join(path));
        fs::canonicalize(&path).unwrap_or(path).display().to_string()
    }

    fn variable(&self, name: &str) -> Option<String> {
        (self.variable)(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn included_files_and_secrets_are_read_from_beside_the_main_file() {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("transom.yaml");
        fs::create_dir(folder.path().join("conf.d")).unwrap();
        fs::write(folder.path().join("token"), "hunter2\n").unwrap();
        fs::write(folder.path().join("conf.d/a.yaml"), "pools: { a: { endpoints: 127.0.0.1:1 } }")
            .unwrap();
        fs::write(
            &main,
            "include: conf.d/*.yaml\nadmin:\n  address: 127.0.0.1:9901\n  token: ${file:token}\n\
             listeners: { web: { address: :80, routes: [{ forward: a }] } }",
        )
        .unwrap();
        let loaded = load(Some(&main), true).map_err(|findings| findings.render()).unwrap();
        assert_eq!(loaded.config.admin.token.as_ref().unwrap().expose(), "hunter2");
        assert_eq!(loaded.files.len(), 3);
        assert!(loaded.findings.is_empty(), "{}", loaded.findings.render());
    }

    #[test]
    fn a_file_among_those_that_it_includes_is_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("transom.yaml");
        let listeners = "listeners: { web: { address: :80, routes: [{ respond: ok }] } }";
        fs::write(&main, format!("include: ['*.yaml', ./a.yaml]\n{listeners}\n")).unwrap();
        fs::write(folder.path().join("a.yaml"), "policies: {}\n").unwrap();
        let loaded = load(Some(&main), true).map_err(|findings| findings.render()).unwrap();
        assert_eq!(loaded.files.len(), 2, "{:?}", loaded.files);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_one_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let said = |path: &Path| load(Some(path), false).unwrap_err().render();
        let none = folder.path().join("no.yaml");
        assert_eq!(
            said(&none),
            format!(
                "cannot read `{}`: there is no such file\n  hint: write it, or name another with `-c FILE`\n",
                none.display()
            )
        );
        assert!(said(folder.path()).contains("it is a directory"));
        let binary = folder.path().join("b.yaml");
        fs::write(&binary, b"a: 1\nb: \xff\n").unwrap();
        assert!(said(&binary).contains("line 2 is not UTF-8"));
    }
}
