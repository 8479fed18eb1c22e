//! Bodies over connections that others use as well: who stands still, leaves or is slow costs nobody
//! else anything.

use std::thread;
use std::time::Duration;

use h2::Reason;
use transom_testkit::{Client, H2Endpoint, Manners, client};

use super::{get, one, over, rig_holds};
use crate::rows::rig::head;

#[test]
fn u_16_a_client_that_leaves_ends_its_stream_and_no_other() {
    let endpoint = H2Endpoint::new(Manners::default(), |mut exchange| async move {
        match &*exchange.received.target {
            "/wait" => {
                exchange.until_reset().await;
            }
            "/body" => {
                let mut sending = exchange.head(200, &[], false);
                while sending.send(vec![b'x'; 16 << 10]).await {
                    exchange.wait(Duration::from_millis(1)).await;
                }
                exchange.until_reset().await;
            }
            _ => exchange.answer(200, &[], "still here").await,
        }
    });
    let mut transom = one(&endpoint);
    for target in ["/wait", "/body"] {
        let before = endpoint.log().resets.len();
        let mut client = Client::connect(transom.web());
        client.send(head(&format!("GET {target}"), ""));
        let asked = endpoint.requests().len();
        endpoint.until("it is asked", |log| log.requests.len() > asked || log.streams > 0);
        client.reset();
        endpoint.until("the stream is reset", |log| log.resets.len() > before);
        assert_eq!(endpoint.log().resets[before], u32::from(Reason::CANCEL), "{target}");
        assert_eq!(get(&transom, "/").text(), "still here");
    }
    assert_eq!(endpoint.connections(), 1);
    rig_holds(&mut transom);
}

/// The library ended connections after so many streams whose frames came after they were given up.
#[test]
fn u_16_clients_that_leave_in_crowds_end_no_download_but_theirs() {
    let endpoint = H2Endpoint::new(Manners::default(), |mut exchange| async move {
        let mut sending = exchange.head(200, &[], false);
        match &*exchange.received.target {
            "/long" => {
                for _ in 0..200 {
                    sending.send(vec![b'x'; 1000]).await;
                    exchange.wait(Duration::from_millis(10)).await;
                }
                sending.end();
            }
            _ => while sending.send(vec![b'y'; 64 << 10]).await {},
        }
    });
    let mut transom = one(&endpoint);
    let address = transom.web();
    let long = thread::spawn(move || client::ask(address, head("GET /long", "")));
    let leave = |_| {
        thread::spawn(move || {
            let mut client = Client::connect(address);
            client.send(head("GET /large", ""));
            let _ = client.read(400_000);
            client.reset();
        })
    };
    for _ in 0..4 {
        let leaving: Vec<_> = (0..90).map(leave).collect();
        leaving.into_iter().for_each(|one| one.join().expect("a client"));
    }
    let long = long.join().expect("an answer");
    assert_eq!((long.status, long.whole, long.body.len()), (200, true, 200_000));
    assert_eq!(endpoint.connections(), 1);
    rig_holds(&mut transom);
}

#[test]
fn h2_31_a_download_that_stands_still_stops_no_other() {
    let endpoint = H2Endpoint::new(Manners::default(), |mut exchange| async move {
        if exchange.received.target == "/large" {
            let mut sending = exchange.head(200, &[], false);
            while sending.send(vec![b'x'; 64 << 10]).await {}
        } else {
            exchange.answer(200, &[], vec![b'y'; 1 << 20]).await;
        }
    });
    let mut transom = one(&endpoint);
    let memory = transom.memory();
    let stalled: Vec<_> = (0..20)
        .map(|_| {
            let mut client = Client::connect(transom.web());
            client.receive_buffer(4096).send(head("GET /large", ""));
            client
        })
        .collect();
    endpoint.until("they are served", |log| log.streams == 20);
    for _ in 0..5 {
        let response = get(&transom, "/");
        assert_eq!((response.status, response.body.len()), (200, 1 << 20));
    }
    let more = transom.memory().saturating_sub(memory);
    assert!(more < 40 << 10, "{more} KiB for 20 downloads that stand still");
    assert_eq!(endpoint.connections(), 1);
    drop(stalled);
    endpoint.until("their streams are over", |log| log.streams == 0);
    rig_holds(&mut transom);
}

#[test]
fn an_upload_that_is_not_taken_is_given_up_and_its_place_is_free() {
    let endpoint = H2Endpoint::new(
        Manners { window: Some(1000), ..Manners::default() },
        |mut exchange| async move {
            match &*exchange.received.method {
                "PUT" => {
                    exchange.until_reset().await;
                }
                _ => exchange.answer(200, &[], "free").await,
            }
        },
    );
    let listener = "timeouts: { send-idle: 200ms },";
    let mut transom = over(&[endpoint.address], "http2: { streams: 1 }", listener);
    let mut client = Client::connect(transom.web());
    client.send(head("PUT /", "Content-Length: 100000\r\n"));
    client.pour(&[b'x'; 100_000]);
    assert_eq!(client.response().status, 504);
    endpoint.until("the stream is reset", |log| log.resets.len() == 1);
    assert_eq!(get(&transom, "/").text(), "free");
    assert_eq!(endpoint.connections(), 1);
    rig_holds(&mut transom);
}

#[test]
fn a_large_upload_goes_as_fast_as_the_endpoint_takes_it() {
    let endpoint = H2Endpoint::new(
        Manners { window: Some(10_000), ..Manners::default() },
        |mut exchange| async move {
            let mut length = 0;
            while let Some(part) = exchange.part().await {
                length += part.len();
                if length % 7 == 0 {
                    exchange.wait(Duration::from_millis(1)).await;
                }
            }
            exchange.answer(200, &[], length.to_string()).await;
        },
    );
    let mut transom = one(&endpoint);
    let memory = transom.memory();
    let mut client = Client::connect(transom.web());
    client.send(head("POST /", "Content-Length: 8000000\r\n"));
    client.pour(&vec![b'x'; 8_000_000]);
    assert_eq!(client.response().text(), "8000000");
    let more = transom.memory().saturating_sub(memory);
    assert!(more < 8 << 10, "{more} KiB more");
    rig_holds(&mut transom);
}

#[test]
fn a_response_that_comes_before_the_request_is_whole_is_passed_on_at_once() {
    let endpoint = H2Endpoint::new(Manners::default(), |mut exchange| async move {
        let mut sending = exchange.head(200, &[], false);
        while let Some(part) = exchange.part().await {
            sending.send(part).await;
        }
        sending.end();
    });
    let mut transom = one(&endpoint);
    let mut client = Client::connect(transom.web());
    client.send(head("POST /", "Transfer-Encoding: chunked\r\n"));
    client.send("4\r\nping\r\n");
    let begun = b"HTTP/1.1 200 OK\r\n";
    assert_eq!(client.read(begun.len()).expect("the response begins"), begun);
    let mut seen = Vec::new();
    while !seen.ends_with(b"4\r\nping\r\n") {
        seen.extend(client.read(1).expect("what was sent comes back"));
    }
    client.send("4\r\npong\r\n0\r\n\r\n");
    let rest = b"4\r\npong\r\n0\r\n\r\n";
    assert_eq!(client.read(rest.len()).expect("both directions end"), rest);
    rig_holds(&mut transom);
}

#[test]
fn a_body_whose_end_comes_late_does_not_cost_the_stream_a_reset() {
    let endpoint = H2Endpoint::new(Manners::default(), |mut exchange| async move {
        let mut sending = exchange.head(200, &[("content-length", "5")], false);
        sending.send("hello").await;
        exchange.wait(Duration::from_millis(50)).await;
        sending.end();
        exchange.wait(Duration::from_millis(20)).await;
        if exchange.is_reset() {
            exchange.until_reset().await;
        }
    });
    let mut transom = one(&endpoint);
    for _ in 0..5 {
        assert_eq!(get(&transom, "/").text(), "hello");
    }
    endpoint.until("all are over", |log| log.streams == 0);
    assert!(endpoint.log().resets.is_empty(), "{:?}", endpoint.log().resets);
    rig_holds(&mut transom);
}
