//! System calls of a running program that fail or take long, by strace(1).

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// What is done to the system calls of a program, until it is dropped.
pub(super) struct Injected(Child);

impl Injected {
    /// Done to one thread, or to all of a process with `-f` among the arguments. Nothing where there is
    /// no strace, or where it may not trace: the test then has nothing to see.
    pub(super) fn into(id: u32, arguments: &[&str]) -> Option<Self> {
        let mut strace = Command::new("strace");
        strace.args(arguments).args(["-o", "/dev/null", "-p", &id.to_string()]);
        let mut child = match strace.stderr(Stdio::piped()).spawn() {
            Ok(child) => child,
            Err(error) => {
                eprintln!("nothing is tested: there is no strace: {error}");
                return None;
            }
        };
        let said = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut heard = String::new();
        for line in said.map_while(Result::ok) {
            if line.contains("attached") {
                return Some(Injected(child));
            }
            heard.push_str(&line);
        }
        let _ = child.wait();
        assert!(heard.contains("Operation not permitted"), "strace says: {heard}");
        eprintln!("nothing is tested: {heard}");
        None
    }
}

impl Drop for Injected {
    fn drop(&mut self) {
        // it lets go of what it traces
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}
