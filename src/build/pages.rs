//! Pages that are sent in place of Transom's own answers.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use transom_proxy::site::{Page, Pages};
use transom_settings::{Map, Spanned, StatusPattern};

use super::Build;

impl Build<'_> {
    pub(super) fn pages(&self, written: &Map<StatusPattern, Spanned<PathBuf>>) -> Pages {
        let mut pages = HashMap::new();
        for (status, path) in written.iter() {
            let key = match status.value {
                StatusPattern::Exact(status) => status.code(),
                StatusPattern::Class(digit) => u16::from(digit),
            };
            // what could not be read was a finding of the materials
            if let Some(body) = self.materials.file(path) {
                let content_type = content_type(path).to_owned();
                pages.insert(key, Page { content_type, body: body.clone() });
            }
        }
        Pages(pages)
    }
}

/// By the ending of the file.
fn content_type(path: &Path) -> &'static str {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    match ending.to_ascii_lowercase().as_str() {
        "json" => "application/json",
        "xml" => "application/xml",
        "svg" => "image/svg+xml",
        "txt" | "md" => "text/plain; charset=utf-8",
        _ => "text/html; charset=utf-8",
    }
}
