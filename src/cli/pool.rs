//! `transom pool`: shows pools of the running program, and changes them.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use serde_json::Value as Json;

use super::answers::{How, aligned, escaped, said, seen, text};
use super::command::Asking;

#[derive(Debug, Args)]
pub(super) struct Pool {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Every pool in a line.
    List {
        #[command(flatten)]
        how: How,
    },
    /// The members of a pool: how each stands, why and since when, what it does and how fast.
    Show {
        /// Its name, as it stands below `pools:`.
        pool: String,
        #[command(flatten)]
        how: How,
    },
    /// Add an endpoint.
    Add {
        /// Its name, as it stands below `pools:`.
        pool: String,
        /// Such as `10.0.0.3:8080`.
        address: String,
        /// Its share of requests beside the others'.
        #[arg(long, value_name = "N")]
        weight: Option<u16>,
        #[command(flatten)]
        change: Change,
    },
    /// Take a member out at once; what is open there finishes.
    Remove(Member),
    /// Give a member nothing new, but for clients that stick to it.
    Drain(Standing),
    /// Let a member be used again, one that is ejected too.
    Ready(Standing),
    /// Give a member nothing at all.
    Maintenance(Standing),
    /// Give a member another weight.
    Weight {
        /// Its name, as it stands below `pools:`.
        pool: String,
        address: String,
        weight: u16,
        #[command(flatten)]
        change: Change,
    },
}

#[derive(Debug, Args)]
struct Change {
    /// Write it into the file as well.
    #[arg(long)]
    save: bool,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Debug, Args)]
struct Member {
    /// Its name, as it stands below `pools:`.
    pool: String,
    /// Its address, or what it was written as.
    address: String,
    #[command(flatten)]
    change: Change,
}

#[derive(Debug, Args)]
struct Standing {
    /// Its name, as it stands below `pools:`.
    pool: String,
    /// Its address, or what it was written as.
    address: String,
    #[command(flatten)]
    asking: Asking,
}

impl Pool {
    pub(super) fn run(&self) -> ExitCode {
        match &self.what {
            What::List { how } => seen(&how.asking, how.json, "/pools", list),
            What::Show { pool, how } => {
                let path = format!("/pools/{}", escaped(pool));
                seen(&how.asking, how.json, &path, |pool| table(pool, SystemTime::now()))
            }
            What::Add { pool, address, weight, change } => {
                let mut body = serde_json::json!({ "address": address });
                if let Some(weight) = weight {
                    body["weight"] = (*weight).into();
                }
                let path = format!("/pools/{}/members", escaped(pool));
                changed(change, "POST", &path, &body.to_string())
            }
            What::Remove(Member { pool, address, change }) => {
                changed(change, "DELETE", &place(pool, address, ""), "")
            }
            What::Drain(standing) => standing.set("drain"),
            What::Ready(standing) => standing.set("ready"),
            What::Maintenance(standing) => standing.set("maintenance"),
            What::Weight { pool, address, weight, change } => {
                changed(change, "POST", &place(pool, address, "/weight"), &weight.to_string())
            }
        }
    }
}

impl Standing {
    fn set(&self, what: &str) -> ExitCode {
        let path = place(&self.pool, &self.address, &format!("/{what}"));
        said(&self.asking, "POST", &path, "")
    }
}

fn place(pool: &str, address: &str, what: &str) -> String {
    format!("/pools/{}/members/{}{what}", escaped(pool), escaped(address))
}

fn changed(change: &Change, method: &str, path: &str, body: &str) -> ExitCode {
    let save = if change.save { "?save" } else { "" };
    said(&change.asking, method, &format!("{path}{save}"), body)
}

fn list(pools: &Json) -> String {
    let mut rows =
        vec![["POOL", "MEMBERS", "USABLE", "IN FLIGHT", "RATE", "REMARKS"].map(String::from)];
    for pool in pools.as_array().into_iter().flatten() {
        let mut remarks = Vec::new();
        if pool["panics"] == true {
            remarks.push("so few are usable that all are used".to_owned());
        }
        match pool["sources-failing"].as_u64() {
            None | Some(0) => {}
            Some(n) => remarks.push(format!("{n} of its sources fail")),
        }
        match pool["changed-by-hand"].as_u64() {
            None | Some(0) => {}
            Some(n) => remarks.push(format!("{n} changed by hand")),
        }
        rows.push([
            text(&pool["name"]),
            text(&pool["members"]),
            text(&pool["usable"]),
            text(&pool["in-flight"]),
            rate(&pool["rate"]),
            remarks.join(", "),
        ]);
    }
    aligned(&rows)
}

fn table(pool: &Json, now: SystemTime) -> String {
    let head = [
        "ENDPOINT",
        "STATE",
        "SINCE",
        "WEIGHT",
        "IN FLIGHT",
        "RATE",
        "ERRORS",
        "EJECTED",
        "P50",
        "P99",
        "REASON",
    ];
    let mut rows = vec![head.map(String::from)];
    for member in pool["members"].as_array().into_iter().flatten() {
        rows.push([
            text(&member["endpoint"]),
            text(&member["state"]),
            ago(&member["since"], now),
            weight(member),
            text(&member["in-flight"]),
            rate(&member["rate"]),
            errors(member),
            text(&member["ejections"]),
            millis(&member["p50-ms"]),
            millis(&member["p99-ms"]),
            text(&member["reason"]),
        ]);
    }
    let mut out = aligned(&rows);
    if rows.len() == 1 {
        out.push_str("  the pool has no members\n");
    }
    if pool["panics"] == true {
        out.push_str("\nso few members are usable that all are used\n");
    }
    let sources = pool["sources"].as_array().into_iter().flatten();
    for (at, source) in sources.enumerate() {
        if at == 0 {
            out.push('\n');
        }
        let age = match source["age"].as_f64() {
            Some(age) => format!("{} known, {} old", text(&source["found"]), time(age as u64)),
            None => "nothing known yet".to_owned(),
        };
        let failing = match source["failing"].as_str() {
            Some(why) => format!("; FAILS: {why}"),
            None => String::new(),
        };
        out.push_str(&format!("source {}: {age}{failing}\n", text(&source["source"])));
        for remark in source["remarks"].as_array().into_iter().flatten() {
            out.push_str(&format!("  {}\n", text(remark)));
        }
    }
    let changes: Vec<_> = pool["changed-by-hand"].as_array().into_iter().flatten().collect();
    if !changes.is_empty() {
        out.push_str("\nchanged by hand, until the file says otherwise of it:\n");
    }
    for change in changes {
        let (address, since) = (text(&change["address"]), ago(&change["since"], now));
        out.push_str(&format!("  {address}: {} ({since} ago)\n", text(&change["change"])));
    }
    if let Some(scale) = pool["scale"].as_object() {
        out.push_str(&scaling(scale, now));
    }
    out
}

fn scaling(scale: &serde_json::Map<String, Json>, now: SystemTime) -> String {
    let of = |key: &str| text(scale.get(key).unwrap_or(&Json::Null));
    let mut out = format!(
        "\nscale {} to {}: {} ready, {} starting, {} leaving; {} wanted, {} requests waiting\n",
        of("min"),
        of("max"),
        of("ready"),
        of("starting"),
        of("leaving"),
        of("wanted"),
        of("waiting"),
    );
    for decision in scale.get("decisions").and_then(Json::as_array).into_iter().flatten() {
        let at = ago(&decision["at"], now);
        out.push_str(&format!("  {at} ago: {}\n", text(&decision["what"])));
    }
    out
}

fn weight(member: &Json) -> String {
    let weight = member["weight"].as_f64().unwrap_or_default();
    match member["effective-weight"].as_f64() {
        Some(effective) if (effective - weight).abs() > 0.005 => {
            format!("{effective:.1} of {weight}")
        }
        _ => format!("{weight}"),
    }
}

fn rate(value: &Json) -> String {
    match value.as_f64() {
        Some(rate) if rate >= 0.05 => format!("{rate:.1}/s"),
        _ => "0/s".into(),
    }
}

fn errors(member: &Json) -> String {
    let all = member["failures"].as_u64().unwrap_or_default();
    match member["failure-rate"].as_f64() {
        Some(rate) if rate >= 0.05 => format!("{all} ({rate:.1}/s)"),
        _ => all.to_string(),
    }
}

fn millis(value: &Json) -> String {
    match value.as_f64() {
        None => "-".into(),
        Some(ms) if ms < 10.0 => format!("{ms:.1}ms"),
        Some(ms) if ms < 10_000.0 => format!("{ms:.0}ms"),
        Some(ms) => format!("{:.0}s", ms / 1e3),
    }
}

fn ago(since: &Json, now: SystemTime) -> String {
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_u64().unwrap_or_default());
    time(now.duration_since(then).map_or(0, |since| since.as_secs()))
}

fn time(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h{}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{}h", seconds / 86400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pool_is_shown_as_a_table() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let pool = json!({
            "panics": false,
            "members": [
                { "endpoint": "10.0.0.1:80", "state": "up", "since": 940, "reason": "", "weight": 1,
                  "effective-weight": 1.0, "in-flight": 3, "rate": 12.34, "failures": 0,
                  "failure-rate": 0.0, "ejections": 0, "p50-ms": 1.25, "p99-ms": 20.4 },
                { "endpoint": "b.internal:80 (10.0.0.2)", "state": "drain", "since": 999,
                  "reason": "by hand", "weight": 10, "effective-weight": 2.5, "in-flight": 0,
                  "rate": 0.0, "failures": 7, "failure-rate": 0.5, "ejections": 2, "p50-ms": null, "p99-ms": null },
            ],
            "sources": [{ "source": "dns b.internal", "found": 1, "age": 61.0, "failing": "DNS does not answer" }],
            "changed-by-hand": [{ "address": "b.internal:80", "change": "drain", "since": 999 }],
        });
        let expected = "\
ENDPOINT                  STATE  SINCE  WEIGHT     IN FLIGHT  RATE    ERRORS     EJECTED  P50    P99   REASON
10.0.0.1:80               up     1m0s   1          3          12.3/s  0          0        1.2ms  20ms
b.internal:80 (10.0.0.2)  drain  1s     2.5 of 10  0          0/s     7 (0.5/s)  2        -      -     by hand

source dns b.internal: 1 known, 1m1s old; FAILS: DNS does not answer

changed by hand, until the file says otherwise of it:
  b.internal:80: drain (1s ago)
";
        assert_eq!(table(&pool, now), expected);
    }
}
