//! What lies in a directory, as a page or as JSON.

use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{AtFlags, Dir, FileType, statat};

use super::root::{Opened, Root};
use crate::fault::{Code, Fault};

/// More entries than this are not listed: one page must not hold a worker.
const MOST: usize = 10_000;

/// What lies in one directory: directories first, then by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    entries: Vec<Entry>,
    /// There is more than is listed.
    cut: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    name: Vec<u8>,
    directory: bool,
    size: u64,
    /// Seconds since 1970.
    modified: u64,
}

impl Listing {
    /// Reads the directory at `relative`. Only what would also be served is listed: no hidden
    /// names, no links that lead out, neither pipes nor devices.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub(super) fn read(root: &Root, directory: OwnedFd, relative: &[u8]) -> Result<Listing, Fault> {
        let failed = |e| Fault::new(Code::Internal, format!("reading a directory: {e}"));
        let mut listing = Listing::default();
        for entry in Dir::read_from(&directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            if name.starts_with(b".") {
                continue;
            }
            if listing.entries.len() == MOST {
                listing.cut = true;
                break;
            }
            let Ok(about) = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let mut add = |directory, size: u64, modified: i64| {
                let modified = modified.try_into().unwrap_or(0);
                listing.entries.push(Entry { name: name.to_vec(), directory, size, modified });
            };
            match FileType::from_raw_mode(about.st_mode) {
                FileType::RegularFile => add(false, about.st_size as u64, about.st_mtime),
                FileType::Directory => add(true, 0, about.st_mtime),
                FileType::Symlink => match root.find(&below(relative, name)) {
                    Ok(Some(Opened::File(_, target))) => add(false, target.len(), target.mtime()),
                    Ok(Some(Opened::Directory(_))) => add(true, 0, about.st_mtime),
                    _ => {}
                },
                _ => {}
            }
        }
        listing.entries.sort_unstable_by(|a, b| {
            b.directory.cmp(&a.directory).then_with(|| a.name.cmp(&b.name))
        });
        Ok(listing)
    }

    /// A page that needs nothing else and runs nothing. `path` is the path as the client sees it.
    pub(super) fn html(&self, path: &[u8], is_root: bool) -> String {
        let path = escaped(path);
        let mut out = format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n<title>{path}</title>\n\
             <style>body{{font:16px/1.5 system-ui,sans-serif;margin:2em}}td{{padding:0 2em 0 0}}\
             td+td{{color:#666;text-align:right}}a{{text-decoration:none}}</style>\n\
             <h1>{path}</h1>\n<table>\n"
        );
        if !is_root {
            out += "<tr><td><a href=\"../\">../</a><td><td>\n";
        }
        for entry in &self.entries {
            let slash = if entry.directory { "/" } else { "" };
            let size = if entry.directory { String::new() } else { entry.size.to_string() };
            let (link, name) = (link(&entry.name), escaped(&entry.name));
            let date = date(entry.modified);
            out += &format!(
                "<tr><td><a href=\"{link}{slash}\">{name}{slash}</a><td>{size}<td>{date}\n"
            );
        }
        out += "</table>\n";
        if self.cut {
            out += &format!("<p>Only {MOST} entries are shown.\n");
        }
        out
    }

    /// An array of objects with `name`, `kind`, `size` in bytes (files only) and `modified`.
    pub(super) fn json(&self) -> String {
        let mut out = String::from("[");
        for (i, entry) in self.entries.iter().enumerate() {
            out += if i == 0 { "\n" } else { ",\n" };
            out += "{\"name\":";
            quote(&String::from_utf8_lossy(&entry.name), &mut out);
            if entry.directory {
                out += ",\"kind\":\"directory\"";
            } else {
                out += &format!(",\"kind\":\"file\",\"size\":{}", entry.size);
            }
            out += &format!(",\"modified\":\"{}\"}}", date(entry.modified));
        }
        out + "\n]\n"
    }
}

/// The path of something in the directory at `relative`.
pub(super) fn below(relative: &[u8], name: &[u8]) -> Vec<u8> {
    match relative {
        b"" => name.to_vec(),
        _ => [relative, b"/", name].concat(),
    }
}

fn date(seconds: u64) -> String {
    // The last second that an HTTP date can name.
    const LAST: u64 = 253_402_300_799;
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds.min(LAST)))
}

/// Text for HTML, safe within quotes too.
fn escaped(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for char in String::from_utf8_lossy(text).chars() {
        match char {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            char => out.push(char),
        }
    }
    out
}

/// A relative reference to this name: `./` keeps a colon from ending a scheme (RFC 3986 §4.2).
fn link(name: &[u8]) -> String {
    let mut out = String::from("./");
    for byte in name {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(*byte))
            }
            byte => out += &format!("%{byte:02X}"),
        }
    }
    out
}

/// A JSON string (RFC 8259 §7).
fn quote(text: &str, out: &mut String) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => {
                out.push('\\');
                out.push(char);
            }
            char if char.is_control() => {
                let mut units = [0; 2];
                for unit in char.encode_utf16(&mut units) {
                    *out += &format!("\\u{unit:04x}");
                }
            }
            char => out.push(char),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_what_is_served_is_listed_and_names_are_escaped() {
        let temp = tempfile::tempdir().unwrap();
        let www = temp.path().join("www");
        std::fs::create_dir_all(www.join("d/zz")).unwrap();
        for name in ["<b>&\"'.txt", "a:b", "é", ".env", "line\nbreak"] {
            std::fs::write(www.join("d").join(name), "123").unwrap();
        }
        std::fs::write(temp.path().join("secret"), "").unwrap();
        symlink("a:b", www.join("d/inside")).unwrap();
        symlink("../../secret", www.join("d/outside")).unwrap();
        let root = Root::open(&www).unwrap();
        let Some(Opened::Directory(fd)) = root.find(b"d").unwrap() else { panic!() };
        let listing = Listing::read(&root, fd, b"d").unwrap();
        let names: Vec<_> =
            listing.entries.iter().map(|e| String::from_utf8_lossy(&e.name).into_owned()).collect();
        assert_eq!(names[0], "zz", "directories first");
        assert!(names[1..].is_sorted());
        for hidden in [".env", "outside", ".", ".."] {
            assert!(!names.iter().any(|name| name == hidden), "{hidden}");
        }
        let html = listing.html(b"/d<i>/", false);
        assert!(html.contains("<h1>/d&lt;i&gt;/</h1>"));
        assert!(html.contains("href=\"./%3Cb%3E%26%22%27.txt\">&lt;b&gt;&amp;&quot;&#39;.txt</a>"));
        assert!(html.contains("href=\"./a%3Ab\""));
        assert!(html.contains("href=\"./zz/\">zz/</a>"));
        assert!(html.contains("href=\"../\""));
        assert!(!listing.html(b"/", true).contains("href=\"../\""));
        let json = listing.json();
        assert!(
            json.contains(
                "{\"name\":\"<b>&\\\"'.txt\",\"kind\":\"file\",\"size\":3,\"modified\":\""
            )
        );
        assert!(json.contains("\"line\\u000abreak\""));
        assert!(json.contains("{\"name\":\"zz\",\"kind\":\"directory\",\"modified\""));
        assert_eq!(Listing::default().json(), "[\n]\n");
    }
}
