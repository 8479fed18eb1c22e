//! What can be typed while the demo runs.

use std::io::{BufRead, Write};

use super::instance::{AWAY, Instance};

/// Does what is typed, on a thread of its own, until there is no more.
pub(super) fn listen(instances: Vec<Instance>) -> std::io::Result<()> {
    let thread = std::thread::Builder::new().name("prompt".into());
    thread.spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            let mut out = std::io::stdout().lock();
            // nobody reads it any more: that is no reason to stop
            let _ = writeln!(out, "\r  {}", answer(&line, &instances));
        }
    })?;
    Ok(())
}

/// Does what a line says, and tells what was done.
fn answer(line: &str, instances: &[Instance]) -> String {
    let mut words = line.split_whitespace();
    let (word, number) = (words.next(), words.next());
    let number = number.and_then(|number| number.parse::<usize>().ok());
    let instance = number.and_then(|number| instances.get(number.checked_sub(1)?));
    match (word, instance) {
        (Some("kill"), Some(instance)) => {
            instance.kill();
            let (address, seconds) = (instance.address, AWAY.as_secs());
            format!("the instance at {address} is killed; it comes back in {seconds} s")
        }
        (Some("start"), Some(instance)) => {
            instance.come_back();
            format!("the instance at {} comes back", instance.address)
        }
        (None, _) => String::new(),
        _ => format!("type `kill N` or `start N`, N from 1 to {}", instances.len()),
    }
}
