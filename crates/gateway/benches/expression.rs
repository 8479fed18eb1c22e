//! What a condition costs a request: `cargo bench -p transom-gateway --bench expression`.

use std::hint::black_box;
use std::rc::Rc;
use std::time::Instant;

use transom_gateway::expression::{Facts, Type, compile};
use transom_net::Worker;
use transom_proxy::exchange::Exchange;
use transom_proxy::local::Local;
use transom_proxy::message::{Method, Request};

const ROUNDS: usize = 1001;
const EACH: u32 = 1000;

fn main() {
    let exchange = Exchange::alone(&Rc::new(Local::new(Worker::new(0))));
    let mut request = Request::new(Method::Get, "shop.example", "/api/orders");
    for (name, value) in [("User-Agent", "curl"), ("Accept", "*/*"), ("X-Trace", "1"), ("X", "y")] {
        request.fields.append(name, value.as_bytes());
    }
    for text in [
        "request.path.startsWith(\"/api\") && request.headers[\"x\"] == \"y\"",
        "request.path.matches('^/api/[a-z]+$')",
        "client.address in ['10.0.0.0/8', '0.0.0.0/32']",
    ] {
        let program = compile(text, &Type::Bool).expect("it is right");
        let mut rounds: Vec<_> = (0..ROUNDS)
            .map(|_| {
                let begin = Instant::now();
                for _ in 0..EACH {
                    let facts = Facts::new(black_box(&exchange), black_box(&request));
                    assert_eq!(black_box(&program).is_true(&facts), Ok(true));
                }
                begin.elapsed()
            })
            .collect();
        rounds.sort();
        println!("{text}: {} ns", rounds[ROUNDS / 2].as_nanos() / u128::from(EACH));
    }
}
