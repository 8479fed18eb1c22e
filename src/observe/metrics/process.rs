//! What the system says of this process. What it does not say is left out.

use std::fs;
use std::time::{Duration, SystemTime};

use super::text::Text;

pub(super) fn render(started: SystemTime, text: &mut Text) {
    text.family("transom_build_info", "gauge", "Always 1; which program this is.");
    text.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    text.family(
        "process_start_time_seconds",
        "gauge",
        "When the program started, in seconds since 1970.",
    );
    let since = started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    text.sample(&[], since.as_secs_f64());
    if let Some(stat) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(parse) {
        text.family("process_cpu_seconds_total", "counter", "Time on processors, user and system.");
        text.sample(&[], stat.cpu.as_secs_f64());
        text.family("process_resident_memory_bytes", "gauge", "Memory that is really there.");
        text.sample(&[], stat.resident);
        text.family("process_virtual_memory_bytes", "gauge", "Memory that is reserved.");
        text.sample(&[], stat.reserved);
        text.family("process_threads", "gauge", "Threads.");
        text.sample(&[], stat.threads);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        text.family("process_open_fds", "gauge", "Open file descriptors.");
        // The one that is read here is none of ours.
        text.sample(&[], open.count().saturating_sub(1));
    }
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    if let Some(most) = most {
        text.family("process_max_fds", "gauge", "File descriptors that may be open.");
        text.sample(&[], most);
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu: Duration,
    threads: u64,
    reserved: u64,
    resident: u64,
}

/// Reads proc_pid_stat(5).
fn parse(stat: &str) -> Option<Stat> {
    // The second field is a name in parentheses with anything in it.
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // Numbered from 1 in the manual; the third one is our first.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let ticks = field(14)? + field(15)?;
    Some(Stat {
        cpu: Duration::from_secs(ticks) / rustix::param::clock_ticks_per_second() as u32,
        threads: field(20)?,
        reserved: field(23)?,
        resident: field(24)? * rustix::param::page_size() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stat_file_is_read_whatever_the_program_is_called() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 5 0 1000 8192 3 18446744073709551615";
        let expected = Stat {
            cpu: Duration::from_secs(200) / rustix::param::clock_ticks_per_second() as u32,
            threads: 5,
            reserved: 8192,
            resident: 3 * rustix::param::page_size() as u64,
        };
        assert_eq!(parse(stat), Some(expected));
        assert_eq!(parse("7 (a) S 1"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn this_process_has_memory_files_and_a_thread() {
        let mut text = Text::default();
        render(SystemTime::now(), &mut text);
        let text = text.into_string();
        for name in ["process_resident_memory_bytes", "process_open_fds", "process_threads"] {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            assert!(line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap() > 0, "{line}");
        }
    }
}
