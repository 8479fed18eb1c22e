//! By listener: what happens on HTTP/2 connections beside their exchanges.

use std::sync::Arc;

use transom_proxy::record::Http2Tally;

use super::cells::{Counter, Sharded};
use super::listeners::ListenerCells;
use super::text::Text;

#[derive(Default)]
pub(super) struct Http2Cells {
    pub(super) connections: Counter,
    pub(super) ended: Counter,
    resets_by_client: Counter,
    resets_by_us: Counter,
    goaways: Counter,
    goaways_for_errors: Counter,
}

impl Http2Cells {
    pub(super) fn add(&self, tally: &Http2Tally) {
        self.connections.add(tally.connections.into());
        self.ended.add(tally.ended.into());
        self.resets_by_client.add(tally.resets_by_client.into());
        self.resets_by_us.add(tally.resets_by_us.into());
        self.goaways.add(tally.goaways.into());
        self.goaways_for_errors.add(tally.goaways_for_errors.into());
    }
}

pub(super) fn render(listeners: &[(Arc<str>, Arc<Sharded<ListenerCells>>)], text: &mut Text) {
    text.family(
        "transom_http2_connections_total",
        "counter",
        "Connections of clients on which HTTP/2 was begun.",
    );
    for (listener, cells) in listeners {
        text.sample(&[("listener", listener)], cells.sum(|c| &c.http2.connections));
    }
    type Pick = fn(&ListenerCells) -> &Counter;
    type Family = (&'static str, &'static str, &'static str, [(&'static str, Pick); 2]);
    let families: [Family; 2] = [
        (
            "transom_http2_resets_total",
            "by",
            "HTTP/2 streams that were reset, by the client or by us.",
            [("client", |c| &c.http2.resets_by_client), ("transom", |c| &c.http2.resets_by_us)],
        ),
        (
            "transom_http2_goaways_total",
            "error",
            "HTTP/2 connections that Transom told to end, for an error of the client or without one.",
            [("false", |c| &c.http2.goaways), ("true", |c| &c.http2.goaways_for_errors)],
        ),
    ];
    for (name, label, help, counts) in families {
        text.family(name, "counter", help);
        for (listener, cells) in listeners {
            for (value, pick) in counts {
                text.sample(&[("listener", listener), (label, value)], cells.sum(pick));
            }
        }
    }
}
