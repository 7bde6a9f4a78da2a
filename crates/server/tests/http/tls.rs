//! Streams over TLS, as clients see them: what passes in the clear passes here.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_testkit::http::{client, publish, publish_as};
use tidegate_testkit::sse::{Builder, End};
use tidegate_testkit::{Sse, eventually};
use tidegate_transport::tls::Certificates;

use crate::node::{API_KEY, Node, Setup, token};

pub(crate) fn setup() -> Setup {
    Setup { tls: Some(Certificates::self_signed(&["localhost", "127.0.0.1"]).unwrap()), ..Setup::default() }
}

type Way = fn(Builder) -> Builder;

/// The ways over TLS.
const WAYS: [(&str, Way); 3] =
    [("HTTP/1.1", |builder| builder), ("HTTP/1.0", Builder::http10), ("HTTP/2", Builder::h2)];

async fn ready(node: &Node, path: &str, way: Way) -> Sse {
    let mut stream = way(Sse::builder(&node.url(path)).trust(&node.pem())).open().await;
    stream.next_named("tidegate:ready").await;
    stream
}

#[tokio::test]
async fn a_stream_and_its_resumption() {
    for (name, way) in WAYS {
        let node = Node::start(setup()).await;
        let mut stream = ready(&node, "/v1/events?topic=a&topic=b", way).await;
        for n in 0..20 {
            publish(&node.base(), &json!({"topic": (["a", "b"][n % 2]), "data": n})).await;
        }
        let expected: Vec<String> = (0..20).map(|n| n.to_string()).collect();
        assert_eq!(stream.collect_data(20).await, expected, "{name}");
        let half = stream.seen().iter().filter_map(|block| block.id.clone()).nth(10).unwrap();
        drop(stream);
        let builder = Sse::builder(&node.url("/v1/events?topic=a&topic=b")).trust(&node.pem());
        let mut resumed = way(builder.last_event_id(&half)).open().await;
        assert_eq!(resumed.collect_data(10).await, expected[10..], "{name}");
        drop(resumed);
        eventually("it has left", async || (node.hub.live() == 0).then_some(())).await;
    }
}

#[tokio::test]
async fn large_and_many_events_pass_a_socket_that_is_often_full() {
    let hub = tidegate_hub::Options { outbox_bytes: 64 << 20, outbox_events: 100_000, ..Default::default() };
    let node = Node::start(Setup { hub: Some(hub), ..setup() }).await;
    let mut streams = Vec::new();
    for (name, way) in WAYS {
        let builder = Sse::builder(&node.url("/v1/events?topic=a")).trust(&node.pem()).receive_buffer(8192);
        let mut stream = way(builder).open().await;
        stream.next_named("tidegate:ready").await;
        streams.push((name, stream));
    }
    let mut expected = Vec::new();
    for n in 0..100 {
        let batch: Vec<Value> = (0..5)
            .map(|m| {
                let data = format!("{n}.{m} {}", "y".repeat((n * 370 + m * 9_110) % 50_000));
                expected.push(data.clone());
                json!({"topic": "a", "data": data})
            })
            .collect();
        assert_eq!(publish(&node.base(), &json!(batch)).await.0, 200);
    }
    for (name, stream) in &mut streams {
        assert!(stream.collect_data(500).await == expected, "{name}: every byte, in order");
    }
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
    let node = Node::start(Setup { hub: Some(hub), ..setup() }).await;
    let builder = Sse::builder(&node.url("/v1/events?topic=a")).trust(&node.pem()).receive_buffer(4096);
    let mut stuck = builder.open().await;
    stuck.next_named("tidegate:ready").await;
    let data = "x".repeat(60_000);
    for n in 0..300 {
        publish(&node.base(), &json!({"topic": "a", "data": format!("{n} {data}")})).await;
    }
    eventually("it is gone", async || (node.hub.live() == 0).then_some(())).await;
    assert!(node.metrics().await.contains("tidegate_leaves_total{reason=\"write_deadline\"} 1"));
    let (events, end) = stuck.rest().await;
    assert!(!matches!(end, End::Clean) && events.len() < 300);
}

#[tokio::test]
async fn a_drain_ends_streams_in_good_order() {
    for (name, way) in WAYS {
        let node = Node::start(setup()).await;
        let mut stream = ready(&node, "/v1/events?topic=a", way).await;
        node.shutdown.graceful.cancel();
        node.hub.drain(Duration::from_millis(200));
        let closing = stream.next_named("tidegate:closing").await;
        assert_eq!(closing.data, r#"{"reason":"drain"}"#, "{name}");
        assert_eq!(stream.rest().await.1, End::Clean, "{name}");
    }
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    for (name, way) in WAYS {
        let node = Node::start(Setup { keyed: true, ..setup() }).await;
        let token = token("alice", &["room:*"], &[], Duration::from_secs(2));
        let builder = Sse::builder(&node.url("/v1/events?topic=room:1")).trust(&node.pem());
        let mut stream = way(builder.bearer(&token)).open().await;
        stream.next_named("tidegate:ready").await;
        publish_as(&node.base(), API_KEY, &json!({"topic": "room:1", "data": "x"})).await;
        assert_eq!(stream.collect_data(1).await, ["x"], "{name}");
        let closing = stream.next_named("tidegate:closing").await;
        assert_eq!(closing.data, r#"{"reason":"token_expired"}"#, "{name}");
        assert_eq!(stream.rest().await.1, End::Clean, "{name}");
    }
}

#[tokio::test]
async fn polls_on_one_connection() {
    let node = Node::start(setup()).await;
    let certificate = reqwest::Certificate::from_pem(node.pem().as_bytes()).unwrap();
    let kept =
        reqwest::Client::builder().no_proxy().http1_only().tls_certs_only([certificate]).build().unwrap();
    let poll = async |since: &str| -> Value {
        let url = node.url(&format!("/v1/poll?topic=a&since={since}"));
        kept.get(url).send().await.unwrap().json().await.unwrap()
    };
    let mut cursor = poll("").await["cursor"].as_str().unwrap().to_owned();
    for n in 0..3 {
        let event = json!({"topic": "a", "data": n});
        let waiting = async {
            eventually("the poll waits", async || (node.hub.live() == 1).then_some(())).await;
            publish(&node.base(), &event).await
        };
        let (answer, _) = tokio::join!(poll(&cursor), waiting);
        assert_eq!(answer["events"][0]["data"], json!(n));
        cursor = answer["cursor"].as_str().unwrap().to_owned();
    }
    let metrics = node.metrics().await;
    assert!(
        metrics.contains("tidegate_tls_handshakes_total{result=\"ok\"} 4"),
        "1 for polls, 3 for publishing"
    );
}

#[tokio::test]
async fn requests_and_large_bodies() {
    let node = Node::start(setup()).await;
    let certificate = reqwest::Certificate::from_pem(node.pem().as_bytes()).unwrap();
    for http1 in [true, false] {
        let builder = reqwest::Client::builder().no_proxy().tls_certs_only([certificate.clone()]);
        let kept = if http1 { builder.http1_only() } else { builder }.build().unwrap();
        let version = if http1 { http::Version::HTTP_11 } else { http::Version::HTTP_2 };
        let lines: String = (0..100)
            .map(|n| format!("{}\n", json!({"topic": "bulk", "data": format!("{n} {}", "z".repeat(40_000))})))
            .collect();
        for _ in 0..2 {
            let request = kept.post(node.url("/v1/publish")).header("content-type", "application/x-ndjson");
            let answer = request.body(lines.clone()).send().await.unwrap();
            assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
            assert_eq!(answer.json::<Vec<Value>>().await.unwrap().len(), 100);
        }
        let url = node.url("/v1/topics/bulk/events?limit=100");
        let page: Value = kept.get(&url).send().await.unwrap().json().await.unwrap();
        // A megabyte of them.
        assert_eq!((page["events"].as_array().unwrap().len(), &page["more"]), (26, &json!(true)));
    }
    let stranger = reqwest::Client::builder().no_proxy().build().unwrap();
    let error = stranger.get(node.url("/healthz")).send().await.unwrap_err();
    assert!(format!("{error:?}").to_lowercase().contains("certificate"), "{error:?}");
    assert_eq!(client().get(node.url("/healthz")).send().await.unwrap().status(), 200);
}
