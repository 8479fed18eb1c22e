//! The text format of Prometheus, version 0.0.4.

use std::fmt::{Display, Write};

use super::cells::{BOUNDS, Counts};

#[derive(Default)]
pub(super) struct Text {
    out: String,
    name: &'static str,
}

type Label<'a> = (&'a str, &'a str);

impl Text {
    /// Samples from here on are of this family.
    pub(super) fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        self.put(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    pub(super) fn sample(&mut self, labels: &[Label<'_>], value: impl Display) {
        self.series("", labels, None, value);
    }

    pub(super) fn histogram(&mut self, labels: &[Label<'_>], counts: &Counts) {
        let mut count = 0;
        let bounds = BOUNDS.iter().map(|(_, text)| *text).chain(["+Inf"]);
        for (bucket, bound) in counts.buckets.iter().zip(bounds) {
            count += bucket;
            self.series("_bucket", labels, Some(("le", bound)), count);
        }
        self.series("_sum", labels, None, counts.sum.as_secs_f64());
        self.series("_count", labels, None, count);
    }

    pub(super) fn into_string(self) -> String {
        self.out
    }

    fn series(
        &mut self,
        suffix: &str,
        labels: &[Label<'_>],
        last: Option<Label<'_>>,
        value: impl Display,
    ) {
        self.out.push_str(self.name);
        self.out.push_str(suffix);
        for (i, (name, value)) in labels.iter().chain(last.as_ref()).enumerate() {
            self.out.push(if i == 0 { '{' } else { ',' });
            self.out.push_str(name);
            self.out.push_str("=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    c => self.out.push(c),
                }
            }
            self.out.push('"');
        }
        if !labels.is_empty() || last.is_some() {
            self.out.push('}');
        }
        self.put(format_args!(" {value}\n"));
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing into memory cannot fail.
        let _ = self.out.write_fmt(text);
    }
}
