//! By source of endpoints: whether it fails and how old what it told is, asked for at each scrape.

use super::text::Text;

/// What is known of one source of a pool's endpoints.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceRow {
    pub pool: String,
    pub source: String,
    pub found: u64,
    pub failing: bool,
    /// Seconds since it was last good; nothing before the first time.
    pub age: Option<f64>,
}

pub(super) fn render(rows: &[SourceRow], text: &mut Text) {
    let labels = |row: &SourceRow| [("pool", row.pool.clone()), ("source", row.source.clone())];
    let mut family = |name, help, pick: fn(&SourceRow) -> Option<f64>| {
        text.family(name, "gauge", help);
        for row in rows {
            let labels = labels(row);
            let labels: Vec<_> = labels.iter().map(|(name, value)| (*name, &**value)).collect();
            if let Some(value) = pick(row) {
                text.sample(&labels, value);
            }
        }
    };
    family(
        "transom_pool_source_endpoints",
        "Endpoints in the last good list of a source, or addresses of a name.",
        |row| Some(row.found as f64),
    );
    family(
        "transom_pool_source_failing",
        "Whether a source of endpoints fails, while its last good list goes on.",
        |row| Some(f64::from(u8::from(row.failing))),
    );
    family(
        "transom_pool_source_age_seconds",
        "Seconds since the last good list of a source was told or confirmed.",
        |row| row.age,
    );
}
