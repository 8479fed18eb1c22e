//! Sends the client elsewhere.

use super::Action;
use crate::exchange::Exchange;
use crate::fault::{Code, Fault};
use crate::fields::Known;
use crate::message::{Request, Response};
use crate::policy::Answering;
use crate::variables::Template;

/// A redirect to a place that may be written with variables.
pub struct Redirect {
    pub status: u16,
    pub to: Template,
    /// As written, for `explain`.
    pub text: String,
}

impl Action for Redirect {
    fn kind(&self) -> &'static str {
        "redirect"
    }

    fn describe(&self) -> String {
        format!("redirect {} to {}", self.status, self.text)
    }

    fn run<'a>(&'a self, exchange: &'a mut Exchange, _: Box<Request>) -> Answering<'a> {
        let mut location = Vec::new();
        self.to.write(exchange, &mut location);
        Box::pin(std::future::ready(response(self.status, &location)))
    }
}

pub(super) fn response(status: u16, location: &[u8]) -> Result<Response, Fault> {
    if !is_safe(location) {
        return Err(Fault::new(Code::BadRequest, "the place to redirect to would not be safe"));
    }
    let mut response = Response::new(status);
    response.fields.append(Known::Location, location);
    Ok(response)
}

/// P-10: a path begins with exactly one `/`, and nothing ends the line.
fn is_safe(location: &[u8]) -> bool {
    let printable = location.iter().all(|b| matches!(b, 0x21..=0x7e));
    let path_like = !matches!(location, [b'/', b'/' | b'\\', ..] | [b'\\', ..] | []);
    printable && path_like
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p10_no_redirect_leaves_by_disguise() {
        for (location, safe) in [
            ("/a", true),
            ("https://a.example/x?y", true),
            ("//evil.example/", false),
            ("/\\evil.example", false),
            ("\\evil", false),
            ("/a\r\nX: y", false),
            ("", false),
        ] {
            assert_eq!(is_safe(location.as_bytes()), safe, "{location:?}");
        }
    }
}
