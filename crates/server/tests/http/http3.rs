//! The same routes over QUIC.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tidegate_broker::Publication;
use tidegate_protocol::{Data, Topic};
use tidegate_server::Limits;
use tidegate_testkit::http::{get, publish};
use tidegate_testkit::{End, H3, Sse, eventually};

use crate::node::{API_KEY, Node, Setup, options, token};

/// Opens a stream on the connection and takes its ready block.
async fn ready(node: &Node, connection: &H3, path: &str) -> Sse {
    let url = format!("{}{path}", node.h3_base().0);
    let mut stream = Sse::builder(&url).h3_by(connection).open().await;
    assert_eq!(stream.status, 200);
    stream.next_named("tidegate:ready").await;
    stream
}

/// Waits until so many streams are open.
async fn live(node: &Node, count: usize) {
    eventually("the count of streams", async || (node.hub.live() == count).then_some(())).await;
}

async fn gauge(node: &Node, line: &str) {
    eventually(line, async || node.metrics().await.lines().any(|found| found == line).then_some(())).await;
}

#[tokio::test]
async fn a_stream_has_the_head_and_gets_what_is_published() {
    let (node, connection) = Node::h3(Setup::default()).await;
    let mut stream = ready(&node, &connection, "/v1/events?topic=room:1&topic=room:2").await;
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    assert_eq!(stream.header("cache-control"), Some("no-cache, no-transform"));
    for absent in ["connection", "keep-alive", "transfer-encoding", "content-length", "alt-svc"] {
        assert_eq!(stream.header(absent), None, "{absent}");
    }
    assert!(stream.header("date").is_some());

    let event = json!({"topic": "room:1", "event": "chat", "data": {"a": 1}});
    let receipt = connection.send(Method::POST, "/v1/publish", &[], Some(&event.to_string())).await;
    assert_eq!((receipt.status.as_u16(), &receipt.body["nodes"]), (200, &json!(1)), "{receipt:?}");
    let event = stream.next().await.unwrap();
    assert_eq!((event.event.as_str(), event.data.as_str()), ("chat", r#"{"a":1}"#));
    assert_eq!(event.id.as_deref(), receipt.body["id"].as_str());
}

#[tokio::test]
async fn large_and_many_events_arrive_whole() {
    let (node, connection) = Node::h3(Setup::default()).await;
    let mut stream = ready(&node, &connection, "/v1/events?topic=a").await;
    // Around the sizes at which a frame's length takes more bytes, and at which frames are shared rather than copied.
    let sizes = [1, 40, 63, 64, 500, 512, 513, 16_300, 16_384, 60_000];
    let mut expected = Vec::new();
    for round in 0..30 {
        for size in sizes {
            let data = format!("{round}{}", "x".repeat(size));
            let (status, _) = publish(&node.base(), &json!({"topic": "a", "data": data})).await;
            assert_eq!(status, 200);
            expected.push(data);
        }
        assert!(stream.collect_data(sizes.len()).await == expected[expected.len() - sizes.len()..]);
    }
}

#[tokio::test]
async fn many_streams_and_requests_share_a_connection() {
    let (node, connection) = Node::h3(Setup::default()).await;
    let mut streams = Vec::new();
    for n in 0..100 {
        streams.push(ready(&node, &connection, &format!("/v1/events?topic=all&topic=one:{n}")).await);
    }
    live(&node, 100).await;
    publish(&node.base(), &json!({"topic": "all", "data": "to all"})).await;
    publish(&node.base(), &json!({"topic": "one:77", "data": "to one"})).await;
    for (n, stream) in streams.iter_mut().enumerate() {
        assert_eq!(stream.collect_data(1).await, ["to all"]);
        if n == 77 {
            assert_eq!(stream.collect_data(1).await, ["to one"]);
        }
    }
    streams.truncate(40);
    live(&node, 40).await;
    drop(streams);
    live(&node, 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_at_once() {
    let hub = tidegate_hub::Options { heartbeat: Duration::from_secs(3_600), ..Default::default() };
    let (node, connection) = Node::h3(Setup { hub: Some(hub), ..Setup::default() }).await;
    let first = ready(&node, &connection, "/v1/events?topic=a").await;
    let second = ready(&node, &connection, "/v1/events?topic=a").await;
    live(&node, 2).await;
    drop(first);
    live(&node, 1).await;
    // The whole connection goes.
    drop((second, connection));
    live(&node, 0).await;
    gauge(&node, r#"tidegate_connections{transport="sse-h3"} 0"#).await;
    gauge(&node, r#"tidegate_leaves_total{reason="client"} 2"#).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_and_others_are_not() {
    let hub = tidegate_hub::Options {
        heartbeat: Duration::from_secs(1),
        write_deadline: Duration::from_secs(1),
        ..Default::default()
    };
    let (node, connection) = Node::h3(Setup { hub: Some(hub), ..Setup::default() }).await;
    let (base, pem) = node.h3_base();
    let narrow = H3::try_connect(&base, &pem, Some(20_000)).await.unwrap();
    let mut stuck = ready(&node, &narrow, "/v1/events?topic=a").await;
    let mut neighbour = ready(&node, &narrow, "/v1/events?topic=b").await;
    let mut reader = ready(&node, &connection, "/v1/events?topic=a").await;
    let data = "x".repeat(15_000);
    for _ in 0..3 {
        publish(&node.base(), &json!({"topic": "a", "data": data})).await;
        assert_eq!(reader.collect_data(1).await[0].len(), data.len());
    }
    live(&node, 2).await;
    gauge(&node, r#"tidegate_leaves_total{reason="write_deadline"} 1"#).await;
    publish(&node.base(), &json!({"topic": "b", "data": "still here"})).await;
    assert_eq!(neighbour.collect_data(1).await, ["still here"]);
    let (_, end) = stuck.rest().await;
    assert!(matches!(end, End::Reset(_)), "it must not look whole: {end:?}");
}

#[tokio::test]
async fn a_drain_says_so_to_connections_and_streams() {
    let (mut node, connection) = Node::h3(Setup::default()).await;
    let mut streams = Vec::new();
    for _ in 0..5 {
        streams.push(ready(&node, &connection, "/v1/events?topic=a").await);
    }
    let (base, pem) = node.h3_base();
    let quiet = H3::connect(&base, &pem).await;
    node.app.drain();
    node.shutdown.graceful.cancel();
    eventually("GOAWAY", async || connection.going_away().await.then_some(())).await;
    quiet.closed().await;
    // Over HTTP nobody can any more.
    let last = Publication {
        topic: Topic::parse("a").unwrap(),
        name: None,
        data: Data::from_json(r#""until the end""#).unwrap(),
        at: 0,
        retention: options().namespaces.default.retention,
        key: None,
    };
    assert!(node.app.broker().publish(vec![last]).await[0].is_ok());
    node.hub.drain(Duration::from_millis(300));
    for stream in &mut streams {
        assert_eq!(stream.collect_data(1).await, ["until the end"]);
        let (events, end) = stream.rest().await;
        assert_eq!(events.last().unwrap().event, "tidegate:closing");
        assert!(events.last().unwrap().data.contains("drain"));
        assert_eq!(end, End::Clean);
    }
    let closed = connection.closed().await;
    assert!(matches!(closed, quinn::ConnectionError::ApplicationClosed(_)), "{closed:?}");
    assert!(H3::try_connect(&base, &pem, None).await.is_err(), "nobody is let in any more");
    drop((streams, connection, quiet));
    node.h3_ended().await;
}

#[tokio::test]
async fn a_hard_stop_closes_what_is_open() {
    let (mut node, connection) = Node::h3(Setup::default()).await;
    let mut stream = ready(&node, &connection, "/v1/events?topic=a").await;
    node.shutdown.hard.cancel();
    connection.closed().await;
    assert!(matches!(stream.rest().await.1, End::Reset(_)));
    node.h3_ended().await;
    live(&node, 0).await;
}

#[tokio::test]
async fn requests_are_answered_as_on_other_versions() {
    let (node, connection) = Node::h3(Setup { keyed: true, ..Setup::default() }).await;
    let key = format!("Bearer {API_KEY}");
    let auth = ("authorization", key.as_str());

    let head = connection.send(Method::HEAD, "/v1/events?topic=a", &[auth], None).await;
    assert_eq!((head.status.as_u16(), &head.body), (200, &Value::Null));
    assert_eq!(head.headers["content-type"], "text/event-stream");

    let refused = connection.send(Method::GET, "/v1/events?topic=a", &[], None).await;
    assert_eq!(refused.status, 401);
    assert_eq!(refused.headers["content-type"], "application/problem+json");
    assert_eq!(refused.body["type"], "urn:tidegate:problem:unauthenticated");

    let wrong = connection.send(Method::POST, "/v1/publish", &[auth], Some("{\"topic\": 1}")).await;
    assert_eq!((wrong.status.as_u16(), &wrong.body["field"]), (400, &json!("topic")));
    assert_eq!(connection.send(Method::GET, "/nowhere", &[], None).await.status, 404);
    assert_eq!(connection.send(Method::PUT, "/v1/publish", &[], None).await.status, 405);
    for method in [Method::CONNECT, Method::GET] {
        let tunnel = connection.send(method, "/v1/ws?topic=a", &[], None).await;
        assert_eq!(
            (tunnel.status.as_u16(), &tunnel.body["type"]),
            (501, &json!("urn:tidegate:problem:not-over-h3"))
        );
    }

    let token = token("ann", &["room:*"], &[], Duration::from_secs(60));
    let cookie = format!("tidegate_token={token}");
    let base = node.h3_base().0;
    let mine = Sse::builder(&format!("{base}/v1/events"))
        .h3_by(&connection)
        .header("cookie", &cookie)
        .header("origin", &base)
        .post(&json!({"topics": ["room:1"]}));
    let mut mine = mine.open().await;
    let ready: Value = serde_json::from_str(&mine.next_named("tidegate:ready").await.data).unwrap();
    assert_eq!((&ready["user"], &ready["topics"]), (&json!("ann"), &json!(["room:1", "user:ann"])));
    let foreign = [("cookie", cookie.as_str()), ("origin", "https://elsewhere.example")];
    assert_eq!(connection.send(Method::GET, "/v1/events?topic=room:1", &foreign, None).await.status, 403);
}

#[tokio::test]
async fn pages_of_allowed_origins_may_ask() {
    let http = tidegate_server::Options {
        origins: tidegate_auth::Origins::parse(&["https://app.example"]).unwrap(),
        ..options()
    };
    let (_node, connection) = Node::h3(Setup { http: Some(http), ..Setup::default() }).await;
    let headers = [
        ("origin", "https://app.example"),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "last-event-id"),
    ];
    let answer = connection.send(Method::OPTIONS, "/v1/events?topic=a", &headers, None).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["access-control-allow-origin"], "https://app.example");
    assert!(answer.headers["access-control-allow-headers"].to_str().unwrap().contains("last-event-id"));
}

#[tokio::test]
async fn limits_hold() {
    let limits = Limits { body_timeout: Duration::from_millis(300), ..Limits::default() };
    let transport =
        tidegate_transport::Options { body_bytes: 100_000, header_bytes: 8_192, ..Default::default() };
    let (_node, connection) = Node::h3(Setup {
        http: Some(tidegate_server::Options { limits, transport, ..options() }),
        ..Setup::default()
    })
    .await;
    let events: Vec<Value> =
        (0..2).map(|n| json!({"topic": "a", "data": format!("{n}{}", "x".repeat(40_000))})).collect();
    let answer = connection.send(Method::POST, "/v1/publish", &[], Some(&json!(events).to_string())).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let long = "x".repeat(3_000_000);
    let answer = connection.send(Method::POST, "/v1/publish", &[], Some(&long)).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.body["type"]),
        (413, &json!("urn:tidegate:problem:too-large"))
    );

    let mut slow = connection.begin("/v1/publish", 10).await;
    assert_eq!(slow.head().await.unwrap(), 408);

    let many = "y".repeat(9_000);
    let answer = connection.send(Method::GET, "/healthz", &[("x-long", many.as_str())], None).await;
    assert_eq!((answer.status.as_u16(), &answer.body["status"]), (431, &json!(431)));
    // The server has said in its settings how much it reads, and the client heeds it.
    let many = "y".repeat(18_000);
    let head = [("x-long", many.as_str())];
    assert!(connection.try_send(Method::GET, "/healthz", &head, None).await.is_err());
    assert_eq!(connection.send(Method::GET, "/healthz", &[], None).await.status, 200, "the connection lives");
}

#[tokio::test]
async fn a_body_must_have_the_length_it_announces() {
    let (_node, connection) = Node::h3(Setup::default()).await;
    let body = json!({"topic": "a", "data": 1}).to_string();
    for length in [body.len() - 1, body.len() + 1] {
        let length = length.to_string();
        let answer =
            connection.send(Method::POST, "/v1/publish", &[("content-length", &length)], Some(&body)).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.body["detail"].as_str().unwrap().contains("Content-Length"), "{answer:?}");
    }
}

#[tokio::test]
async fn connections_over_the_limit_are_told_or_refused() {
    let transport = tidegate_transport::Options { connections: 1, ..Default::default() };
    let http = tidegate_server::Options { transport, ..options() };
    let (node, first) = Node::h3(Setup { http: Some(http), ..Setup::default() }).await;
    let (base, pem) = node.h3_base();
    let second = H3::connect(&base, &pem).await;
    let third = H3::try_connect(&base, &pem, None).await;
    assert!(third.is_err(), "one more than is told so is refused: {third:?}");
    let answer = second.send(Method::GET, "/openapi.json", &[], None).await;
    assert_eq!(answer.status, 503);
    second.closed().await;
    let second = H3::connect(&base, &pem).await;
    let mut stream = Sse::builder(&format!("{base}/v1/events?topic=a")).h3_by(&second).open().await;
    let (events, end) = stream.rest().await;
    assert_eq!((stream.status.as_u16(), end), (200, End::Clean));
    assert!(events.last().unwrap().data.contains("overloaded"), "{events:?}");
    assert_eq!(first.send(Method::GET, "/openapi.json", &[], None).await.status, 200);
    second.closed().await;
}

#[tokio::test]
async fn all_protocols_are_spoken_on_one_port() {
    let node = Node::start(Setup { h3: true, ..Setup::default() }).await;
    let (base, pem) = node.h3_base();
    let url = format!("{base}/v1/events?topic=a");
    let stream = || Sse::builder(&url).trust(&pem);
    let mut streams = [
        stream().http10().open().await,
        stream().open().await,
        stream().h2().open().await,
        stream().h3().open().await,
    ];
    live(&node, 4).await;
    for (transport, count) in [("sse-h1", 2), ("sse-h2", 1), ("sse-h3", 1)] {
        gauge(&node, &format!("tidegate_connections{{transport=\"{transport}\"}} {count}")).await;
    }
    publish(&node.base(), &json!({"topic": "a", "data": "to all"})).await;
    let port = node.addr().port();
    for (n, stream) in streams.iter_mut().enumerate() {
        assert_eq!(stream.collect_data(1).await, ["to all"]);
        let over_tcp = format!("h3=\":{port}\"; ma=86400");
        assert_eq!(stream.header("alt-svc"), (n < 3).then_some(over_tcp.as_str()), "{n}");
    }
    let answer = get(&node.url("/nowhere")).await;
    assert!(answer.headers.contains_key("alt-svc"), "also with problems");
    node.app.drain();
    let answer = get(&node.url("/healthz")).await;
    assert!(!answer.headers.contains_key("alt-svc"), "not of a node that goes away");
}

#[tokio::test]
async fn nothing_is_taken_before_the_handshakes_end() {
    let (node, _) = Node::h3(Setup::default()).await;
    let (base, pem) = node.h3_base();
    let allowed = H3::early_data(&base, &pem).await;
    assert!(allowed.iter().all(|bytes| *bytes == 0), "{allowed:?}");
}
