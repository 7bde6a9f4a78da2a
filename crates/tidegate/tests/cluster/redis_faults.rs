use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use tidegate_testkit::{Gateway, RedisServer, eventually, http};

use crate::cluster::{BIN, Cluster, publish};

async fn ready(node: &Gateway) -> bool {
    http::get(&node.url("/readyz")).await.status == 200
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_soon_says_that_redis_stopped_answering() {
    let cluster = Cluster::start(2).await;
    cluster.redis.pause();
    let began = Instant::now();
    for node in &cluster.nodes {
        eventually("not ready", async || (!ready(node).await).then_some(())).await;
    }
    // Interval and time-out of the probe are 500 ms each; the rest is this machine's.
    assert!(began.elapsed() < Duration::from_millis(2_500), "{:?}", began.elapsed());
    cluster.redis.resume();
    for node in &cluster.nodes {
        node.ready().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_waits_for_a_redis_that_is_not_there_yet() {
    let mut redis = RedisServer::start().await;
    redis.stop().await;
    let node = Gateway::spawn_unready(BIN, &["--redis", &redis.url()], &[]).await;
    assert!(!ready(&node).await);
    let address = format!("127.0.0.1:{}", redis.port());
    let complaint = eventually("a complaint in the log", async || {
        node.log().lines().find(|line| line.contains("Redis is away")).map(str::to_owned)
    })
    .await;
    for part in [&address, "refused", "check redis.url", "503"] {
        assert!(complaint.contains(part), "{part} is missing: {complaint}");
    }
    redis.start_again().await;
    node.ready().await;
    eventually("it is said", async || node.log().contains("Redis is there").then_some(())).await;
    assert_eq!(node.log().matches("Redis is away").count(), 1, "once is enough: {}", node.log());
    publish(&node.base(), "a", 1).await;
}

/// Their connections are the broker's, and each of those that are idle is asked for a sign of life.
#[tokio::test(flavor = "multi_thread")]
async fn chat_and_seats_answer_503_in_time_while_redis_hangs() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    let room = http::post(&node.url("/api/chat/rooms?userId=ann"), &json!({ "name": "ours" })).await.body;
    let lists = [node.url("/api/schedules/1/seats"), node.url("/api/chat/rooms?userId=ann")];
    eventually("the pool is full of idle connections", async || {
        // Requests that wait for their answers at the same time have a connection each.
        cluster.redis.cli(&["CLIENT", "PAUSE", "300"]).await;
        join_all((0..16).map(|n| http::get(&lists[n % 2]))).await;
        let clients = format!("{:?}", cluster.redis.cli(&["CLIENT", "LIST"]).await);
        // Eight of the pool, two for publishing, one that is subscribed, and the one that asks.
        (clients.matches(" laddr=").count() >= 12).then_some(())
    })
    .await;
    let room = room["id"].as_str().unwrap();
    let message = Some(json!({ "content": "hi" }));
    let asked = [
        // It reads history, of which less would be asked for again if only the link were slow.
        (Method::GET, node.url("/api/schedules/1/seats"), None),
        (Method::POST, node.url("/api/schedules/1/seats/7/hold?userId=ann"), None),
        (Method::POST, node.url(&format!("/api/chat/rooms/{room}/messages?userId=ann")), message),
    ];
    cluster.redis.pause();
    for (method, url, body) in asked {
        let paused = Instant::now();
        let answer = http::send(method, &url, None, body.as_ref()).await;
        assert_eq!((answer.status.as_u16(), answer.headers.contains_key("retry-after")), (503, true));
        // redis.response_timeout is 1 s here and redis.connect_timeout 2 s.
        assert!(paused.elapsed() < Duration::from_secs(4), "{url}: {:?}", paused.elapsed());
    }
}
