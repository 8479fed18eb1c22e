//! One request and its response, from the first byte of the head to the last byte of the body.

use std::any::{Any, TypeId};
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use transom_settings::json::Value as Json;

use crate::fault::Fault;
use crate::fields::Fields;
use crate::local::Local;
use crate::message::{Method, Version};
use crate::peer::Peer;
use crate::record::Record;
use crate::route::Captures;
use crate::site::{Route, Site};
use crate::upgrade::Tunnel;

/// What everything on the way of a request may look at and add to.
pub struct Exchange {
    pub id: RequestId,
    pub started: Instant,
    /// What the worker keeps for all its exchanges.
    pub local: Rc<Local>,
    pub peer: Rc<Peer>,
    /// The client itself: the peer, or the one a trusted proxy speaks for.
    pub client: IpAddr,
    pub asked: Asked,
    /// The site as it was when the request began; a reload does not change it.
    pub site: Rc<Arc<Site>>,
    /// Index of the matched route in the site.
    pub route: Option<u32>,
    /// Where the variables of the matched path template lie in the path.
    pub captures: Option<Captures>,
    pub identity: Option<Arc<Identity>>,
    pub extensions: Extensions,
    pub record: Record,
    /// The client's side of the exchange; none where nobody listens.
    pub client_side: Option<Rc<dyn ClientSide>>,
    /// The endpoint's stream after a 101.
    pub tunnel: Option<Box<Tunnel>>,
}

impl Exchange {
    /// The matched route.
    pub fn route(&self) -> Option<&Route> {
        self.site.routes.get(self.route? as usize)
    }

    /// When all of the response must have been sent, where the route or the client limits that.
    pub fn ends_by(&self) -> Option<Instant> {
        let limit = match (self.route()?.timeouts.request, self.asked.timeout) {
            (Some(ours), Some(theirs)) => ours.min(theirs),
            (ours, theirs) => ours.or(theirs)?,
        };
        self.started.checked_add(limit)
    }

    /// An exchange for the same client that nobody listens to: for requests of our own that belong to
    /// this one.
    pub fn aside(&self) -> Exchange {
        Exchange {
            id: self.id.clone(),
            started: Instant::now(),
            local: self.local.clone(),
            peer: self.peer.clone(),
            client: self.client,
            asked: self.asked.clone(),
            site: self.site.clone(),
            route: self.route,
            captures: None,
            identity: None,
            extensions: Extensions::default(),
            record: Record::default(),
            client_side: None,
            tunnel: None,
        }
    }

    /// An exchange that no client began: for requests that belong to none.
    pub fn alone(local: &Rc<Local>) -> Exchange {
        let site = Site::of_nobody();
        Exchange {
            id: local.request_id(),
            started: Instant::now(),
            local: local.clone(),
            peer: Rc::new(Peer::new(Peer::NOWHERE, Peer::NOWHERE, None)),
            client: Peer::NOWHERE.ip(),
            asked: Asked {
                method: Method::Get,
                scheme: "http",
                authority: Rc::from(""),
                path: Rc::from("/"),
                query: None,
                version: Version::Http11,
                wants: Wants::Text,
                timeout: None,
            },
            site: Rc::new(Arc::new(site)),
            route: None,
            captures: None,
            identity: None,
            extensions: Extensions::default(),
            record: Record::default(),
            client_side: None,
            tunnel: None,
        }
    }

    /// The value of a variable of the path template, as it stands in the canonical path.
    pub fn capture(&self, name: &str) -> Option<&str> {
        let captures = self.captures.as_ref()?;
        let value = self.site.router.capture(captures, name, self.asked.path.as_bytes())?;
        std::str::from_utf8(value).ok()
    }
}

/// What the client asked for, before anything was rewritten.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: Method,
    pub scheme: &'static str,
    /// Host and port as received, lower-cased.
    pub authority: Rc<str>,
    /// The canonical path.
    pub path: Rc<str>,
    pub query: Option<Rc<str>>,
    pub version: Version,
    /// The client's choice of media types, for answers.
    pub wants: Wants,
    /// How long the client waits for the end of the response, where it says so (gRPC).
    pub timeout: Option<Duration>,
}

/// In which form the client takes an answer that Transom makes itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wants {
    #[default]
    Text,
    Json,
    Grpc,
}

/// What an action may do with the client before its response.
pub trait ClientSide {
    /// Sends a 1xx response where the client takes one.
    fn send_interim(&self, status: u16, fields: &Fields);

    /// Ready when the client has gone, so that nobody works for the dead (U-16).
    fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<Fault>;
}

/// Who asks: set by an authenticating policy, read by all that follow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Identity {
    /// The consumer, or whom a token speaks of.
    pub name: Arc<str>,
    pub groups: Vec<String>,
    /// What the credential allows (RFC 6749 §3.3).
    pub scopes: Vec<String>,
    pub plan: Option<Arc<str>>,
    /// Whether it is a consumer, and not only called like one.
    pub is_consumer: bool,
    /// Whether it stands for everybody who shows nothing: such people have only the name in common.
    pub is_anonymous: bool,
    /// The kind of the policy that found out, such as `jwt`.
    pub by: &'static str,
    /// When the credential ends, in seconds since 1970, where it is known to.
    pub until: Option<i64>,
    /// Everything that a token says.
    pub claims: Option<Arc<Json>>,
}

/// 128 bits, unique for each request; 32 hexadecimal digits in logs and headers, or what a
/// trusted client sent in their place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestId {
    Own(u64, u64),
    Given(Box<str>),
}

impl RequestId {
    /// Writes the id as it stands in logs and headers.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            RequestId::Own(high, low) => {
                out.extend_from_slice(digits(*high).as_flattened());
                out.extend_from_slice(digits(*low).as_flattened());
            }
            RequestId::Given(text) => out.extend_from_slice(text.as_bytes()),
        }
    }
}

/// Sixteen hexadecimal digits, two at a time.
fn digits(half: u64) -> [[u8; 2]; 8] {
    const PAIRS: [[u8; 2]; 256] = {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut pairs = [[0; 2]; 256];
        let mut byte = 0;
        while byte < pairs.len() {
            pairs[byte] = [HEX[byte >> 4], HEX[byte & 0xf]];
            byte += 1;
        }
        pairs
    };
    half.to_be_bytes().map(|byte| PAIRS[usize::from(byte)])
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestId::Own(high, low) => write!(f, "{high:016x}{low:016x}"),
            RequestId::Given(text) => f.write_str(text),
        }
    }
}

/// Facts of any type that one part leaves for another.
#[derive(Default)]
pub struct Extensions(Vec<(TypeId, Box<dyn Any>)>);

impl Extensions {
    pub fn insert<T: 'static>(&mut self, value: T) {
        self.0.retain(|(id, _)| *id != TypeId::of::<T>());
        self.0.push((TypeId::of::<T>(), Box::new(value)));
    }

    pub fn get<T: 'static>(&self) -> Option<&T> {
        self.0.iter().find(|(id, _)| *id == TypeId::of::<T>())?.1.downcast_ref()
    }

    /// What is there of this type, to be changed; made where there is nothing.
    pub fn get_or_insert_with<T: 'static>(&mut self, make: impl FnOnce() -> T) -> &mut T {
        if self.get::<T>().is_none() {
            self.insert(make());
        }
        let known = self.0.iter_mut().find_map(|(_, value)| value.downcast_mut());
        known.expect("it is there by now")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_as_it_is_shown() {
        for id in [RequestId::Own(0x1f, 0xabc), RequestId::Given("abc-1".into())] {
            let mut out = Vec::new();
            id.write(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), id.to_string());
        }
        assert_eq!(RequestId::Own(0x1f, 0xabc).to_string(), "000000000000001f0000000000000abc");
    }
}
