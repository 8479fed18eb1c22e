//! `transom api`: shows APIs, their versions, and who calls them.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value as Json;

use super::answers::{How, aligned, escaped, seen, text};

#[derive(Debug, Args)]
pub(super) struct Api {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The APIs and their versions, a line each.
    List {
        #[command(flatten)]
        how: How,
    },
    /// An API, and who calls each of its versions.
    Show {
        /// Its name, as it stands below `apis:`.
        name: String,
        #[command(flatten)]
        how: How,
    },
}

impl Api {
    pub(super) fn run(&self) -> ExitCode {
        match &self.what {
            What::List { how } => seen(&how.asking, how.json, "/apis", list),
            What::Show { name, how } => {
                seen(&how.asking, how.json, &format!("/apis/{}", escaped(name)), show)
            }
        }
    }
}

fn list(apis: &Json) -> String {
    let head = ["API", "VERSION", "AGE", "DEPRECATED", "SUNSET", "PATH", "CALLS", "CALLERS"];
    let mut rows = vec![head.map(String::from)];
    for api in apis.as_array().into_iter().flatten() {
        for version in api["versions"].as_array().into_iter().flatten() {
            rows.push([
                text(&api["name"]),
                text(&version["name"]),
                text(&version["age"]),
                day(&version["deprecated"]),
                day(&version["sunset"]),
                place(version),
                text(&version["calls"]),
                match &version["callers"] {
                    Json::Array(callers) => callers.len().to_string(),
                    count => text(count),
                },
            ]);
        }
    }
    aligned(&rows)
}

fn show(api: &Json) -> String {
    let mut out = list(&Json::from(vec![api.clone()]));
    for version in api["versions"].as_array().into_iter().flatten() {
        let callers = version["callers"].as_array().map(Vec::as_slice).unwrap_or_default();
        if callers.is_empty() {
            out.push_str(&format!("\n{} was not called\n", text(&version["name"])));
            continue;
        }
        out.push_str(&format!("\nwho calls {}\n", text(&version["name"])));
        let mut rows = vec![["CONSUMER", "CALLS", "LAST"].map(String::from)];
        rows.extend(callers.iter().map(|caller| {
            [text(&caller["consumer"]), text(&caller["calls"]), text(&caller["last"])]
        }));
        out.push_str(&aligned(&rows));
    }
    out
}

/// A point in time; a whole day without its hours.
fn day(moment: &Json) -> String {
    let moment = text(moment);
    moment.strip_suffix("T00:00:00Z").unwrap_or(&moment).to_owned()
}

fn place(version: &Json) -> String {
    let (path, by) = (text(&version["path"]), text(&version["asked-by"]));
    match by.as_str() {
        "" => path,
        query if query.starts_with('?') => format!("{path}{query}"),
        field => format!("{path} ({field})"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn gw_37_who_still_calls_a_version_is_shown() {
        let api = json!({ "name": "orders", "versions": [
            { "name": "v1", "path": "/orders", "asked-by": "api-version: v1", "age": "sunset",
              "deprecated": "2026-10-01T00:00:00Z", "sunset": "2027-04-01T12:00:00Z", "calls": 3,
              "callers": [{ "consumer": "ann", "calls": 3, "last": "2026-11-22T10:00:00Z" }] },
            { "name": "v2", "path": "/orders/v2", "asked-by": "", "age": "published",
              "deprecated": null, "sunset": null, "calls": 0, "callers": [] },
        ] });
        let expected = "\
API     VERSION  AGE        DEPRECATED  SUNSET                PATH                       CALLS  CALLERS
orders  v1       sunset     2026-10-01  2027-04-01T12:00:00Z  /orders (api-version: v1)  3      1
orders  v2       published                                    /orders/v2                 0      0

who calls v1
CONSUMER  CALLS  LAST
ann       3      2026-11-22T10:00:00Z

v2 was not called
";
        assert_eq!(show(&api), expected);
    }
}
