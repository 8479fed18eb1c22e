//! Runs a route's policies in stage order around its action.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use crate::answer;
use crate::exchange::Exchange;
use crate::fault::{Code, Fault};
use crate::message::{Request, Response};
use crate::policy::Ahead;
use crate::site::Site;
use crate::variables::Kept;

/// What follows in the chain. Consumed by running it, so a policy passes on at most once.
pub struct Next {
    site: Rc<Arc<Site>>,
    route: u32,
    position: usize,
}

impl Next {
    /// Runs the rest of the chain. A fault inside has become an answer: what wraps this sees one
    /// kind of thing.
    pub async fn run(mut self, exchange: &mut Exchange, mut request: Request) -> Response {
        let site = self.site.clone();
        let Some(route) = site.routes.get(self.route as usize) else {
            return answer::to(exchange, Fault::new(Code::Internal, "the route does not exist"));
        };
        let outcome = loop {
            let Some(policy) = route.chain.get(self.position) else {
                break route.action.run(exchange, request).await;
            };
            self.position += 1;
            match policy.ahead(exchange, &mut request) {
                Ok(Ahead::Done) => {}
                Ok(Ahead::Around) => break policy.handle(exchange, request, self).await,
                Err(fault) => break Err(fault),
            }
        };
        outcome.unwrap_or_else(|fault| answer::to(exchange, fault))
    }
}

/// Runs the whole chain of the route that `exchange` has matched. A panic in it becomes
/// [`Code::Internal`] for this exchange only.
pub async fn run(exchange: &mut Exchange, mut request: Request) -> Response {
    let Some(route) = exchange.route else {
        return answer::to(exchange, Fault::new(Code::NoRoute, "no route was matched"));
    };
    if let Some(keep) = exchange.route().map(|route| &route.keep).filter(|keep| !keep.is_empty()) {
        let kept = Kept::of(keep, &request.fields);
        exchange.extensions.insert(kept);
    }
    let bandwidth = exchange.route().and_then(|route| route.bandwidth.clone());
    if let Some(bandwidth) = &bandwidth {
        request.body = bandwidth.of_request(request.body, &exchange.local.worker);
    }
    let next = Next { site: exchange.site.clone(), route, position: 0 };
    let outcome = {
        let mut running = std::pin::pin!(next.run(exchange, request));
        std::future::poll_fn(|cx| {
            match catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(cx))) {
                Ok(poll) => poll.map(Ok),
                Err(panic) => Poll::Ready(Err(text_of(&*panic))),
            }
        })
        .await
    };
    let mut response = outcome.unwrap_or_else(|panic| {
        let fault = Fault::new(Code::Internal, format!("a panic: {panic}")).closing();
        answer::to(exchange, fault)
    });
    if let Some(bandwidth) = &bandwidth {
        response.body = bandwidth.of_response(response.body, &exchange.local.worker);
    }
    response
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "of unknown kind".to_owned(),
    }
}
