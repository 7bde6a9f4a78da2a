//! HTTP/2 where it is more than another way to the same stream: several on a connection, and how that ends.

use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use serde_json::json;
use tidegate_broker::Publication;
use tidegate_protocol::{Data, Topic};
use tidegate_server::Namespaces;
use tidegate_testkit::http::publish;
use tidegate_testkit::{DEADLINE, Sse};
use tokio::net::TcpStream;

use crate::node::{Node, Setup, options};

#[tokio::test]
async fn an_http2_client_that_takes_nothing_holds_nobodys_place() {
    let hub = tidegate_hub::Options {
        user_connections: 1,
        write_deadline: Duration::from_millis(500),
        heartbeat: Duration::from_millis(300),
        ..Default::default()
    };
    let node = Node::start(Setup { hub: Some(hub), ..Setup::default() }).await;
    let socket = tokio::net::TcpStream::connect(node.addr()).await.unwrap();
    let (mut client, connection) = h2::client::Builder::new()
        .initial_window_size(300)
        .handshake::<_, bytes::Bytes>(socket)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let url = node.url("/v1/events?userId=bob&topic=a");
    let open = |client: &mut h2::client::SendRequest<bytes::Bytes>| {
        let request = http::Request::get(&url).body(()).unwrap();
        client.send_request(request, true).unwrap().0
    };
    let stuck = open(&mut client).await.unwrap();
    assert_eq!(stuck.status(), 200);
    publish(&node.base(), &json!({"topic": "a", "data": "x".repeat(60_000)})).await;
    tidegate_testkit::eventually("it is given up", async || (node.hub.live() == 0).then_some(())).await;
    assert!(node.metrics().await.contains("tidegate_leaves_total{reason=\"write_deadline\"} 1"));
    // The other streams of the connection go on, and the place is free.
    let mut next = open(&mut client).await.unwrap().into_body();
    let first = next.data().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("tidegate:ready"), "{first:?}");
    // Its own stream is reset, with what waited for it: the connection keeps nothing of it.
    let mut stuck = stuck.into_body();
    let error = loop {
        match stuck.data().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("a cut stream must not look finished"),
        }
    };
    assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
    drop(next);
    connection.abort();
}

#[tokio::test]
async fn a_disconnected_user_with_a_closed_window_has_room_again_at_once() {
    let hub = tidegate_hub::Options { user_connections: 1, ..Default::default() };
    let node = Node::start(Setup { hub: Some(hub), ..Setup::default() }).await;
    let socket = tokio::net::TcpStream::connect(node.addr()).await.unwrap();
    let (mut client, connection) =
        h2::client::Builder::new().initial_window_size(1).handshake::<_, bytes::Bytes>(socket).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get(node.url("/v1/events?userId=bob")).body(()).unwrap();
    let stuck = client.send_request(request, true).unwrap().0.await.unwrap();
    assert_eq!(stuck.status(), 200);
    tidegate_testkit::http::post(&node.url("/v1/users/bob/disconnect"), &json!(null)).await;
    tidegate_testkit::eventually("bob may come back", async || {
        let event = Sse::open(&node.url("/v1/events?userId=bob")).await.next().await?;
        (event.event == "tidegate:ready").then_some(())
    })
    .await;
    connection.abort();
}

#[tokio::test]
async fn a_slow_stream_is_reset_and_the_others_go_on() {
    let hub = tidegate_hub::Options { outbox_bytes: 128 << 10, ..Default::default() };
    let node = Node::start(Setup { hub: Some(hub), ..Setup::default() }).await;
    let socket = TcpStream::connect(node.addr()).await.unwrap();
    let (mut client, connection) =
        h2::client::Builder::new().initial_window_size(300).handshake::<_, Bytes>(socket).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut slow = open(&mut client, &node, "busy").await;
    let mut quiet = open(&mut client, &node, "quiet").await;
    for n in 0..10 {
        publish(&node.base(), &json!({"topic": "busy", "data": format!("{n} {}", "x".repeat(60_000))})).await;
    }
    // It is told at once, not when it opens its window again: here it never does.
    let error = loop {
        match slow.body.data().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("a cut stream must not look finished"),
        }
    };
    assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
    assert!(node.metrics().await.contains("tidegate_leaves_total{reason=\"slow_consumer\"} 1"));
    publish(&node.base(), &json!({"topic": "quiet", "data": "still here"})).await;
    quiet.until("still here").await;
    connection.abort();
}

#[tokio::test]
async fn a_drain_says_goaway_and_lets_streams_end_one_by_one() {
    let node = Node::open().await;
    let socket = TcpStream::connect(node.addr()).await.unwrap();
    let (mut client, connection) = h2::client::handshake(socket).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut streams = [open(&mut client, &node, "a").await, open(&mut client, &node, "a").await];
    node.shutdown.graceful.cancel();
    // The client hears of it before any stream has ended.
    let refused = loop {
        let request = http::Request::get(node.url("/healthz")).body(()).unwrap();
        match client.clone().ready().await {
            Err(error) => break error,
            Ok(mut ready) => match ready.send_request(request, true) {
                Err(error) => break error,
                Ok((response, _)) => drop(response.await),
            },
        }
    };
    assert!(refused.is_go_away() && refused.reason() == Some(h2::Reason::NO_ERROR), "{refused:?}");
    // The listener is closed as well: past it.
    let publication = Publication {
        topic: Topic::parse("a").unwrap(),
        name: None,
        data: Data::Text("after the goaway".into()),
        at: 0,
        retention: Namespaces::default().default.retention,
        key: None,
    };
    node.app.broker().publish(vec![publication]).await.remove(0).unwrap();
    for stream in &mut streams {
        stream.until("after the goaway").await;
    }
    node.hub.drain(Duration::from_millis(300));
    for stream in &mut streams {
        stream.until(r#"{"reason":"drain"}"#).await;
        while let Some(rest) = stream.body.data().await {
            assert!(rest.expect("ended in good order").is_empty());
        }
    }
    drop(client);
    connection.await.unwrap().expect("closed, with nothing left");
}

#[tokio::test]
async fn a_connection_over_the_limit_ends_with_its_answer() {
    for (path, status, text) in [
        ("/v1/events?topic=a", 200, r#"{"reason":"overloaded"}"#),
        ("/openapi.json", 503, "as many connections"),
    ] {
        let transport = tidegate_transport::Options { connections: 1, ..Default::default() };
        let http = tidegate_server::Options { transport, ..options() };
        let node = Node::start(Setup { http: Some(http), ..Setup::default() }).await;
        let mut first = Sse::open(&node.url("/v1/events?topic=a")).await;
        first.next_named("tidegate:ready").await;
        let socket = TcpStream::connect(node.addr()).await.unwrap();
        let (mut client, connection) = h2::client::handshake(socket).await.unwrap();
        let connection = tokio::spawn(connection);
        let request = http::Request::get(node.url(path)).body(()).unwrap();
        let response = client.send_request(request, true).unwrap().0.await.unwrap();
        assert_eq!(response.status(), status);
        let mut answer = Stream { body: response.into_body(), seen: String::new() };
        answer.until(text).await;
        while let Some(rest) = answer.body.data().await {
            rest.expect("ended in good order");
        }
        // The client would ask again on it, and be refused for as long as it lasts.
        let ended = tokio::time::timeout(DEADLINE, connection).await.expect("the node ends it");
        ended.unwrap().expect("in good order");
        drop(client);
    }
}

/// A stream of a connection that this test holds itself.
struct Stream {
    body: h2::RecvStream,
    seen: String,
}

async fn open(client: &mut SendRequest<Bytes>, node: &Node, topic: &str) -> Stream {
    let request = http::Request::get(node.url(&format!("/v1/events?topic={topic}"))).body(()).unwrap();
    let response = client.send_request(request, true).unwrap().0.await.unwrap();
    let mut stream = Stream { body: response.into_body(), seen: String::new() };
    stream.until("tidegate:ready").await;
    stream
}

impl Stream {
    /// Reads until `text` has come by.
    async fn until(&mut self, text: &str) {
        while !self.seen.contains(text) {
            let bytes = self.body.data().await.expect("not the end").unwrap();
            self.body.flow_control().release_capacity(bytes.len()).unwrap();
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
}
