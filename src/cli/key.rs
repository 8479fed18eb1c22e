//! `transom key`: makes, rotates and revokes keys of consumers.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use super::answers::{How, aligned, escaped, given, said, seen, text, words};
use super::command::Asking;

#[derive(Debug, Args)]
pub(super) struct Key {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a key for a consumer of the file or the store, and print it: it is shown this once.
    Create {
        /// Whose key it is.
        consumer: String,
        /// From when on it is refused: a day such as `2027-01-31`, or how long from now, `90d`.
        #[arg(long, value_name = "WHEN")]
        expires: Option<String>,
        /// What it allows, where that is less than what its consumer may do; may be given several
        /// times.
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
        /// A remark, to know it again.
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
        #[command(flatten)]
        how: How,
    },
    /// Make a key in the place of another, and print it.
    Rotate {
        /// The id, as `key list` shows it.
        id: String,
        /// For how long the old one stays valid.
        #[arg(long, value_name = "TIME", default_value = "24h")]
        grace: String,
        #[command(flatten)]
        how: How,
    },
    /// Make a key invalid, at once and for good.
    Revoke {
        id: String,
        #[command(flatten)]
        asking: Asking,
    },
    /// The keys of the store, a line each; never the keys themselves.
    List {
        /// Of one consumer.
        #[arg(value_name = "CONSUMER")]
        consumer: Option<String>,
        /// From the one after this id on.
        #[arg(long, value_name = "ID", default_value = "")]
        after: String,
        /// At most so many.
        #[arg(long, value_name = "N", default_value_t = 1000)]
        limit: u32,
        #[command(flatten)]
        how: How,
    },
}

impl Key {
    pub(super) fn run(&self) -> ExitCode {
        match &self.what {
            What::Create { consumer, expires, scopes, note, how } => {
                let scopes = (!scopes.is_empty()).then_some(scopes);
                let body = json!({ "expires": expires, "scopes": scopes, "note": note });
                let path = format!("/consumers/{}/keys", escaped(consumer));
                given(&how.asking, how.json, &path, &body.to_string(), once)
            }
            What::Rotate { id, grace, how } => {
                let (path, body) =
                    (format!("/keys/{}/rotate", escaped(id)), json!({ "grace": grace }));
                given(&how.asking, how.json, &path, &body.to_string(), once)
            }
            What::Revoke { id, asking } => {
                said(asking, "DELETE", &format!("/keys/{}", escaped(id)), "")
            }
            What::List { consumer, after, limit, how } => {
                let of = consumer.as_ref().map(|name| format!("&consumer={}", escaped(name)));
                let of = of.unwrap_or_default();
                let path = format!("/keys?after={}&limit={limit}{of}", escaped(after));
                seen(&how.asking, how.json, &path, list)
            }
        }
    }
}

/// The key itself stands alone in its line, so that it can be taken from there.
fn once(key: &Json) -> String {
    let expires = key["expires"].as_str().map(|at| format!(", until {at}")).unwrap_or_default();
    let (id, consumer) = (text(&key["id"]), text(&key["consumer"]));
    let key = text(&key["key"]);
    format!("{key}\nThis is key {id} of {consumer}{expires}. It is not shown again.\n")
}

pub(super) fn list(keys: &Json) -> String {
    let head = ["KEY", "CONSUMER", "STANDING", "SCOPES", "CREATED", "EXPIRES", "NOTE"];
    let mut rows = vec![head.map(String::from)];
    for key in keys.as_array().into_iter().flatten() {
        rows.push([
            text(&key["id"]),
            text(&key["consumer"]),
            text(&key["standing"]),
            words(&key["scopes"]),
            text(&key["created"]),
            text(&key["expires"]),
            text(&key["note"]),
        ]);
    }
    aligned(&rows)
}
