//! Policies, wherever they stand.

use super::Check;
use crate::config::{Policy, Route, Target};

impl<'a> Check<'a> {
    pub(super) fn policy(&mut self, policy: &'a Policy, path: &str, route: Option<&Route>) {
        match policy {
            Policy::Rule(rule) => {
                let path = format!("{path}.{}", rule.kind());
                for (key, target) in rule.targets() {
                    if let Target::Pool(name) = &target.value
                        && self.split_of(name).is_none()
                    {
                        self.pool_of(name, target.span, &format!("{path}.{key}"));
                    }
                }
                for text in rule.templates() {
                    self.captures(text, rule.span, &path, route);
                }
            }
            Policy::Address(rule) => {
                if rule.addresses().is_empty() && self.decoded(path) {
                    let path = format!("{path}.address");
                    self.error(rule.span, path, "it names no addresses")
                        .hint("add `deny: [192.0.2.0/24]` or `deny-files: [blocked.txt]`")
                        .done();
                }
            }
            Policy::Headers(headers) => {
                self.headers(&headers.request, &format!("{path}.headers.request"), route);
                self.headers(&headers.response, &format!("{path}.headers.response"), route);
            }
        }
    }
}
