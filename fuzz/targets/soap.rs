//! SOAP: an envelope is refused or becomes JSON; what JSON becomes by its types says the same when it is
//! read again; a description is refused or can be called, soon.
//!
//! What begins with `{` are arguments, with `<wsdl` a description, anything else an envelope.
#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use transom_gateway::soap::Version;
use transom_gateway::soap::envelope::{Opened, open, wrap};
use transom_gateway::soap::read::{plain, typed};
use transom_gateway::soap::schema::Field;
use transom_gateway::soap::write::{MOST, Prefixes, Unwritten, element};
use transom_gateway::soap::wsdl::Service;
use transom_settings::json::{Value, from_str, json};

static ORDERS: LazyLock<Service> = LazyLock::new(|| {
    let description = include_str!("../../tests/policies/orders.wsdl");
    Service::read(description, &[], None, None).expect("it is right")
});

/// The longest that is written, and what may stand for lists that are not there.
const LONG: usize = 1 << 20;

fuzz_target!(|text: &str| {
    let began = Instant::now();
    if let Ok(arguments) = from_str::<Value>(text) {
        for operation in &ORDERS.operations {
            let input = operation.input.as_ref().and_then(|name| ORDERS.schema.element(name));
            said(&ORDERS, input.expect("both have one"), &arguments);
        }
    }
    if text.trim_start().starts_with("<wsdl")
        && let Ok(service) = Service::read(text, &[], None, None)
    {
        for operation in &service.operations {
            assert!(operation.action.bytes().all(|b| b.is_ascii_graphic() && b != b'"'));
            let input = operation.input.as_ref().and_then(|name| service.schema.element(name));
            if let Some(field) = input {
                said(&service, field, &json!({}));
            }
        }
    }
    match open(text) {
        Ok(Opened::Result(found)) => {
            let value = match ORDERS.schema.element(&found.name) {
                Some(field) => typed(&ORDERS.schema, field.of, &found, &mut LONG.clone()),
                None => plain(&found),
            };
            assert!(value.to_string().len() < (text.len() + 16) * 64, "something was expanded");
        }
        Ok(Opened::Fault(fault)) => assert!(fault.names().next().is_some()),
        Ok(Opened::Nothing) | Err(_) => {}
    }
    assert!(began.elapsed() < Duration::from_secs(5));
});

/// Arguments are refused with their places, or stand in an envelope that is read as what was written.
fn said(service: &Service, field: &Field, arguments: &Value) {
    let prefixes = Prefixes::of(&service.schema);
    let written = match element(&service.schema, &prefixes, field, arguments, LONG) {
        Ok(written) => written,
        Err(Unwritten::TooLong) => return,
        Err(Unwritten::Unfit(wrong)) => return assert!((1..=MOST).contains(&wrong.len())),
    };
    let read = |written: &str| {
        let envelope = wrap(Version::One, &prefixes.declared(), None, written);
        let Ok(Opened::Result(found)) = open(&envelope) else { panic!("{envelope}") };
        assert_eq!(found.name, field.name);
        typed(&service.schema, field.of, &found, &mut LONG.clone())
    };
    let value = read(&written);
    // what stands there once stands there always, but for what types do not say (`minOccurs`)
    if let Ok(again) = element(&service.schema, &prefixes, field, &value, LONG) {
        assert_eq!(read(&again), value, "{written}");
    }
}
