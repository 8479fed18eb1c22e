//! Expressions: what is wrong lies in the text; what is right comes to the same value each time, soon,
//! and to a value of the type that was found for it.
#![no_main]

use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, UNIX_EPOCH};

use libfuzzer_sys::fuzz_target;
use transom_gateway::expression::{Facts, Trouble, Type, Value, compile};
use transom_net::Worker;
use transom_proxy::exchange::{Exchange, Identity};
use transom_proxy::local::Local;
use transom_proxy::message::{Method, Request};
use transom_settings::json::{Value as Json, json};

static CLAIMS: LazyLock<Arc<Json>> = LazyLock::new(|| {
    Arc::new(
        json!({ "sub": "ada", "n": 7, "x": 1.5, "b": true, "z": null, "l": ["a", 1, {}], "o": { "k": "v" } }),
    )
});

fuzz_target!(|text: &str| {
    let mut exchange = Exchange::alone(&Rc::new(Local::new(Worker::new(0))));
    exchange.identity = Some(Arc::new(Identity {
        name: "ada".into(),
        groups: vec!["staff".into()],
        claims: Some(CLAIMS.clone()),
        ..Identity::default()
    }));
    let mut request = Request::new(Method::Get, "a:80", "/a");
    request.query = Some("a=%41&b".into());
    request.fields.append("X", b"\xff y");
    for wanted in [Type::Any, Type::Bool, Type::Int, Type::Text] {
        let program = match compile(text, &wanted) {
            Ok(program) => program,
            Err(wrong) => {
                assert!(wrong.from <= wrong.to && wrong.to <= text.len(), "{wrong:?}");
                assert!(text.is_char_boundary(wrong.from) && !wrong.what.is_empty());
                assert!(!wrong.hint.is_empty());
                continue;
            }
        };
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let facts = Facts::new(&exchange, &request).at(now);
        let shown = |found: Result<Value<'_>, Trouble>| format!("{found:?}");
        let found = program.evaluate(&facts);
        if wanted == Type::Bool && program.is_true(&facts).is_ok() {
            assert!(matches!(found, Ok(Value::Bool(_))), "{found:?}");
        }
        assert_eq!(shown(found), shown(program.evaluate(&facts)));
    }
});
