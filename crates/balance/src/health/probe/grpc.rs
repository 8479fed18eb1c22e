//! `grpc.health.v1.Health/Check`: passes when the answer is SERVING.
//!
//! One call on a connection of its own. The answer is in its message, and a call that fails has none.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use h2::client::{self, SendRequest};
use http::{Request, Uri, Version};
use transom_net::{Duplex, Stream};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GrpcProbe {
    /// The service that is asked about; empty is the server as a whole.
    pub service: String,
}

/// The longest answer that is read.
const MOST: usize = 16 << 10;

impl GrpcProbe {
    pub(super) async fn ask(
        &self,
        stream: Stream,
        authority: &str,
        is_tls: bool,
    ) -> Result<(), String> {
        let duplex = Duplex::new(stream);
        let handshake = client::Builder::new().enable_push(false).handshake(duplex.clone());
        let (calls, connection) = handshake.await.map_err(said)?;
        let (mut connection, mut call) =
            (pin!(connection), pin!(self.call(calls, authority, is_tls)));
        let mut ended = None;
        poll_fn(|cx| {
            if let Poll::Ready(verdict) = call.as_mut().poll(cx) {
                return Poll::Ready(verdict);
            }
            if let Some(end) = ended.take() {
                return Poll::Ready(Err(end));
            }
            if let Poll::Ready(end) = connection.as_mut().poll(cx) {
                // The call is asked once more: it may have had its answer before.
                ended = Some(end.map_or_else(said, |()| "it closed the connection".to_owned()));
                cx.waker().wake_by_ref();
            }
            match duplex.poll_send(cx) {
                Poll::Ready(Err(e)) => Poll::Ready(Err(format!("sending: {e}"))),
                _ => Poll::Pending,
            }
        })
        .await
    }

    async fn call(
        &self,
        calls: SendRequest<Bytes>,
        authority: &str,
        is_tls: bool,
    ) -> Result<(), String> {
        let uri = Uri::builder()
            .scheme(if is_tls { "https" } else { "http" })
            .authority(authority)
            .path_and_query("/grpc.health.v1.Health/Check");
        let request = Request::post(uri.build().map_err(|e| e.to_string())?)
            .version(Version::HTTP_2)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("user-agent", "Transom (health)")
            .body(())
            .map_err(|e| e.to_string())?;
        let mut calls = calls.ready().await.map_err(said)?;
        let (response, mut sending) = calls.send_request(request, false).map_err(said)?;
        sending.send_data(self.question(), true).map_err(said)?;
        let mut body = response.await.map_err(said)?.into_body();
        let mut message = Vec::new();
        while let Some(data) = body.data().await {
            message.extend_from_slice(&data.map_err(said)?);
            if let Some(status) = serving_status(&message) {
                return judged(status);
            }
            if message.len() > MOST {
                return Err("its answer is no status, but longer".to_owned());
            }
        }
        Err("the call failed: it may not have the health service".to_owned())
    }

    /// HealthCheckRequest, as a message of gRPC: the service is field 1, a string.
    fn question(&self) -> Bytes {
        let mut message = Vec::new();
        if !self.service.is_empty() {
            message.push(0x0a);
            put_varint(&mut message, self.service.len());
            message.extend_from_slice(self.service.as_bytes());
        }
        let mut out = vec![0];
        out.extend_from_slice(&(message.len() as u32).to_be_bytes());
        out.extend_from_slice(&message);
        out.into()
    }
}

/// What went wrong, in the words of the other probes.
fn said(error: h2::Error) -> String {
    match () {
        () if error.is_go_away() && error.is_remote() => {
            format!("it ended the connection by GOAWAY: {error}")
        }
        () if error.is_reset() && error.is_remote() => {
            format!("it ended the call by RST_STREAM: {error}")
        }
        () if error.is_library() => format!("it does not speak HTTP/2: {error}"),
        () => error.to_string(),
    }
}

/// Seven bits at a time, the lowest first (protocol buffers).
fn put_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 128 {
        out.push(value as u8 | 128);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The status in a HealthCheckResponse, once it is whole: field 1, zero where it is left out.
fn serving_status(message: &[u8]) -> Option<u64> {
    let (prefix, rest) = message.split_first_chunk::<5>()?;
    let [0, length @ ..] = *prefix else { return Some(u64::MAX) };
    let response = rest.get(..u32::from_be_bytes(length) as usize)?;
    match response {
        [] => Some(0),
        [0x08, status, ..] => Some(u64::from(*status)),
        _ => Some(u64::MAX),
    }
}

fn judged(status: u64) -> Result<(), String> {
    let said = match status {
        1 => return Ok(()),
        0 => "UNKNOWN",
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "something that is no status",
    };
    Err(format!("it says {said}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_says() {
        for (message, status) in [
            (&[0, 0, 0, 0, 2, 8, 1][..], Some(1)),
            (&[0, 0, 0, 0, 2, 8, 2], Some(2)),
            (&[0, 0, 0, 0, 0], Some(0)),
            (&[0, 0, 0, 0, 2, 8], None),
            (&[0, 0, 0], None),
            (&[], None),
            // compressed, which was not offered
            (&[1, 0, 0, 0, 2, 8, 1], Some(u64::MAX)),
            (&[0, 0, 0, 0, 2, 9, 1], Some(u64::MAX)),
        ] {
            assert_eq!(serving_status(message), status, "{message:?}");
        }
        assert!(judged(1).is_ok());
        assert_eq!(judged(2), Err("it says NOT_SERVING".to_owned()));
    }

    #[test]
    fn a_question_names_the_service() {
        let question = |service: &str| GrpcProbe { service: service.to_owned() }.question();
        assert_eq!(question("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(question("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(question(&"x".repeat(300))[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 0x02]);
    }
}
