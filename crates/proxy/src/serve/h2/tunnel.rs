//! WebSocket over one stream of a client (RFC 8441).

use std::future::poll_fn;

use h2::RecvStream;

use super::side::{Side, gone};
use crate::codec::h2::sent;
use crate::exchange::{Exchange, RequestId};
use crate::fields::Known;
use crate::local::Local;
use crate::message::Response;
use crate::serve::{Serving, steps};
use crate::upgrade::Streamed;

/// A `Sec-WebSocket-Key` (RFC 6455 §4.1): 16 bytes that no other request has, in base64. It proves
/// nothing but that the endpoint has read it.
pub(super) fn key(local: &Local) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (high, low) = match local.request_id() {
        RequestId::Own(high, low) => (high, low),
        RequestId::Given(_) => (0, 0),
    };
    let bits = u128::from(high) << 64 | u128::from(low);
    let digit = |shift: u32| char::from(DIGITS[(bits >> shift & 63) as usize]);
    let mut key: String = (0..21).map(|n| digit(122 - 6 * n)).collect();
    key.push(char::from(DIGITS[(bits << 4 & 63) as usize]));
    key + "=="
}

/// Tells the client that the tunnel stands, and carries it until it ends.
pub(super) async fn run(
    side: &Side,
    serving: &Serving,
    exchange: &mut Exchange,
    mut response: Response,
    receive: RecvStream,
) {
    let Some(mut tunnel) = exchange.tunnel.take() else { return };
    exchange.record.status = 200;
    // RFC 8441 §5: 200 in place of 101, and nothing of the handshake of HTTP/1.1.
    response.fields.remove(Known::SecWebSocketAccept);
    let send = match side.send_head(200, sent(&response.fields), false) {
        Ok(send) => send,
        Err(e) => return exchange.record.fail(gone(e.reason())),
    };
    let idle = exchange.route().and_then(|route| route.timeouts.tunnel_idle);
    exchange.record.tunnel = true;
    steps::each_sink(exchange, |sink, exchange| sink.tunnelled(exchange));
    let mut client = Streamed::new(receive, send);
    let passed = poll_fn(|cx| {
        if serving.leaving.get() {
            tunnel.leave();
        }
        tunnel.poll(&mut client, idle, cx)
    });
    let passed = passed.await;
    exchange.record.body_in += passed.to_endpoint;
    exchange.record.body_out += passed.to_client;
}

#[cfg(test)]
mod tests {
    use super::*;
    use transom_net::Worker;

    #[test]
    fn a_key_is_sixteen_bytes_in_base64() {
        let local = Local::new(Worker::new(0));
        let (one, other) = (key(&local), key(&local));
        assert_ne!(one, other);
        assert_eq!(one.len(), 24);
        assert!(one.ends_with("=="));
        // Of the last digit only two bits count.
        assert!("AQgw".contains(&one[21..22]), "{one}");
    }
}
