//! GraphQL documents: weighed or refused, soon, and never as less than a limit that is met.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use transom_gateway::policy::graphql::{Most, weigh};

fuzz_target!(|document: &str| {
    let most = Most {
        depth: 10,
        complexity: 1000,
        aliases: 10,
        tokens: 5000,
        sizes: vec!["first".to_owned()],
        default_size: 2,
    };
    let began = Instant::now();
    let variables = serde_json::json!({ "n": 50 });
    if let Ok(weight) = weigh(document, None, &variables, &most) {
        assert!(weight.depth <= most.depth && weight.complexity <= most.complexity);
        assert!(weight.aliases <= most.aliases && weight.complexity >= u64::from(weight.depth));
    }
    assert!(began.elapsed() < Duration::from_secs(2));
});
