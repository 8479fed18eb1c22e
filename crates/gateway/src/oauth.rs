//! Asking an authorization server: for tokens (RFC 6749), and about them (RFC 7662).

use std::fmt::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use transom_proxy::body::Body;
use transom_proxy::exchange::Exchange;
use transom_proxy::fields::Known;
use transom_proxy::local::Local;
use transom_proxy::message::{Method, Request};
use transom_settings::json::{Map, Value as Json};
use transom_settings::{Secret, Url, settings};

use crate::call::{self, Called, Caller};
use crate::content::strict;

settings! {
    /// Who we are to an authorization server.
    pub struct Client {
        /// What it calls us.
        pub id: String,
        /// What proves it.
        pub secret: Option<Secret> = None,
        /// How the secret is sent.
        pub auth: ClientAuth = ClientAuth::Basic,
    }

    /// How a client proves who it is (RFC 6749 §2.3.1).
    pub enum ClientAuth {
        /// In `Authorization: Basic`.
        Basic = "basic",
        /// In the body.
        Post = "post",
    }
}

/// What lasts longer lasts as long as we run, in seconds: some say "for ever" with the largest number they have.
const FOREVER: u64 = 100 * 365 * 86_400;

/// The longest answer of a server that is read, in bytes.
pub const LONGEST: usize = 64 << 10;

/// A server at one of its URLs.
pub struct Server {
    pub url: Url,
    pub client: Client,
    pub caller: Arc<Caller>,
}

/// An access token and what came with it (RFC 6749 §5.1).
#[derive(Clone, Debug, PartialEq)]
pub struct Granted {
    pub access: String,
    /// For how long it is good, where the server says so.
    pub lasts: Option<Duration>,
    pub refresh: Option<String>,
    /// The identity token of OpenID Connect.
    pub id: Option<String>,
}

/// Why a server gave nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// It has decided so (a status from 400 to 499): to ask again does not help.
    pub refused: bool,
    pub why: String,
}

impl From<String> for Failed {
    fn from(why: String) -> Self {
        Failed { refused: false, why }
    }
}

impl Server {
    /// Sends a form for the client of an exchange, and reads the JSON object that answers it.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn ask_for(
        &self,
        exchange: &Exchange,
        form: &[(&str, &str)],
    ) -> Result<Map<String, Json>, Failed> {
        let called = self.caller.call_for(exchange, self.question(form)).await;
        self.answer(called.map_err(|fault| fault.to_string())?)
    }

    /// The same for nobody.
    ///
    /// # Errors
    /// As [`Server::ask_for`].
    pub async fn ask_alone(
        &self,
        local: &Rc<Local>,
        form: &[(&str, &str)],
    ) -> Result<Map<String, Json>, Failed> {
        let called = self.caller.call_alone(local, self.question(form)).await;
        self.answer(called.map_err(|fault| fault.to_string())?)
    }

    fn question(&self, form: &[(&str, &str)]) -> Request {
        let mut request = call::request(Method::Post, &self.url);
        let fields = &mut request.fields;
        fields.append(Known::ContentType, b"application/x-www-form-urlencoded");
        fields.append(Known::Accept, b"application/json");
        let mut body = String::new();
        let mut add = |name: &str, value: &str| {
            if !body.is_empty() {
                body.push('&');
            }
            body.push_str(name);
            body.push('=');
            escape(value, &mut body);
        };
        form.iter().for_each(|(name, value)| add(name, value));
        let Client { id, secret, auth } = &self.client;
        match (secret, auth) {
            (Some(secret), ClientAuth::Basic) => {
                let mut pair = String::new();
                escape(id, &mut pair);
                pair.push(':');
                escape(secret.expose(), &mut pair);
                let value = format!("Basic {}", BASE64.encode(pair.as_bytes()));
                fields.append(Known::Authorization, value.as_bytes());
            }
            (Some(secret), ClientAuth::Post) => {
                add("client_id", id);
                add("client_secret", secret.expose());
            }
            (None, _) => add("client_id", id),
        }
        request.body = Body::of(body);
        request
    }

    fn answer(&self, called: Called) -> Result<Map<String, Json>, Failed> {
        let answer = strict::parse(&called.body);
        match (called.status, answer) {
            (200, Ok(Json::Object(answer))) => Ok(answer),
            (200, _) => Err(format!("what {} answers is no JSON object", self.url).into()),
            (status, answer) => {
                // RFC 6749 §5.2: a word that says what is wrong
                let word = answer.ok().and_then(|answer| {
                    let word = answer.get("error")?.as_str()?;
                    word.bytes().all(|b| b.is_ascii_graphic()).then(|| format!(": {word}"))
                });
                let why = format!("{} answers {status}{}", self.url, word.unwrap_or_default());
                Err(Failed { refused: (400..500).contains(&status), why })
            }
        }
    }
}

impl Granted {
    /// # Errors
    /// Why the answer grants nothing.
    pub fn of(answer: &Map<String, Json>) -> Result<Self, String> {
        let text = |name: &str| answer.get(name).and_then(Json::as_str).map(str::to_owned);
        let access = text("access_token").ok_or("the answer has no `access_token`")?;
        if access.is_empty() || !access.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("the access token cannot stand in a header field".to_owned());
        }
        let lasts = answer.get("expires_in");
        // some write the number as a text
        let lasts = lasts.and_then(|n| n.as_u64().or_else(|| n.as_str()?.parse().ok()));
        let lasts = lasts.map(|seconds: u64| seconds.min(FOREVER));
        Ok(Granted {
            access,
            lasts: lasts.map(Duration::from_secs),
            refresh: text("refresh_token"),
            id: text("id_token"),
        })
    }
}

/// For a form or a query: all but letters, digits and `-._~` is escaped (RFC 3986 §2.3).
pub fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            // writing to a text cannot fail
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use transom_settings::json::json;

    use super::*;

    #[test]
    fn what_is_granted_is_read_from_the_answer() {
        let of = |answer: Json| Granted::of(answer.as_object().unwrap());
        let granted = of(json!({"access_token": "a", "expires_in": 60, "refresh_token": "r"}));
        let granted = granted.unwrap();
        assert_eq!((granted.access.as_str(), granted.lasts), ("a", Some(Duration::from_secs(60))));
        assert_eq!((granted.refresh.as_deref(), granted.id), (Some("r"), None));
        assert_eq!(
            of(json!({"access_token": "a", "expires_in": "7"})).unwrap().lasts,
            Some(Duration::from_secs(7))
        );
        for forever in [json!(i64::MAX), json!(u64::MAX), json!(u64::MAX.to_string())] {
            let granted = of(json!({"access_token": "a", "expires_in": forever})).unwrap();
            assert_eq!(granted.lasts, Some(Duration::from_secs(FOREVER)), "{forever}");
        }
        for bad in [json!({}), json!({"access_token": ""}), json!({"access_token": "a\nb"})] {
            assert!(of(bad).is_err());
        }
    }

    #[test]
    fn what_means_something_in_a_form_is_escaped() {
        let mut out = String::new();
        escape("a-b_c.d~e f&g=h+i%ä", &mut out);
        assert_eq!(out, "a-b_c.d~e%20f%26g%3Dh%2Bi%25%C3%A4");
    }
}
