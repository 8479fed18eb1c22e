//! Answers with a fixed response.

use bytes::Bytes;

use super::Action;
use crate::body::Body;
use crate::exchange::Exchange;
use crate::fields::Fields;
use crate::message::{Request, Response};
use crate::policy::Answering;

/// A response that is the same for every request.
pub struct Respond {
    pub status: u16,
    pub fields: Fields,
    pub body: Bytes,
}

impl Action for Respond {
    fn kind(&self) -> &'static str {
        "respond"
    }

    fn describe(&self) -> String {
        format!("respond {} with {} bytes", self.status, self.body.len())
    }

    fn run<'a>(&'a self, _: &'a mut Exchange, _: Box<Request>) -> Answering<'a> {
        let response = Response {
            status: self.status,
            fields: self.fields.clone(),
            body: Body::of(self.body.clone()),
        };
        Box::pin(std::future::ready(Ok(response)))
    }
}
