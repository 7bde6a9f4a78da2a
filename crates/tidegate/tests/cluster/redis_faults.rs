use std::time::{Duration, Instant};

use tidegate_testkit::{EventSource, Gateway, Publisher, RedisServer, Sse, eventually, http};

use crate::cluster::{BIN, Cluster, numbers, publish};

async fn ready(node: &Gateway) -> bool {
    http::get(&node.url("/readyz")).await.status == 200
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
    publisher.more(50).await;
    let count = publisher.finish().await;
    assert_eq!(client.wait_data(count).await, numbers(count));
    assert_eq!(client.connections().len(), 1, "the stream stayed open");
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
    eventually("it is said", async || node.log().contains("Redis is there").then_some(())).await;
    assert_eq!(node.log().matches("Redis is away").count(), 1, "once is enough: {}", node.log());
    publish(&node.base(), "a", 1).await;
}
