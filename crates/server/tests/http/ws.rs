//! WebSocket as a foreign client sees it, over each way there is.

use serde_json::{Value, json};
use tidegate_testkit::http::publish;
use tidegate_testkit::ws::{Builder, Close};
use tidegate_testkit::{Sse, WebSocket, eventually};
use tidegate_transport::tls::Certificates;

use crate::node::{Node, Setup};
use crate::ws_bounds::refused;

/// The ways: HTTP version and TLS.
const WAYS: [(&str, bool, bool); 4] = [
    ("HTTP/1.1", false, false),
    ("HTTP/2", true, false),
    ("HTTP/1.1 over TLS", false, true),
    ("HTTP/2 over TLS", true, true),
];

pub(crate) async fn start(tls: bool, setup: Setup) -> Node {
    let tls = tls.then(|| Certificates::self_signed(&["localhost", "127.0.0.1"]).unwrap());
    Node::start(Setup { tls, ..setup }).await
}

pub(crate) fn builder(node: &Node, query: &str, h2: bool) -> Builder {
    let mut builder = WebSocket::builder(&node.url(&format!("/v1/ws?{query}")));
    if node.base().starts_with("https") {
        builder = builder.trust(&node.pem());
    }
    if h2 { builder.h2() } else { builder }
}

/// One whose ready object has come.
pub(crate) async fn ready(node: &Node, query: &str, h2: bool) -> WebSocket {
    let mut socket = builder(node, query, h2).open().await;
    let ready = socket.next_named("tidegate:ready").await;
    assert!(ready.retry.is_some() && ready.id.is_some(), "{ready:?}");
    socket
}

async fn gone(node: &Node) {
    eventually("it has left", async || (node.hub.live() == 0).then_some(())).await;
    let metrics = node.metrics().await;
    for transport in ["ws-h1", "ws-h2"] {
        assert!(
            metrics.contains(&format!("tidegate_connections{{transport=\"{transport}\"}} 0")),
            "{metrics}"
        );
    }
}

#[tokio::test]
async fn events_have_their_shape_and_a_goodbye_is_answered() {
    for (way, h2, tls) in WAYS {
        let node = start(tls, Setup::default()).await;
        let mut socket = ready(&node, "topic=a&topic=b", h2).await;
        let (_, receipt) =
            publish(&node.base(), &json!({"topic": "a", "event": "chat", "data": {"n": 0}})).await;
        let mut object = socket.next_object().await.unwrap();
        assert!(object.as_object_mut().unwrap().shift_remove("at").unwrap().is_u64(), "{way}");
        let shape = json!({"id": receipt["id"], "topic": "a", "event": "chat", "data": {"n": 0}});
        assert_eq!(object, shape, "{way}");
        assert_eq!(socket.close().await, Close::Said(1000, String::new()), "{way}");
        gone(&node).await;
    }
}

#[tokio::test]
async fn topics_come_and_go_and_events_are_published() {
    for (way, h2, tls) in WAYS {
        let node = start(tls, Setup::default()).await;
        let mut socket = ready(&node, "topic=a", h2).await;
        let url = node.url("/v1/events?topic=a&topic=b&topic=c");
        let stream = Sse::builder(&url);
        let mut stream = if tls { stream.trust(&node.pem()) } else { stream }.open().await;
        stream.next_named("tidegate:ready").await;

        socket.send(&json!({"subscribe": ["b", "c"], "ref": "s-1"})).await;
        let told = socket.next_object().await.unwrap();
        assert_eq!((&told["event"], &told["ref"]), (&json!("tidegate:subscribed"), &json!("s-1")), "{way}");
        assert_eq!((&told["data"], &told["topic"]), (&json!({"topics": ["b", "c"]}), &Value::Null), "{way}");

        socket.send(&json!({"publish": {"topic": "b", "event": "chat", "data": "hello"}, "ref": 2})).await;
        let (mut event, mut receipt) =
            (socket.next_object().await.unwrap(), socket.next_object().await.unwrap());
        if event["event"] == "tidegate:published" {
            std::mem::swap(&mut event, &mut receipt);
        }
        assert_eq!((&event["topic"], &event["data"]), (&json!("b"), &json!("hello")), "{way}");
        let data = json!({"id": event["id"], "topic": "b", "nodes": 1});
        let shape = json!({"id": null, "topic": null, "event": "tidegate:published", "data": data, "ref": 2});
        assert_eq!(receipt, shape, "{way}");
        assert_eq!(stream.next_named("chat").await.data, "hello", "{way}");

        socket.send(&json!({"unsubscribe": ["a"], "ref": null})).await;
        assert_eq!(socket.next_object().await.unwrap()["data"]["field"], "ref", "{way}");
        socket.send(&json!({"unsubscribe": ["a", "c"]})).await;
        let told = socket.next_object().await.unwrap();
        assert_eq!((&told["event"], told.get("ref")), (&json!("tidegate:unsubscribed"), None), "{way}");
        let receipts = socket.publish(&json!([{"topics": ["a", "c"], "data": 1}])).await;
        assert_eq!(
            (receipts[0]["topic"].as_str(), receipts[1]["topic"].as_str()),
            (Some("a"), Some("c")),
            "{way}"
        );
        socket.publish(&json!({"topic": "b", "data": "last"})).await;
        assert_eq!(stream.collect_data(3).await, ["1", "1", "last"], "{way}");
        let seen: Vec<&Value> = socket.seen().iter().filter(|object| object["topic"] == "c").collect();
        assert!(seen.is_empty(), "{way}: {seen:?}");
    }
}

/// The testkit's client does as browsers do: it drops a connection for which none of what it asked
/// for was chosen.
#[tokio::test]
async fn a_subprotocol_is_chosen_or_refused_with_a_reason() {
    const HEADER: &str = "sec-websocket-protocol";
    for (way, h2, tls) in WAYS {
        let node = start(tls, Setup::default()).await;
        for asked in ["tidegate.v1", "chat, tidegate.v1", "tidegate.v1,eyJhbGciOi.x.y"] {
            let socket = builder(&node, "topic=a", h2).header(HEADER, asked).open().await;
            assert_eq!(socket.headers[HEADER], "tidegate.v1", "{way} {asked}");
        }
        assert!(!ready(&node, "topic=a", h2).await.headers.contains_key(HEADER), "{way}");
        for asked in ["chat", "tidegate.v2, mqtt", "TIDEGATE.V1"] {
            let (status, problem) =
                refused(builder(&node, "topic=a", h2).header(HEADER, asked)).await.unwrap();
            assert_eq!((status, &problem["field"]), (400, &json!("Sec-WebSocket-Protocol")), "{way} {asked}");
            assert!(problem["detail"].as_str().unwrap().contains("tidegate.v1"), "{problem}");
        }
    }
}
