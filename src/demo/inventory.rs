//! The inventory service of the shop: gRPC, over HTTP/2 without TLS.
//!
//! Messages are those of examples/shop/inventory.proto. Two methods need no framework: a message is
//! five bytes and itself, and how it went stands in the trailers.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Response};
use axum::routing::post;
use http_body_util::{BodyExt as _, Full};
use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct LookRequest {
    #[prost(string, tag = "1")]
    product: String,
}

#[derive(Clone, PartialEq, Message)]
struct Stock {
    #[prost(string, tag = "1")]
    product: String,
    #[prost(uint32, tag = "2")]
    left: u32,
    #[prost(string, tag = "3")]
    shelf: String,
}

const STOCK: [(&str, u32, &str); 3] =
    [("lamp", 12, "A1"), ("chair", 3, "C4"), ("teapot", 40, "B2")];

fn stock(&(product, left, shelf): &(&str, u32, &str)) -> Stock {
    Stock { product: product.to_owned(), left, shelf: shelf.to_owned() }
}

pub(super) fn inventory() -> Router {
    let look = async |body: Bytes| {
        let Some(asked) = read(&body) else {
            return answer(&[], "3", "no message that could be read");
        };
        match STOCK.iter().find(|(product, ..)| *product == asked.product) {
            Some(found) => answer(&[stock(found)], "0", ""),
            None => answer(&[], "5", "no such product"),
        }
    };
    let walk = async || answer(&STOCK.each_ref().map(stock), "0", "");
    Router::new()
        .route("/shop.Inventory/Look", post(look))
        .route("/shop.Inventory/Walk", post(walk))
}

/// The one message of a request, which is not compressed.
fn read(body: &[u8]) -> Option<LookRequest> {
    let (&[0, a, b, c, d], message) = body.split_first_chunk()? else { return None };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    LookRequest::decode(message.get(..length)?).ok()
}

fn answer(messages: &[Stock], status: &'static str, why: &'static str) -> Response<Body> {
    let mut sent = Vec::new();
    for message in messages {
        let encoded = message.encode_to_vec();
        sent.push(0);
        sent.extend_from_slice(&u32::try_from(encoded.len()).unwrap_or(0).to_be_bytes());
        sent.extend_from_slice(&encoded);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    trailers.insert("grpc-message", HeaderValue::from_static(why));
    let body = Full::new(Bytes::from(sent)).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}
