//! The handshake of one connection: its hello is read, what its name chose is used, and it waits for
//! its turn where something is computed.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::{Built, Facts, ServerTls, Turns};
use crate::tls::hello;
use crate::tls::session::Session;

/// Why a handshake did not complete. Nobody is left to answer, except for [`Self::PlainHttp`].
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The peer left; `received` 0 is a connection that never said anything, such as a port check.
    #[error("the peer closed the connection after {received} bytes")]
    Closed { received: usize },
    #[error("the hello is too large")]
    HelloTooLarge,
    #[error(transparent)]
    Io(io::Error),
    #[error("what the peer sent is not TLS")]
    NotTls,
    /// An HTTP request in clear: the caller may answer 400 in clear.
    #[error("the peer speaks HTTP without TLS")]
    PlainHttp,
    #[error(transparent)]
    Tls(rustls::Error),
    #[error("too many handshakes wait for their turn")]
    TooMany,
    #[error("no certificate is for the name the client asked for")]
    UnknownName(Option<String>),
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(tls) => Self::Tls(tls.clone()),
            None => Self::Io(error),
        }
    }
}

/// Reads the hello, chooses by its name, and completes the handshake.
///
/// Keeps no time: the caller wraps it in one deadline. On failure an alert was sent where the
/// protocol has one.
pub async fn accept<T>(io: &mut T, tls: &ServerTls) -> Result<(Session, Facts), HandshakeError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    accept_in_turn(io, tls, &Turns::default(), usize::MAX).await
}

/// As [`accept`], where the computing waits for its turn among the handshakes of the worker. At
/// most so many wait; one more is given up.
pub async fn accept_in_turn<T>(
    io: &mut T,
    tls: &ServerTls,
    turns: &Turns,
    most: usize,
) -> Result<(Session, Facts), HandshakeError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    // RFC 8446 §6.2: alert, legacy version, length 2, fatal, unrecognized_name.
    const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

    let accepted = hello::read(io).await?;
    let hello = accepted.client_hello();
    let name = hello.server_name();
    if !tls.certificates.serves(name) {
        let name = name.map(str::to_owned);
        // Best effort: the client may be gone already.
        let _ = io.write_all(&UNRECOGNIZED_NAME).await;
        return Err(HandshakeError::UnknownName(name));
    }
    let Built { id, client_auth, config } = tls.find(name).clone();
    let turn = turns.take(most).await.ok_or(HandshakeError::TooMany)?;
    let conn = match accepted.into_connection(config) {
        Ok(conn) => conn,
        Err((error, mut alert)) => {
            let mut bytes = Vec::new();
            let _ = alert.write_all(&mut bytes);
            let _ = io.write_all(&bytes).await;
            return Err(HandshakeError::Tls(error));
        }
    };
    let mut session = Session::server(conn);
    // What our side has to compute is done by then; the rest is waiting for the client.
    let first = poll_fn(|cx| Poll::Ready(session.poll_handshake(io, cx))).await;
    drop(turn);
    match first {
        Poll::Ready(done) => done?,
        Poll::Pending => poll_fn(|cx| session.poll_handshake(io, cx)).await?,
    }
    let facts = Facts::of(&session, id, client_auth);
    Ok((session, facts))
}
