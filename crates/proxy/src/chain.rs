//! Runs a route's policies in stage order around its action.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use smallvec::SmallVec;

use crate::answer;
use crate::exchange::Exchange;
use crate::fault::{Code, Fault};
use crate::message::{Request, Response};
use crate::policy::{Ahead, Policy};
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
    #[allow(clippy::manual_async_fn, reason = "an `async fn` holds what it is given twice")]
    pub fn run(
        mut self,
        exchange: &mut Exchange,
        mut request: Box<Request>,
    ) -> impl Future<Output = Response> {
        async move {
            let site = self.site.clone();
            let nowhere = || Fault::new(Code::Internal, "the route does not exist");
            let Some(mut route) = site.routes.get(self.route as usize) else {
                return answer::to(exchange, nowhere());
            };
            let mut behind = SmallVec::<[&Arc<dyn Policy>; 4]>::new();
            let outcome = loop {
                let Some(policy) = route.chain.get(self.position) else {
                    break route.action.run(exchange, request).await;
                };
                self.position += 1;
                match policy.ahead(exchange, &mut request) {
                    Ok(Ahead::Done) => {}
                    Ok(Ahead::Behind) => behind.push(policy),
                    Ok(Ahead::Around) => break policy.handle(exchange, request, self).await,
                    Ok(Ahead::Over(other)) => {
                        let Some(other_route) = site.routes.get(other as usize) else {
                            break Err(nowhere());
                        };
                        let stage = policy.stage();
                        let before = other_route.chain.iter().take_while(|one| one.stage() < stage);
                        self.position = before.count();
                        (self.route, route) = (other, other_route);
                        exchange.route = Some(other);
                    }
                    Err(fault) => break Err(fault),
                }
            };
            let mut response = outcome.unwrap_or_else(|fault| answer::to(exchange, fault));
            for policy in behind.iter().rev() {
                policy.behind(exchange, &mut response);
            }
            response
        }
    }
}

/// Runs the whole chain of the route that `exchange` has matched. A panic in it becomes
/// [`Code::Internal`] for this exchange only.
#[allow(clippy::manual_async_fn, reason = "an `async fn` holds what it is given twice")]
pub fn run(exchange: &mut Exchange, mut request: Box<Request>) -> impl Future<Output = Response> {
    async move {
        let Some(route) = exchange.route else {
            return answer::to(exchange, Fault::new(Code::NoRoute, "no route was matched"));
        };
        let keep = exchange.route().map(|route| &route.keep);
        if let Some(keep) = keep.filter(|keep| !keep.is_empty()) {
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
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "of unknown kind".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::task::{Context, Waker};

    use super::*;
    use crate::action::{Action, Respond};
    use crate::body::Body;
    use crate::exchange::Asked;
    use crate::fields::Fields;
    use crate::message::{Method, Version};
    use crate::policy::Answering;
    use crate::site::{Pages, Route, Timeouts};
    use crate::stage::Stage;
    use crate::testing;

    /// Panics at once, as an action, or after the answer came, as a policy.
    struct Broken;

    impl Action for Broken {
        fn kind(&self) -> &'static str {
            "broken"
        }

        fn describe(&self) -> String {
            String::new()
        }

        fn run<'a>(&'a self, _: &'a mut Exchange, _: Box<Request>) -> Answering<'a> {
            Box::pin(async { panic!("on purpose") })
        }
    }

    impl Policy for Broken {
        fn kind(&self) -> &'static str {
            "broken"
        }

        fn stage(&self) -> Stage {
            Stage::Shape
        }

        fn handle<'a>(
            &'a self,
            exchange: &'a mut Exchange,
            request: Box<Request>,
            next: Next,
        ) -> Answering<'a> {
            Box::pin(async move {
                let response = next.run(exchange, request).await;
                panic!("{} came of it", response.status)
            })
        }
    }

    fn route(chain: Vec<Arc<dyn Policy>>, action: Box<dyn Action>) -> Route {
        Route {
            name: "route".into(),
            chain,
            action,
            keep: Vec::new(),
            body_limit: None,
            bandwidth: None,
            timeouts: Timeouts::default(),
            priority: 1,
            pages: Pages::default(),
        }
    }

    #[test]
    fn d_16_a_panic_is_one_answer_of_500_and_says_nothing_to_the_client() {
        let well = Respond { status: 200, fields: Fields::new(), body: Default::default() };
        for (broken, told) in [
            (route(Vec::new(), Box::new(Broken)), "a panic: on purpose"),
            (route(vec![Arc::new(Broken)], Box::new(well)), "a panic: 200 came of it"),
        ] {
            let asked = Asked {
                method: Method::of("GET"),
                scheme: "http",
                authority: "shop.example".into(),
                path: "/".into(),
                query: None,
                version: Version::Http11,
                wants: answer::wanted(&Fields::new()),
                timeout: None,
            };
            let request = Request {
                method: asked.method.clone(),
                scheme: asked.scheme,
                authority: asked.authority.clone(),
                path: asked.path.clone(),
                query: None,
                version: asked.version,
                fields: Fields::new(),
                body: Body::Empty,
                takes_trailers: false,
                upgrade: None,
            };
            let mut exchange = testing::exchange(asked, testing::site(vec![broken]));
            exchange.route = Some(0);
            let cx = &mut Context::from_waker(Waker::noop());
            let answered = std::pin::pin!(run(&mut exchange, Box::new(request))).poll(cx);
            let Poll::Ready(mut response) = answered else { panic!("nothing here waits") };
            assert_eq!(response.status, 500);
            let mut said = Vec::new();
            while let Poll::Ready(Ok(n @ 1..)) = response.body.poll_fill(cx) {
                said.extend_from_slice(&response.body.take(n));
            }
            let said = String::from_utf8(said).unwrap();
            assert!(!said.is_empty() && !said.contains("panic"), "{said}");
            assert_eq!(exchange.record.fault, Some(Code::Internal));
            assert_eq!(exchange.record.detail.as_deref(), Some(told));
        }
    }
}
