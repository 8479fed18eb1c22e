//! Whom a balancer before us names as its client, by a header of the PROXY protocol.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use transom_net::Worker;
use transom_net::proxy_protocol::{self, Parsed};
use transom_proxy::patience::within;

use super::ProxyRule;

/// The PROXY header was missing, malformed, too slow or sent by someone who may not.
pub(super) struct Refused;

/// Reads the PROXY header: source and destination, or nothing where it names none.
pub(super) async fn read(
    socket: &mut TcpStream,
    from: SocketAddr,
    rule: &ProxyRule,
    limit: Option<Duration>,
    worker: &Worker,
) -> Result<Option<(SocketAddr, SocketAddr)>, Refused> {
    let from = from.ip().to_canonical();
    if !rule.from.iter().any(|net| net.contains(&from)) {
        // Nobody else is believed; whether they send one is seen when HTTP is read.
        return if rule.optional { Ok(None) } else { Err(Refused) };
    }
    let limit = limit.unwrap_or(Duration::MAX / 4);
    let header = within(worker, limit, take_off(socket)).await.ok_or(Refused)?;
    match header {
        Ok(Some(header)) => Ok(header.source().zip(header.destination())),
        Ok(None) if rule.optional => Ok(None),
        _ => Err(Refused),
    }
}

/// Takes exactly the header off the socket: what follows belongs to TLS or HTTP. `None` when what
/// comes is no header at all; it is left there then.
async fn take_off(socket: &mut TcpStream) -> io::Result<Option<proxy_protocol::Header>> {
    let mut seen: Vec<u8> = Vec::new();
    let mut room = [0; 4096];
    loop {
        let n = socket.peek(&mut room).await?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let before = seen.len();
        seen.extend_from_slice(&room[..n]);
        match proxy_protocol::parse(&seen) {
            Ok(Parsed::Header { header, consumed }) => {
                socket.read_exact(&mut room[..consumed - before]).await?;
                return Ok(Some(header));
            }
            Ok(Parsed::Incomplete) => {
                socket.read_exact(&mut room[..n]).await?;
            }
            Err(_) if before == 0 => return Ok(None),
            Err(e) => return Err(io::Error::other(e)),
        }
    }
}
