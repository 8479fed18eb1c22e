//! What the program says about itself, on standard error: one line a message, but for findings, which
//! have more.
//!
//! What is told of others may hold what they chose: it neither ends a line nor moves a cursor (M-06).

use std::borrow::Cow;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::config::Level;
use crate::observe::is_deceptive;

static LEVEL: AtomicU8 = AtomicU8::new(2);

/// Messages less important than this are not written from now on.
pub fn set_level(level: Level) {
    let number = match level {
        Level::Error => 0,
        Level::Warn => 1,
        Level::Info => 2,
        Level::Debug => 3,
    };
    LEVEL.store(number, Ordering::Relaxed);
}

/// Something does not work. The one kind of message that may have several lines.
pub fn error(message: &str) {
    write(0, "error", &harmless(message, |c| c != '\n' && is_deceptive(c)));
}

/// Something will not work, or may not.
pub fn warn(message: &str) {
    write(1, "warning", &harmless(message, is_deceptive));
}

/// Something an operator wants to have seen.
pub fn info(message: &str) {
    write(2, "info", &harmless(message, is_deceptive));
}

/// Something that helps to find a fault.
pub fn debug(message: &str) {
    write(3, "debug", &harmless(message, is_deceptive));
}

/// An error with all its causes, on one line.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

/// The message with these characters escaped.
fn harmless(message: &str, escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !message.contains(&escaped) {
        return message.into();
    }
    let mut shown = String::with_capacity(message.len() + 16);
    for c in message.chars() {
        match escaped(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown.into()
}

fn write(number: u8, level: &str, message: &str) {
    if number <= LEVEL.load(Ordering::Relaxed) {
        // A message that cannot be written has nobody else to be told to.
        use std::io::Write;
        let _ = writeln!(std::io::stderr().lock(), "{level}: {message}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m06_what_others_chose_neither_ends_a_line_nor_moves_a_cursor() {
        for (message, expected) in [
            ("pool `p`: é is well", "pool `p`: é is well"),
            ("new: unix:/x\ninfo: all is well", "new: unix:/x\\ninfo: all is well"),
            ("\u{1b}[2J\r\u{202e}", "\\u{1b}[2J\\r\\u{202e}"),
        ] {
            assert_eq!(harmless(message, is_deceptive), expected);
        }
    }
}
