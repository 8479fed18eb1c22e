//! An exchange as the tests want one, without a connection.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use transom_net::{Address, Source, Target, Worker};
use transom_proxy::action::Action;
use transom_proxy::destination::{Endpoint, KeepAlive};
use transom_proxy::exchange::{Asked, Exchange, Extensions, RequestId};
use transom_proxy::local::Local;
use transom_proxy::message::{Method, Request, Version};
use transom_proxy::peer::Peer;
use transom_proxy::policy::Answering;
use transom_proxy::record::{Record, Sink};
use transom_proxy::route::{Router, Rule};
use transom_proxy::site::{Route, Site};

/// A finished GET of `/orders?page=2` that endpoint `orders-1` of pool `orders` answered with 200.
pub(super) fn exchange(worker: usize) -> Exchange {
    let started = Instant::now();
    let after = |micros| Some(started + Duration::from_micros(micros));
    Exchange {
        id: RequestId::Own(0x1f, 0xabc),
        started,
        local: Rc::new(Local::new(Worker::new(worker))),
        peer: Rc::new(Peer::new(Peer::NOWHERE, Peer::NOWHERE, None)),
        client: [192, 0, 2, 7].into(),
        asked: Asked {
            method: Method::Get,
            scheme: "http",
            authority: "shop.example".into(),
            path: "/orders".into(),
            query: Some("page=2".into()),
            version: Version::Http11,
            wants: Default::default(),
            timeout: None,
        },
        site: Rc::new(Arc::new(site(Vec::new()))),
        route: Some(0),
        captures: None,
        identity: None,
        extensions: Extensions::default(),
        record: Record {
            status: 200,
            attempts: 1,
            endpoint: Some(Arc::new(endpoint("orders", "orders-1"))),
            reused: true,
            upstream: Some(Version::Http11),
            body_out: 1024,
            connected: after(100),
            answered: after(1_350),
            ended: after(2_000),
            agent: Some((*b"curl/8.5").into()),
            ..Record::default()
        },
        client_side: None,
        tunnel: None,
    }
}

pub(super) fn endpoint(pool: &str, name: &str) -> Endpoint {
    Endpoint {
        key: 1,
        target: Target { address: Address::Unix("/x".into()), tls: None, source: Source::Any },
        name: name.into(),
        authority: name.into(),
        pool: pool.into(),
        keep_alive: KeepAlive::default(),
        http2: None,
        ceilings: Vec::new(),
        announce: None,
    }
}

/// Listener `web` with one route, `orders`.
pub(super) fn site(sinks: Vec<Arc<dyn Sink>>) -> Site {
    let rule = Rule::default();
    let route = Route {
        name: "orders".into(),
        chain: vec![],
        action: Box::new(Nothing),
        keep: vec![],
        body_limit: None,
        bandwidth: None,
        timeouts: Default::default(),
        priority: 1,
        pages: Default::default(),
    };
    Site {
        name: "web".into(),
        generation: 3,
        router: Router::build(vec![rule]).expect("one rule without conditions is a router"),
        routes: vec![route],
        limits: Default::default(),
        ceilings: None,
        timeouts: Default::default(),
        http2: None,
        client_auth: None,
        paths: Default::default(),
        trusted: vec![],
        forwarded: Default::default(),
        request_id: Default::default(),
        vouched: Arc::default(),
        pages: Default::default(),
        sinks,
    }
}

struct Nothing;

impl Action for Nothing {
    fn kind(&self) -> &'static str {
        "nothing"
    }

    fn describe(&self) -> String {
        String::new()
    }

    fn run<'a>(&'a self, _: &'a mut Exchange, _: Box<Request>) -> Answering<'a> {
        unreachable!("the tests run no request")
    }
}
