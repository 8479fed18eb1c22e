//! Servers that are containers of Docker, or of Podman.

use std::net::IpAddr;
use std::time::Duration;

use transom_settings::json::{Value as Json, json};
use transom_settings::{EndpointAddress, EndpointHost};

use super::{Local, Start, Started};
use crate::discovery::Reach;
use crate::discovery::call::{PATIENCE, Request, Server, escaped};

/// How a container is made. It is removed when it is stopped.
#[derive(Clone)]
pub struct Docker {
    pub server: Server,
    /// The pool, which its label `transom.scaled` names.
    pub pool: String,
    pub image: String,
    /// Instead of the image's own command.
    pub command: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// The port inside.
    pub port: u16,
    /// The network it joins; else Docker's default.
    pub network: Option<String>,
}

impl Docker {
    async fn run(&self, reach: &Reach) -> Result<Box<dyn Started>, String> {
        let mut wanted = json!({
            "Image": self.image,
            "Env": self.environment.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>(),
            "Labels": { "transom.scaled": self.pool },
        });
        if !self.command.is_empty() {
            wanted["Cmd"] = json!(self.command);
        }
        if let Some(network) = &self.network {
            wanted["HostConfig"] = json!({ "NetworkMode": network });
        }
        let made = self.server.json(reach, Request::post("/containers/create", &wanted)).await?;
        let id = made["Id"].as_str().ok_or("Docker gave the container no id")?.to_owned();
        let address = EndpointAddress::Tcp {
            host: EndpointHost::Ip(IpAddr::from([0, 0, 0, 0])),
            port: self.port,
        };
        // from here on it is removed when anything fails
        let mut started =
            Container { server: self.server.clone(), reach: reach.clone(), id, address };
        match self.begin(reach, &mut started).await {
            Ok(()) => Ok(Box::new(started)),
            Err(why) => {
                started.remove().await;
                Err(why)
            }
        }
    }

    async fn begin(&self, reach: &Reach, container: &mut Container) -> Result<(), String> {
        let path = format!("/containers/{}", escaped(&container.id));
        let begin = format!("{path}/start");
        let nothing = json!({});
        let answer = self.server.call(reach, Request::post(&begin, &nothing)).await?;
        answer.ok(&self.server.address).await?;
        let seen = self.server.json(reach, Request::get(&format!("{path}/json"))).await?;
        let host = EndpointHost::Ip(address(&seen).ok_or("the container has no address")?);
        container.address = EndpointAddress::Tcp { host, port: self.port };
        Ok(())
    }
}

fn address(container: &Json) -> Option<IpAddr> {
    let networks = container["NetworkSettings"]["Networks"].as_object()?;
    networks.values().find_map(|network| network["IPAddress"].as_str()?.parse().ok())
}

impl Start for Docker {
    fn start<'a>(&'a self, reach: &'a Reach) -> Local<'a, Result<Box<dyn Started>, String>> {
        Box::pin(self.run(reach))
    }
}

struct Container {
    server: Server,
    reach: Reach,
    id: String,
    address: EndpointAddress,
}

impl Container {
    async fn ask(
        &self,
        method: &'static str,
        what: &str,
        patience: Duration,
    ) -> Result<(), String> {
        let path = format!("/containers/{}{what}", escaped(&self.id));
        let request = Request { method, patience, ..Request::get(&path) };
        self.server.call(&self.reach, request).await?.ok(&self.server.address).await.map(drop)
    }

    async fn remove(&self) {
        // at worst it stays, with its label, for an operator to find
        let _ = self.ask("DELETE", "?force=1&v=1", PATIENCE).await;
    }
}

impl Started for Container {
    fn name(&self) -> String {
        format!("container {}", self.id.chars().take(12).collect::<String>())
    }

    fn address(&self) -> EndpointAddress {
        self.address.clone()
    }

    fn ended(&mut self) -> Local<'_, String> {
        Box::pin(async {
            let path = format!("/containers/{}/wait", escaped(&self.id));
            loop {
                // the head comes at once, the body when it has ended, which may take for ever
                let request = Request { method: "POST", ..Request::get(&path) };
                let asked = self.server.call(&self.reach, request).await;
                if let Ok(mut answer) = asked {
                    if answer.status == 404 {
                        return "it is gone".to_owned();
                    }
                    // any other status is Docker's own trouble
                    let ends = (200..300).contains(&answer.status);
                    if ends && matches!(answer.line().await, Ok(Some(_))) {
                        return "it has ended".to_owned();
                    }
                }
                // whether it lives is not known now: requests will tell
                tokio::time::sleep(PATIENCE).await;
            }
        })
    }

    fn stop(&mut self, patience: Duration) -> Local<'_, ()> {
        Box::pin(async move {
            let stop = format!("/stop?t={}", patience.as_secs().max(1));
            let _ = self.ask("POST", &stop, patience + PATIENCE).await;
            self.remove().await;
        })
    }
}
