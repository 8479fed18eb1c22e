//! # address
//!
//! **What it does.** Lets clients pass or not by their address.
//!
//! **When it runs.** Stage `admit`: it costs less than anything else that could refuse them. The
//! client is the peer, or whom a trusted proxy names.
//!
//! **Settings.** `allow`, `deny`: blocks; `allow-files`, `deny-files`: files of them. The most
//! specific block decides, and one that stands on both sides is denied. Where there is anything to
//! allow, who is on neither side is denied. `dry-run`: who would be denied passes, and the access log
//! says so; connections that are relayed pass without a word.
//!
//! **What the client sees.** `forbidden` (403).
//!
//! **Limits and cost.** Millions of blocks; a look-up is some tens of nanoseconds.

use std::net::IpAddr;
use std::sync::Arc;

use transom_net::blocks::{Blocks, Rule};

use super::{Ahead, Policy};
use crate::exchange::Exchange;
use crate::fault::{Code, Fault};
use crate::message::Request;
use crate::peer::Peer;
use crate::stage::Stage;

/// Lets clients pass by their address.
#[derive(Debug)]
pub struct Address {
    pub rule: Rule,
    /// Its own name, where it only tries.
    pub dry_run: Option<Arc<str>>,
}

impl Address {
    fn check(&self, client: IpAddr) -> Result<(), Fault> {
        match self.rule.lets_pass(client) {
            true => Ok(()),
            false => Err(Fault::new(Code::Forbidden, format!("the address {client} may not pass"))),
        }
    }
}

impl Policy for Address {
    fn kind(&self) -> &'static str {
        "address"
    }

    fn stage(&self) -> Stage {
        Stage::Admit
    }

    fn describe(&self) -> String {
        let dry_run = if self.dry_run.is_some() { ", only told in the log" } else { "" };
        format!("{}{dry_run}", describe(&self.rule))
    }

    fn admit(&self, peer: &Peer) -> Result<(), Fault> {
        match &self.dry_run {
            Some(_) => Ok(()),
            None => self.check(peer.ip()),
        }
    }

    fn ahead(&self, exchange: &mut Exchange, _: &mut Request) -> Result<Ahead, Fault> {
        match (self.check(exchange.client), &self.dry_run) {
            (Ok(()), _) => {}
            (Err(fault), None) => return Err(fault),
            (Err(fault), Some(name)) => {
                exchange.record.would_refuse(name);
                exchange.record.remark(format!("dry run: {}", fault.detail()));
            }
        }
        Ok(Ahead::Done)
    }
}

/// A rule in a few words, for `transom explain`.
pub fn describe(rule: &Rule) -> String {
    let count = |lists: &[std::sync::Arc<Blocks>]| lists.iter().map(|l| l.len()).sum::<usize>();
    match (count(&rule.allow), count(&rule.deny)) {
        (0, denied) => format!("denies {denied} blocks"),
        (allowed, 0) => format!("allows {allowed} blocks only"),
        (allowed, denied) => format!("allows {allowed} blocks only, less {denied}"),
    }
}
