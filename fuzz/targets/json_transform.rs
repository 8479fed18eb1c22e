//! Declared changes of JSON: each does what it says and nothing beside it; what a template puts in
//! stays a value.
//!
//! The changes as the configuration has them, an empty line, and the JSON.
#![no_main]

use std::rc::Rc;

use libfuzzer_sys::fuzz_target;
use transom_gateway::content::edit::JsonEdits;
use transom_gateway::content::path::{JsonPath, keep};
use transom_gateway::content::template::BodyTemplate;
use transom_gateway::content::{Form, facts, xml};
use transom_net::Worker;
use transom_proxy::exchange::Exchange;
use transom_proxy::local::Local;
use transom_settings::json::{Value, from_str, json};
use transom_settings::{Context, Diagnostics, Setting, parse};

fuzz_target!(|text: &str| {
    let Some((changes, body)) = text.split_once("\n\n") else { return };
    let Ok(body) = from_str::<Value>(body) else { return };
    put_in(&body);
    let mut findings = Diagnostics::new();
    let file = findings.add_file("f", changes);
    let Some(node) = parse(file, changes, &mut findings) else { return };
    let Some(edits) = JsonEdits::decode(&node, &mut Context::new(&mut findings)) else { return };
    let exchange = Exchange::alone(&Rc::new(Local::new(Worker::new(0))));

    let allowed: Vec<JsonPath> = edits.allow.iter().cloned().collect();
    keeps(&allowed, &body);
    edits.remove.iter().for_each(|place| removes(place, &body));
    edits.rename.iter().for_each(|(place, name)| renames(place, name, &body));
    edits.r#move.iter().for_each(|(from, _)| takes(from, &body));
    for (place, literal) in edits.set.iter() {
        puts(place, &literal.value(&exchange), &body);
    }

    let mut once = body.clone();
    edits.apply(&exchange, &mut once);
    let mut again = body.clone();
    edits.apply(&exchange, &mut again);
    assert_eq!(once, again);
    if edits.is_empty() {
        assert_eq!(once, body);
    }
    let facts = facts::of(&exchange);
    assert!(facts["request"].is_object() && facts["identity"].is_null());
});

/// Values in it, itself among them.
fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(size).sum(),
        Value::Object(map) => map.values().map(size).sum(),
        _ => 0,
    }
}

/// What counts the values of lists finds others once some are gone.
fn counts(place: &JsonPath) -> bool {
    place.to_string().contains(|c: char| c.is_ascii_digit())
}

fn keeps(places: &[JsonPath], body: &Value) {
    let mut kept = body.clone();
    keep(places, &mut kept);
    assert!(size(&kept) <= size(body));
    if places.iter().any(counts) {
        return;
    }
    for place in places {
        assert_eq!(place.get(&kept), place.get(body), "{place}");
    }
    let mut again = kept.clone();
    keep(places, &mut again);
    assert_eq!(again, kept);
}

fn removes(place: &JsonPath, body: &Value) {
    let mut rest = body.clone();
    place.remove(&mut rest);
    match place.get(body) {
        None => assert_eq!(rest, *body, "{place}"),
        Some(_) => assert!(size(&rest) < size(body), "{place}"),
    }
    if !counts(place) {
        assert_eq!(place.get(&rest), None, "{place}");
    }
}

fn renames(place: &JsonPath, name: &str, body: &Value) {
    let mut renamed = body.clone();
    place.rename(&mut renamed, name);
    assert!(size(&renamed) <= size(body));
    let mut again = renamed.clone();
    place.rename(&mut again, name);
    assert_eq!(again, renamed, "{place}");
    if place.get(body).is_none() {
        assert_eq!(renamed, *body, "{place}");
    }
}

fn takes(place: &JsonPath, body: &Value) {
    if !place.is_single() {
        return;
    }
    let mut rest = body.clone();
    let taken = place.take(&mut rest);
    assert_eq!(taken.as_ref(), place.get(body), "{place}");
    assert_eq!(size(&rest) + taken.map_or(0, |taken| size(&taken)), size(body));
}

fn puts(place: &JsonPath, value: &Value, body: &Value) {
    let mut made = body.clone();
    place.put(&mut made, value);
    // the end of a list has no value that could be asked for
    if place.is_single() && !place.to_string().contains('-') && made != *body {
        assert_eq!(place.get(&made), Some(value), "{place}");
    }
}

fn put_in(body: &Value) {
    let values = json!({ "body": body });
    let template = |source: &str, form| BodyTemplate::new(source.to_owned(), form).expect("right");
    let rendered = template("[{{ body }}, 1]", Form::Json).render(values.clone(), 1 << 20);
    if let Ok(text) = rendered {
        let read: Value = from_str(&text).expect("JSON");
        assert_eq!(read.as_array().map(Vec::len), Some(2), "{text}");
        if body.is_string() {
            assert_eq!(read[0], *body);
        }
    }
    let rendered =
        template("<a b=\"{{ body }}\"><c/>{{ body }}</a>", Form::Xml).render(values, 1 << 20);
    if let Ok(text) = rendered {
        let read = xml::read(&text).expect("XML");
        let element = read["a"].as_object().expect("it has an attribute");
        assert!(element.keys().all(|name| matches!(&**name, "@b" | "c" | "#text")), "{text}");
    }
}
