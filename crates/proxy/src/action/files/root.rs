//! Opens what lies below one directory, and nothing else.
//!
//! The kernel keeps the promise: `openat2` with `RESOLVE_BENEATH` refuses every way out, whether by
//! `..`, by a link, or by a directory moved while the path is walked. Relative links that stay
//! below are followed; absolute ones are not, wherever they lead. Where a sandbox denies `openat2`,
//! the path is walked name by name and no link is followed at all.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

use crate::fault::{Code, Fault};

/// How often it is looked whether the root is still the same directory: a deployment that swaps
/// the link that names it is seen after this many milliseconds.
const LOOK_EVERY: u64 = 1000;

/// How often `openat2` is asked again when something was renamed meanwhile.
const TRIES: usize = 3;

/// A pipe or a device is told apart only after it was opened: opening must neither wait for a
/// writer nor make a terminal ours.
const READ: OFlags =
    OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// The directory whose files are served.
pub(super) struct Root {
    path: PathBuf,
    directory: ArcSwap<Directory>,
    since: Instant,
    /// Milliseconds from `since` to the last look.
    looked: AtomicU64,
    /// `openat2` is denied here.
    walks: AtomicBool,
}

struct Directory {
    fd: OwnedFd,
    /// Device and inode.
    id: (u64, u64),
}

/// Something below the root.
#[derive(Debug)]
pub(super) enum Opened {
    Directory(OwnedFd),
    File(File, Metadata),
}

impl Root {
    pub(super) fn open(path: &Path) -> io::Result<Root> {
        let directory = Directory::open(path)?;
        Ok(Root {
            path: path.to_owned(),
            directory: ArcSwap::from_pointee(directory),
            since: Instant::now(),
            looked: AtomicU64::new(0),
            walks: AtomicBool::new(false),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the root again if its path names another directory by now. Cheap: it looks once a
    /// second. While the path names nothing, the last directory stays.
    pub(super) fn refresh(&self, now: Instant) {
        let now = now.saturating_duration_since(self.since).as_millis() as u64;
        let looked = self.looked.load(Ordering::Relaxed);
        let due = now.saturating_sub(looked) >= LOOK_EVERY;
        if !due
            || self
                .looked
                .compare_exchange(looked, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_err()
        {
            return;
        }
        let moved = std::fs::metadata(&self.path)
            .is_ok_and(|m| (m.dev(), m.ino()) != self.directory.load().id);
        if moved && let Ok(directory) = Directory::open(&self.path) {
            self.directory.store(Arc::new(directory));
        }
    }

    /// Opens the file or directory at this relative path, which is empty for the root itself and
    /// else holds plain names only. None where there is nothing that may be served.
    ///
    /// # Errors
    /// `forbidden` where the process may not read it, `overloaded` where it may open no more
    /// files, and `internal` when reading the disk fails.
    pub(super) fn find(&self, relative: &[u8]) -> Result<Option<Opened>, Fault> {
        let found = self.descriptor(relative).and_then(|fd| {
            let file = File::from(fd);
            let about =
                file.metadata().map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
            Ok((file, about))
        });
        match found {
            Ok((file, about)) if about.is_file() => Ok(Some(Opened::File(file, about))),
            Ok((file, about)) if about.is_dir() => Ok(Some(Opened::Directory(file.into()))),
            Ok(_) => Ok(None),
            Err(e) => refused(e),
        }
    }

    fn descriptor(&self, relative: &[u8]) -> Result<OwnedFd, Errno> {
        let directory = self.directory.load();
        let from = directory.fd.as_fd();
        if relative.is_empty() {
            return openat(from, c".", READ, Mode::empty());
        }
        if !self.walks.load(Ordering::Relaxed) {
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
            for _ in 0..TRIES {
                match openat2(from, relative, READ, Mode::empty(), resolve) {
                    // Something was renamed while a `..` of a link was followed.
                    Err(Errno::AGAIN) => {}
                    Err(Errno::NOSYS | Errno::PERM) => {
                        self.walks.store(true, Ordering::Relaxed);
                        break;
                    }
                    done => return done,
                }
            }
        }
        walk(from, relative)
    }

    #[cfg(test)]
    pub(super) fn without_openat2(self) -> Root {
        self.walks.store(true, Ordering::Relaxed);
        self
    }
}

impl Directory {
    fn open(path: &Path) -> io::Result<Directory> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let file = File::from(openat(CWD, path, flags, Mode::empty())?);
        let about = file.metadata()?;
        Ok(Directory { fd: file.into(), id: (about.dev(), about.ino()) })
    }
}

/// Opens name by name without following a link.
fn walk(from: impl AsFd, relative: &[u8]) -> Result<OwnedFd, Errno> {
    // Paths of clients hold no dots by now; the name of an index might.
    if relative.split(|b| *b == b'/').any(|name| matches!(name, b"" | b"..")) {
        return Err(Errno::XDEV);
    }
    let through = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let (parents, name) = match relative.iter().rposition(|b| *b == b'/') {
        Some(at) => (Some(&relative[..at]), &relative[at + 1..]),
        None => (None, relative),
    };
    let mut inside: Option<OwnedFd> = None;
    for parent in parents.into_iter().flat_map(|parents| parents.split(|b| *b == b'/')) {
        let here = inside.as_ref().map_or(from.as_fd(), AsFd::as_fd);
        inside = Some(openat(here, parent, through, Mode::empty())?);
    }
    let here = inside.as_ref().map_or(from.as_fd(), AsFd::as_fd);
    openat(here, name, READ | OFlags::NOFOLLOW, Mode::empty())
}

fn refused(e: Errno) -> Result<Option<Opened>, Fault> {
    let code = match e {
        // A way out (XDEV), a circle or a link in a walk (LOOP), and a socket (NXIO) are not there
        // for the client.
        Errno::NOENT
        | Errno::NOTDIR
        | Errno::XDEV
        | Errno::LOOP
        | Errno::NAMETOOLONG
        | Errno::NXIO
        | Errno::INVAL
        | Errno::NODEV => return Ok(None),
        Errno::ACCESS | Errno::PERM => Code::Forbidden,
        Errno::MFILE | Errno::NFILE | Errno::NOMEM => Code::Overloaded,
        _ => Code::Internal,
    };
    Err(Fault::new(code, format!("opening a file: {e}")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use super::*;

    fn write(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn text(root: &Root, relative: &str) -> Option<String> {
        match root.find(relative.as_bytes()).unwrap() {
            Some(Opened::File(file, _)) => Some(io::read_to_string(file).unwrap()),
            Some(Opened::Directory(_)) => Some("directory".into()),
            None => None,
        }
    }

    #[test]
    fn p01_no_link_and_no_dots_lead_out_of_the_root() {
        let temp = tempfile::tempdir().unwrap();
        let www = temp.path().join("www");
        write(&www.join("a/b.txt"), "b");
        write(&temp.path().join("secret"), "s");
        write(&temp.path().join("www-other/x"), "s");
        symlink("a/b.txt", www.join("inside")).unwrap();
        symlink("a", www.join("to-a")).unwrap();
        symlink("../a/b.txt", www.join("a/up-and-down")).unwrap();
        symlink("../secret", www.join("out")).unwrap();
        symlink("../www-other", www.join("out-dir")).unwrap();
        symlink("../www/a/b.txt", www.join("out-and-back")).unwrap();
        symlink(temp.path().join("secret"), www.join("absolute")).unwrap();
        symlink(www.join("a/b.txt"), www.join("absolute-inside")).unwrap();
        symlink("/proc/self/root", www.join("magic")).unwrap();
        symlink("circle", www.join("circle")).unwrap();
        symlink("nothing", www.join("dangling")).unwrap();
        let kernel = Root::open(&www).unwrap();
        let walking = Root::open(&www).unwrap().without_openat2();
        for (relative, expected, walked) in [
            ("", Some("directory"), Some("directory")),
            ("a", Some("directory"), Some("directory")),
            ("a/b.txt", Some("b"), Some("b")),
            ("inside", Some("b"), None),
            ("to-a/b.txt", Some("b"), None),
            ("a/up-and-down", Some("b"), None),
            ("out", None, None),
            ("out-dir/x", None, None),
            ("out-and-back", None, None),
            ("absolute", None, None),
            ("absolute-inside", None, None),
            ("magic/etc/passwd", None, None),
            ("circle", None, None),
            ("dangling", None, None),
            ("nothing", None, None),
            ("a/b.txt/c", None, None),
        ] {
            assert_eq!(text(&walking, relative).as_deref(), walked, "walking {relative}");
            if !kernel.walks.load(Ordering::Relaxed) {
                assert_eq!(text(&kernel, relative).as_deref(), expected, "{relative}");
            }
        }
        // These never come this far, and are refused all the same.
        for relative in ["..", "../secret", "a/../../secret", "/etc/passwd"] {
            assert_eq!(text(&kernel, relative), None, "{relative}");
            assert_eq!(text(&walking, relative), None, "walking {relative}");
        }
    }

    #[test]
    fn pipes_and_sockets_are_not_files_and_do_not_block() {
        let temp = tempfile::tempdir().unwrap();
        let pipe = temp.path().join("pipe");
        rustix::fs::mknodat(CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(temp.path().join("socket")).unwrap();
        for root in
            [Root::open(temp.path()).unwrap(), Root::open(temp.path()).unwrap().without_openat2()]
        {
            assert_eq!(text(&root, "pipe"), None);
            assert_eq!(text(&root, "socket"), None);
        }
    }

    #[test]
    fn a_root_that_is_a_swapped_link_is_followed() {
        let temp = tempfile::tempdir().unwrap();
        write(&temp.path().join("one/x"), "1");
        write(&temp.path().join("two/x"), "2");
        let current = temp.path().join("current");
        symlink("one", &current).unwrap();
        let root = Root::open(&current).unwrap();
        std::fs::remove_file(&current).unwrap();
        symlink("two", &current).unwrap();
        root.refresh(root.since);
        assert_eq!(text(&root, "x").as_deref(), Some("1"));
        root.refresh(root.since + Duration::from_secs(2));
        assert_eq!(text(&root, "x").as_deref(), Some("2"));
        std::fs::remove_file(&current).unwrap();
        root.refresh(root.since + Duration::from_secs(4));
        assert_eq!(text(&root, "x").as_deref(), Some("2"));
    }

    #[test]
    fn a_root_that_is_not_there_cannot_be_opened() {
        let temp = tempfile::tempdir().unwrap();
        assert!(Root::open(&temp.path().join("nothing")).is_err());
        write(&temp.path().join("file"), "");
        assert!(Root::open(&temp.path().join("file")).is_err());
    }
}
