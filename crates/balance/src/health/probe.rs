//! What a member is asked to find out whether it is well.
//!
//! Probes go the way that traffic goes: the same dialer, the same TLS settings.

use std::future::poll_fn;
use std::io::{self, IoSlice};

use transom_net::{Address, Behalf, Size, Stream, Target, Worker, dial_for};
use transom_proxy::destination::Endpoint;

use super::machine::Rhythm;
use super::probe_command::CommandProbe;
use super::probe_grpc::GrpcProbe;
use super::probe_http::HttpProbe;
use super::probe_tcp::TcpProbe;

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Probe {
    Http(HttpProbe),
    Tcp(TcpProbe),
    Grpc(GrpcProbe),
    Command(CommandProbe),
}

/// What is asked of the members of a pool, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Probing {
    pub probe: Probe,
    pub rhythm: Rhythm,
    /// Where it is not the endpoint's own.
    pub port: Option<u16>,
}

impl Probing {
    /// Asks once. Takes as long as the endpoint does: the caller sets the limit and drops the
    /// future.
    ///
    /// # Errors
    /// Why the probe has failed, in a few words.
    pub async fn ask(&self, endpoint: &Endpoint, worker: &Worker) -> Result<(), String> {
        let target = self.target(endpoint);
        if let Probe::Command(command) = &self.probe {
            return command.ask(endpoint, &target.address).await;
        }
        let header = endpoint.announce.as_ref().map_or(Vec::new(), |announce| announce.own());
        let behalf = Behalf { client: None, header: &header };
        let mut stream = dial_for(&target, behalf, worker).await.map_err(|e| why(&e))?;
        match &self.probe {
            Probe::Http(http) => http.ask(&mut stream, &endpoint.authority).await,
            Probe::Tcp(tcp) => tcp.ask(&mut stream).await,
            Probe::Grpc(grpc) => grpc.ask(stream, &endpoint.authority, target.tls.is_some()).await,
            Probe::Command(_) => Ok(()),
        }
    }

    fn target(&self, endpoint: &Endpoint) -> Target {
        let mut target = endpoint.target.clone();
        if let (Address::Tcp(address), Some(port)) = (&mut target.address, self.port) {
            address.set_port(port);
        }
        target
    }
}

/// An error and its cause, without the address, which whoever reads it knows.
pub(super) fn why(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// Sends all of it.
pub(super) async fn send(stream: &mut Stream, mut bytes: &[u8]) -> Result<(), String> {
    let failed = |e: io::Error| format!("sending: {e}");
    while !bytes.is_empty() {
        let sent = poll_fn(|cx| stream.poll_write(&[IoSlice::new(bytes)], cx)).await;
        bytes = &bytes[sent.map_err(failed)?..];
    }
    poll_fn(|cx| stream.poll_flush(cx)).await.map_err(failed)
}

/// Waits for more bytes.
///
/// # Errors
/// When there will be none.
pub(super) async fn more(stream: &mut Stream) -> Result<(), String> {
    match poll_fn(|cx| stream.poll_fill(Size::Large, cx)).await {
        Ok(0) => Err("it closed the connection".to_owned()),
        Ok(_) => Ok(()),
        Err(e) => Err(format!("receiving: {e}")),
    }
}
