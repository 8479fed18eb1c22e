//! Path templates of google.api.http: what matches fills every field, and a path that is put together
//! from what one segment stands for matches again with the same.
//!
//! The first line is the template, the second the path.
#![no_main]

use libfuzzer_sys::fuzz_target;
use transom_gateway::policy::grpc_json::Template;

fuzz_target!(|text: &str| {
    let Some((template, path)) = text.split_once('\n') else { return };
    let Ok(template) = Template::parse(template) else { return };
    assert_eq!(template, template.clone());
    let Some(bound) = template.matches(path) else { return };
    assert_eq!(bound.len(), template.fields().count());
    for ((field, text), wanted) in bound.iter().zip(template.fields()) {
        assert_eq!(field, wanted);
        assert!(text.len() <= path.len() * 3);
    }
    assert_eq!(template.matches(path), Some(bound), "twice the same");
});
