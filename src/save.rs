//! Writes a change of a pool into the file, and leaves every other letter of it as it is.
//!
//! The text is changed at the places that the tree knows. What comes of it is read again and must
//! say exactly what was wanted, else nothing is written: a file that is written in a way that is
//! not understood here is left to its author.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use transom_balance::discovery::Listed;
use transom_settings::{
    Diagnostics, EndpointAddress, FromText, Node, Span, Spanned, Value, parse, quote,
};

use crate::admin::Edit;
use crate::config::Endpoint;
use crate::load::{Loaded, load};

/// Writes `edit` into the file in which the pool stands, and gives that file.
///
/// # Errors
/// Why it was not written.
pub fn save(path: Option<&Path>, pool: &str, edit: &Edit) -> Result<String, String> {
    let loaded =
        load(path, false).map_err(|_| "the file has an error; `transom check` tells it")?;
    let (file, text) = file_with(&loaded, pool)?;
    let edited = edited(&text, pool, edit)?;
    write(&file, &edited).map_err(|e| format!("`{}`: {e}", file.display()))?;
    // what the whole says is decided by all of its files together
    let wanted = load(path, false).is_ok_and(|now| says(&now, pool, edit));
    if !wanted {
        write(&file, &text).map_err(|e| format!("`{}`: {e}", file.display()))?;
        return Err(not_understood());
    }
    Ok(file.display().to_string())
}

fn not_understood() -> String {
    "its endpoints are written in a way that cannot be changed safely".into()
}

/// The file that holds the pool, with its text.
fn file_with(loaded: &Loaded, pool: &str) -> Result<(PathBuf, String), String> {
    for file in &loaded.files {
        let Ok(text) = fs::read_to_string(file) else { continue };
        let node = tree(&text);
        if node.as_ref().and_then(|node| endpoints(node, pool)).is_some() {
            return Ok((file.clone(), text));
        }
    }
    Err(format!("no file has the pool {} with `endpoints:`", quote(pool)))
}

fn tree(text: &str) -> Option<Node> {
    let mut findings = Diagnostics::new();
    let file = findings.add_file("", text);
    parse(file, text, &mut findings)
}

fn endpoints<'n>(node: &'n Node, pool: &str) -> Option<&'n Node> {
    node.get("pools")?.get(pool)?.get("endpoints")
}

/// Replaces a file as a whole, with its permissions.
fn write(file: &Path, text: &str) -> std::io::Result<()> {
    // a link stays one
    let file = fs::canonicalize(file)?;
    let permissions = fs::metadata(&file)?.permissions();
    let folder = file.parent().unwrap_or(Path::new("."));
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let next = folder.join(format!(".{name}.{}", std::process::id()));
    let written = (|| {
        let mut out = fs::File::create(&next)?;
        out.set_permissions(permissions)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        fs::rename(&next, &file)
    })();
    if written.is_err() {
        // the error that is told is the first
        let _ = fs::remove_file(&next);
    }
    written
}

/// Whether the file says what was wanted.
fn says(loaded: &Loaded, pool: &str, edit: &Edit) -> bool {
    let Some(pool) = loaded.config.pools.get(pool) else { return false };
    let of = |address: &EndpointAddress| -> Option<&Endpoint> {
        pool.endpoints.iter().find(|one| one.address.value == *address)
    };
    match edit {
        Edit::Add(listed) => {
            of(&listed.address).is_some_and(|one| u32::from(one.weight.value) == listed.weight)
        }
        Edit::Remove(address) => of(address).is_none(),
        Edit::Weight(address, weight) => {
            of(address).is_some_and(|one| u32::from(one.weight.value) == *weight)
        }
    }
}

/// The text with the change in it.
fn edited(text: &str, pool: &str, edit: &Edit) -> Result<String, String> {
    let node = tree(text).ok_or_else(not_understood)?;
    let endpoints = endpoints(&node, pool).ok_or_else(not_understood)?;
    let list = List::new(text, endpoints).ok_or_else(not_understood)?;
    let at = |address: &EndpointAddress| {
        list.items.iter().position(|item| address_of(item).is_some_and(|a| a.value == *address))
    };
    let changed = match edit {
        Edit::Add(listed) => match at(&listed.address) {
            Some(_) => return Ok(text.to_owned()),
            None => list.with(&shown(listed)),
        },
        Edit::Remove(address) => match at(address) {
            Some(at) => list.without(at),
            None => return Ok(text.to_owned()),
        },
        Edit::Weight(address, weight) => {
            let at = at(address).ok_or("the file does not list that endpoint")?;
            let item = list.items[at];
            match item.get("weight") {
                Some(node) => Some(replaced(text, node.span, &weight.to_string())),
                None => match &item.value {
                    Value::Scalar(_) => {
                        let address = address_of(item).ok_or_else(not_understood)?;
                        let written = &text[range(address.span)];
                        let map = format!("{{ address: {}, weight: {weight} }}", plain(written));
                        Some(replaced(text, item.span, &map))
                    }
                    _ => None,
                },
            }
        }
    };
    changed.ok_or_else(not_understood)
}

/// The endpoints of a pool in a text.
struct List<'a> {
    text: &'a str,
    items: Vec<&'a Node>,
    form: Form,
}

enum Form {
    /// `endpoints: a:1`
    Single(Span),
    /// `[a:1, b:1]`; where its brackets are.
    Flow(usize, usize),
    /// Lines with `- `; where each begins and ends.
    Block(Vec<(usize, usize)>),
}

impl<'a> List<'a> {
    fn new(text: &'a str, node: &'a Node) -> Option<Self> {
        let items: Vec<&Node> = match &node.value {
            Value::List(items) => items.iter().collect(),
            Value::Scalar(_) => vec![node],
            _ => return None,
        };
        let form = match (&node.value, items.first()) {
            (Value::Scalar(_), _) => Form::Single(node.span),
            (_, Some(first)) => {
                let before = text[..first.span.start as usize].trim_end();
                match before.chars().last()? {
                    '[' => Form::Flow(before.len() - 1, bracket(text, before.len())?),
                    '-' => Form::Block(items.iter().map(|i| line(text, i)).collect::<Option<_>>()?),
                    _ => return None,
                }
            }
            (_, None) => return None,
        };
        Some(List { text, items, form })
    }

    fn with(&self, item: &str) -> Option<String> {
        Some(match &self.form {
            Form::Single(span) => {
                let written = &self.text[range(*span)];
                replaced(self.text, *span, &format!("[{written}, {item}]"))
            }
            Form::Flow(_, close) => {
                let (before, after) = self.text.split_at(*close);
                let (before, space) = before.split_at(before.trim_end().len());
                let comma = if before.ends_with(',') { "" } else { "," };
                format!("{before}{comma} {item}{space}{after}")
            }
            Form::Block(lines) => {
                let (start, end) = *lines.last()?;
                let indent = self.text[start..].split('-').next()?;
                let (before, after) = self.text.split_at(end);
                let newline = if before.ends_with('\n') { "" } else { "\n" };
                format!("{before}{newline}{indent}- {item}\n{after}")
            }
        })
    }

    fn without(&self, at: usize) -> Option<String> {
        if self.items.len() < 2 {
            return None;
        }
        match &self.form {
            Form::Single(_) => None,
            Form::Flow(open, close) => {
                let kept: Vec<_> = (0..self.items.len())
                    .filter(|other| *other != at)
                    .map(|other| self.flow_item(other, *close))
                    .collect();
                let (before, after) = (&self.text[..=*open], &self.text[*close..]);
                Some(format!("{before}{}{after}", kept.join(", ")))
            }
            Form::Block(lines) => {
                let (start, end) = lines[at];
                Some(format!("{}{}", &self.text[..start], &self.text[end..]))
            }
        }
    }

    /// The text of an item between its neighbours.
    fn flow_item(&self, at: usize, close: usize) -> &str {
        let start = self.items[at].span.start as usize;
        let start = match &self.items[at].value {
            Value::Map(_) => self.text[..start].rfind('{').unwrap_or(start),
            _ => start,
        };
        let end = match self.items.get(at + 1) {
            Some(next) => {
                let next_start = next.span.start as usize;
                self.text[..next_start].rfind(',').unwrap_or(next_start)
            }
            None => close,
        };
        self.text[start..end].trim().trim_end_matches(',').trim_end()
    }
}

/// Where the bracket is that closes the one before `from`.
fn bracket(text: &str, from: usize) -> Option<usize> {
    let (mut depth, mut quoted) = (1, None);
    for (at, c) in text[from..].char_indices() {
        match (quoted, c) {
            (Some(quote), c) if c == quote => quoted = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quoted = Some(c),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(from + at);
        }
    }
    None
}

/// From the beginning of the line of an item's dash to the end of its last line.
fn line(text: &str, item: &Node) -> Option<(usize, usize)> {
    let at = item.span.start as usize;
    let start = text[..at].rfind('\n').map_or(0, |at| at + 1);
    let column = text[start..].find('-')?;
    if !text[start..start + column].trim().is_empty() {
        return None;
    }
    let mut end = start;
    for (number, one) in text[start..].split_inclusive('\n').enumerate() {
        let indent = one.len() - one.trim_start().len();
        // what is deeper than the dash still belongs to it
        if number > 0 && (one.trim().is_empty() || indent <= column) {
            break;
        }
        end += one.len();
    }
    Some((start, end))
}

fn address_of(item: &Node) -> Option<Spanned<EndpointAddress>> {
    let node = match &item.value {
        Value::Map(_) => item.get("address")?,
        _ => item,
    };
    let Value::Scalar(scalar) = &node.value else { return None };
    let address = EndpointAddress::from_text(&scalar.text).ok()?;
    Some(Spanned::new(address, node.span))
}

fn shown(listed: &Listed) -> String {
    let address = plain(&listed.address.to_string());
    match listed.weight {
        1 => address,
        weight => format!("{{ address: {address}, weight: {weight} }}"),
    }
}

/// An address as YAML: in quotes where brackets would mean something else.
fn plain(address: &str) -> String {
    match address.contains(['[', ']', '{', '}', ',', '#', ' ']) && !address.starts_with(['"', '\''])
    {
        true => format!("\"{address}\""),
        false => address.to_owned(),
    }
}

fn range(span: Span) -> std::ops::Range<usize> {
    span.start as usize..span.end as usize
}

fn replaced(text: &str, span: Span, with: &str) -> String {
    format!("{}{with}{}", &text[..span.start as usize], &text[span.end as usize..])
}

#[cfg(test)]
mod tests {
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
}
