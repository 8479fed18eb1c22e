//! `transom consumer`: shows who may ask, and changes what of them is in the store.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use super::answers::{How, aligned, escaped, said, seen, text, words};
use super::command::Asking;
use super::refused;

#[derive(Debug, Args)]
pub(super) struct Consumer {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The consumers of the file and of the store, a line each.
    List {
        /// From the one after this name on.
        #[arg(long, value_name = "NAME", default_value = "")]
        after: String,
        /// At most so many.
        #[arg(long, value_name = "N", default_value_t = 1000)]
        limit: u32,
        #[command(flatten)]
        how: How,
    },
    /// A consumer, what it has used of quotas, and its keys in the store.
    Show {
        /// Its name.
        name: String,
        #[command(flatten)]
        how: How,
    },
    /// What somebody has used of quotas; also who is no consumer, such as the name in a token.
    Usage {
        /// Its name.
        name: String,
        #[command(flatten)]
        how: How,
    },
    /// Add a consumer to the store, or say anew what it is.
    Add {
        /// Its name.
        name: String,
        /// A group it belongs to; may be given several times.
        #[arg(long = "group", value_name = "NAME")]
        groups: Vec<String>,
        /// What it may do; may be given several times.
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
        /// A plan of the file.
        #[arg(long, value_name = "NAME")]
        plan: Option<String>,
        /// A remark; may be given several times.
        #[arg(long = "label", value_name = "NAME=TEXT")]
        labels: Vec<String>,
        #[command(flatten)]
        asking: Asking,
    },
    /// Take a consumer out of the store, with its keys.
    Remove {
        /// Its name.
        name: String,
        #[command(flatten)]
        asking: Asking,
    },
    /// Add the consumers of a file, all of them or none: a JSON object in each line.
    #[command(after_help = "\
A line: {\"name\": \"ann\", \"groups\": [\"staff\"], \"plan\": \"vip\", \"keys\": [{\"sha256\": \"...\"}]}")]
    Import {
        /// A consumer in each line.
        file: PathBuf,
        #[command(flatten)]
        asking: Asking,
    },
}

impl Consumer {
    pub(super) fn run(&self) -> ExitCode {
        match &self.what {
            What::List { after, limit, how } => {
                let path = format!("/consumers?after={}&limit={limit}", escaped(after));
                seen(&how.asking, how.json, &path, list)
            }
            What::Show { name, how } => {
                seen(&how.asking, how.json, &format!("/consumers/{}", escaped(name)), show)
            }
            What::Usage { name, how } => {
                seen(&how.asking, how.json, &format!("/consumers/{}/usage", escaped(name)), usage)
            }
            What::Add { name, groups, scopes, plan, labels, asking } => {
                let mut named = serde_json::Map::new();
                for label in labels {
                    let Some((label, value)) = label.split_once('=') else {
                        return refused(format!("--label: `{label}` is not `NAME=TEXT`"));
                    };
                    named.insert(label.to_owned(), value.into());
                }
                let body =
                    json!({ "groups": groups, "scopes": scopes, "plan": plan, "labels": named });
                let path = format!("/consumers/{}", escaped(name));
                said(asking, "PUT", &path, &body.to_string())
            }
            What::Remove { name, asking } => {
                said(asking, "DELETE", &format!("/consumers/{}", escaped(name)), "")
            }
            What::Import { file, asking } => match std::fs::read_to_string(file) {
                Ok(lines) => said(asking, "POST", "/consumers", &lines),
                Err(error) => refused(format!("{}: {error}", file.display())),
            },
        }
    }
}

fn list(consumers: &Json) -> String {
    let mut rows = vec![["CONSUMER", "GROUPS", "SCOPES", "PLAN", "FROM"].map(String::from)];
    for consumer in consumers.as_array().into_iter().flatten() {
        rows.push([
            text(&consumer["name"]),
            words(&consumer["groups"]),
            words(&consumer["scopes"]),
            text(&consumer["plan"]),
            text(&consumer["from"]),
        ]);
    }
    aligned(&rows)
}

fn show(consumer: &Json) -> String {
    let mut out = list(&Json::from(vec![consumer.clone()]));
    for (label, value) in consumer["labels"].as_object().into_iter().flatten() {
        out.push_str(&format!("{label}: {}\n", text(value)));
    }
    if consumer["usage"].as_array().is_some_and(|usage| !usage.is_empty()) {
        out.push_str(&format!("\n{}", usage(&consumer["usage"])));
    }
    match consumer["keys"].as_array().is_some_and(|keys| !keys.is_empty()) {
        true => out.push_str(&format!("\n{}", super::key::list(&consumer["keys"]))),
        false => out.push_str("\nno keys in the store\n"),
    }
    out
}

fn usage(usage: &Json) -> String {
    let mut rows = vec![["QUOTA", "POLICY", "USED", "LEFT", "RESETS"].map(String::from)];
    for quota in usage.as_array().into_iter().flatten() {
        rows.push(["quota", "policy", "used", "left", "resets"].map(|key| text(&quota[key])));
    }
    match rows.len() {
        1 => "no quota is counted for each consumer\n".to_owned(),
        _ => aligned(&rows),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_is_shown_with_its_keys() {
        let ann = json!({
            "name": "ann", "groups": ["staff", "night"], "scopes": [], "plan": "vip", "from": "store",
            "labels": { "team": "sales\u{1b}[2J" },
            "usage": [
                { "policy": "per-day", "quota": "1000/day", "used": 42, "left": 958,
                    "resets": "2026-01-02T00:00:00Z" },
                { "policy": "all", "quota": "20000/month", "used": null, "left": null,
                    "resets": "2026-02-01T00:00:00Z" },
            ],
            "keys": [{ "id": "abc", "consumer": "ann", "standing": "leaving", "scopes": null,
                "note": "ci", "created": "2026-01-01T00:00:00Z", "expires": "2026-02-01T00:00:00Z" }],
        });
        let expected = "\
CONSUMER  GROUPS        SCOPES  PLAN  FROM
ann       staff, night          vip   store
team: sales [2J

QUOTA        POLICY   USED  LEFT  RESETS
1000/day     per-day  42    958   2026-01-02T00:00:00Z
20000/month  all                  2026-02-01T00:00:00Z

KEY  CONSUMER  STANDING  SCOPES  CREATED               EXPIRES               NOTE
abc  ann       leaving           2026-01-01T00:00:00Z  2026-02-01T00:00:00Z  ci
";
        assert_eq!(show(&ann), expected);
    }
}
