use std::time::Duration;

use serde_json::{Value, json};
use tidegate_protocol::EventName;
use tidegate_testkit::http::publish;
use tidegate_testkit::{Sse, sse};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::node::{Node, Setup, options};

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
async fn a_resumed_stream_misses_nothing_over_all_its_topics() {
    let node = Node::open().await;
    let url = node.url("/v1/events?topic=a&topic=b&topic=c");
    let (stream, _) = ready(&url).await;
    let before_any_event = stream.last_event_id().to_owned();
    drop(stream);
    for n in 0..30 {
        publish(&node.base(), &json!({"topic": (["a", "b", "c"][n % 3]), "data": n})).await;
    }
    let mut resumed = Sse::builder(&url).last_event_id(&before_any_event).open().await;
    let expected: Vec<String> = (0..30).map(|n| n.to_string()).collect();
    assert_eq!(resumed.collect_data(30).await, expected);
    let half = resumed.seen().iter().filter_map(|block| block.id.clone()).nth(15).unwrap();
    let query = format!("{url}&last_event_id={half}");
    assert_eq!(Sse::open(&query).await.collect_data(15).await, expected[15..]);
    publish(&node.base(), &json!({"topic": "b", "data": "live"})).await;
    assert_eq!(resumed.collect_data(1).await, ["live"]);
}

#[tokio::test]
async fn replay_gives_the_last_few() {
    let node = Node::open().await;
    for n in 0..10 {
        publish(&node.base(), &json!({"topic": "a", "data": n})).await;
    }
    let mut stream = Sse::open(&node.url("/v1/events?topic=a&replay=3")).await;
    let ready = stream.next_named("tidegate:ready").await;
    assert_eq!(stream.collect_data(3).await, ["7", "8", "9"]);
    let mut again =
        Sse::builder(&node.url("/v1/events?topic=a")).last_event_id(&ready.id.unwrap()).open().await;
    assert_eq!(
        again.collect_data(3).await,
        ["7", "8", "9"],
        "a stream lost before its replay came is not lost"
    );
    let body = json!({"topics": ["a"], "replay": 2});
    assert_eq!(
        Sse::builder(&node.url("/v1/events")).post(&body).open().await.collect_data(2).await,
        ["8", "9"]
    );
}

#[tokio::test]
async fn what_cannot_be_continued_is_reset_with_200() {
    let node = Node::open().await;
    publish(&node.base(), &json!({"topic": "a", "data": 1})).await;
    let url = node.url("/v1/events?topic=a");
    let cases = [("no such id", "malformed"), ("0zzzzz-5", "epoch"), ("%20\u{1f30a}", "malformed"), ("", "")];
    for (id, reason) in cases {
        let mut stream = Sse::builder(&url).last_event_id(id).open().await;
        assert_eq!(stream.status, 200);
        stream.next_named("tidegate:ready").await;
        if !reason.is_empty() {
            let reset = stream.next().await.unwrap();
            assert_eq!(reset.event, "tidegate:reset");
            let data: Value = serde_json::from_str(&reset.data).unwrap();
            assert_eq!(data, json!({"topics": ["a"], "reason": reason}));
            let again = Sse::builder(&url).last_event_id(&reset.id.unwrap()).open().await;
            drop(again);
        }
        publish(&node.base(), &json!({"topic": "a", "data": "live"})).await;
        assert_eq!(stream.collect_data(1).await, ["live"]);
    }
    let (stream, _) = ready(&url).await;
    let ahead = format!("{}zzz", stream.last_event_id());
    let mut stream = Sse::builder(&url).last_event_id(&ahead).open().await;
    stream.next_named("tidegate:ready").await;
    assert!(stream.next_named("tidegate:reset").await.data.contains("unknown"));
}

#[tokio::test]
async fn a_reset_lost_on_the_way_is_said_again() {
    let node = Node::open().await;
    let url = node.url("/v1/events?topic=a");
    for id in ["rubbish!", "0zzzzz-5"] {
        let mut stream = Sse::builder(&url).last_event_id(id).open().await;
        let ready = stream.next_named("tidegate:ready").await;
        drop(stream);
        let mut stream = Sse::builder(&url).last_event_id(&ready.id.unwrap()).open().await;
        stream.next_named("tidegate:ready").await;
        let reset = stream.next_named("tidegate:reset").await;
        drop(stream);
        let mut stream = Sse::builder(&url).last_event_id(&reset.id.unwrap()).open().await;
        stream.next_named("tidegate:ready").await;
        publish(&node.base(), &json!({"topic": "a", "data": "live"})).await;
        assert_eq!(stream.collect_data(1).await, ["live"]);
    }
}

#[tokio::test]
async fn events_without_history_have_no_id() {
    let mut http = options();
    let mut namespace = http.namespaces.default;
    namespace.retention.size = 0;
    http.namespaces.named.insert("typing".into(), namespace);
    let node = Node::start(Setup { http: Some(http), ..Setup::default() }).await;
    let (mut stream, _) = ready(&node.url("/v1/events?topic=typing:1&topic=room:1")).await;
    let (_, receipt) = publish(&node.base(), &json!({"topic": "typing:1", "data": 1})).await;
    assert_eq!(receipt["id"], Value::Null);
    let event = stream.next().await.unwrap();
    assert_eq!((event.id, event.data.as_str()), (None, "1"));
}

#[tokio::test]
async fn a_quiet_stream_beats_and_keeps_its_cursor_fresh() {
    let hub = tidegate_hub::Options { heartbeat: Duration::from_millis(300), ..Default::default() };
    let node = Node::start(Setup { hub: Some(hub), ..Setup::default() }).await;
    let (mut stream, _) = ready(&node.url("/v1/events?topic=quiet")).await;
    // The listener of the busy topic makes the node see how far the partition is.
    let (_busy, _) = ready(&node.url("/v1/events?topic=busy")).await;
    let (_, receipt) = publish(&node.base(), &json!({"topic": "busy", "data": 1})).await;
    let id = receipt["id"].as_str().unwrap().to_owned();
    loop {
        let block = stream.next_block().await.unwrap();
        assert_eq!(block.data, None);
        if block.id.as_deref() == Some(&*id) {
            break;
        }
    }
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
async fn an_old_stream_is_closed_cleanly() {
    let hub = tidegate_hub::Options { max_age: Some(Duration::from_millis(500)), ..Default::default() };
    let node = Node::start(Setup { hub: Some(hub), ..Setup::default() }).await;
    let (mut stream, _) = ready(&node.url("/v1/events?topic=a")).await;
    let closing = stream.next_named("tidegate:closing").await;
    assert_eq!((closing.id, closing.data.as_str()), (None, r#"{"reason":"max_age"}"#));
    assert!(closing.retry.is_some());
    assert_eq!(stream.next().await, None);
    assert!(matches!(stream.end(), Some(sse::End::Clean)), "{:?}", stream.end());
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
    let text = node.metrics().await;
    assert!(text.contains("tidegate_connections{transport=\"sse-h2\"} 1"), "{text}");

    let head = tidegate_testkit::http::client().head(&url).send().await.unwrap();
    assert_eq!(head.status(), 200);
    assert_eq!(head.headers()["content-type"], "text/event-stream");
    assert_eq!(head.headers().get("content-length"), None);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_and_resumes() {
    let hub = tidegate_hub::Options { outbox_bytes: 256 << 10, ..Default::default() };
    let node = Node::start(Setup { hub: Some(hub), ..Setup::default() }).await;
    let url = node.url("/v1/events?topic=a");
    let mut slow = Sse::builder(&url).receive_buffer(4096).open().await;
    slow.next_named("tidegate:ready").await;
    let (mut quick, _) = ready(&url).await;
    let data = "x".repeat(30_000);
    let count = 600;
    let reader = tokio::spawn(async move { quick.collect_data(count).await.len() });
    for n in 0..count {
        let (status, _) = publish(&node.base(), &json!({"topic": "a", "data": format!("{n} {data}")})).await;
        assert_eq!(status, 200);
    }
    assert_eq!(reader.await.unwrap(), count, "the other client is not held up");
    let (events, end) = slow.rest().await;
    assert!(!matches!(end, sse::End::Clean), "a cut stream must not look finished");
    assert!(events.len() < count);
    let mut resumed = Sse::builder(&url).last_event_id(slow.last_event_id()).open().await;
    let rest = resumed.collect_data(count - events.len()).await;
    let all: Vec<String> = events.into_iter().map(|event| event.data).chain(rest).collect();
    for (n, data) in all.iter().enumerate() {
        assert_eq!(data.split(' ').next(), Some(&*n.to_string()));
    }
    assert!(node.metrics().await.contains("tidegate_leaves_total{reason=\"slow_consumer\"} 1"));
}

#[tokio::test]
async fn a_socket_that_stays_full_is_cut() {
    let hub = tidegate_hub::Options {
        write_deadline: Duration::from_millis(500),
        heartbeat: Duration::from_millis(300),
        outbox_bytes: 64 << 20,
        outbox_events: 1_000_000,
        ..Default::default()
    };
    let node = Node::start(Setup { hub: Some(hub), ..Setup::default() }).await;
    let url = node.url("/v1/events?topic=a");
    let mut stuck = Sse::builder(&url).receive_buffer(4096).open().await;
    stuck.next_named("tidegate:ready").await;
    let data = "x".repeat(60_000);
    for n in 0..300 {
        publish(&node.base(), &json!({"topic": "a", "data": format!("{n} {data}")})).await;
    }
    tidegate_testkit::eventually("it is gone", async || (node.hub.live() == 0).then_some(())).await;
    assert!(node.metrics().await.contains("tidegate_leaves_total{reason=\"write_deadline\"} 1"));
    let (events, end) = stuck.rest().await;
    assert!(!matches!(end, sse::End::Clean) && events.len() < 300);
}

#[tokio::test]
async fn large_and_many_events_pass_a_socket_that_is_often_full() {
    let hub = tidegate_hub::Options { outbox_bytes: 64 << 20, outbox_events: 100_000, ..Default::default() };
    let node = Node::start(Setup { hub: Some(hub), ..Setup::default() }).await;
    let url = node.url("/v1/events?topic=a&topic=b");
    let mut streams = Vec::new();
    for old in [false, true] {
        let builder = Sse::builder(&url).receive_buffer(8192);
        let mut stream = if old { builder.http10() } else { builder }.open().await;
        stream.next_named("tidegate:ready").await;
        streams.push(stream);
    }
    let mut expected = Vec::new();
    for n in 0..200 {
        let batch: Vec<Value> = (0..5)
            .map(|m| {
                let data = format!("{n}.{m} {}", "y".repeat((n * 37 + m * 911) % 20_000));
                expected.push(data.clone());
                json!({"topic": (["a", "b"][m % 2]), "data": data})
            })
            .collect();
        assert_eq!(publish(&node.base(), &json!(batch)).await.0, 200);
    }
    for stream in &mut streams {
        assert!(stream.collect_data(1_000).await == expected, "every byte, in order");
    }
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
async fn a_disconnected_user_has_room_again_at_once() {
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
