use serde_json::{Value, json};
use tidegate_testkit::Sse;
use tidegate_testkit::http::{self, publish};

use crate::node::{Node, Setup, options};

async fn raw(node: &Node, kind: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
    let request = http::client().post(node.url("/v1/publish")).header("content-type", kind).body(body);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn lists_lines_and_several_topics() {
    let node = Node::open().await;
    let mut stream = Sse::open(&node.url("/v1/events?topic=a&topic=b&topic=user:bob")).await;
    stream.next_named("tidegate:ready").await;
    let (status, receipts) =
        publish(&node.base(), &json!([{"topic": "a", "data": 1}, {"topics": ["a", "b"], "data": 2}])).await;
    assert_eq!((status.as_u16(), receipts.as_array().unwrap().len()), (200, 3));
    let (status, receipts) = raw(
        &node,
        "application/x-ndjson",
        "{\"topic\":\"a\",\"data\":3}\n\n{\"user\":\"bob\",\"data\":4}\r\n",
    )
    .await;
    assert_eq!((status, receipts[1]["topic"].as_str()), (200, Some("user:bob")));
    let (_, receipts) = publish(&node.base(), &json!({"users": ["bob"], "data": 5})).await;
    assert_eq!(receipts.as_array().unwrap().len(), 1, "a list in, a list out");
    assert_eq!(stream.collect_data(6).await, ["1", "2", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn a_key_makes_a_retry_safe() {
    let node = Node::open().await;
    let mut stream = Sse::open(&node.url("/v1/events?topic=a")).await;
    stream.next_named("tidegate:ready").await;
    let send = |key: &'static str, body: Value| {
        let request = http::client().post(node.url("/v1/publish")).header("idempotency-key", key).json(&body);
        async move { request.send().await.unwrap().json::<Value>().await.unwrap() }
    };
    let first = send("k1", json!({"topic": "a", "data": 1})).await;
    assert_eq!(send("k1", json!({"topic": "a", "data": 1})).await, first);
    let batch = json!([{"topic": "a", "data": 2}, {"topic": "a", "data": 3}]);
    let both = send("k2", batch.clone()).await;
    assert_eq!(send("k2", batch).await, both);
    let (_, own) = publish(&node.base(), &json!({"topic": "a", "data": 4, "key": "k1"})).await;
    assert_eq!(own, first, "the header's key and the field's are the same thing");
    publish(&node.base(), &json!({"topic": "a", "data": "end"})).await;
    assert_eq!(stream.collect_data(4).await, ["1", "2", "3", "end"]);
}

#[tokio::test]
async fn one_bad_item_and_nothing_of_the_batch_is_taken() {
    let node = Node::open().await;
    let bad = json!([{"topic": "a", "data": 1}, {"topic": "white space", "data": 2}]);
    let (status, problem) = publish(&node.base(), &bad).await;
    assert_eq!((status.as_u16(), problem["field"].as_str()), (400, Some("[1].topic")));
    let answer = http::get(&node.url("/v1/topics/a/events")).await;
    assert_eq!(answer.body["events"], json!([]));
}

#[tokio::test]
async fn the_limits_name_themselves() {
    let node = Node::open().await;
    let fits = "x".repeat(64 << 10);
    assert_eq!(publish(&node.base(), &json!({"topic": "a", "data": fits})).await.0, 200);
    let (status, problem) = publish(&node.base(), &json!({"topic": "a", "data": format!("{fits}y")})).await;
    assert_eq!((status.as_u16(), problem["field"].as_str()), (413, Some("data")));
    assert!(problem["detail"].as_str().unwrap().contains("65536"));
    let many: Vec<Value> = (0..1_001).map(|n| json!({"topic": "a", "data": n})).collect();
    assert_eq!(publish(&node.base(), &json!(many)).await.0, 413);
    let topics: Vec<String> = (0..10_000).map(|n| format!("t:{n}")).collect();
    assert_eq!(publish(&node.base(), &json!({"topics": topics, "data": 1})).await.0, 413);
    assert_eq!(raw(&node, "application/json", "x".repeat(9 << 20)).await.0, 413);
    let lines = "{\"topic\":\"lines\",\"data\":1}\n".repeat(2_500);
    let (status, receipts) = raw(&node, "application/x-ndjson", lines).await;
    assert_eq!(
        (status, receipts.as_array().unwrap().len()),
        (200, 2_500),
        "lines are bounded by the body only"
    );
    let key = "k".repeat(256);
    let request = http::client().post(node.url("/v1/publish")).header("idempotency-key", &key);
    let answer = request.json(&json!([{"topic": "a", "data": 1}])).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let request = http::client().post(node.url("/v1/publish")).header("idempotency-key", format!("{key}x"));
    assert_eq!(request.json(&json!({"topic": "a", "data": 1})).send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let node = Node::open().await;
    let cases: &[(&str, &str, u16)] = &[
        ("{", "", 400),
        ("\u{feff}{\"data\":1}", "topic", 400),
        ("\u{feff}\u{feff}{}", "", 400),
        ("[]x", "", 400),
        (r#"{"topic":"a"}"#, "data", 400),
        (r#"{"data":1}"#, "topic", 400),
        (r#"{"topic":5,"data":1}"#, "topic", 400),
        (r#"{"topic":"","data":1}"#, "topic", 400),
        (r#"{"topic":"a","topics":["b"],"data":1}"#, "topic", 400),
        (r#"{"topics":[],"data":1}"#, "topics", 400),
        (r#"{"topics":["a",""],"data":1}"#, "topics[1]", 400),
        (r#"{"topic":"a","event":"x\ny","data":1}"#, "event", 400),
        (r#"{"topic":"a","event":"tidegate:reset","data":1}"#, "event", 400),
        (r#"{"topic":"a","data":1,"evnt":"x"}"#, "evnt", 400),
        (r#"{"topic":"a","data":1,"key":""}"#, "key", 400),
        (r#"{"topic":"$probe:x","data":1}"#, "topic", 403),
        (r#"[{"topic":"a","data":1},{"topic":"a"}]"#, "[1].data", 400),
        (r#"[{"topic":"a","data":1},{"topics":["ok",7],"data":1}]"#, "[1].topics[1]", 400),
    ];
    for (body, field, status) in cases {
        let (got, problem) = raw(&node, "application/json", *body).await;
        assert_eq!((got, problem["field"].as_str()), (*status, Some(*field)), "{body}: {problem}");
    }
    let (status, problem) =
        raw(&node, "application/json", b"{\"topic\":\"a\",\"data\":\"\xff\"}".to_vec()).await;
    assert_eq!(status, 400, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("UTF-8"));
    assert_eq!(raw(&node, "application/xml", "<a/>").await.0, 415);
    let deep = format!("{{\"topic\":\"a\",\"data\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
    assert!(matches!(raw(&node, "application/json", deep).await.0, 200 | 400));
    assert_eq!(publish(&node.base(), &json!({"topic": "a", "data": 1})).await.0, 200);
}

#[tokio::test]
async fn too_fast_is_told_when_to_come_back() {
    let mut http_options = options();
    http_options.limits.publish_rate = 5;
    let node = Node::start(Setup { http: Some(http_options), ..Setup::default() }).await;
    for _ in 0..5 {
        assert_eq!(publish(&node.base(), &json!({"topic": "a", "data": 1})).await.0, 200);
    }
    let answer = http::post(&node.url("/v1/publish"), &json!({"topic": "a", "data": 1})).await;
    assert_eq!(answer.status, 429);
    assert!(node.metrics().await.contains("tidegate_rate_limited_total 1"));
    assert!(answer.headers["retry-after"].to_str().unwrap().parse::<u32>().unwrap() >= 1);
}

#[tokio::test]
async fn history_by_pages_and_its_end() {
    let node = Node::open().await;
    for n in 0..25 {
        publish(&node.base(), &json!({"topic": "room:1", "event": "e", "data": {"n": n}})).await;
    }
    let url = node.url("/v1/topics/room:1/events");
    let last = http::get(&format!("{url}?limit=10")).await;
    let events = last.body["events"].as_array().unwrap();
    assert_eq!((events.len(), &events[9]["data"]["n"], &last.body["more"]), (10, &json!(24), &json!(true)));
    let first_id = events[0]["id"].as_str().unwrap();
    let older = http::get(&format!("{url}?limit=100&before={first_id}")).await;
    assert_eq!(older.body["events"].as_array().unwrap().len(), 15);
    let since = older.body["events"][4]["id"].as_str().unwrap();
    let newer = http::get(&format!("{url}?limit=7&since={since}")).await;
    assert_eq!((&newer.body["events"][0]["data"]["n"], &newer.body["more"]), (&json!(5), &json!(true)));
    let rest = http::get(&format!("{url}?since={}", newer.body["cursor"].as_str().unwrap())).await;
    assert_eq!((&rest.body["events"][0]["data"]["n"], &rest.body["more"]), (&json!(12), &json!(false)));
    for bad in ["since=x", "before=x", "limit=0", "limit=x"] {
        let answer = http::get(&format!("{url}?{bad}")).await;
        assert_eq!((answer.status.as_u16(), answer.body["field"].as_str()), (400, bad.split('=').next()));
    }
    assert_eq!(http::delete(&url).await.status, 204);
    assert_eq!(http::get(&url).await.body["events"], json!([]));
    let mut stream = Sse::builder(&node.url("/v1/events?topic=room:1")).last_event_id(since).open().await;
    assert!(stream.next_named("tidegate:reset").await.data.contains("expired"));
}
