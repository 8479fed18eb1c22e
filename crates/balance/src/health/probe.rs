//! What a member is asked to find out whether it is well.
//!
//! Probes go the way that traffic goes: the same dialer, the same TLS settings.

use transom_net::{Address, Behalf, Target, Worker, dial_for};
use transom_proxy::destination::Endpoint;

use self::command::CommandProbe;
use self::grpc::GrpcProbe;
use self::http::HttpProbe;
use self::tcp::TcpProbe;
use super::machine::Rhythm;
use super::talk::why;

pub mod command;
pub mod grpc;
pub mod http;
pub mod tcp;

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
