//! Services by SRV records: hosts, ports, weights and priorities from DNS (RFC 2782).

use std::collections::BTreeSet;

use transom_settings::{EndpointAddress, EndpointHost};

use super::answer::Service;
use super::resolver::NoAnswer;
use super::{Following, Listed, News, Reach, Source};

/// So often in a row must DNS say that there is nothing before that is believed.
const GONE: u32 = 3;

/// A name such as `_http._tcp.shop.example`.
pub struct Srv {
    pub name: String,
}

impl Srv {
    async fn watch(&self, reach: &Reach, news: &News) -> String {
        let mut nothing = 0;
        loop {
            let least = reach.resolver.settings().least();
            let pause = match reach.resolver.services(&self.name).await {
                Ok(answer) => {
                    nothing = 0;
                    news.found(listed(&answer.found));
                    answer.ttl
                }
                Err(NoAnswer::Nothing(_)) if nothing + 1 >= GONE => {
                    news.found(Vec::new());
                    least
                }
                Err(NoAnswer::Nothing(why)) => {
                    nothing += 1;
                    news.failed(why);
                    least
                }
                Err(NoAnswer::Failed(why)) => return why,
            };
            tokio::time::sleep(pause).await;
        }
    }
}

impl Source for Srv {
    fn follow<'a>(&'a mut self, reach: &'a Reach, news: &'a News) -> Following<'a> {
        Box::pin(self.watch(reach, news))
    }
}

/// Priorities become 0, 1, 2 in their order. Weight 0 beside larger ones is "a very small chance"
/// (RFC 2782): the smallest there is.
pub fn listed(services: &[Service]) -> Vec<Listed> {
    let priorities: BTreeSet<u16> = services.iter().map(|service| service.priority).collect();
    let tier = |priority| priorities.iter().position(|known| *known == priority).unwrap_or(0);
    let one = |service: &Service| {
        let host = EndpointHost::from_text(&service.host).ok()?;
        let mut one = Listed::new(EndpointAddress::Tcp { host, port: service.port });
        one.weight = u32::from(service.weight).max(1);
        one.priority = u8::try_from(tier(service.priority)).unwrap_or(u8::MAX);
        Some(one)
    };
    services.iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_become_tiers_and_no_weight_is_lost() {
        let service = |host: &str, priority, weight| Service {
            host: host.to_owned(),
            port: 80,
            priority,
            weight,
        };
        let all = [service("a", 10, 60), service("b", 10, 0), service("c", 65535, 5)];
        let shown: Vec<_> = listed(&all)
            .iter()
            .map(|one| format!("{} {} {}", one.address, one.priority, one.weight))
            .collect();
        assert_eq!(shown, ["a:80 0 60", "b:80 0 1", "c:80 1 5"]);
    }
}
