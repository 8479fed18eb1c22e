//! Forms: what is read is written as a form that says the same, and JSON is written as a form whose
//! fields are texts.
//!
//! What is JSON is also written as a form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use transom_gateway::content::form::{decoded, read, write};
use transom_settings::json::{Value, from_slice};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(value) = read(bytes) {
        are_texts(&value);
        let written = write(&value, usize::MAX).expect("whatever is written");
        assert!(written.bytes().all(|b| b.is_ascii_graphic() && !b";\"<>#".contains(&b)));
        assert_eq!(read(written.as_bytes()), Ok(value), "{written}");
    }
    assert!(decoded(bytes).len() <= bytes.len() * 3, "one byte is at most one sign");
    let Ok(value) = from_slice::<Value>(bytes) else { return };
    let written = write(&value, usize::MAX).expect("whatever is written");
    if let Ok(value) = read(written.as_bytes()) {
        are_texts(&value);
        assert_eq!(
            read(write(&value, usize::MAX).expect("whatever is written").as_bytes()),
            Ok(value)
        );
    }
});

/// One object, in it texts and lists of at least two.
fn are_texts(value: &Value) {
    let fields = value.as_object().expect("an object");
    for field in fields.values() {
        match field {
            Value::Array(list) => assert!(list.len() > 1 && list.iter().all(Value::is_string)),
            one => assert!(one.is_string()),
        }
    }
}
