//! Callers that have no user: which of them are the same, and which are not.

use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use serde_json::{Value, json};
use tidegate_auth::{Algorithm, Claims, SigningKey, mint};
use tidegate_protocol::Pattern;
use tidegate_server::Policy;
use tidegate_testkit::WebSocket;
use tidegate_testkit::http::{client, get, publish, publish_as};

use crate::node::{API_KEY, Node, OTHER_KID, OTHER_SECRET, SECRET, Setup, options};

/// A backend's token without `sub`, which may publish anything.
fn backend(secret: &str, kid: Option<&str>) -> String {
    let key = SigningKey::new(Algorithm::Hs256, &secret.into(), kid.map(Into::into)).unwrap();
    let hour = SystemTime::now() + Duration::from_secs(3_600);
    let publish = vec![Pattern::parse("**").unwrap()];
    mint(&key, &Claims { user: None, publish, ..Claims::for_user("", hour) }).unwrap()
}

/// Backends of two issuers.
fn backends() -> (String, String) {
    (backend(SECRET, None), backend(OTHER_SECRET, Some(OTHER_KID)))
}

/// A node where keys decide and `open:` takes events of anyone.
async fn node(publish_rate: u32) -> Node {
    let mut http = options();
    http.limits.publish_rate = publish_rate;
    let mut namespace = http.namespaces.default;
    (namespace.subscribe, namespace.publish) = (Policy::Anyone, Policy::Anyone);
    http.namespaces.named.insert("open".into(), namespace);
    Node::start(Setup { http: Some(http), keyed: true, ..Setup::default() }).await
}

async fn with_header(node: &Node, token: Option<&str>, event: &Value) -> (StatusCode, Value) {
    let request = client().post(node.url("/v1/publish")).header("idempotency-key", "1").json(event);
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    let answer = request.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

/// What the WebSocket of a caller answers to a publish.
async fn over_websocket(node: &Node, token: Option<&str>, event: &Value) -> Value {
    let builder = WebSocket::builder(&node.url("/v1/ws?topic=open:1"));
    let builder = match token {
        Some(token) => builder.bearer(token),
        None => builder,
    };
    let mut socket = builder.open().await;
    socket.next_named("tidegate:ready").await;
    socket.send(&json!({ "publish": event, "ref": 1 })).await;
    loop {
        let object = socket.next_object().await.unwrap();
        if object["ref"] == 1 {
            return object["data"].clone();
        }
    }
}

async fn stored(node: &Node) -> Vec<Value> {
    let url = node.url(&format!("/v1/topics/open:1/events?access_token={}", backends().0));
    let events = get(&url).await.body["events"].as_array().unwrap().clone();
    events.iter().map(|event| event["data"].clone()).collect()
}

#[tokio::test]
async fn backends_without_sub_may_choose_the_same_idempotency_key() {
    let node = node(0).await;
    let (a, b) = backends();
    let event = |from: &str| json!({ "topic": "open:1", "data": from });
    let (status, receipt) = with_header(&node, Some(&a), &event("a")).await;
    assert_eq!(status, 200);
    let (status, other) = with_header(&node, Some(&b), &event("b")).await;
    assert_eq!(status, 200);
    assert_ne!(other["id"], receipt["id"]);
    let (_, again) = with_header(&node, Some(&a), &event("a")).await;
    assert_eq!(again, receipt, "its own key is still known");
    with_header(&node, Some(API_KEY), &event("key")).await;

    let keyed = |from: &str| json!({ "topic": "open:1", "data": from, "key": "2" });
    for (token, from) in [(&a, "a2"), (&b, "b2"), (&a, "repeated")] {
        assert_eq!(publish_as(&node.base(), token, &json!([keyed(from)])).await.0, 200);
    }
    let again = over_websocket(&node, Some(&a), &keyed("repeated")).await;
    let kept = publish_as(&node.base(), &a, &keyed("repeated")).await.1;
    assert_eq!(again, kept, "a WebSocket's caller is the same");
    over_websocket(&node, Some(&b), &keyed("repeated")).await;
    assert_eq!(stored(&node).await, ["a", "b", "key", "a2", "b2"]);
}

#[tokio::test]
async fn backends_without_sub_have_a_publish_rate_each() {
    let node = node(1).await;
    let (a, b) = backends();
    let event = json!({ "topic": "open:1", "data": 1 });
    let send = async |token: &str| publish_as(&node.base(), token, &event).await.0;
    let mut flood = send(&a).await;
    while flood == 200 {
        flood = send(&a).await;
    }
    assert_eq!(flood, 429);
    assert_eq!(send(&b).await, 200, "the other's allowance is untouched");
}

#[tokio::test]
async fn an_anonymous_caller_has_no_idempotency_keys() {
    let node = node(0).await;
    let event = json!({ "topic": "open:1", "data": 1 });
    assert_eq!(publish(&node.base(), &event).await.0, 200);
    let (status, problem) = with_header(&node, None, &event).await;
    assert_eq!((status.as_u16(), &problem["field"]), (400, &json!("Idempotency-Key")));
    let keyed = json!({ "topic": "open:1", "data": 2, "key": "k" });
    let (status, problem) = publish(&node.base(), &keyed).await;
    assert_eq!((status.as_u16(), &problem["field"]), (400, &json!("key")));
    let (status, problem) = publish(&node.base(), &json!([event, keyed])).await;
    assert_eq!((status.as_u16(), &problem["field"]), (400, &json!("[1].key")));
    assert_eq!(over_websocket(&node, None, &keyed).await["field"], json!("publish.key"));
    assert_eq!(stored(&node).await, [1], "nothing of what was refused is stored");
    // A credential that is missing altogether is the larger mistake.
    let elsewhere = json!({ "topic": "orders:1", "data": 1, "key": "k" });
    assert_eq!(with_header(&node, None, &elsewhere).await.0, 401);

    // In open mode all are one.
    let open = Node::open().await;
    let first = with_header(&open, None, &event).await;
    assert_eq!((first.0.as_u16(), with_header(&open, None, &event).await), (200, first));
}
