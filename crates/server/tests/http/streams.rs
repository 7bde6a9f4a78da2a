use std::time::Duration;

use serde_json::{Value, json};
use tidegate_protocol::EventName;
use tidegate_testkit::Sse;
use tidegate_testkit::http::publish;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::node::{Node, Setup};

/// Opens a stream and takes its ready block.
async fn ready(url: &str) -> (Sse, Value) {
    let mut stream = Sse::open(url).await;
    let ready = stream.next_named("tidegate:ready").await;
    assert!(ready.retry.is_some() && ready.id.is_some(), "{ready:?}");
    (stream, serde_json::from_str(&ready.data).unwrap())
}

#[tokio::test]
async fn a_stream_begins_with_ready_and_gets_what_is_published() {
    let node = Node::open().await;
    let (mut stream, ready) = ready(&node.url("/v1/events?topic=room:1&topic=room:2")).await;
    assert_eq!(ready["topics"], json!(["room:1", "room:2"]));
    assert_eq!(stream.status, 200);
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    assert_eq!(stream.header("cache-control"), Some("no-cache, no-transform"));
    assert_eq!(stream.header("x-accel-buffering"), Some("no"));
    assert!(stream.header("vary").unwrap().to_ascii_lowercase().contains("origin"));
    assert_eq!(stream.header("content-length"), None);
    assert_eq!(stream.header("connection"), Some("close"), "the connection ends with the stream");

    let (status, receipt) =
        publish(&node.base(), &json!({"topic": "room:1", "event": "chat", "data": {"a": 1}})).await;
    assert_eq!(status, 200);
    assert_eq!((&receipt["topic"], &receipt["nodes"]), (&json!("room:1"), &json!(1)));
    publish(&node.base(), &json!({"topic": "room:2", "data": "two\nlines"})).await;

    let event = stream.next().await.unwrap();
    assert_eq!((event.event.as_str(), event.data.as_str()), ("chat", r#"{"a":1}"#));
    assert_eq!(event.id.as_deref(), receipt["id"].as_str());
    let event = stream.next().await.unwrap();
    assert_eq!((event.event.as_str(), event.data.as_str()), ("message", "two\nlines"));
}

#[tokio::test]
async fn nobody_there_is_said() {
    let node = Node::open().await;
    let (_, receipt) = publish(&node.base(), &json!({"topic": "room:1", "data": null})).await;
    assert_eq!(receipt["nodes"], 0);
}

#[tokio::test]
async fn a_heartbeat_may_be_an_event() {
    let style =
        tidegate_hub::Heartbeat::Event { name: Some(EventName::parse("hb").unwrap()), data: String::new() };
    let hub = tidegate_hub::Options {
        heartbeat: Duration::from_millis(200),
        heartbeat_style: style,
        ..Default::default()
    };
    let node = Node::start(Setup { hub: Some(hub), ..Setup::default() }).await;
    let (mut stream, _) = ready(&node.url("/v1/events?topic=quiet")).await;
    let beat = stream.next_named("hb").await;
    assert_eq!((beat.id, beat.data.as_str()), (None, ""));
}

#[tokio::test]
async fn other_protocol_versions() {
    let node = Node::open().await;
    let url = node.url("/v1/events?topic=a");
    let mut old = Sse::builder(&url).http10().open().await;
    old.next_named("tidegate:ready").await;
    assert_eq!(old.header("transfer-encoding"), None);
    let mut h2 = Sse::h2(&url).await;
    h2.next_named("tidegate:ready").await;
    publish(&node.base(), &json!({"topic": "a", "data": "x"})).await;
    assert_eq!(old.collect_data(1).await, ["x"]);
    assert_eq!(h2.collect_data(1).await, ["x"]);

    let head = tidegate_testkit::http::client().head(&url).send().await.unwrap();
    assert_eq!(head.status(), 200);
    assert_eq!(head.headers()["content-type"], "text/event-stream");
    assert_eq!(head.headers().get("content-length"), None);
}

#[tokio::test]
async fn an_empty_id_is_none() {
    let node = Node::open().await;
    let (_, first) = publish(&node.base(), &json!({"topic": "a", "data": 1})).await;
    publish(&node.base(), &json!({"topic": "a", "data": 2})).await;
    let id = first["id"].as_str().unwrap();
    let url = node.url(&format!("/v1/events?topic=a&last_event_id={id}"));
    assert_eq!(Sse::builder(&url).header("last-event-id", "").open().await.collect_data(1).await, ["2"]);
    let body = json!({"topics": ["a"], "last_event_id": id});
    let builder = Sse::builder(&node.url("/v1/events")).header("last-event-id", "").post(&body);
    assert_eq!(builder.open().await.collect_data(1).await, ["2"]);
}

#[tokio::test]
async fn who_has_just_come_is_answered_though_the_server_ends() {
    let node = Node::open().await;
    // Let in, and waiting to be let in: the server has not turned to either's request yet.
    let mut early: Vec<TcpStream> = Vec::new();
    for _ in 0..20 {
        early.push(TcpStream::connect(node.addr()).await.unwrap());
    }
    node.shutdown.graceful.cancel();
    for socket in &mut early {
        socket.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    }
    for mut socket in early {
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}
