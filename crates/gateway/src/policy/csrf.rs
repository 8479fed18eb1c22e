//! # csrf
//!
//! **What it does.** Refuses requests that change something and that a page of another site made the
//! browser send, with the visitor's cookies. The browser itself says where a request comes from:
//! `Sec-Fetch-Site`, or `Origin` where it is too old for that. By choice a token is asked for besides,
//! sent twice: in a cookie and in a field, which only pages of the same origin can read and set.
//!
//! **When it runs.** Stage `admit`. GET, HEAD, OPTIONS and TRACE pass: they change nothing
//! (RFC 9110 §9.2.1), and endpoints have to keep to that. A WebSocket that a page of another site opens does not: it
//! is opened by a GET, with the visitor's cookies, and may do anything. A token is not asked for there, since pages
//! cannot send one.
//!
//! **Example.**
//!
//! ```yaml
//! policies:
//!   own-pages:
//!     csrf:
//!       origins: [https://pay.shop.example]
//!       token: { secret: "${CSRF_SECRET}", bind: "{cookie.session}" }
//! ```
//!
//! **What the client sees.** `forbidden`. With a token: a cookie, set with the answer to a request that
//! changes nothing.
//!
//! **Limits and cost.** Two comparisons; with a token one HMAC-SHA256 a request.
//!
//! **Traps.** Who sends neither field is no browser of today and passes: programs have no cookies to
//! be misused. Ask for a token where that is not enough. Pages below the same domain
//! (`a.example.com` and `b.example.com`) are another origin too: name them in `origins` if they may.
//! Responses that set the token must not be stored by shared caches: pages that are cached belong
//! on a route without it.

mod token;

use std::sync::Arc;

use transom_proxy::chain::Next;
use transom_proxy::exchange::Exchange;
use transom_proxy::fault::{Code, Fault};
use transom_proxy::fields::{Fields, Known, Values};
use transom_proxy::headers::cookie;
use transom_proxy::message::{Method, Request};
use transom_proxy::policy::{Answering, Policy};
use transom_proxy::stage::Stage;
use transom_proxy::variables::Template;
use transom_settings::{HeaderName, List, Secret, Spanned, settings};

use self::token::Seal;
use crate::kind::Kind;
use crate::making::Making;
use crate::origin::{OriginPattern, origin_of};

settings! {
    /// Refuses what pages of other sites make browsers send.
    pub struct Csrf {
        /// Other origins whose pages may send requests, too.
        pub origins: List<Spanned<OriginPattern>> = List::default(),
        /// A token that is asked for besides.
        pub token: Option<Token> = None,
        /// Whether what would be refused passes: it is marked in the access log (`dry_run`) and counted
        /// in `transom_dry_run_total`.
        pub dry_run: bool = false,
    }

    /// A token, sent in a cookie and in a field.
    pub struct Token {
        /// What tokens are sealed with, 16 letters at least. The same on every Transom.
        pub secret: Spanned<Secret>,
        /// The cookie. Pages of the same origin read it.
        pub cookie: String = "csrf-token".to_owned(),
        /// The field in which they send it.
        pub header: HeaderName = HeaderName::known("x-csrf-token"),
        /// What a token belongs to, such as `{cookie.session}`: it is worth nothing with another.
        pub bind: Option<Template> = None,
    }
}

impl Kind for Csrf {
    const NAME: &'static str = "csrf";
    const SUMMARY: &'static str = "Refuses what pages of other sites make browsers send.";
    const STAGE: Stage = Stage::Admit;

    fn templates(&self) -> Vec<&Template> {
        self.token.iter().filter_map(|token| token.bind.as_ref()).collect()
    }

    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        if let Some(wide) =
            self.origins.iter().find(|one| one.value == OriginPattern::Any || one.is_careless())
        {
            let what = format!("`{}` lets pages of strangers act as the visitor", wide.value);
            making.error(wide.span, "origins", what, "name the origins that may");
            return None;
        }
        if let Some(token) = &self.token
            && token.secret.expose().len() < 16
        {
            let hint = "make one with `openssl rand -hex 32` and give it by `${NAME}`";
            making.error(token.secret.span, "token.secret", "the secret is too short", hint);
            return None;
        }
        Some(Arc::new(Guarding {
            dry_run: self.dry_run.then(|| making.name.into()),
            origins: self.origins.iter().map(|origin| origin.value.clone()).collect(),
            token: self.token.as_ref().map(|token| Sealed {
                seal: Seal::new(token.secret.expose().as_bytes()),
                cookie: token.cookie.clone(),
                header: token.header.to_string(),
                bind: token.bind.clone(),
            }),
        }))
    }
}

struct Guarding {
    /// Its own name, where it only tries.
    dry_run: Option<Arc<str>>,
    origins: Vec<OriginPattern>,
    token: Option<Sealed>,
}

struct Sealed {
    seal: Seal,
    cookie: String,
    header: String,
    bind: Option<Template>,
}

impl Guarding {
    /// Whether the browser says that the request comes from where it may; else the reason.
    fn judge(&self, request: &Request) -> Result<(), &'static str> {
        self.comes_from(&origin_of(request.scheme, &request.authority), &request.fields)
    }

    fn comes_from(&self, own: &str, fields: &Fields) -> Result<(), &'static str> {
        let origin = match fields.only(Known::Origin) {
            Values::None => None,
            Values::One(origin) => Some(std::str::from_utf8(origin).unwrap_or("null")),
            Values::Many => return Err("several `Origin`"),
        };
        let trusted =
            origin.is_some_and(|origin| self.origins.iter().any(|one| one.matches(origin)));
        if trusted {
            return Ok(());
        }
        match (fields.only("Sec-Fetch-Site"), origin) {
            (Values::One(b"same-origin" | b"none"), _) | (Values::None, None) => Ok(()),
            (Values::None, Some(origin)) if origin.eq_ignore_ascii_case(own) => Ok(()),
            (Values::None, Some(_)) => Err("`Origin` is another"),
            (Values::One(b"same-site"), _) => Err("it comes from another origin of the site"),
            _ => Err("it comes from another site"),
        }
    }
}

impl Sealed {
    fn bound_to(&self, exchange: &Exchange) -> Vec<u8> {
        let mut bound = Vec::new();
        if let Some(bind) = &self.bind {
            bind.write(exchange, &mut bound);
        }
        bound
    }

    /// The token in the cookie, if it is one of ours.
    fn given<'f>(&self, exchange: &Exchange, fields: &'f Fields) -> Option<&'f [u8]> {
        let mut lines = fields.all(Known::Cookie);
        let token = lines.find_map(|line| cookie::value(line, &self.cookie))?;
        self.seal.holds(token, &self.bound_to(exchange)).then_some(token)
    }

    /// Whether the field has the token of the cookie; else the reason.
    fn judge(&self, cookie: Option<&[u8]>, fields: &Fields) -> Result<(), &'static str> {
        let cookie = cookie.ok_or("no valid token in the cookie")?;
        let sent = fields.get(self.header.as_str()).unwrap_or_default();
        match token::is_same(sent, cookie) {
            true => Ok(()),
            false => Err("the field does not have the token of the cookie"),
        }
    }

    /// A line that sets a new one. Pages have to read it: it is not `HttpOnly`.
    fn fresh(&self, exchange: &Exchange, over_tls: bool) -> String {
        let token = self.seal.fresh(&self.bound_to(exchange));
        let secure = if over_tls { "; Secure" } else { "" };
        format!("{}={token}; Path=/; SameSite=Lax{secure}", self.cookie)
    }
}

impl Policy for Guarding {
    fn kind(&self) -> &'static str {
        Csrf::NAME
    }

    fn stage(&self) -> Stage {
        Csrf::STAGE
    }

    fn describe(&self) -> String {
        let besides = match &self.token {
            Some(token) => format!(", with the token of `{}` in `{}`", token.cookie, token.header),
            None => String::new(),
        };
        let dry_run = if self.dry_run.is_some() { ", only told in the log" } else { "" };
        format!("what changes something comes from pages of the same origin{besides}{dry_run}")
    }

    fn handle<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        request: Box<Request>,
        next: Next,
    ) -> Answering<'a> {
        Box::pin(async move {
            let harmless = matches!(
                request.method,
                Method::Get | Method::Head | Method::Options | Method::Trace
            );
            // RFC 6455 §10.2: browsers ask no leave for it
            let opens = request.upgrade.is_some();
            let token =
                self.token.as_ref().map(|sealed| (sealed, sealed.given(exchange, &request.fields)));
            if !harmless || opens {
                let judged = self.judge(&request).and_then(|()| match &token {
                    Some((sealed, cookie)) if !opens => sealed.judge(*cookie, &request.fields),
                    _ => Ok(()),
                });
                match (judged, &self.dry_run) {
                    (Ok(()), _) => {}
                    (Err(why), None) => return Err(refused(why)),
                    (Err(why), Some(name)) => {
                        exchange.record.would_refuse(name);
                        exchange.record.remark(format!("dry run: csrf: {why}"));
                    }
                }
            }
            let sets = match &token {
                Some((sealed, None)) if harmless => {
                    Some(sealed.fresh(exchange, request.scheme == "https"))
                }
                _ => None,
            };
            let mut response = next.run(exchange, request).await;
            if let Some(line) = sets {
                response.fields.append(Known::SetCookie, line.as_bytes());
            }
            Ok(response)
        })
    }
}

fn refused(why: &str) -> Fault {
    Fault::new(Code::Forbidden, format!("csrf: {why}"))
}

#[cfg(test)]
mod tests {
    use transom_settings::FromText;

    use super::*;

    #[test]
    fn gw_16_what_the_browser_says_decides() {
        let pay = OriginPattern::from_text("https://pay.example").unwrap();
        let guarding = Guarding { origins: vec![pay], token: None, dry_run: None };
        for (lines, passes) in [
            (&[][..], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "surprise")], false),
            (&[("origin", "https://shop.example")], true),
            (&[("origin", "http://shop.example")], false),
            (&[("origin", "null")], false),
            (&[("origin", "https://evil.example")], false),
            (&[("origin", "https://evil.example"), ("origin", "https://shop.example")], false),
            (&[("origin", "https://pay.example"), ("sec-fetch-site", "cross-site")], true),
            (&[("origin", "https://shop.example"), ("sec-fetch-site", "cross-site")], false),
        ] {
            let mut fields = Fields::new();
            for (name, value) in lines {
                fields.append(*name, value.as_bytes());
            }
            let judged = guarding.comes_from("https://shop.example", &fields);
            assert_eq!(judged.is_ok(), passes, "{lines:?}: {judged:?}");
        }
    }
}
