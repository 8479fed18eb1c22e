//! A program of the operator's own: it passes when that ends with status 0.

use std::process::Stdio;

use tokio::process::Command;
use transom_net::Address;
use transom_proxy::destination::Endpoint;

/// See the module. No shell has a part in it.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandProbe {
    pub program: String,
    pub arguments: Vec<String>,
}

impl CommandProbe {
    pub(super) async fn ask(&self, endpoint: &Endpoint, address: &Address) -> Result<(), String> {
        let (host, port) = match address {
            Address::Tcp(address) => (address.ip().to_string(), address.port().to_string()),
            Address::Unix(path) => (path.display().to_string(), String::new()),
        };
        let status = Command::new(&self.program)
            .args(&self.arguments)
            .env("TRANSOM_POOL", &*endpoint.pool)
            .env("TRANSOM_ENDPOINT", &endpoint.name)
            .env("TRANSOM_ADDRESS", host)
            .env("TRANSOM_PORT", port)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .status()
            .await
            .map_err(|e| format!("`{}` cannot be run: {e}", self.program))?;
        match status.code() {
            Some(0) => Ok(()),
            Some(code) => Err(format!("`{}` ended with {code}", self.program)),
            None => Err(format!("`{}` was ended by a signal", self.program)),
        }
    }
}
