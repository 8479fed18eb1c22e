//! `transom explain fault` and `transom explain policy`: what the words of the program mean.

use std::fmt::Write as _;

use transom_gateway::policy::{POLICIES, page};
use transom_proxy::fault::{Code, Retry};
use transom_proxy::stage::Stage;
use transom_settings::{Choice, closest, list, quote};

use crate::config::Policy;

/// The kinds that are no rules of the gateway: name, stage, in a line, and the page.
const OTHERS: [(&str, Stage, &str, &str); 2] = [
    (
        "address",
        Stage::Admit,
        "Lets clients pass or not, by their address.",
        include_str!("address.md"),
    ),
    ("headers", Stage::Shape, "Changes header fields.", include_str!("headers.md")),
];

/// `transom explain fault`: every fault in a line.
pub fn faults() -> String {
    let rows = Code::ALL.iter().map(|code| code.row());
    rows.map(|row| format!("{:24} {}  {}\n", row.code, row.status, row.meaning)).collect()
}

/// `transom explain fault NAME`: the row of the table.
///
/// # Errors
/// That there is no such fault, and which there are.
pub fn fault(name: &str) -> Result<String, String> {
    let Some(code) = Code::named(name) else {
        return Err(unknown("fault", name, Code::ALL.iter().map(|code| code.as_str()).collect()));
    };
    let row = code.row();
    let retry = match row.retry {
        Retry::No => "never",
        Retry::Yes => "at another endpoint, nothing was sent",
        Retry::IfIdempotent => "at another endpoint, if the method is idempotent",
    };
    Ok(format!(
        "fault {}\n  meaning: {}\n  remedy: {}\n  status: {}\n  grpc: {} {}\n  proxy-status: {}\n  blame: {}\n  tried again: {retry}\n  client is told: {}\n",
        row.code,
        row.meaning,
        row.remedy,
        row.status,
        row.grpc.0,
        row.grpc.1,
        row.proxy_status,
        row.blame.as_str(),
        row.sentence,
    ))
}

/// `transom explain policy`: every kind of policy in a line, in the order of their stages.
pub fn policies() -> String {
    let others = OTHERS.map(|(name, stage, summary, _)| (name, stage, summary));
    let rules = POLICIES.iter().map(|entry| (entry.name, entry.stage, entry.summary));
    let mut all: Vec<_> = others.into_iter().chain(rules).collect();
    all.sort_by_key(|(_, stage, _)| *stage);
    let mut told = String::new();
    for (name, stage, summary) in all {
        let _ = writeln!(told, "{name:20} {:10} {summary}", stage.as_str());
    }
    told
}

/// `transom explain policy NAME`: the page of the manual.
///
/// # Errors
/// That there is no such policy, and which there are.
pub fn policy(name: &str) -> Result<String, String> {
    let other = OTHERS.iter().find(|(other, ..)| *other == name);
    match other.map(|(.., page)| page.trim_end()).or_else(|| page(name)) {
        Some(page) => Ok(format!("{page}\n")),
        None => Err(unknown("policy", name, Policy::keys())),
    }
}

fn unknown(what: &str, name: &str, known: Vec<&str>) -> String {
    let all = list(known.iter().copied(), "and");
    match closest(name, known.iter().copied()) {
        Some(meant) => format!(
            "there is no {what} {}; did you mean {}? Known are {all}",
            quote(name),
            quote(meant)
        ),
        None => format!("there is no {what} {}; known are {all}", quote(name)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_kind_of_policy_has_a_page_and_the_examples_are_right() {
        for name in Policy::keys() {
            let page = policy(name).unwrap();
            assert!(page.starts_with(&format!("# {name}\n")), "{page}");
            assert!(policies().lines().any(|line| line.split(' ').next() == Some(name)), "{name}");
        }
        for (name, .., page) in OTHERS {
            let example = page.split("```").nth(1).and_then(|block| block.strip_prefix("yaml\n"));
            let listeners = "listeners: { web: { address: ':0', routes: [{ respond: ok }] } }\n";
            let text = format!("{listeners}{}", example.unwrap());
            if let Err(findings) = crate::load::from_text(Path::new(name), &text, false, &|_| None)
            {
                panic!("{}", findings.render());
            }
        }
    }
}
