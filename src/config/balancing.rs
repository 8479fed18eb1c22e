//! How a pool chooses among its endpoints.

use std::fmt;

use transom_settings::{
    Choice, Context, Definitions, FromText, HeaderName, Node, Refusal, Setting, Spanned, Value,
    json::{Value as Json, json},
    quote, settings, unknown_word,
};

use super::Template;

settings! {
    /// How one endpoint is chosen.
    pub choice AlgorithmKind {
        /// The fewest requests in flight for its weight; among equals in turn.
        "least-requests" => LeastRequests(Plain),
        /// One after the other, in proportion to their weights.
        "round-robin" => RoundRobin(Plain),
        /// Any, in proportion to their weights.
        "random" => Random(Plain),
        /// Of two at random the one with fewer requests in flight.
        "two-choices" => TwoChoices(Plain),
        /// Of two at random the one that answers sooner, by its mean latency and what it has in
        /// flight.
        "peak-ewma" => PeakEwma(Plain),
        /// Of two at random the one that says it is less busy.
        "reported-load" => ReportedLoad(ReportedLoad),
        /// By the client's address: each client has its endpoint.
        "source" => Source(SourceAddress),
        /// By a key of the request, on a ring: when an endpoint goes, only its keys move.
        "ring" => Ring(HashKey),
        /// By a key of the request, with a table: the most even, and the fastest with many
        /// endpoints.
        "maglev" => Maglev(HashKey),
        /// By a key of the request: each key has a few endpoints of its own, so that what one sends
        /// can only hurt those.
        "shards" => Shards(Shards),
        /// The first that has room, so that the others may be switched off.
        "first-available" => FirstAvailable(Plain),
    }

    /// There is nothing to set.
    pub struct Plain {}

    /// How endpoints say how busy they are.
    pub struct ReportedLoad short(header) {
        /// The header of responses that tells it: `0.75`, `75%`, or ORCA.
        pub header: HeaderName = load_header(),
    }

    /// Each client has its endpoint.
    pub struct SourceAddress {
        /// How many bits of an IPv4 address count.
        pub ipv4_prefix: Spanned<u8> = 32.into(),
        /// How many bits of an IPv6 address count.
        pub ipv6_prefix: Spanned<u8> = 64.into(),
        /// How many times its fair part an endpoint may have in flight; what is more goes elsewhere.
        pub load_factor: Option<LoadFactor> = None,
    }

    /// Equal keys go to the same endpoint.
    pub struct HashKey short(key) {
        /// The key, with variables: `{header.x-user}`, `{cookie.session}`, `{query.id}`,
        /// `{path.2}`. Requests whose key is empty go anywhere.
        pub key: Spanned<Template>,
        /// How many times its fair part an endpoint may have in flight; what is more goes elsewhere.
        pub load_factor: Option<LoadFactor> = None,
    }

    /// Each key has a few endpoints of its own.
    pub struct Shards short(key) {
        /// The key, with variables: `{consumer}`, `{header.x-tenant}`. Requests whose key is empty
        /// have a few endpoints together.
        pub key: Spanned<Template>,
        /// How many endpoints each key has, from 1 to 8.
        pub size: Spanned<u8> = 2.into(),
    }

    /// Whether endpoints near to us are preferred. Where we are is said by `zone` of the whole file.
    pub enum Locality {
        /// All are the same.
        Ignore = "ignore",
        /// As much stays in our zone as keeps all endpoints equally loaded, if as much comes from
        /// every zone.
        Balanced = "balanced",
        /// All stays in our zone as long as seven in ten of its endpoints are usable.
        Nearest = "nearest",
    }
}

fn load_header() -> HeaderName {
    HeaderName::from_text(transom_balance::load::FIELD).unwrap_or_else(|_| unreachable!())
}

/// How one endpoint is chosen: `least-requests`, or `ring: { key: "{header.x-user}" }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Algorithm(pub AlgorithmKind);

impl Default for Algorithm {
    fn default() -> Self {
        Algorithm(AlgorithmKind::LeastRequests(Plain {}))
    }
}

impl Algorithm {
    /// The word that names it.
    pub fn word(&self) -> &'static str {
        self.0.kind_to_json().0
    }

    /// The text that requests are hashed by.
    pub fn key(&self) -> Option<&Spanned<Template>> {
        match &self.0 {
            AlgorithmKind::Ring(hash) | AlgorithmKind::Maglev(hash) => Some(&hash.key),
            AlgorithmKind::Shards(shards) => Some(&shards.key),
            _ => None,
        }
    }
}

impl Setting for Algorithm {
    fn decode(node: &Node, at: &mut Context<'_>) -> Option<Self> {
        let kind = match &node.value {
            Value::Scalar(_) => {
                let word = &at.scalar(node, "an algorithm")?.text;
                if !AlgorithmKind::keys().contains(&&**word) {
                    let refusal = unknown_word(word, &AlgorithmKind::keys());
                    let finding = at.error(node.span, refusal.what);
                    let finding = match refusal.hint {
                        Some(hint) => finding.hint(hint),
                        None => finding,
                    };
                    at.push(finding);
                    return None;
                }
                // the word alone is the kind with nothing set
                let nothing = Node { span: node.span, value: Value::Map(Vec::new()) };
                AlgorithmKind::decode_kind(word, &nothing, at)
            }
            _ => AlgorithmKind::decode(node, at),
        };
        kind.map(Algorithm)
    }

    fn schema(definitions: &mut Definitions) -> Json {
        let kinds = AlgorithmKind::schema(definitions);
        json!({ "anyOf": [{ "enum": AlgorithmKind::keys() }, kinds] })
    }

    fn to_json(&self) -> Json {
        match self.0.kind_to_json() {
            (word, Json::Object(settings)) if settings.is_empty() => word.into(),
            (word, settings) => json!({ word: settings }),
        }
    }
}

/// From 1 on, to the hundredth: `1.25`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadFactor {
    hundredths: u32,
}

impl LoadFactor {
    pub fn get(self) -> f64 {
        f64::from(self.hundredths) / 100.0
    }
}

impl FromText for LoadFactor {
    const WHAT: &'static str = "a factor such as `1.25`";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        let number = text.parse::<f64>().ok().filter(|number| (1.0..=100.0).contains(number));
        let plain = text.bytes().all(|c| c.is_ascii_digit() || c == b'.');
        match number.filter(|_| plain) {
            Some(number) => Ok(LoadFactor { hundredths: (number * 100.0).round() as u32 }),
            None => Err(Refusal::new(format!("{} is not a factor from 1 to 100", quote(text)))
                .hint("1.25 is usual; less spreads more evenly, more keeps more keys in place")),
        }
    }

    fn schema() -> Json {
        json!({ "type": ["number", "string"], "minimum": 1, "maximum": 100 })
    }

    fn to_json(&self) -> Json {
        self.get().into()
    }
}

impl fmt::Display for LoadFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors() {
        for (text, expected) in [
            ("1", Some(1.0)),
            ("1.25", Some(1.25)),
            ("100", Some(100.0)),
            ("0.99", None),
            ("101", None),
            ("1e1", None),
            ("inf", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(LoadFactor::from_text(text).ok().map(LoadFactor::get), expected, "{text}");
        }
    }
}
