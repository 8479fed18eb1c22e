//! What the program says about itself, on standard error: one line a message.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::config::Level;

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

/// Something does not work.
pub fn error(message: &str) {
    write(0, "error", message);
}

/// Something will not work, or may not.
pub fn warn(message: &str) {
    write(1, "warning", message);
}

/// Something an operator wants to have seen.
pub fn info(message: &str) {
    write(2, "info", message);
}

/// Something that helps to find a fault.
pub fn debug(message: &str) {
    write(3, "debug", message);
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

fn write(number: u8, level: &str, message: &str) {
    if number <= LEVEL.load(Ordering::Relaxed) {
        // A message that cannot be written has nobody else to be told to.
        use std::io::Write;
        let _ = writeln!(std::io::stderr().lock(), "{level}: {message}");
    }
}
