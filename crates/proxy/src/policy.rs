//! The seam for rules wrapped around an action, and the kinds of level 1.

use std::future::Future;
use std::pin::Pin;

use transom_settings::HeaderName;

use crate::peer::Peer;

use crate::chain::Next;
use crate::exchange::Exchange;
use crate::fault::Fault;
use crate::message::{Request, Response};
use crate::stage::Stage;

pub mod address;
pub mod edit;
pub mod reserve;
pub mod rewrite;

/// What a policy or an action gives back: a response, later.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Result<Response, Fault>> + 'a>>;

/// A configured rule: lets a request pass, changes it or its response, or answers itself.
pub trait Policy: Send + Sync {
    /// The name of the kind.
    fn kind(&self) -> &'static str;

    fn stage(&self) -> Stage;

    /// For `transom explain`: what it does, in a few words.
    fn describe(&self) -> String {
        self.kind().to_owned()
    }

    /// Fields of requests that it alone sets. What clients send in them is taken off before any policy
    /// runs (P-14), so that an endpoint can believe them.
    fn reserves(&self) -> Vec<HeaderName> {
        Vec::new()
    }

    /// Whether a connection may go on at all, before HTTP; relays of TCP and UDP ask this too.
    ///
    /// # Errors
    /// The reason to refuse it.
    fn admit(&self, peer: &Peer) -> Result<(), Fault> {
        let _ = peer;
        Ok(())
    }

    /// What it does before the rest of the chain, where it has to wait for nothing; that costs no future. A fault refuses the request.
    ///
    /// # Errors
    /// The reason to refuse it.
    fn ahead(&self, exchange: &mut Exchange, request: &mut Request) -> Result<Ahead, Fault> {
        let _ = (exchange, request);
        Ok(Ahead::Around)
    }

    /// What it does to the response, where [`Policy::ahead`] has said [`Ahead::Behind`]; that costs no
    /// future either.
    fn behind(&self, exchange: &mut Exchange, response: &mut Response) {
        let _ = (exchange, response);
    }

    /// Handles one request for which [`Policy::ahead`] has said [`Ahead::Around`]: calls `next.run` to let
    /// it pass, at most once.
    fn handle<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        request: Box<Request>,
        next: Next,
    ) -> Answering<'a> {
        Box::pin(async move { Ok(next.run(exchange, request).await) })
    }
}

/// What is left for a policy to do, once it was asked ahead of the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// Nothing: the next policy is asked.
    Done,
    /// It has a look at the response, without waiting for anything: [`Policy::behind`].
    Behind,
    /// It has to wait, or takes the response apart: [`Policy::handle`].
    Around,
    /// The rest is that of this route of the site, from the policies of the same stage on.
    Over(u32),
}
