//! Containers that carry a label, from Docker (or Podman) through its socket.
//!
//! Only containers that the pool asks for by label are taken, and only while they run and are not
//! unhealthy. Events are opened before the list is read, so that no change falls between the two.
//! What a container may say of itself:
//!
//! | label | says | default |
//! |---|---|---|
//! | `transom.port` | the port inside the container | the only one it exposes |
//! | `transom.weight`, `transom.zone`, `transom.priority` | as in a list of endpoints | 1, none, 0 |

use std::net::IpAddr;

use transom_settings::json::{Value as Json, json};
use transom_settings::{EndpointAddress, EndpointHost};

use super::call::{Request, Server, escaped};
use super::{Following, Listed, News, Reach, Source};

pub struct Docker {
    pub server: Server,
    /// `name` or `name=value`.
    pub label: String,
    /// The port inside containers that name none.
    pub port: Option<u16>,
    /// The network whose addresses are used, where containers are in several.
    pub network: Option<String>,
    /// Use the ports that are published on this machine instead.
    pub published: bool,
}

impl Docker {
    async fn watch(&self, reach: &Reach, news: &News) -> Result<(), String> {
        let wanted = json!({ "type": ["container", "network"] }).to_string();
        let path = format!("/events?filters={}", escaped(&wanted));
        let asked = self.server.call(reach, Request::get(&path)).await?;
        let mut events = asked.ok(&self.server.address).await?;
        news.found(self.list(reach, news).await?);
        while let Some(event) = events.line().await? {
            // what is run inside a container changes nothing about it
            let event: Json = transom_settings::json::from_slice(&event).unwrap_or_default();
            if event["Action"].as_str().is_some_and(|action| action.starts_with("exec_")) {
                continue;
            }
            news.found(self.list(reach, news).await?);
        }
        Err("Docker ended its events".into())
    }

    async fn list(&self, reach: &Reach, news: &News) -> Result<Vec<Listed>, String> {
        let wanted = json!({ "label": [self.label], "status": ["running"] }).to_string();
        let path = format!("/containers/json?filters={}", escaped(&wanted));
        let all = self.server.json(reach, Request::get(&path)).await?;
        let all = all.as_array().ok_or("its answer is no list")?;
        let one = |container: &Json| match self.container(container) {
            Ok(one) => one,
            Err(why) => {
                news.remark(format!("container {} is left out: {why}", container["Names"][0]));
                None
            }
        };
        Ok(all.iter().filter_map(one).collect())
    }

    /// One container; nothing while it is not fit to be used.
    fn container(&self, container: &Json) -> Result<Option<Listed>, String> {
        let status = container["Status"].as_str().unwrap_or_default();
        if status.contains("(unhealthy)") || status.contains("(health: starting)") {
            return Ok(None);
        }
        let said = |name: &str| container["Labels"][name].as_str();
        let number = |name: &str| match said(name).map(str::parse::<u16>) {
            None => Ok(None),
            Some(Ok(number)) => Ok(Some(number)),
            Some(Err(_)) => Err(format!("its label `{name}` is not a number up to 65535")),
        };
        let port = number("transom.port")?.or(self.port);
        let (ip, port) = match self.published {
            true => published(container, port)?,
            false => (self.inside(container)?, inner_port(container, port)?),
        };
        let mut one = Listed::new(EndpointAddress::Tcp { host: EndpointHost::Ip(ip), port });
        one.weight = number("transom.weight")?.map_or(1, u32::from);
        one.zone = said("transom.zone").map(str::to_owned);
        let priority = number("transom.priority")?.unwrap_or(0);
        one.priority = u8::try_from(priority).map_err(|_| "its priority is more than 255")?;
        if let Some(name) = container["Names"][0].as_str() {
            one.labels.insert("container".into(), name.trim_start_matches('/').to_owned());
        }
        Ok(Some(one))
    }

    /// Its address in the network that is wanted, or in its only one.
    fn inside(&self, container: &Json) -> Result<IpAddr, String> {
        let networks = container["NetworkSettings"]["Networks"].as_object();
        let addresses = networks.into_iter().flatten().filter_map(|(name, network)| {
            let ip = network["IPAddress"].as_str().filter(|ip| !ip.is_empty());
            let ip = ip.or_else(|| network["GlobalIPv6Address"].as_str())?;
            Some((name, ip.parse().ok()?))
        });
        let mut fitting = addresses
            .filter(|(name, _)| self.network.as_ref().is_none_or(|wanted| wanted == *name));
        match (fitting.next(), fitting.next(), &self.network) {
            (Some((_, ip)), None, _) => Ok(ip),
            (Some(_), Some(_), _) => {
                Err("it is in several networks; say which with `network`".into())
            }
            (None, _, Some(wanted)) => Err(format!("it is not in the network `{wanted}`")),
            (None, _, None) => Err("it has no address".into()),
        }
    }
}

impl Source for Docker {
    fn follow<'a>(&'a mut self, reach: &'a Reach, news: &'a News) -> Following<'a> {
        Box::pin(async move {
            match self.watch(reach, news).await {
                Ok(()) => String::new(),
                Err(why) => why,
            }
        })
    }
}

fn tcp_ports(container: &Json) -> impl Iterator<Item = &Json> {
    let ports = container["Ports"].as_array().into_iter().flatten();
    ports.filter(|port| port["Type"] == "tcp")
}

fn number(value: &Json) -> Option<u16> {
    value.as_u64().and_then(|port| u16::try_from(port).ok())
}

fn inner_port(container: &Json, said: Option<u16>) -> Result<u16, String> {
    if let Some(port) = said {
        return Ok(port);
    }
    let mut ports: Vec<u16> =
        tcp_ports(container).filter_map(|port| number(&port["PrivatePort"])).collect();
    ports.dedup();
    match *ports {
        [only] => Ok(only),
        [] => Err("it exposes no port; say which with the label `transom.port`".into()),
        _ => Err("it exposes several ports; say which with the label `transom.port`".into()),
    }
}

/// Where on this machine a port of the container is published.
fn published(container: &Json, said: Option<u16>) -> Result<(IpAddr, u16), String> {
    let mut ports = tcp_ports(container).filter_map(|port| {
        let inside = number(&port["PrivatePort"])?;
        let ip = port["IP"].as_str().unwrap_or("127.0.0.1").parse().ok()?;
        said.is_none_or(|said| said == inside).then_some((ip, number(&port["PublicPort"])?))
    });
    let (ip, port): (IpAddr, u16) = ports.next().ok_or("it publishes no such port")?;
    let here = match ip {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
    };
    Ok((here, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_container_says_and_what_becomes_of_it() {
        let networks = |text: &str| {
            let mut all = transom_settings::json::Map::new();
            for (name, ip) in text.split_whitespace().filter_map(|one| one.split_once('=')) {
                all.insert(name.into(), json!({ "IPAddress": ip }));
            }
            json!({ "Networks": all })
        };
        let exposed = |ports: &[u16]| -> Json {
            ports.iter().map(|port| json!({ "PrivatePort": port, "Type": "tcp" })).collect()
        };
        let plain = Docker {
            server: Server::unix("/x"),
            label: "a".into(),
            port: None,
            network: None,
            published: false,
        };
        let shop = Docker { network: Some("shop".into()), ..docker(&plain) };
        let open = Docker { published: true, ..docker(&plain) };
        let container = |status: &str, labels: Json, net: &str, ports: Json| {
            json!({ "Names": ["/x"], "Status": status, "Labels": labels,
                    "NetworkSettings": networks(net), "Ports": ports })
        };
        let map =
            json!([{ "IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 32768, "Type": "tcp" }]);
        for (docker, container, expected) in [
            (&plain, container("Up", json!({}), "n=10.0.0.2", exposed(&[80])), "10.0.0.2:80"),
            (&plain, container("Up (unhealthy)", json!({}), "n=10.0.0.2", exposed(&[80])), "-"),
            (&plain, container("Up (health: starting)", json!({}), "n=10.0.0.2", json!([])), "-"),
            (
                &plain,
                container("Up", json!({"transom.port": "81"}), "n=10.0.0.2", exposed(&[80, 81])),
                "10.0.0.2:81",
            ),
            (&plain, container("Up", json!({}), "n=10.0.0.2", exposed(&[80, 81])), "several ports"),
            (&plain, container("Up", json!({}), "n=10.0.0.2", json!([])), "exposes no port"),
            (
                &plain,
                container("Up", json!({}), "n=10.0.0.2 m=10.1.0.2", exposed(&[80])),
                "several networks",
            ),
            (&plain, container("Up", json!({}), "", exposed(&[80])), "no address"),
            (
                &shop,
                container("Up", json!({}), "n=10.0.0.2 shop=10.1.0.2", exposed(&[80])),
                "10.1.0.2:80",
            ),
            (&shop, container("Up", json!({}), "n=10.0.0.2", exposed(&[80])), "not in the network"),
            (&open, container("Up", json!({}), "n=10.0.0.2", map), "127.0.0.1:32768"),
            (&open, container("Up", json!({}), "n=10.0.0.2", exposed(&[80])), "publishes no such"),
            (
                &plain,
                container("Up", json!({"transom.weight": "x"}), "n=10.0.0.2", exposed(&[80])),
                "`transom.weight`",
            ),
        ] {
            let shown = match docker.container(&container) {
                Ok(Some(one)) => one.address.to_string(),
                Ok(None) => "-".into(),
                Err(why) => why,
            };
            assert!(shown.contains(expected), "{container}: {shown}");
        }
    }

    fn docker(like: &Docker) -> Docker {
        Docker {
            server: like.server.clone(),
            label: like.label.clone(),
            port: like.port,
            network: like.network.clone(),
            published: like.published,
        }
    }
}
