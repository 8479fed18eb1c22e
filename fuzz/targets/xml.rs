//! XML and JSON, each as the other: XML that is read is written as XML that says the same, and so is
//! JSON that can be written; nothing is expanded.
//!
//! What is no XML is read as JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use transom_gateway::content::xml::{XmlError, read, write};
use transom_settings::json::{Value, from_str};

/// Whatever can be written is.
const MOST: usize = usize::MAX;

fuzz_target!(|text: &str| {
    if let Ok(value) = read(text) {
        assert!(letters(&value) <= text.len(), "something was expanded");
        let written = write(&value, "root", MOST).expect("what was read can be written");
        let again = read(&written).expect("what was written is read");
        // of what cannot stand in XML at all, the first writing gets rid
        assert_eq!(write(&again, "root", MOST).as_ref(), Ok(&written));
        let legal = |c: char| matches!(c, '\n' | ' '..='\u{fffd}' | '\u{10000}'..);
        if !text.contains("&#") && text.chars().all(legal) {
            assert_eq!(again, value);
        }
    }
    let Ok(value) = from_str::<Value>(text) else { return };
    match write(&value, "root", MOST) {
        Err(XmlError::Name(_) | XmlError::TooDeep) => {}
        Err(other) => panic!("{other}"),
        Ok(written) => {
            let value = read(&written).expect("what was written is read");
            let again = write(&value, "root", MOST).expect("what was read can be written");
            assert_eq!(read(&again), Ok(value));
        }
    }
});

/// All that it says.
fn letters(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(list) => list.iter().map(letters).sum(),
        Value::Object(map) => map.values().map(letters).sum(),
        _ => 0,
    }
}
