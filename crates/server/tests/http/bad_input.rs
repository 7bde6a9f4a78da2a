use std::time::{Duration, Instant};

use serde_json::json;
use tidegate_testkit::{Sse, http};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::node::{Node, Setup, options};

/// Sends bytes and reads until the server closes.
async fn exchange(node: &Node, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(node.addr()).await.unwrap();
    let (mut reader, mut writer) = socket.split();
    let mut answer = Vec::new();
    let write = async {
        // The server may close before it has read all.
        let _ = writer.write_all(bytes).await;
    };
    let (_, _) = tokio::join!(write, reader.read_to_end(&mut answer));
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn streams_of_nothing_or_of_nonsense() {
    let node = Node::open().await;
    let topics: Vec<String> = (0..10_000).map(|n| format!("t:{n}")).collect();
    let many = Sse::builder(&node.url("/v1/events")).post(&json!({"topics": topics})).open().await;
    assert_eq!(many.status, 400);
    assert!(many.text().await.contains(r#""field":"topics""#));
    for query in
        ["", "?topic=", "?topic=a%20b", "?topic=%00", "?topic=%ff", "?topic=a&replay=x", "?topic=%24x"]
    {
        let stream = Sse::open(&node.url(&format!("/v1/events{query}"))).await;
        assert!(matches!(stream.status.as_u16(), 400 | 403), "{query}: {}", stream.status);
        assert_eq!(stream.header("content-type"), Some("application/problem+json"));
    }
    let bad = Sse::builder(&node.url("/v1/events")).post(&json!({"topics": "a"})).open().await;
    assert_eq!(bad.status, 400);
    let list = Sse::builder(&node.url("/v1/events")).post(&json!([["a"]])).open().await;
    assert_eq!(list.status, 400, "an array is no wish");
    assert_eq!(http::get(&node.url("/v1/nowhere")).await.status, 404);
    assert_eq!(http::delete(&node.url("/v1/publish")).await.status, 405);
}

#[tokio::test]
async fn a_header_of_a_megabyte_and_other_rubbish() {
    let node = Node::open().await;
    let huge = format!("GET /healthz HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
    assert!(exchange(&node, huge.as_bytes()).await.starts_with("HTTP/1.1 431"));
    let lines = format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(5_000));
    assert!(exchange(&node, lines.as_bytes()).await.starts_with("HTTP/1.1 431"));
    assert!(
        exchange(&node, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await.starts_with("HTTP/1.1 400")
    );
    assert!(exchange(&node, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nrubbish rubbish rubbish").await.len() < 200);
    assert_eq!(http::get(&node.url("/healthz")).await.status, 200);
}

#[tokio::test]
async fn a_slow_client_is_let_go() {
    let mut http_options = options();
    http_options.transport.header_timeout = Duration::from_millis(400);
    http_options.limits.body_timeout = Duration::from_millis(400);
    let node = Node::start(Setup { http: Some(http_options), ..Setup::default() }).await;
    for start in ["", "P", "PRI * HTTP/2", "GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: "] {
        let began = Instant::now();
        exchange(&node, start.as_bytes()).await;
        assert!(began.elapsed() < Duration::from_secs(5), "{start:?}");
    }
    let slow_body =
        "POST /v1/publish HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 100\r\n\r\n{";
    assert!(exchange(&node, slow_body.as_bytes()).await.starts_with("HTTP/1.1 408"));
}

#[tokio::test]
async fn beyond_the_connections_requests_are_turned_away() {
    let mut http_options = options();
    http_options.transport.connections = 1;
    let node = Node::start(Setup { http: Some(http_options), ..Setup::default() }).await;
    let mut first = Sse::open(&node.url("/v1/events?topic=a")).await;
    first.next_named("tidegate:ready").await;
    let answer = exchange(&node, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "a full node is not a dead one: {answer}");
    let answer = exchange(&node, b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after"), "{answer}");
}

#[tokio::test]
async fn bytes_after_a_streams_request_end_the_connection() {
    let node = Node::open().await;
    let request = "GET /v1/events?topic=a HTTP/1.1\r\nhost: x\r\n\r\n";
    let pipelined = format!("{request}GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
    // The stream never answers a second request, so the client must not wait for that answer.
    exchange(&node, pipelined.as_bytes()).await;

    let mut socket = TcpStream::connect(node.addr()).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    while !String::from_utf8_lossy(&answer).contains("tidegate:ready") {
        assert_ne!(socket.read(&mut answer).await.unwrap(), 0);
    }
    socket.write_all(b"late").await.unwrap();
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest).await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "a stream that is cut must not look finished");
}

#[tokio::test]
async fn a_client_that_closes_its_side_is_gone() {
    let node = Node::open().await;
    let mut socket = TcpStream::connect(node.addr()).await.unwrap();
    socket.write_all(b"GET /v1/events?topic=a HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    tidegate_testkit::eventually("the stream is open", async || (node.hub.live() == 1).then_some(())).await;
    socket.shutdown().await.unwrap();
    tidegate_testkit::eventually("the stream is gone", async || (node.hub.live() == 0).then_some(())).await;
}
