//! Instances of a service from Consul's catalogue, by its blocking queries.

use std::time::Duration;

use transom_proxy::fields::Fields;
use transom_settings::json::Value as Json;
use transom_settings::{EndpointAddress, EndpointHost};

use super::call::{PATIENCE, Request, Server, escaped};
use super::{Following, Listed, News, Reach, Source};

/// How long Consul holds a question for which there is no news.
const WAIT: Duration = Duration::from_secs(60);

/// Questions do not follow each other faster than this, whatever the answers are.
const PAUSE: Duration = Duration::from_millis(200);

pub struct Consul {
    pub server: Server,
    pub service: String,
    /// Only instances that have all of these.
    pub tags: Vec<String>,
    pub datacenter: Option<String>,
    /// Only instances all of whose checks pass.
    pub passing: bool,
}

impl Consul {
    fn path(&self, index: u64) -> String {
        let mut path =
            format!("/v1/health/service/{}?wait={}s", escaped(&self.service), WAIT.as_secs());
        if index > 0 {
            path.push_str(&format!("&index={index}"));
        }
        if self.passing {
            path.push_str("&passing=1");
        }
        for tag in &self.tags {
            path.push_str(&format!("&tag={}", escaped(tag)));
        }
        if let Some(datacenter) = &self.datacenter {
            path.push_str(&format!("&dc={}", escaped(datacenter)));
        }
        path
    }

    async fn watch(&self, reach: &Reach, news: &News) -> Result<(), String> {
        let mut index = 0;
        let mut beat = tokio::time::interval(PAUSE);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            let path = self.path(index);
            // Consul adds up to a sixteenth to the wait, so that not all come back at once
            let patience = WAIT + WAIT / 16 + PATIENCE;
            let asked = Request { patience, ..Request::get(&path) };
            let answer = self.server.call(reach, asked).await?.ok(&self.server.address).await?;
            let now = told_index(&answer.fields).ok_or("it told no X-Consul-Index")?;
            let all = answer.json().await?;
            // Zero is none: with it, the list is all that is known.
            if now == index && index > 0 {
                news.confirmed();
                continue;
            }
            news.found(listed(&all, news)?);
            // an index that runs backwards begins anew, and so does one of zero
            index = if now < index { 0 } else { now };
        }
    }
}

impl Source for Consul {
    fn follow<'a>(&'a mut self, reach: &'a Reach, news: &'a News) -> Following<'a> {
        Box::pin(async move {
            match self.watch(reach, news).await {
                Ok(()) => String::new(),
                Err(why) => why,
            }
        })
    }
}

fn told_index(fields: &Fields) -> Option<u64> {
    let value = fields.get("x-consul-index")?;
    std::str::from_utf8(value).ok()?.trim().parse::<u64>().ok()
}

fn listed(all: &Json, news: &News) -> Result<Vec<Listed>, String> {
    let all = all.as_array().ok_or("its answer is no list")?;
    let one = |entry: &Json| match instance(entry) {
        Ok(one) => Some(one),
        Err(why) => {
            news.remark(format!("instance {} is left out: {why}", entry["Service"]["ID"]));
            None
        }
    };
    Ok(all.iter().filter_map(one).collect())
}

fn instance(entry: &Json) -> Result<Listed, String> {
    let service = &entry["Service"];
    // an instance without an address of its own has its node's
    let host = match service["Address"].as_str() {
        Some(own) if !own.is_empty() => own,
        _ => entry["Node"]["Address"].as_str().ok_or("it has no address")?,
    };
    let port = service["Port"].as_u64().and_then(|port| u16::try_from(port).ok());
    let port = port.filter(|port| *port != 0).ok_or("it has no port")?;
    let host = EndpointHost::from_text(host).map_err(|refusal| refusal.what)?;
    let mut one = Listed::new(EndpointAddress::Tcp { host, port });
    let warning =
        entry["Checks"].as_array().into_iter().flatten().any(|c| c["Status"] == "warning");
    let weight = &service["Weights"][if warning { "Warning" } else { "Passing" }];
    one.weight = weight.as_u64().map_or(1, |weight| weight.min(u64::from(u16::MAX)) as u32);
    for (name, value) in service["Meta"].as_object().into_iter().flatten() {
        if let Some(value) = value.as_str() {
            one.labels.insert(name.clone(), value.to_owned());
        }
    }
    Ok(one)
}

#[cfg(test)]
mod tests {
    use super::super::news::Changed;
    use super::*;

    #[test]
    fn the_question_says_what_is_wanted() {
        let mut consul = Consul {
            server: Server::unix("/x"),
            service: "web shop".into(),
            tags: vec!["v2".into(), "a&b".into()],
            datacenter: Some("east".into()),
            passing: true,
        };
        let all =
            "/v1/health/service/web%20shop?wait=60s&index=7&passing=1&tag=v2&tag=a%26b&dc=east";
        assert_eq!(consul.path(7), all);
        consul.tags.clear();
        (consul.datacenter, consul.passing) = (None, false);
        assert_eq!(consul.path(0), "/v1/health/service/web%20shop?wait=60s");
    }

    #[test]
    fn instances_are_read_and_those_without_a_place_left_out() {
        let news = News::new("consul", false, Changed::default());
        let all = r#"[
            {"Node": {"Address": "10.0.0.9"}, "Service": {"ID": "a", "Address": "", "Port": 80}},
            {"Node": {"Address": "10.0.0.9"}, "Checks": [{"Status": "passing"}, {"Status": "warning"}],
             "Service": {"ID": "b", "Address": "b.internal", "Port": 81, "Meta": {"v": "2"},
                         "Weights": {"Passing": 10, "Warning": 3}}},
            {"Node": {"Address": "10.0.0.9"}, "Service": {"ID": "c", "Port": 0}}
        ]"#;
        let all = transom_settings::json::from_str(all).unwrap();
        let shown: Vec<_> =
            listed(&all, &news).unwrap().iter().map(|one| one.to_json().to_string()).collect();
        assert_eq!(
            shown,
            [
                r#"{"address":"10.0.0.9:80","weight":1}"#,
                r#"{"address":"b.internal:81","labels":{"v":"2"},"weight":3}"#,
            ]
        );
        news.found(Vec::new());
        assert!(news.told().remarks[0].contains("it has no port"));
        assert!(listed(&Json::Null, &news).is_err());
    }
}
