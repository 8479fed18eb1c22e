//! By version of an API: where in its life it is and how often it was called, asked for at each scrape.

use super::text::Text;

/// What is known of one version of an API.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionRow {
    pub api: String,
    pub version: String,
    pub age: &'static str,
    pub calls: u64,
    pub callers: usize,
}

pub(super) fn render(rows: &[VersionRow], text: &mut Text) {
    text.family(
        "transom_api_version_info",
        "gauge",
        "1 for the age of a version of an API: `published`, `deprecated`, `sunset` or `retired`. Its routes are named by `route`, as in the families by route.",
    );
    for row in rows {
        let route = format!("{}-{}", row.api, row.version);
        let labels =
            [("api", &*row.api), ("version", &row.version), ("route", &route), ("age", row.age)];
        text.sample(&labels, 1);
    }
    text.family(
        "transom_api_version_calls_total",
        "counter",
        "Requests for a version of an API, over reloads; whose they were, `transom api show` tells.",
    );
    for row in rows {
        text.sample(&[("api", &row.api), ("version", &row.version)], row.calls);
    }
    text.family(
        "transom_api_version_callers",
        "gauge",
        "Who has called a version of an API, at most 1001.",
    );
    for row in rows {
        text.sample(&[("api", &row.api), ("version", &row.version)], row.callers);
    }
}
