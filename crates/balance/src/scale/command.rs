//! Servers that are processes of this machine.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
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
        Ok(Box::new(Running { child, port }))
    }
}

impl Start for Command {
    fn start<'a>(&'a self, _: &'a Reach) -> Local<'a, Result<Box<dyn Started>, String>> {
        Box::pin(async { self.process() })
    }
}

struct Running {
    child: Child,
    port: u16,
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
            match self.child.wait().await {
                Ok(status) => status.to_string(),
                Err(e) => format!("it cannot be waited for: {e}"),
            }
        })
    }

    fn stop(&mut self, patience: Duration) -> Local<'_, ()> {
        Box::pin(async move {
            let id = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
            // one that has ended meanwhile has no id any more
            let Some(id) = id else { return };
            let _ = kill_process(id, Signal::TERM);
            if tokio::time::timeout(patience, self.child.wait()).await.is_err() {
                let _ = self.child.kill().await;
            }
        })
    }
}
