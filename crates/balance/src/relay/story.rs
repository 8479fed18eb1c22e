//! The record of a relayed connection or flow while it goes on.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use transom_proxy::fault::{Blame, Code, Fault};
use transom_proxy::local::Local;
use transom_proxy::record::{Passed, RelayEnd, Relayed, Sink, Transport};

use super::Listener;

/// What is told to the sinks when it is dropped, however that comes.
pub(super) struct Story<'a> {
    pub(super) relayed: Relayed,
    pub(super) local: &'a Rc<Local>,
    sinks: &'a [Arc<dyn Sink>],
}

impl<'a> Story<'a> {
    pub(super) fn new(
        transport: Transport,
        client: SocketAddr,
        listener: &'a Listener,
        local: &'a Rc<Local>,
    ) -> Self {
        let relayed = Relayed {
            id: local.request_id(),
            worker: local.worker.id(),
            listener: listener.name.clone(),
            generation: listener.generation,
            transport,
            client,
            name: None,
            tls: None,
            route: None,
            endpoint: None,
            attempts: 0,
            started: Instant::now(),
            connected: None,
            passed: Passed::default(),
            datagrams: Passed::default(),
            end: RelayEnd::CutOff,
            fault: None,
            detail: None,
        };
        Story { relayed, local, sinks: &listener.sinks }
    }

    /// It ends because of a fault.
    pub(super) fn fail(mut self, fault: Fault) {
        self.relayed.end = match fault.code().row().blame {
            Blame::Upstream => RelayEnd::Endpoint,
            Blame::Client if fault.code() == Code::ClientClosed => RelayEnd::Client,
            Blame::Client | Blame::Transom => RelayEnd::Refused,
        };
        self.relayed.fault = Some(fault.code());
        self.relayed.detail = Some(fault.into_detail());
    }
}

impl Drop for Story<'_> {
    fn drop(&mut self) {
        for sink in self.sinks {
            sink.relayed(&self.relayed);
        }
    }
}
