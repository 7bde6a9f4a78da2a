use std::time::{Duration, Instant};

use serde_json::json;
use tidegate_testkit::{EventSource, Gateway, RedisServer, Sse, eventually, http};

use crate::cluster::{BIN, Cluster, Publisher, numbers, publish};

async fn ready(node: &Gateway) -> bool {
    http::get(&node.url("/readyz")).await.status == 200
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_restarts_with_its_data() {
    let mut cluster = Cluster::start(2).await;
    let mut streams = Vec::new();
    for node in &cluster.nodes {
        let mut stream =
            Sse::builder(&node.url("/v1/events?topic=a")).deadline(Duration::from_secs(30)).open().await;
        stream.next_named("tidegate:ready").await;
        streams.push(stream);
    }
    for n in 0..20 {
        publish(&cluster.nodes[n % 2].base(), "a", n).await;
    }
    cluster.redis.cli(&["SAVE"]).await;
    cluster.redis.stop().await;
    for node in &cluster.nodes {
        let answer = http::post(&node.url("/v1/publish"), &json!({"topic": "a", "data": "lost"})).await;
        assert_eq!(answer.status, 503, "{}", answer.body);
        assert!(answer.headers.contains_key("retry-after"));
        assert_eq!(answer.headers["content-type"], "application/problem+json");
    }
    cluster.redis.start_again().await;
    for node in &cluster.nodes {
        node.ready().await;
    }
    for n in 20..40 {
        publish(&cluster.nodes[n % 2].base(), "a", n).await;
    }
    for stream in &mut streams {
        assert_eq!(stream.collect_data(40).await, numbers(40), "on the same connection, each once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_comes_back_empty() {
    let mut cluster = Cluster::start(2).await;
    let mut stream = Sse::open(&cluster.nodes[0].url("/v1/events?topic=a")).await;
    stream.next_named("tidegate:ready").await;
    publish(&cluster.nodes[1].base(), "a", 1).await;
    assert_eq!(stream.collect_data(1).await, ["1"]);
    let old = stream.last_event_id().to_owned();
    cluster.redis.restart_empty().await;
    let reset = stream.next_named("tidegate:reset").await;
    assert_eq!(reset.data, r#"{"topics":["a"],"reason":"epoch"}"#);
    assert_ne!(reset.id.as_deref(), Some(&*old));
    for node in &cluster.nodes {
        node.ready().await;
    }
    publish(&cluster.nodes[1].base(), "a", 2).await;
    assert_eq!(stream.collect_data(1).await, ["2"]);
    let mut late = Sse::builder(&cluster.nodes[1].url("/v1/events?topic=a")).last_event_id(&old).open().await;
    late.next_named("tidegate:ready").await;
    assert!(late.next_named("tidegate:reset").await.data.contains("epoch"));
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_stops_answering_and_goes_on() {
    let cluster = Cluster::start(2).await;
    let client = EventSource::open(&cluster.nodes[0].url("/v1/events?topic=a"));
    client.wait_opened(1).await;
    let publisher = Publisher::start(cluster.bases(), &["a"], Duration::from_millis(5));
    publisher.reached(50).await;
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
    publisher.reached(publisher.sent() + 50).await;
    let count = publisher.finish().await;
    assert_eq!(client.wait_data(count).await, numbers(count));
    assert_eq!(client.connections().len(), 1, "the stream stayed open");
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_are_killed_in_a_burst() {
    let cluster = Cluster::start(3).await;
    let clients: Vec<_> =
        cluster.urls("/v1/events?topic=a&topic=b").iter().map(|url| EventSource::open(url)).collect();
    for client in &clients {
        client.wait_opened(1).await;
    }
    let publisher = Publisher::start(cluster.bases(), &["a", "b"], Duration::ZERO);
    for round in 1..=5 {
        publisher.reached(round * 200).await;
        cluster.redis.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    }
    publisher.reached(1_200).await;
    let count = publisher.finish().await;
    for client in &clients {
        assert_eq!(client.wait_data(count).await, numbers(count));
        assert_eq!(client.connections().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_waits_for_a_redis_that_is_not_there_yet() {
    let mut redis = RedisServer::start().await;
    redis.stop().await;
    let node = Gateway::spawn_unready(
        BIN,
        &["--redis", &redis.url()],
        &[("TIDEGATE_LIMITS__JOIN_TIMEOUT", "500ms")],
    )
    .await;
    assert!(!ready(&node).await);
    let address = format!("127.0.0.1:{}", redis.port());
    let complaint = eventually("a complaint in the log", async || {
        node.log().lines().find(|line| line.contains("Redis is away")).map(str::to_owned)
    })
    .await;
    for part in [&address, "refused", "check redis.url", "503"] {
        assert!(complaint.contains(part), "{part} is missing: {complaint}");
    }
    let mut stream = Sse::open(&node.url("/v1/events?topic=a")).await;
    assert_eq!(stream.status, 200, "anything else would end a browser's EventSource for good");
    let closing = stream.next_named("tidegate:closing").await;
    assert!(closing.data.contains("unavailable") && closing.retry.is_some());
    redis.start_again().await;
    node.ready().await;
    assert!(node.log().contains("Redis is there"), "{}", node.log());
    assert_eq!(node.log().matches("Redis is away").count(), 1, "once is enough: {}", node.log());
    publish(&node.base(), "a", 1).await;
}
