//! What a member says of itself: a small program beside it is asked over TCP and answers with one line
//! (HAProxy's `agent-check`), such as `75%`, `drain` or `down # the disk is full`.
//!
//! | word | means |
//! |---|---|
//! | `75%` | so much of its weight counts; `0%` is as good as `drain` |
//! | `maxconn:30` | so many requests (TCP: connections) at once, at most; `maxconn:0` any number |
//! | `load:0.4`, `load:40%` | how busy it is, for the algorithm `reported-load` |
//! | `drain` | nothing new, but for clients that stick to it |
//! | `maint` | nothing at all |
//! | `down`, `fail`, `failed`, `stopped` | it cannot be used |
//! | `up`, `ready` | none of the three before |
//!
//! Words stand in any order, between blanks or commas, in upper or lower case; what comes after `#` is
//! the reason. What a line does not speak of stays as it was. Other words are passed over, so that a
//! newer agent may say more.

use std::time::Duration;

use transom_net::{Address, Behalf, Worker, dial_for};
use transom_proxy::destination::Endpoint;

use super::talk::{more, send, why};
use crate::load;
use crate::state::{Own, WHOLE};

/// Longest line that is read, bytes.
const LONGEST: usize = 1024;
/// The most of its weight that a member may ask for.
const MOST: u32 = 10 * WHOLE;

/// Where members are asked for what they say of themselves, and how often.
#[derive(Clone, Debug, PartialEq)]
pub struct Agent {
    pub port: u16,
    /// Sent before its line is read.
    pub send: Vec<u8>,
    pub every: Duration,
    pub timeout: Duration,
}

/// What a line says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Says {
    pub own: Option<Own>,
    /// Thousandths of its weight.
    pub share: Option<u32>,
    pub load: Option<f64>,
    /// The most attempts at once; `usize::MAX` is any number.
    pub ceiling: Option<usize>,
    pub reason: String,
}

impl Agent {
    /// Asks once. The caller sets the limit and drops the future.
    ///
    /// # Errors
    /// Why nothing came of it, in a few words.
    pub async fn ask(&self, endpoint: &Endpoint, worker: &Worker) -> Result<Says, String> {
        let mut target = endpoint.target.clone();
        // An agent is not what it speaks of: it has neither its TLS nor its PROXY protocol.
        target.tls = None;
        match &mut target.address {
            Address::Tcp(address) => address.set_port(self.port),
            Address::Unix(_) => return Err("beside a Unix socket there is no port".to_owned()),
        }
        let dialed = dial_for(&target, Behalf::default(), worker).await;
        let mut stream = dialed.map_err(|e| why(&e))?;
        if !self.send.is_empty() {
            send(&mut stream, &self.send).await?;
        }
        loop {
            let said = stream.filled();
            if let Some(end) = said.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
                return parse(&said[..end]);
            }
            if said.len() > LONGEST {
                return Err(format!("its line is longer than {LONGEST} bytes"));
            }
            let before = said.len();
            // who closes the connection has ended its line, too
            if let Err(ended) = more(&mut stream).await {
                let said = stream.filled();
                return if before == 0 { Err(ended) } else { parse(&said[..before]) };
            }
        }
    }
}

/// What a line says, if it says anything.
///
/// # Errors
/// When nothing in it is understood.
pub fn parse(line: &[u8]) -> Result<Says, String> {
    let text = String::from_utf8_lossy(line);
    let (words, reason) = text.split_once('#').unwrap_or((&text, ""));
    let reason = reason.trim().chars().filter(|c| !c.is_control()).collect();
    let mut says = Says { reason, ..Says::default() };
    let mut understood = false;
    for word in words.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
        understood |= says.take(&word.to_ascii_lowercase());
    }
    match understood {
        true => Ok(says),
        false => Err(format!("it says `{}`, which means nothing", text.trim().escape_debug())),
    }
}

impl Says {
    /// Whether the word is understood.
    fn take(&mut self, word: &str) -> bool {
        if let Some(load) = word.strip_prefix("load:") {
            self.load = load::parse(load.as_bytes());
            return self.load.is_some();
        }
        if let Some(most) = word.strip_prefix("maxconn:") {
            // HAProxy's, where none is any number
            let most = most.parse::<usize>().ok();
            self.ceiling = most.map(|most| if most == 0 { usize::MAX } else { most });
            return self.ceiling.is_some();
        }
        if let Some(percent) = word.strip_suffix('%') {
            let share = percent.parse::<u32>().ok();
            self.share = share.map(|percent| percent.saturating_mul(WHOLE / 100).min(MOST));
            return self.share.is_some();
        }
        self.own = Some(match word {
            "up" | "ready" => Own::Ready,
            "drain" => Own::Drain,
            "maint" => Own::Maintenance,
            "down" | "fail" | "failed" | "stopped" => Own::Down,
            _ => return false,
        });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lb_08_what_the_line_of_an_agent_says() {
        let says = |own, share, load: Option<f64>, reason: &str| {
            Some(Says { own, share, load, ceiling: None, reason: reason.to_owned() })
        };
        let ceiling = |own, most| Some(Says { own, ceiling: Some(most), ..Says::default() });
        for (line, expected) in [
            ("75%", says(None, Some(750), None, "")),
            ("0%", says(None, Some(0), None, "")),
            ("99999999999%", None),
            ("5000%", says(None, Some(MOST), None, "")),
            ("drain", says(Some(Own::Drain), None, None, "")),
            ("READY 50%", says(Some(Own::Ready), Some(500), None, "")),
            ("up,ready,100%", says(Some(Own::Ready), Some(1000), None, "")),
            ("maint#moving house", says(Some(Own::Maintenance), None, None, "moving house")),
            ("down # disk\x07 full", says(Some(Own::Down), None, None, "disk full")),
            ("stopped", says(Some(Own::Down), None, None, "")),
            ("load:40% up", says(Some(Own::Ready), None, Some(0.4), "")),
            ("load:0.25", says(None, None, Some(0.25), "")),
            ("load:busy", None),
            ("maxconn:30 up", ceiling(Some(Own::Ready), 30)),
            ("MAXCONN:30", ceiling(None, 30)),
            ("maxconn:0", ceiling(None, usize::MAX)),
            ("maxconn:-1", None),
            ("maxconn:99999999999999999999", None),
            ("minconn:3", None),
            ("-5%", None),
            ("# nothing but a reason", None),
            ("", None),
            ("\u{fffd}", None),
        ] {
            assert_eq!(parse(line.as_bytes()).ok(), expected, "{line}");
        }
        assert!(parse(b"\xff\x00 up").is_ok(), "bytes that are no text are passed over");
    }
}
