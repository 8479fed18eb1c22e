//! What the running program answers to commands, as people see it.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value as Json;

use super::command::Asking;
use super::{ask_for, cannot, refused, shown};

/// Whom to ask, and how to show what is said.
#[derive(Debug, Args)]
pub(super) struct How {
    /// As JSON.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) asking: Asking,
}

/// Shows what the running program says.
pub(super) fn said(asking: &Asking, method: &str, path: &str, body: &str) -> ExitCode {
    answered(asking, method, path, body, |text| Ok(text.to_owned()))
}

/// Shows what there is: as JSON, or as `render` makes it.
pub(super) fn seen(
    asking: &Asking,
    json: bool,
    path: &str,
    render: impl Fn(&Json) -> String,
) -> ExitCode {
    answered(asking, "GET", path, "", |text| rendered(text, json, &render))
}

/// Shows what was made, likewise.
pub(super) fn given(
    asking: &Asking,
    json: bool,
    path: &str,
    body: &str,
    render: impl Fn(&Json) -> String,
) -> ExitCode {
    answered(asking, "POST", path, body, |text| rendered(text, json, &render))
}

fn answered(
    asking: &Asking,
    method: &str,
    path: &str,
    body: &str,
    render: impl Fn(&str) -> Result<String, String>,
) -> ExitCode {
    match ask_for(asking, method, path, body) {
        Ok((status, text)) if (200..300).contains(&status) => match render(&text) {
            Ok(text) => shown(text),
            Err(why) => cannot(why),
        },
        Ok((400..500, text)) => refused(text.trim_end()),
        Ok((status, text)) => cannot(format!("Transom answers {status}: {}", text.trim_end())),
        Err(code) => code,
    }
}

fn rendered(text: &str, json: bool, render: impl Fn(&Json) -> String) -> Result<String, String> {
    match serde_json::from_str::<Json>(text) {
        Ok(value) if json => Ok(format!("{value:#}\n")),
        Ok(value) => Ok(render(&value)),
        Err(error) => Err(format!("what Transom answers is no JSON: {error}")),
    }
}

/// Every byte that could mean something else in a path.
pub(super) fn escaped(text: &str) -> String {
    transom_balance::discovery::call::escaped(text)
}

/// Columns with two spaces between them; the last one is as wide as it is.
pub(super) fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

pub(super) fn text(value: &Json) -> String {
    let text = match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    // what somebody else wrote must not steer the terminal
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The texts of a list.
pub(super) fn words(value: &Json) -> String {
    value.as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(", ")
}
