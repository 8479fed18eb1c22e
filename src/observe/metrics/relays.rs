//! By listener: connections and flows that were carried without being read.

use transom_proxy::record::{Passed, RelayEnd, Relayed};

use super::cells::Counter;
use super::listeners::Listeners;
use super::text::Text;

#[derive(Default)]
pub(super) struct RelayCells {
    /// By [`RelayEnd`].
    ended: [Counter; RelayEnd::ALL.len()],
    bytes: Directions,
    datagrams: Directions,
}

#[derive(Default)]
struct Directions {
    in_: Counter,
    out: Counter,
}

impl Directions {
    fn add(&self, passed: Passed) {
        self.in_.add(passed.to_endpoint);
        self.out.add(passed.to_client);
    }
}

impl RelayCells {
    pub(super) fn count(&self, relayed: &Relayed) {
        self.ended[relayed.end as usize].add(1);
        self.bytes.add(relayed.passed);
        self.datagrams.add(relayed.datagrams);
    }
}

pub(super) fn render(listeners: &Listeners, text: &mut Text) {
    let relays: Vec<_> = listeners
        .living()
        .into_iter()
        .filter(|(_, cells)| {
            RelayEnd::ALL.iter().any(|e| cells.sum(|c| &c.relays.ended[*e as usize]) > 0)
        })
        .collect();
    text.family(
        "transom_relayed_total",
        "counter",
        "TCP connections and UDP flows that were carried and have ended, by how they ended.",
    );
    for (listener, cells) in &relays {
        for end in RelayEnd::ALL {
            let count = cells.sum(|c| &c.relays.ended[end as usize]);
            text.sample(&[("listener", listener), ("end", end.as_str())], count);
        }
    }
    type Pick = fn(&RelayCells) -> &Directions;
    let families: [(&str, &str, Pick); 2] = [
        (
            "transom_relayed_bytes_total",
            "Bytes carried from clients (in) and to them (out), counted when a connection or flow \
             ends.",
            |c| &c.bytes,
        ),
        (
            "transom_relayed_datagrams_total",
            "Datagrams carried from clients (in) and to them (out), counted when a flow ends.",
            |c| &c.datagrams,
        ),
    ];
    for (name, help, pick) in families {
        text.family(name, "counter", help);
        for (listener, cells) in &relays {
            let (in_, out) =
                (cells.sum(|c| &pick(&c.relays).in_), cells.sum(|c| &pick(&c.relays).out));
            text.sample(&[("listener", listener), ("direction", "in")], in_);
            text.sample(&[("listener", listener), ("direction", "out")], out);
        }
    }
}
