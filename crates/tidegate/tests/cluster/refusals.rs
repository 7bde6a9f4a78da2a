//! A Redis that answers, and refuses: publishers and operators get its own words, and no address.

use std::path::PathBuf;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tidegate_testkit::http::{self, Answer};
use tidegate_testkit::{Gateway, RedisOptions, RedisServer, WebSocket, eventually};

use crate::cluster::{BIN, Cluster, publish};

const NOT_STORED: &str = "urn:tidegate:problem:not-stored";
const UNKNOWN: &str = "urn:tidegate:problem:outcome-unknown";

fn detail(body: &Value) -> String {
    body["detail"].as_str().unwrap_or_default().to_owned()
}

async fn send(node: &Gateway, body: &Value) -> Answer {
    http::send(Method::POST, &node.url("/v1/publish"), None, Some(body)).await
}

/// The node says why it works no more, and what a publisher is told.
async fn refuses(node: &Gateway, redis: &RedisServer, word: &str) {
    let (mut told, url) = (Value::Null, node.admin_url("/readyz"));
    eventually(&format!("not ready, with {word}, after {told}"), async || {
        let answer = http::get(&url).await;
        told = answer.body.clone();
        let degraded = answer.body["degraded"][0].clone();
        let says = detail(&answer.body).contains(word) && detail(&degraded).contains(word);
        (answer.status == 503 && says && degraded["partition"] == 0).then_some(())
    })
    .await;
    let brief = http::get(&node.url("/readyz")).await;
    assert_eq!((brief.status.as_u16(), &brief.body), (503, &json!({ "status": "not ready" })));
    let refused = send(node, &json!({ "topic": "room:1", "data": 1 })).await;
    assert_eq!((refused.status.as_u16(), &refused.body["type"]), (503, &json!(NOT_STORED)));
    assert!(refused.headers.contains_key("retry-after"));
    let told = detail(&refused.body);
    assert!(told.contains(&format!("Redis refused: {word} ")), "{told}");
    for secret in ["127.0.0.1", &redis.port().to_string(), "hunter2"] {
        assert!(!told.contains(secret), "{told}");
    }
}

async fn works_again(node: &Gateway) {
    node.ready().await;
    let answer = http::get(&node.admin_url("/readyz")).await;
    assert_eq!(answer.body["degraded"], json!([]));
    publish(&node.base(), "room:1", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_and_publishers_get_the_words_of_a_redis_that_refuses() {
    let args = vec!["--dbfilename".to_owned(), "blocked".to_owned()];
    let password = Some("hunter2".to_owned());
    let redis = RedisServer::start_with(RedisOptions { args, password, ..RedisOptions::default() }).await;
    let env = [
        ("TIDEGATE_REDIS__PROBE_INTERVAL", "200ms"),
        ("TIDEGATE_REDIS__PROBE_TIMEOUT", "500ms"),
        ("TIDEGATE_REDIS__CONNECT_TIMEOUT", "1s"),
    ];
    let node = Gateway::spawn(BIN, &["--redis", &redis.url()], &env).await;
    let port = redis.port().to_string();
    // Nothing listens at that port of itself: it stays a replica of nobody.
    for (word, wrong, right) in [
        ("OOM", "CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
        ("READONLY", "REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
        ("NOREPLICAS", "CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"),
        ("NOPERM", "ACL SETUSER default -evalsha", "ACL SETUSER default +evalsha"),
        // Within a script Redis has other words for it.
        ("ERR", "ACL SETUSER default -xadd", "ACL SETUSER default +xadd"),
    ] {
        let words = |line: &'static str| line.split(' ').collect::<Vec<_>>();
        redis.cli(&words(wrong)).await;
        refuses(&node, &redis, word).await;
        redis.cli(&words(right)).await;
        works_again(&node).await;
    }
    let dir: Vec<String> = redis::from_redis_value(redis.cli(&["CONFIG", "GET", "dir"]).await).unwrap();
    let blocked = PathBuf::from(&dir[1]).join("blocked");
    std::fs::create_dir(&blocked).unwrap();
    redis.cli(&["CONFIG", "SET", "save", "3600 1000000"]).await;
    redis.cli(&["BGSAVE"]).await;
    refuses(&node, &redis, "MISCONF").await;
    std::fs::remove_dir(&blocked).unwrap();
    redis.cli(&["BGSAVE"]).await;
    works_again(&node).await;
    let log = node.log();
    assert!(log.contains("MISCONF") && log.contains(&port) && !log.contains("hunter2"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_sockets_and_the_chat_say_what_was_not_stored() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    // One topic alone: its record is something else.
    cluster.redis.cli(&["SET", "tg:{0}:t:bad", "x"]).await;
    let answer = send(node, &json!([{ "topic": "good", "data": 1 }, { "topic": "bad", "data": 2 }])).await;
    assert_eq!((answer.status.as_u16(), &answer.body["type"]), (503, &json!(NOT_STORED)));
    let [good, bad] = [&answer.body["results"][0], &answer.body["results"][1]];
    assert_eq!((good["nodes"].as_u64(), bad), (Some(0), &json!({ "topic": "bad", "error": "not-stored" })));
    let told = detail(&answer.body);
    assert!(told.starts_with("1 of 2 events were taken") && told.contains("WRONGTYPE"), "{told}");

    let mut socket = WebSocket::open(&node.url("/v1/ws?topic=good")).await;
    socket.next_named("tidegate:ready").await;
    socket.send(&json!({ "publish": { "topic": "bad", "data": 1 }, "ref": 7 })).await;
    let refused = socket.next_object_named("tidegate:error").await;
    let data = &refused["data"];
    assert_eq!((&data["type"], &refused["ref"]), (&json!(NOT_STORED), &json!(7)));
    assert!(data["retry_after"].as_u64().unwrap() > 0 && detail(data).contains("WRONGTYPE"), "{data}");

    let room = http::post(&node.url("/api/chat/rooms?userId=ann"), &json!({ "name": "ours" })).await.body;
    let messages = node.url(&format!("/api/chat/rooms/{}/messages?userId=ann", room["id"].as_str().unwrap()));
    cluster.redis.cli(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let refused = http::send(Method::POST, &messages, None, Some(&json!({ "content": "hi" }))).await;
    assert_eq!((refused.status.as_u16(), &refused.body["type"]), (503, &json!(NOT_STORED)));
    assert!(detail(&refused.body).contains("OOM"), "{}", refused.body);
    // What is no event is of the old type.
    let member = http::put(&node.url("/v1/users/bob/topics/good")).await;
    assert_eq!(member.body["type"], "urn:tidegate:problem:unavailable");
    assert!(detail(&member.body).contains("OOM"), "{}", member.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_with_the_key_settles_an_unknown_outcome() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    let event = json!({ "topic": "room:1", "data": "once", "key": "k1" });
    publish(&node.base(), "room:1", "before").await;
    cluster.redis.pause();
    let answer = send(node, &event).await;
    assert_eq!((answer.status.as_u16(), &answer.body["type"]), (503, &json!(UNKNOWN)));
    let told = detail(&answer.body);
    assert!(told.contains("same Idempotency-Key is safe") && told.contains("twice"), "{told}");
    assert!(answer.headers.contains_key("retry-after"));
    cluster.redis.resume();
    eventually("stored at last", async || (send(node, &event).await.status == StatusCode::OK).then_some(()))
        .await;
    let history = http::get(&node.url("/v1/topics/room:1/events")).await.body;
    let data: Vec<_> = history["events"].as_array().unwrap().iter().map(|event| &event["data"]).collect();
    assert_eq!(data, ["before", "once"]);
    let metrics = http::client().get(node.admin_url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("tidegate_publish_failures_total{reason=\"unknown\"}"), "{metrics}");
}
