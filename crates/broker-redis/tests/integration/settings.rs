//! What a node is started with.

use tidegate_broker::Broker;
use tidegate_broker_redis::{Options, RedisBroker, StartError};
use tidegate_testkit::{RedisOptions, RedisServer, eventually};

use crate::cluster::{Node, metrics, options, topic};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_in_the_url() {
    let password = Some("s3cret".to_owned());
    let redis = RedisServer::start_with(RedisOptions { password, ..RedisOptions::default() }).await;
    let mut node = Node::start(options(&redis.url()));
    let room = topic("room:1");
    node.subscribe(std::slice::from_ref(&room)).await;
    node.publish(&room, "hello").await.unwrap();
    assert_eq!(node.text().await, "hello");

    let stranger = Node::start(options(&format!("redis://:wrong@127.0.0.1:{}/", redis.port())));
    let detail = eventually("a reason", async || {
        let detail = stranger.broker.health().detail;
        detail.contains("WRONGPASS").then_some(detail)
    })
    .await;
    assert!(!detail.contains("wrong"), "{detail}");
}

/// A server that does not speak TLS is an outage like any other: told, and tried again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_asked_for_by_the_scheme() {
    let redis = RedisServer::start().await;
    let node = Node::start(options(&redis.url().replace("redis://", "rediss://")));
    eventually("a reason", async || {
        let detail = node.broker.health().detail;
        eprintln!("{detail}");
        detail.contains("no connection to Redis at").then_some(())
    })
    .await;
}

/// Deployments with different prefixes share a Redis and know nothing of each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prefixes_keep_deployments_apart() {
    let redis = RedisServer::start().await;
    let mut ours = Node::start(options(&redis.url()));
    let theirs = Node::start(Options { prefix: "other".into(), ..options(&redis.url()) });
    let room = topic("room:1");
    ours.subscribe(std::slice::from_ref(&room)).await;
    assert_eq!(theirs.publish(&room, "theirs").await.unwrap().nodes, 0);
    ours.publish(&room, "ours").await.unwrap();
    assert_eq!(ours.text().await, "ours");
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    let refused = |change: fn(&mut Options)| {
        let mut options = Options::default();
        change(&mut options);
        RedisBroker::start(options, metrics(), &Default::default()).err().expect("refused")
    };
    let error = refused(|o| o.url = "http://user:s3cret@host/".into());
    assert!(matches!(error, StartError::Url(_)) && !error.to_string().contains("s3cret"), "{error}");
    assert!(matches!(refused(|o| o.url = String::new()), StartError::Url(_)));
    for change in [
        (|o| o.partitions = 0) as fn(&mut Options),
        |o| o.partitions = 9,
        |o| o.prefix = "{x}".into(),
        |o| o.pool_size = 0,
        |o| o.probe_timeout = std::time::Duration::ZERO,
        |o| o.node = "a b".into(),
    ] {
        assert!(matches!(refused(change), StartError::Option { .. }));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shut_down_broker_says_so() {
    let redis = RedisServer::start().await;
    let (broker, mut deliveries) = crate::cluster::start(options(&redis.url()));
    broker.subscribe(vec![topic("room:1")]).await.unwrap();
    broker.shutdown();
    let mut batch = std::collections::VecDeque::new();
    while deliveries.next(&mut batch).await {
        batch.clear();
    }
    assert!(broker.subscribe(vec![topic("room:2")]).await.is_err());
    assert!(!broker.health().ready);
    eventually("its connections are closed", async || {
        let clients = redis.cli(&["CLIENT", "LIST", "TYPE", "pubsub"]).await;
        (!format!("{clients:?}").contains("id=")).then_some(())
    })
    .await;
}
