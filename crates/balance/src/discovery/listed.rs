//! One endpoint as a source lists it, and how it is written down.

use std::collections::BTreeMap;

use transom_settings::json::{Value as Json, json};
use transom_settings::{
    Context, Diagnostics, EndpointAddress, Map, Name, Node, Setting, Spanned, Value, parse,
    settings,
};

/// One endpoint as a source lists it. Its address may be a name, which stands for all addresses
/// that the name has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub address: EndpointAddress,
    /// Its share beside the others'. Zero gets nothing new.
    pub weight: u32,
    /// Of the tiers of a pool, the lowest number is used first.
    pub priority: u8,
    pub zone: Option<String>,
    pub labels: BTreeMap<String, String>,
}

impl Listed {
    /// An endpoint with weight 1 and nothing else said of it.
    pub fn new(address: EndpointAddress) -> Self {
        Listed { address, weight: 1, priority: 0, zone: None, labels: BTreeMap::new() }
    }

    /// Reads one endpoint: an address, or a map with `address` and what else is said of it.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn read(text: &str) -> Result<Self, String> {
        decode("value", text, Written::decode).map(Listed::from)
    }

    /// As it is shown to operators and tools.
    pub fn to_json(&self) -> Json {
        let mut shown = json!({
            "address": self.address.to_string(),
            "weight": self.weight,
        });
        if self.priority != 0 {
            shown["priority"] = self.priority.into();
        }
        if let Some(zone) = &self.zone {
            shown["zone"] = zone.as_str().into();
        }
        if !self.labels.is_empty() {
            shown["labels"] = json!(self.labels);
        }
        shown
    }
}

/// Reads a list of endpoints as a file holds it: a list, or a map whose key `endpoints` is one.
/// JSON is YAML.
///
/// # Errors
/// What is wrong with it, with its places.
pub fn read_list(name: &str, text: &str) -> Result<Vec<Listed>, String> {
    let read = decode(name, text, |node, at| match &node.value {
        Value::Map(_) => Whole::decode(node, at).map(|whole| whole.endpoints),
        // what was cut off is not a list of nobody
        Value::Null => None,
        _ => Vec::decode(node, at),
    })?;
    Ok(read.into_iter().map(Listed::from).collect())
}

settings! {
    /// One endpoint, as a source writes it.
    pub struct Written short(address) {
        /// Where it is: `10.0.0.1:8080`, `name:8080` or `unix:/path`.
        pub address: EndpointAddress,
        /// Its share of requests beside the others'. Zero gets none.
        pub weight: u16 = 1,
        /// What tells it from others: `{ version: v2 }`.
        pub labels: Map<Name, String> = Map::new(),
        /// Where it stands, such as a data centre.
        pub zone: Option<Name> = None,
        /// Those with 0 are used first, those with 1 when too few of them are usable, and so on.
        pub priority: u8 = 0,
    }

    /// A list of endpoints, as a file keeps it.
    pub struct Whole {
        /// The endpoints.
        pub endpoints: Vec<Written>,
    }
}

impl From<Written> for Listed {
    fn from(written: Written) -> Self {
        let label = |(name, value): (&Spanned<Name>, &String)| (name.to_string(), value.clone());
        Listed {
            labels: written.labels.iter().map(label).collect(),
            address: written.address,
            weight: written.weight.into(),
            priority: written.priority,
            zone: written.zone.map(|zone| zone.to_string()),
        }
    }
}

fn decode<T>(
    name: &str,
    text: &str,
    read: impl FnOnce(&Node, &mut Context<'_>) -> Option<T>,
) -> Result<T, String> {
    let mut findings = Diagnostics::new();
    let file = findings.add_file(name, text);
    let node = parse(file, text, &mut findings);
    let read = node.and_then(|node| read(&node, &mut Context::new(&mut findings)));
    if let (Some(read), false) = (read, findings.has_errors()) {
        return Ok(read);
    }
    let first = findings.findings().first().map(|found| {
        let place = findings.place(found.place).map(|place| format!("{place}: "));
        let path = if found.path.is_empty() { String::new() } else { format!("{}: ", found.path) };
        format!("{}{path}{}", place.unwrap_or_default(), found.what)
    });
    Err(first.unwrap_or_else(|| format!("{name}: it is empty")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Result<String, String> {
        let read = read_list("pool.yaml", text)?;
        Ok(read.iter().map(|one| one.to_json().to_string()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn lists_are_read_in_each_of_their_forms() {
        let a = r#"{"address":"10.0.0.1:80","weight":1}"#;
        let b = r#"{"address":"b:81","labels":{"v":"2"},"priority":1,"weight":0,"zone":"z"}"#;
        for (text, expected) in [
            ("- 10.0.0.1:80", Ok(a.to_owned())),
            ("[\"10.0.0.1:80\"]", Ok(a.to_owned())),
            ("endpoints: [10.0.0.1:80]", Ok(a.to_owned())),
            ("{\"endpoints\": []}", Ok(String::new())),
            ("[]", Ok(String::new())),
            (
                "- 10.0.0.1:80\n- {address: b:81, weight: 0, zone: z, priority: 1, labels: {v: 2}}",
                Ok(format!("{a} {b}")),
            ),
            ("", Err("pool.yaml: it is empty")),
            (
                "[10.0.0.1]",
                Err("pool.yaml:1:2: [0]: `10.0.0.1` is not an endpoint: it has no port"),
            ),
            ("endpoints: 7", Err("pool.yaml:1:12: endpoints: `7` is not an endpoint")),
            ("- {address: a:1, weight: 4294967296}", Err("pool.yaml:1:26: [0].weight: ")),
            ("{servers: []}", Err("pool.yaml:1:2: servers: there is no key `servers` here")),
        ] {
            match (list(text), expected) {
                (Ok(read), Ok(expected)) => assert_eq!(read, expected, "{text}"),
                (Err(why), Err(expected)) => assert!(why.starts_with(expected), "{text}: {why}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }

    #[test]
    fn one_value_is_an_address_or_a_map() {
        assert_eq!(Listed::read("10.0.0.1:80").unwrap().weight, 1);
        assert_eq!(Listed::read(r#"{"address": "10.0.0.1:80", "weight": 7}"#).unwrap().weight, 7);
        assert!(Listed::read("{").is_err());
        assert!(Listed::read("\0").is_err());
    }
}
