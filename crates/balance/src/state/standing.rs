//! Whether a member may be used, in words: what each of those who decide on it says.

use std::time::SystemTime;

/// What probes and the like know of a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// Nobody has looked; it is used like one that is up.
    #[default]
    Unchecked,
    Up,
    Down,
}

/// What an operator wants of a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Administrative {
    #[default]
    Ready,
    /// Nothing new, but for clients that stick to it.
    Drain,
    /// Nothing at all.
    Maintenance,
}

/// What a member says of itself, to those who ask its agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Own {
    #[default]
    Ready,
    /// As if an operator had said so.
    Drain,
    /// As if an operator had said so.
    Maintenance,
    Down,
}

impl Own {
    pub fn as_str(self) -> &'static str {
        match self {
            Own::Ready => "ready",
            Own::Drain => "to be drained",
            Own::Maintenance => "in maintenance",
            Own::Down => "down",
        }
    }
}

/// All that decides on the use of a member in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Unchecked,
    Up,
    Down,
    Ejected,
    Drain,
    Maintenance,
}

impl Standing {
    pub const ALL: [Standing; 6] = [
        Standing::Unchecked,
        Standing::Up,
        Standing::Down,
        Standing::Ejected,
        Standing::Drain,
        Standing::Maintenance,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Standing::Unchecked => "unchecked",
            Standing::Up => "up",
            Standing::Down => "down",
            Standing::Ejected => "ejected",
            Standing::Drain => "drain",
            Standing::Maintenance => "maintenance",
        }
    }

    /// Whether clients that stick to such a member are still sent to it.
    pub fn keeps_clients(self) -> bool {
        self.is_usable() || self == Standing::Drain
    }

    /// Whether new clients are sent to such a member.
    pub fn is_usable(self) -> bool {
        matches!(self, Standing::Unchecked | Standing::Up)
    }
}

/// Why something is as it is, and since when.
#[derive(Clone, Debug)]
pub struct Told {
    pub since: SystemTime,
    pub reason: String,
}
