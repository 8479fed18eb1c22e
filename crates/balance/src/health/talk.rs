//! Talking to a member over a connection of its own, as probes and agents do.

use std::future::poll_fn;
use std::io::{self, IoSlice};

use transom_net::{Size, Stream};

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
