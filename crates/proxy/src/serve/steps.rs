//! The steps of an exchange that are the same in every version of HTTP: its beginning, its route,
//! its end.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::admit::{self, Admitted};
use super::body_clock::BodyRules;
use super::{Serving, ceilings};
use crate::answer;
use crate::body::Body;
use crate::codec::Framing;
use crate::exchange::{Asked, ClientSide, Exchange, Extensions, RequestId, Wants};
use crate::fault::{Code, Fault};
use crate::fields::{Fields, Known};
use crate::headers::forwarded;
use crate::message::{Method, Request, Response, Version};
use crate::peer::Peer;
use crate::record::{Record, Sink};
use crate::site::Site;

/// Whom an exchange comes from, and how.
pub(super) struct From<'a, S> {
    pub(super) peer: &'a Rc<Peer>,
    pub(super) serving: &'a Serving,
    pub(super) side: Rc<S>,
    /// Of a request that could not be read.
    pub(super) version: Version,
}

impl<S: ClientSide + 'static> From<'_, S> {
    /// Begins the exchange of an admitted request, or of one that could not be read, and tells the
    /// sinks. Boxed, since it is passed through many hands.
    pub(super) fn begin(
        self,
        site: Rc<Arc<Site>>,
        id: RequestId,
        admitted: Option<&Admitted>,
    ) -> Box<Exchange> {
        let unread = || Asked {
            method: Method::Other("-".into()),
            scheme: self.peer.scheme(),
            authority: "".into(),
            path: "".into(),
            query: None,
            version: self.version,
            wants: Default::default(),
            timeout: None,
        };
        let mut exchange = Box::new(Exchange {
            id,
            started: Instant::now(),
            local: self.serving.local.clone(),
            peer: self.peer.clone(),
            client: admitted.map_or_else(|| forwarded::unmapped(self.peer.ip()), |a| a.client),
            asked: admitted.map_or_else(unread, |a| a.asked.clone()),
            site,
            route: None,
            captures: None,
            identity: None,
            extensions: Extensions::default(),
            record: Record::default(),
            client_side: Some(self.side),
            tunnel: None,
        });
        let none = Fields::new();
        let fields = admitted.map_or(&none, |admitted| &admitted.fields);
        each_sink(&mut exchange, |sink, exchange| sink.began(exchange, fields));
        exchange
    }
}

/// Finds the route and makes the request for its chain; or the answer that stands in its place.
/// `body` makes the body of a request that has one.
pub(super) fn route(
    exchange: &mut Exchange,
    admitted: Admitted,
    body: impl FnOnce(BodyRules) -> Body,
) -> Result<Box<Request>, Response> {
    if exchange.site.outdates(&exchange.peer) {
        let detail = "the connection was made when clients were asked for other certificates";
        return Err(answer::to(exchange, Fault::new(Code::Misdirected, detail).closing()));
    }
    if let Err(fault) = ceilings::enter(exchange) {
        return Err(answer::to(exchange, fault));
    }
    if admitted.asterisk {
        // RFC 9110 §9.3.7: about the server as a whole; answered here (H1-38).
        let mut response = Response::new(204);
        response.fields.append(Known::Allow, b"GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS");
        return Err(response);
    }
    let found =
        admit::find_route(&exchange.site, &exchange.asked, exchange.client, &admitted.fields);
    match found {
        Ok((route, captures)) => {
            exchange.route = Some(route);
            exchange.captures = Some(captures);
        }
        Err(fault) => return Err(answer::to(exchange, fault)),
    }
    let Some(route) = exchange.route() else {
        return Err(answer::to(exchange, Fault::new(Code::Internal, "the route does not exist")));
    };
    let rules = BodyRules {
        limit: route.body_limit,
        idle: route.timeouts.body_idle,
        // A call of gRPC may be one long conversation.
        min_rate: match exchange.asked.wants {
            Wants::Grpc => 0,
            _ => route.timeouts.body_min_rate,
        },
        by: exchange.ends_by(),
    };
    if let (Framing::Length(length), Some(limit)) = (admitted.framing, rules.limit)
        && length > limit
    {
        let fault = Fault::new(Code::TooLarge, "Content-Length is over the limit");
        return Err(answer::to(exchange, fault));
    }
    let body = match admitted.framing {
        Framing::None | Framing::Length(0) => Body::Empty,
        _ => body(rules),
    };
    let mut request = Box::new(Request {
        method: exchange.asked.method.clone(),
        scheme: exchange.asked.scheme,
        authority: exchange.asked.authority.clone(),
        path: exchange.asked.path.clone(),
        query: exchange.asked.query.clone(),
        version: exchange.asked.version,
        fields: admitted.fields,
        body,
        takes_trailers: admitted.trailers,
        upgrade: admitted.upgrade,
    });
    request.leave_out_of_trailers(&exchange.site.vouched);
    Ok(request)
}

/// Ends an exchange and tells the sinks.
pub(super) fn finish(exchange: &mut Exchange) {
    exchange.record.ended = Some(Instant::now());
    each_sink(exchange, |sink, exchange| sink.record(exchange));
}

pub(super) fn each_sink(exchange: &mut Exchange, tell: impl Fn(&dyn Sink, &mut Exchange)) {
    let site = exchange.site.clone();
    for sink in &site.sinks {
        tell(&**sink, exchange);
    }
}
