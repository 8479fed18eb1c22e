//! A request whose response must be as expected (U-04): the status is one of a set, and the body
//! holds a text where that is wanted. Redirects are not followed.

use transom_net::Stream;
use transom_proxy::codec::head::{self, HeadLimits, ResponseHead};
use transom_proxy::codec::{Decoder, Piece, framing};
use transom_proxy::message::Method;

use crate::health::talk::{more, send};

/// What of a body is looked at, at most.
pub const MOST_BODY: usize = 64 * 1024;
/// Most responses before the final one.
const INTERIM: usize = 8;

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpProbe {
    pub method: String,
    /// With its query.
    pub path: String,
    /// `Host`, where it is not the endpoint's own name.
    pub host: Option<String>,
    pub fields: Vec<(String, String)>,
    /// Statuses that pass, each from and to.
    pub statuses: Vec<(u16, u16)>,
    /// Text that the body must hold.
    pub body: Option<String>,
}

impl HttpProbe {
    /// A GET that passes with any status from 200 to 299.
    pub fn get(path: impl Into<String>) -> Self {
        HttpProbe {
            method: "GET".to_owned(),
            path: path.into(),
            host: None,
            fields: Vec::new(),
            statuses: vec![(200, 299)],
            body: None,
        }
    }

    pub(super) async fn ask(&self, stream: &mut Stream, authority: &str) -> Result<(), String> {
        send(stream, self.request(authority).as_bytes()).await?;
        let head = self.head(stream).await?;
        if !self.statuses.iter().any(|(from, to)| (*from..=*to).contains(&head.status)) {
            return Err(format!("status {}", head.status));
        }
        match &self.body {
            None => Ok(()),
            Some(wanted) => {
                let body = self.body(stream, &head).await?;
                let found = memchr::memmem::find(&body, wanted.as_bytes());
                found.map(drop).ok_or_else(|| "its body is another one".to_owned())
            }
        }
    }

    fn request(&self, authority: &str) -> String {
        let host = self.host.as_deref().unwrap_or(authority);
        let mut request = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n", self.method, self.path);
        let has = |name: &str| self.fields.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
        if !has("user-agent") {
            request.push_str("User-Agent: Transom (health)\r\n");
        }
        for (name, value) in &self.fields {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("Connection: close\r\n\r\n");
        request
    }

    async fn head(&self, stream: &mut Stream) -> Result<ResponseHead, String> {
        for _ in 0..INTERIM {
            let head = loop {
                match head::response(stream.filled(), &HeadLimits::RESPONSE) {
                    Ok(Some(head)) => break head,
                    Ok(None) => more(stream).await?,
                    Err(e) => return Err(format!("no response in HTTP/1: {e}")),
                }
            };
            stream.consume(head.length);
            if head.status >= 200 {
                return Ok(head);
            }
        }
        Err("too many interim responses".to_owned())
    }

    async fn body(&self, stream: &mut Stream, head: &ResponseHead) -> Result<Vec<u8>, String> {
        let method = Method::of(&self.method);
        let framing = framing::of_response(head.version, head.status, &head.fields, &method)
            .map_err(|e| e.to_string())?;
        let mut decoder = Decoder::new(framing);
        let mut body = Vec::new();
        while body.len() < MOST_BODY {
            match decoder.front(stream.filled()).map_err(|e| e.to_string())? {
                Piece::Data(n) => {
                    body.extend_from_slice(&stream.filled()[..n]);
                    decoder.took(n);
                    stream.consume(n);
                }
                Piece::Skip(n) => stream.consume(n),
                Piece::End => break,
                Piece::More => match more(stream).await {
                    Err(_) if decoder.close() => break,
                    more => more?,
                },
            }
        }
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_what_was_asked_for() {
        let mut probe = HttpProbe::get("/healthz?deep=1");
        assert_eq!(
            probe.request("10.0.0.1:80"),
            "GET /healthz?deep=1 HTTP/1.1\r\nHost: 10.0.0.1:80\r\n\
             User-Agent: Transom (health)\r\nConnection: close\r\n\r\n"
        );
        probe.host = Some("shop.example".to_owned());
        probe.method = "HEAD".to_owned();
        probe.fields = vec![("user-agent".to_owned(), "own".to_owned())];
        assert_eq!(
            probe.request("10.0.0.1:80"),
            "HEAD /healthz?deep=1 HTTP/1.1\r\nHost: shop.example\r\n\
             user-agent: own\r\nConnection: close\r\n\r\n"
        );
    }
}
