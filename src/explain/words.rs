//! `transom explain fault` and `transom explain policy`: what the words of the program mean.

use std::fmt::Write as _;

use transom_gateway::policy::{POLICIES, page};
use transom_proxy::fault::{Code, Retry};
use transom_settings::{closest, list, quote};

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
    let mut entries: Vec<_> = POLICIES.iter().collect();
    entries.sort_by_key(|entry| entry.stage);
    let mut told = String::new();
    for entry in entries {
        let _ = writeln!(told, "{:20} {:10} {}", entry.name, entry.stage.as_str(), entry.summary);
    }
    told
}

/// `transom explain policy NAME`: the page of the manual.
///
/// # Errors
/// That there is no such policy, and which there are.
pub fn policy(name: &str) -> Result<String, String> {
    match page(name) {
        Some(page) => Ok(format!("{page}\n")),
        None => Err(unknown("policy", name, POLICIES.iter().map(|entry| entry.name).collect())),
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
