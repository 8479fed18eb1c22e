//! Writes a change of a pool into the file, and leaves every other letter of it as it is.
//!
//! The text is changed at the places that the tree knows. What comes of it must say of all pools
//! exactly what was wanted and nothing else, else nothing is written: a file that is written in a way
//! that is not understood here is left to its author.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use transom_balance::discovery::Listed;
use transom_settings::{
    Diagnostics, EndpointAddress, FromText, Node, Span, Spanned, Value, parse, quote,
};

use crate::admin::Edit;
use crate::config::{Endpoint, Pool};
use crate::load::{Loaded, load, load_with};

/// Writes `edit` into the file in which the pool stands, and gives that file.
///
/// # Errors
/// Why it was not written.
pub fn save(path: Option<&Path>, pool: &str, edit: &Edit) -> Result<String, String> {
    let loaded =
        load(path, false).map_err(|_| "the file has an error; `transom check` tells it")?;
    let (file, text) = file_with(&loaded, pool)?;
    let edited = edited(&text, pool, edit)?;
    // what the whole says is decided by all of its files together
    if !load_with(path, &file, &edited).is_ok_and(|then| says(&loaded, &then, pool, edit)) {
        return Err(not_understood());
    }
    if fs::read_to_string(&file).ok().as_deref() != Some(&text) {
        return Err(format!("`{}` was changed by somebody else just now", file.display()));
    }
    write(&file, &edited).map_err(|e| format!("`{}`: {e}", file.display()))?;
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

/// Replaces a file as a whole, with its permissions and, as far as we may, its owner.
fn write(file: &Path, text: &str) -> std::io::Result<()> {
    // a link stays one
    let file = fs::canonicalize(file)?;
    let before = fs::metadata(&file)?;
    let folder = file.parent().unwrap_or(Path::new("."));
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let next = folder.join(format!(".{name}.{}", std::process::id()));
    let written = (|| {
        // One that a process with the same number left, as every one has in a container.
        let _ = fs::remove_file(&next);
        // There may be secrets in it: until it is whole, it is for nobody else.
        let mut out =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&next)?;
        out.write_all(text.as_bytes())?;
        let now = out.metadata()?;
        if (now.uid(), now.gid()) != (before.uid(), before.gid()) {
            // only root gives files away, but who is in a group may leave them to it
            let _ = fchown(&out, Some(before.uid()), Some(before.gid()))
                .or_else(|_| fchown(&out, None, Some(before.gid())));
        }
        out.set_permissions(before.permissions())?;
        out.sync_all()?;
        fs::rename(&next, &file)
    })();
    if written.is_err() {
        // the error that is told is the first
        let _ = fs::remove_file(&next);
    }
    written
}

/// Whether what was wanted is the only thing that is said otherwise of pools.
fn says(before: &Loaded, after: &Loaded, pool: &str, edit: &Edit) -> bool {
    let (before, after) = (&before.config.pools, &after.config.pools);
    let (Some(then), Some(now)) = (before.get(pool), after.get(pool)) else { return false };
    let others = before.len() == after.len()
        && before.iter().all(|(name, one)| &***name == pool || after.get(&***name) == Some(one));
    others && without(then, edit.address()) == without(now, edit.address()) && has(then, now, edit)
}

/// The pool as far as it does not concern one address.
fn without(pool: &Pool, address: &EndpointAddress) -> Pool {
    let others = pool.endpoints.iter().filter(|one| one.address.value != *address);
    Pool { endpoints: others.cloned().collect(), ..pool.clone() }
}

/// Whether what is said of that address is what was wanted.
fn has(then: &Pool, now: &Pool, edit: &Edit) -> bool {
    let of = |pool: &Pool| -> Option<Endpoint> {
        pool.endpoints.iter().find(|one| one.address.value == *edit.address()).cloned()
    };
    match (edit, of(then), of(now)) {
        (Edit::Add(listed), _, Some(now)) => {
            let labels = now.labels.iter().map(|(name, value)| (name.to_string(), value.clone()));
            u32::from(now.weight.value) == listed.weight
                && now.priority == listed.priority
                && now.zone.as_ref().map(ToString::to_string) == listed.zone
                && labels.collect::<std::collections::BTreeMap<_, _>>() == listed.labels
        }
        (Edit::Remove(_), _, now) => now.is_none(),
        (Edit::Weight(_, weight), Some(then), Some(now)) => {
            u32::from(now.weight.value) == *weight
                && Endpoint { weight: then.weight, ..now } == then
        }
        _ => false,
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
            Some(at) => weighed(text, list.items[at], listed.weight),
            None => list.with(&shown(listed)),
        },
        Edit::Remove(address) => match at(address) {
            Some(at) => list.without(at),
            None => return Ok(text.to_owned()),
        },
        Edit::Weight(address, weight) => {
            let at = at(address).ok_or("the file does not list that endpoint")?;
            weighed(text, list.items[at], *weight)
        }
    };
    changed.ok_or_else(not_understood)
}

/// The text with another weight for an endpoint.
fn weighed(text: &str, item: &Node, weight: u32) -> Option<String> {
    match (item.get("weight"), &item.value) {
        (Some(node), _) => Some(replaced(text, node.span, &weight.to_string())),
        (None, _) if weight == 1 => Some(text.to_owned()),
        (None, Value::Scalar(_)) => {
            let written = &text[range(address_of(item)?.span)];
            let map = format!("{{ address: {}, weight: {weight} }}", plain(written));
            Some(replaced(text, item.span, &map))
        }
        _ => None,
    }
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
    /// `[a:1, b:1]`; where its last bracket is.
    Flow(usize),
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
                    '[' => Form::Flow(bracket(text, before.len())?),
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
            Form::Flow(close) => {
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
            Form::Flow(_) => {
                let (from, to) = self.place_in_flow(at)?;
                Some(format!("{}{}", &self.text[..from], &self.text[to..]))
            }
            Form::Block(lines) => {
                let (start, end) = lines[at];
                Some(format!("{}{}", &self.text[..start], &self.text[end..]))
            }
        }
    }

    /// From where to where an item in brackets is taken out: with what stands between it and the next
    /// one, or, of the last one, the one before it.
    fn place_in_flow(&self, at: usize) -> Option<(usize, usize)> {
        let start = |at: usize| self.items.get(at).map(|item| item.span.start as usize);
        let end = |at: usize| match &self.items.get(at)?.value {
            Value::Map(_) => {
                let open = start(at).filter(|at| self.text[*at..].starts_with('{'))?;
                Some(bracket(self.text, open + 1)? + 1)
            }
            _ => Some(self.items[at].span.end as usize),
        };
        if let Some(next) = start(at + 1) {
            return Some((start(at)?, next));
        }
        let (from, to) = (end(at.checked_sub(1)?)?, end(at)?);
        let between = &self.text[from..start(at)?];
        let comma = self.text[to..].starts_with(',');
        match between.contains('\n') {
            // what is said of the one before stays where it is
            true => Some((from + between.trim_end().len(), to + usize::from(comma))),
            false => Some((from, to)),
        }
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
    let (mut end, mut seen) = (start, start);
    for (number, one) in text[start..].split_inclusive('\n').enumerate() {
        let indent = one.len() - one.trim_start().len();
        let empty = one.trim().is_empty();
        // what is deeper than the dash still belongs to it
        if number > 0 && !empty && indent <= column {
            break;
        }
        seen += one.len();
        if !empty {
            end = seen;
        }
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
    if (Listed { weight: 1, ..listed.clone() }) != Listed::new(listed.address.clone()) {
        // JSON is YAML
        return listed.to_json().to_string();
    }
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
mod tests;
