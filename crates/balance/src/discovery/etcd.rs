//! Endpoints below a prefix of etcd, by the JSON interface of its version 3.
//!
//! Each key below the prefix is one endpoint; its value is an address or a map
//! ([`Listed::read`]). All are read once, and then every change is watched from that revision on, so
//! that none is missed. A key whose lease ends is gone like one that was deleted.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use transom_settings::json::{Value as Json, json};

use super::call::{Request, Server};
use super::{Following, Listed, News, Reach, Source};

/// etcd, one of whose members is asked, and the next when that one fails.
pub struct Etcd {
    pub servers: Vec<Server>,
    pub prefix: String,
    /// Name and password, where etcd wants them.
    pub user: Option<(String, String)>,
    next: usize,
}

/// A server that has lost the others ends the watch instead of being silent, and the next is asked.
const LEADER: [(&str, &str); 1] = [("grpc-metadata-hasleader", "true")];

impl Etcd {
    pub fn new(servers: Vec<Server>, prefix: String, user: Option<(String, String)>) -> Self {
        Etcd { servers, prefix, user, next: 0 }
    }

    async fn watch(&mut self, reach: &Reach, news: &News) -> Result<(), String> {
        let at = self.next % self.servers.len().max(1);
        self.next += 1;
        let mut server = self.servers.get(at).ok_or("no etcd server is configured")?.clone();
        if let Some((name, password)) = &self.user {
            let body = json!({ "name": name, "password": password });
            let request = Request::post("/v3/auth/authenticate", &body);
            let answer = server.json(reach, request).await?;
            let token = answer["token"].as_str().ok_or("etcd gave no token")?.to_owned();
            server.fields.push(("authorization".into(), token));
        }
        let (from, to) = range(&self.prefix);
        let body = json!({ "key": from, "range_end": to });
        let all = server.json(reach, Request::post("/v3/kv/range", &body)).await?;
        let mut endpoints = BTreeMap::new();
        for pair in all["kvs"].as_array().into_iter().flatten() {
            put(&mut endpoints, pair, news)?;
        }
        news.found(endpoints.values().cloned().collect());

        let revision = number(&all["header"]["revision"]).ok_or("etcd told no revision")?;
        let body = json!({ "create_request": {
            "key": from, "range_end": to, "start_revision": (revision + 1).to_string(),
        }});
        let watch = Request { fields: &LEADER, ..Request::post("/v3/watch", &body) };
        let asked = server.call(reach, watch).await?;
        let mut events = asked.ok(&server.address).await?;
        while let Some(line) = events.line().await? {
            let told: Json = transom_settings::json::from_slice(&line)
                .map_err(|e| format!("etcd's news are no JSON: {e}"))?;
            if !told["error"].is_null() {
                return Err(format!("etcd ended the watch: {}", told["error"]));
            }
            let told = &told["result"];
            if told["canceled"] == true {
                return Err(format!("etcd ended the watch: {}", told["cancel_reason"]));
            }
            let Some(changes) = told["events"].as_array() else { continue };
            for change in changes {
                match change["type"].as_str() {
                    Some("DELETE") => {
                        endpoints.remove(&decoded(&change["kv"]["key"])?);
                    }
                    _ => put(&mut endpoints, &change["kv"], news)?,
                }
            }
            news.found(endpoints.values().cloned().collect());
        }
        Err("etcd ended the watch".into())
    }
}

impl Source for Etcd {
    fn follow<'a>(&'a mut self, reach: &'a Reach, news: &'a News) -> Following<'a> {
        Box::pin(async move {
            match self.watch(reach, news).await {
                Ok(()) => "etcd ended the watch".to_owned(),
                Err(why) => why,
            }
        })
    }
}

/// Takes one key over. One whose value is no endpoint is left out, and that is told.
fn put(endpoints: &mut BTreeMap<String, Listed>, pair: &Json, news: &News) -> Result<(), String> {
    let key = decoded(&pair["key"])?;
    match Listed::read(decoded(&pair["value"])?.trim()) {
        Ok(one) => {
            endpoints.insert(key, one);
        }
        Err(why) => {
            endpoints.remove(&key);
            news.remark(format!("key `{key}` is left out: {why}"));
        }
    }
    Ok(())
}

/// The first key and the one after the last of a prefix, as etcd wants them.
fn range(prefix: &str) -> (String, String) {
    if prefix.is_empty() {
        // all keys
        return (BASE64.encode(&[0]), BASE64.encode(&[0]));
    }
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    (BASE64.encode(prefix.as_bytes()), BASE64.encode(&end))
}

fn decoded(text: &Json) -> Result<String, String> {
    let bytes = BASE64.decode(text.as_str().unwrap_or_default().as_bytes());
    let bytes = bytes.map_err(|e| format!("etcd's answer is not base64: {e}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Numbers of 64 bits are texts in etcd's JSON.
fn number(value: &Json) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::super::news::Changed;
    use super::*;

    #[test]
    fn a_prefix_is_a_range_of_keys() {
        for (prefix, end) in [("/pools/a/", "/pools/a0"), ("a", "b"), ("a\u{ff}", "a\u{100}")] {
            let (from, to) = range(prefix);
            assert_eq!(BASE64.decode(from.as_bytes()).unwrap(), prefix.as_bytes());
            let end = if prefix == "a\u{ff}" { b"a\xc3\xc0".to_vec() } else { end.into() };
            assert_eq!(BASE64.decode(to.as_bytes()).unwrap(), end);
        }
    }

    #[test]
    fn u10_a_key_that_is_no_endpoint_is_left_out_and_told() {
        let news = News::new("etcd", false, Changed::default());
        let mut endpoints = BTreeMap::new();
        let pair = |key: &str, value: &str| json!({ "key": BASE64.encode(key.as_bytes()), "value": BASE64.encode(value.as_bytes()) });
        put(&mut endpoints, &pair("a", "10.0.0.1:80\n"), &news).unwrap();
        put(&mut endpoints, &pair("b", r#"{"address": "10.0.0.2:80", "weight": 3}"#), &news)
            .unwrap();
        put(&mut endpoints, &pair("c", "nonsense"), &news).unwrap();
        assert_eq!(endpoints.len(), 2);
        news.found(Vec::new());
        assert!(news.told().remarks[0].contains("key `c` is left out"));
        put(&mut endpoints, &pair("a", "{"), &news).unwrap();
        assert_eq!(endpoints.len(), 1);
        assert!(put(&mut endpoints, &json!({ "key": "?" }), &news).is_err());
    }
}
