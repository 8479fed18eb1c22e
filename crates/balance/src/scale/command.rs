//! Servers that are processes of this machine.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command as Process};
use transom_settings::{EndpointAddress, EndpointHost};

use super::{Local, Start, Started};
use crate::discovery::Reach;

/// How a process is started. In the arguments, `{port}` is the port that it shall listen on, on
/// 127.0.0.1; it is the environment variable `PORT` too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    pub directory: PathBuf,
}

impl Command {
    fn process(&self) -> Result<Box<dyn Started>, String> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
        let port = free.map_err(|e| format!("there is no free port: {e}"))?.port();
        let shown = self.program.display();
        let child = Process::new(&self.program)
            .args(self.arguments.iter().map(|text| text.replace("{port}", &port.to_string())))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("PORT", port.to_string())
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            // the access log may be on standard output
            .stdout(Stdio::from(std::io::stderr()))
            .stderr(Stdio::inherit())
            // Ctrl-C at the terminal is for Transom, which drains first
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| format!("`{shown}` cannot be started: {e}"))?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(Box::new(Running { child, group, port }))
    }
}

impl Start for Command {
    fn start<'a>(&'a self, _: &'a Reach) -> Local<'a, Result<Box<dyn Started>, String>> {
        Box::pin(async { self.process() })
    }
}

struct Running {
    child: Child,
    /// It and what it has started itself, such as the server of a shell script.
    group: Option<Pid>,
    port: u16,
}

impl Running {
    /// Once the process itself is gone, nobody knows of the others.
    fn end_the_others(&mut self) {
        if let Some(group) = self.group.take() {
            // mostly there are none
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end_the_others();
    }
}

impl Started for Running {
    fn name(&self) -> String {
        match self.child.id() {
            Some(id) => format!("process {id}"),
            None => "a process that has ended".into(),
        }
    }

    fn address(&self) -> EndpointAddress {
        let host = EndpointHost::Ip(Ipv4Addr::LOCALHOST.into());
        EndpointAddress::Tcp { host, port: self.port }
    }

    fn ended(&mut self) -> Local<'_, String> {
        Box::pin(async {
            let ended = match self.child.wait().await {
                Ok(status) => status.to_string(),
                Err(e) => format!("it cannot be waited for: {e}"),
            };
            self.end_the_others();
            ended
        })
    }

    fn stop(&mut self, patience: Duration) -> Local<'_, ()> {
        Box::pin(async move {
            // one that has ended meanwhile has none any more
            let Some(group) = self.group else { return };
            let _ = kill_process_group(group, Signal::TERM);
            if tokio::time::timeout(patience, self.child.wait()).await.is_err() {
                let _ = self.child.kill().await;
            }
            self.end_the_others();
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shell ended, and the server that it had started went on for ever.
    #[tokio::test]
    async fn what_a_script_has_started_ends_with_it() {
        let folder = tempfile::tempdir().unwrap();
        for (script, stop) in
            [("sleep 300 & echo $! >id; wait", true), ("sleep 300 & echo $! >id", false)]
        {
            let command = Command {
                program: "/bin/sh".into(),
                arguments: vec!["-c".into(), script.into()],
                environment: Vec::new(),
                directory: folder.path().to_owned(),
            };
            let file = folder.path().join("id");
            let _ = std::fs::remove_file(&file);
            let mut running = command.process().unwrap();
            let id = loop {
                let text = std::fs::read_to_string(&file).unwrap_or_default();
                match text.trim().parse::<u32>() {
                    Ok(id) if text.ends_with('\n') => break id,
                    _ => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            };
            match stop {
                true => running.stop(Duration::from_secs(5)).await,
                false => drop(running.ended().await),
            }
            // gone, or a zombie that nobody has asked for yet
            let lives = || {
                let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
                stat.rsplit(") ")
                    .next()
                    .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
            };
            for _ in 0..1000 {
                if !lives() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert!(!lives(), "{script}");
        }
    }
}
