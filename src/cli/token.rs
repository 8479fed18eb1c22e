//! `transom token`: revokes tokens before they end by themselves.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};
use transom_gateway::moment::Moment;

use super::answers::{How, aligned, escaped, said, seen, text};
use super::command::Asking;

#[derive(Debug, Args)]
pub(super) struct Token {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Believe no token with this claim any more, from the next request on.
    Revoke {
        /// What the claim says: the id of a token, or with `--claim sub` whose they are.
        value: String,
        /// The claim.
        #[arg(long, value_name = "NAME", default_value = "jti")]
        claim: String,
        /// For how long: longer than tokens live.
        #[arg(long = "for", value_name = "TIME", default_value = "24h")]
        time: String,
        #[command(flatten)]
        asking: Asking,
    },
    /// Take it back.
    Restore {
        /// What the claim says.
        value: String,
        /// The claim.
        #[arg(long, value_name = "NAME", default_value = "jti")]
        claim: String,
        #[command(flatten)]
        asking: Asking,
    },
    /// What is revoked, a line each, and until when; without what files of the configuration say.
    List {
        #[command(flatten)]
        how: How,
    },
}

impl Token {
    pub(super) fn run(&self) -> ExitCode {
        match &self.what {
            What::Revoke { value, claim, time, asking } => {
                let body = json!({ "value": value, "claim": claim, "for": time });
                said(asking, "POST", "/revoked", &body.to_string())
            }
            What::Restore { value, claim, asking } => said(
                asking,
                "DELETE",
                &format!("/revoked/{}/{}", escaped(claim), escaped(value)),
                "",
            ),
            What::List { how } => seen(&how.asking, how.json, "/revoked", list),
        }
    }
}

fn list(revoked: &Json) -> String {
    let mut rows = vec![["CLAIM", "VALUE", "UNTIL"].map(String::from)];
    for entry in revoked.as_array().into_iter().flatten() {
        let until = entry["until"].as_i64().and_then(Moment::of_second);
        let until = until.map(|moment| moment.to_string()).unwrap_or_default();
        rows.push([text(&entry["claim"]), text(&entry["value"]), until]);
    }
    aligned(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_revoked_is_shown_until_when() {
        let entries = json!([{ "claim": "sub", "value": "ada\u{1b}", "until": 1_795_462_309 }]);
        assert_eq!(list(&entries), "CLAIM  VALUE  UNTIL\nsub    ada    2026-11-23T19:31:49Z\n");
    }
}
