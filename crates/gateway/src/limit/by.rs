//! Whose request it is: what a limit is counted for.

use std::fmt;
use std::net::IpAddr;

use transom_net::clients;
use transom_proxy::exchange::Exchange;
use transom_proxy::fields::Known;
use transom_proxy::headers::cookie;
use transom_proxy::message::Request;
use transom_proxy::variables::{Part, Template, Variable};
use transom_settings::json::{Value as Json, json};
use transom_settings::{
    Context, Definitions, FromText, Node, Refusal, Setting, Value, closest, quote, settings,
};

use crate::expression::{Anything, Expression, Facts};

settings! {
    /// What an expression says of a request, such as `identity.claims.tenant`.
    pub struct ByExpression {
        /// The expression, which comes to a text, a number or an address.
        pub expression: Expression<Anything>,
    }
}

/// For whom a limit counts.
#[derive(Clone, Debug, PartialEq)]
pub enum By {
    /// Everybody together.
    All,
    /// The client's address, of IPv6 its /64: that is what one of them is given (L-01).
    Client,
    /// Who the request was found to come from; the client's address where that is nobody, or who is only
    /// called `anonymous`: strangers have nothing in common.
    Consumer,
    /// A text with variables. Requests for which it comes out the same count together.
    Text(Template),
    /// The same with an expression. Those for which it comes to nothing count together.
    Expression(Expression<Anything>),
}

impl By {
    /// What must not be the same for two: each begins with a letter of its own, so that nobody can be
    /// called like somebody's address.
    pub fn write(&self, exchange: &Exchange, request: &Request, out: &mut Vec<u8>) {
        match (self, exchange.identity.as_ref().filter(|who| !who.is_anonymous)) {
            (By::All, _) => out.push(b'*'),
            (By::Consumer, Some(identity)) => out.extend(By::consumer(&identity.name)),
            (By::Client | By::Consumer, _) => {
                out.push(b'a');
                match clients::key(exchange.client) {
                    IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
                    IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()[..8]),
                }
            }
            (By::Expression(expression), _) => {
                out.push(b'e');
                let begin = out.len();
                if expression.program().write(&Facts::new(exchange, request), out).is_err() {
                    out.truncate(begin - 1);
                    out.push(b'-');
                }
            }
            (By::Text(template), _) => {
                out.push(b't');
                match &template.parts[..] {
                    // read where they lie
                    [Part::Variable(Variable::Header(name))] => {
                        for (at, line) in request.fields.all(&**name).enumerate() {
                            out.extend_from_slice(if at > 0 { b", " } else { b"" });
                            out.extend_from_slice(line);
                        }
                    }
                    [Part::Variable(Variable::Cookie(name))] => {
                        let mut lines = request.fields.all(Known::Cookie);
                        let value = lines.find_map(|line| cookie::value(line, name));
                        out.extend_from_slice(value.unwrap_or_default());
                    }
                    _ => template.write(exchange, out),
                }
            }
        }
    }

    /// What stands for a consumer.
    pub fn consumer(name: &str) -> impl Iterator<Item = u8> + Clone {
        std::iter::once(b'c').chain(name.bytes())
    }

    /// The text with variables, where it is one.
    pub fn template(&self) -> Option<&Template> {
        match self {
            By::Text(template) => Some(template),
            _ => None,
        }
    }

    /// As the end of a sentence: "100 in a minute for each client".
    pub fn words(&self) -> String {
        match self {
            By::All => "for all together".to_owned(),
            By::Client => "for each client".to_owned(),
            By::Consumer => "for each consumer".to_owned(),
            By::Text(template) => format!("for each {template}"),
            By::Expression(expression) => format!("for each {}", expression.as_str()),
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            By::All => f.write_str("all"),
            By::Client => f.write_str("client"),
            By::Consumer => f.write_str("consumer"),
            By::Text(template) => template.fmt(f),
            By::Expression(expression) => f.write_str(expression.as_str()),
        }
    }
}

impl By {
    const WHAT: &'static str = "`client`, `consumer`, `all` or a text with variables";

    fn of_text(text: &str) -> Result<Self, Refusal> {
        let words = [("all", By::All), ("client", By::Client), ("consumer", By::Consumer)];
        if let Some((_, by)) = words.iter().find(|(word, _)| *word == text) {
            return Ok(by.clone());
        }
        let template = Template::from_text(text)?;
        if template.literal().is_none() {
            return Ok(By::Text(template));
        }
        let hint = match closest(text, words.iter().map(|(word, _)| *word)) {
            Some(meant) => format!("did you mean {}?", quote(meant)),
            None => format!(
                "for a header field write `'{{header.{text}}}'`, for a part of the path `'{{capture.{text}}}'`, for an expression `{{ expression: {text} }}`"
            ),
        };
        let what = format!("expected {}, found {}", Self::WHAT, quote(text));
        Err(Refusal::new(what).hint(hint))
    }
}

impl Setting for By {
    fn decode(node: &Node, at: &mut Context<'_>) -> Option<Self> {
        if let Value::Map(_) = &node.value {
            return ByExpression::decode(node, at).map(|by| By::Expression(by.expression));
        }
        let scalar = at.scalar(node, Self::WHAT)?;
        match By::of_text(&scalar.text) {
            Ok(by) => Some(by),
            Err(refusal) => {
                let shown = scalar.hidden.is_none();
                let what = if shown { refusal.what } else { format!("expected {}", Self::WHAT) };
                let mut finding = at.error(node.span, what);
                finding.hint = refusal.hint.filter(|_| shown);
                at.push(finding);
                None
            }
        }
    }

    fn schema(definitions: &mut Definitions) -> Json {
        let text =
            json!({ "type": "string", "examples": ["consumer", "client", "{header.x-tenant}"] });
        json!({ "anyOf": [text, ByExpression::schema(definitions)] })
    }

    fn to_json(&self) -> Json {
        match self {
            By::Expression(expression) => json!({ "expression": expression.as_str() }),
            _ => self.to_string().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::sync::Arc;

    use transom_net::Worker;
    use transom_proxy::exchange::Identity;
    use transom_proxy::local::Local;
    use transom_proxy::message::Method;

    use super::*;

    #[test]
    fn l_02_strangers_are_told_apart_by_their_addresses() {
        let mut exchange = Exchange::alone(&Rc::new(Local::new(Worker::new(0))));
        let request = Request::new(Method::Get, "a", "/");
        let mut key = |is_anonymous: Option<bool>, name: &str, address: &str| {
            exchange.client = address.parse().unwrap();
            let name = name.into();
            let who = |is_anonymous| Identity { name, is_anonymous, ..Identity::default() };
            exchange.identity = is_anonymous.map(who).map(Arc::new);
            let mut out = Vec::new();
            By::Consumer.write(&exchange, &request, &mut out);
            out
        };
        let (known, anonymous) = (Some(false), Some(true));
        assert_eq!(key(known, "ada", "10.0.0.1"), key(known, "ada", "10.0.0.2"));
        assert_eq!(key(anonymous, "visitor", "10.0.0.1"), key(None, "", "10.0.0.1"));
        assert_ne!(key(anonymous, "visitor", "10.0.0.1"), key(anonymous, "visitor", "10.0.0.2"));
        assert_ne!(key(known, "visitor", "10.0.0.1"), key(anonymous, "visitor", "10.0.0.1"));
    }

    #[test]
    fn words_and_texts() {
        for (text, expected) in [
            ("client", Ok(By::Client)),
            ("consumer", Ok(By::Consumer)),
            ("all", Ok(By::All)),
            ("clients", Err("did you mean `client`?")),
            (
                "x-tenant",
                Err(
                    "for a header field write `'{header.x-tenant}'`, for a part of the path `'{capture.x-tenant}'`, for an expression `{ expression: x-tenant }`",
                ),
            ),
        ] {
            let found = By::of_text(text);
            let expected = expected.map_err(|hint| Some(hint.to_owned()));
            assert_eq!(found.map_err(|refusal| refusal.hint), expected, "{text}");
        }
        let by = By::of_text("{capture.id} {header.x-tenant}").unwrap();
        assert_eq!(by.to_string(), "{capture.id} {header.x-tenant}");
        assert_eq!(by.template().unwrap().variables().count(), 2);
    }
}
