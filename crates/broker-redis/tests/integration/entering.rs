//! What a node learns, and what it refuses, when it enters a partition.

use std::time::Duration;

use tidegate_broker::{Broker, ResetReason, Span};
use tidegate_broker_redis::Options;
use tidegate_testkit::{RedisOptions, RedisServer, eventually};

use crate::cluster::{Node, options, topic};

/// A replica that takes writes would give names that its primary gives as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_is_no_primary_whether_it_takes_writes_or_not() {
    let (primary, [replica]) = RedisServer::replicated().await;
    let room = topic("room:1");
    let node = Node::start(options(&primary.url()));
    node.publish_at_last(&room, "there is a place").await;
    primary.synced(1).await;
    for read_only in ["yes", "no"] {
        replica.cli(&["CONFIG", "SET", "replica-read-only", read_only]).await;
        let before = replica.cli(&["HGETALL", "tg:{0}:place"]).await;
        let lost = Node::start(options(&replica.url()));
        let detail = eventually("a reason", async || {
            let detail = lost.broker.health().detail;
            detail.contains("READONLY").then_some(detail)
        })
        .await;
        assert!(detail.contains("replica"), "{detail}");
        assert!(!lost.broker.health().ready);
        lost.publish(&room, "nowhere").await.unwrap_err();
        assert_eq!(replica.cli(&["HGETALL", "tg:{0}:place"]).await, before);
    }
}

/// A primary that becomes a replica and takes writes all the same: nodes that are connected to it
/// leave it, as they leave any other replica.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demoted_primary_that_takes_writes_is_left() {
    let (old, [new]) = RedisServer::replicated().await;
    old.cli(&["CONFIG", "SET", "replica-read-only", "no"]).await;
    let room = topic("room:1");
    let node = Node::start(options(&old.url()));
    node.publish_at_last(&room, "before").await;
    node.wait_ready(true).await;
    old.fail_over_to(&new).await;
    node.publish(&room, "nowhere").await.unwrap_err();
    node.wait_ready(false).await;
    let stored = old.cli(&["XLEN", "tg:{0}:s:room:1"]).await;
    assert_eq!(stored, redis::Value::Int(1), "the replica has stored something of its own");
}

/// Redis restarts and has everything: a new epoch that nobody is told of. Ids of before go on, on
/// every node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_with_data_is_a_clean_epoch() {
    for aof in [true, false] {
        let mut redis = RedisServer::start_with(RedisOptions { aof, ..RedisOptions::default() }).await;
        let mut nodes = [(); 4].map(|()| Node::start(options(&redis.url())));
        let room = topic("room:1");
        for node in &nodes {
            node.subscribe(std::slice::from_ref(&room)).await;
        }
        let before = nodes[0].publish_at_last(&room, "before").await.mark.unwrap().1;
        for node in &mut nodes {
            assert_eq!(node.text().await, "before");
        }
        redis.restart().await;
        let mut epochs = Vec::new();
        for node in &mut nodes {
            epochs.push(node.continued().await);
        }
        assert_ne!(before.epoch, epochs[0].epoch);
        assert!(epochs.iter().all(|next| next.epoch == epochs[0].epoch), "one epoch: {epochs:?}");
        let after = nodes[1].publish_at_last(&room, "after").await.mark.unwrap().1;
        assert_eq!((after.epoch, after.offset), (epochs[0].epoch, before.offset + 1));
        for node in &mut nodes {
            assert_eq!(node.text().await, "after");
            let page = node.read(&room, Span::After { position: before, limit: 10 }).await;
            assert_eq!((page.reset, page.events.len()), (None, 1));
        }
        let begun = |node: &Node| node.metrics.epochs.with_label_values(&["clean"]).get();
        assert_eq!(nodes.iter().map(begun).sum::<u64>(), 1, "however many nodes enter at once");
    }
}

/// Redis restarts without its data: another life, and everybody is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_without_data_is_another_life() {
    let mut redis = RedisServer::start().await;
    let mut nodes = [(); 3].map(|()| Node::start(options(&redis.url())));
    let room = topic("room:1");
    for node in &nodes {
        node.subscribe(std::slice::from_ref(&room)).await;
    }
    nodes[0].publish_at_last(&room, "before").await;
    for node in &mut nodes {
        assert_eq!(node.text().await, "before");
    }
    redis.restart_empty().await;
    let mut epochs = Vec::new();
    for node in &mut nodes {
        let (topics, reason, position) = node.reset().await;
        assert_eq!((topics, reason), (None, ResetReason::Epoch));
        epochs.push(position.epoch);
    }
    assert!(epochs.iter().all(|epoch| *epoch == epochs[0]), "one epoch: {epochs:?}");
    nodes[1].publish_at_last(&room, "after").await;
    for node in &mut nodes {
        assert_eq!(node.text().await, "after", "the reset is said once");
    }
}

/// The number of partitions decides which counter numbers a topic.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_number_of_partitions_is_refused_with_a_reason() {
    let redis = RedisServer::start().await;
    let room = topic("room:1");
    let node = Node::start(Options { partitions: 2, ..options(&redis.url()) });
    node.wait_ready(true).await;
    for partitions in [1, 4] {
        let other = Node::start(Options { partitions, ..options(&redis.url()) });
        let advice = format!("redis.partitions is {partitions}; set it to 2");
        eventually("a reason", async || {
            let health = other.broker.health();
            assert!(!health.ready);
            health.detail.contains(&advice).then_some(())
        })
        .await;
        other.publish(&room, "nowhere").await.unwrap_err();
    }
    node.wait_ready(true).await;
}

/// Pub/Sub knows no databases: the channels tell them apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_keep_deployments_apart() {
    let redis = RedisServer::start().await;
    let room = topic("room:1");
    let mut nodes = [0, 1].map(|database| Node::start(options(&format!("{}{database}", redis.url()))));
    for node in &nodes {
        node.subscribe(std::slice::from_ref(&room)).await;
    }
    for (node, text) in nodes.iter().zip(["first", "second"]) {
        assert_eq!(node.publish_at_last(&room, text).await.nodes, 1, "those of one database listen");
    }
    for (node, text) in nodes.iter_mut().zip(["first", "second"]) {
        assert_eq!(node.text().await, text);
        node.wait_ready(true).await;
        assert_eq!(node.read(&room, Span::Last { limit: 10 }).await.events.len(), 1);
    }
}

/// Redis answers, and can't take an event yet: a publish waits for it as long as for a connection,
/// and then says in Redis' own words why it was not taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_loads_is_waited_for() {
    // Two thousand keys of a millisecond each.
    let args = ["--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024"];
    let args = args.map(Into::into).to_vec();
    let redis = RedisServer::start_with(RedisOptions { args, ..RedisOptions::default() }).await;
    let room = topic("room:1");
    let fill = "for i = 1, 2000 do redis.call('SET', 'filler:' .. i, string.rep('x', 100)) end";
    let rare = Duration::from_secs(60);
    let quiet = |connect_timeout| Options {
        connect_timeout,
        probe_interval: rare,
        probe_timeout: rare,
        ..options(&redis.url())
    };
    let patient = Node::start(quiet(Duration::from_secs(8)));
    let hasty = Node::start(quiet(Duration::from_millis(300)));
    for node in [&patient, &hasty] {
        node.wait_ready(true).await;
    }
    redis.cli(&["EVAL", fill, "0"]).await;
    let reload = redis.try_cli(&["DEBUG", "RELOAD"]);
    let publish = async {
        eventually("Redis loads", async || {
            let answer = redis.try_cli(&["GET", "x"]).await;
            answer.err().filter(|error| error.code() == Some("LOADING")).map(drop)
        })
        .await;
        tokio::join!(patient.publish(&room, "patient"), hasty.publish(&room, "hasty"))
    };
    let (_, (patient, hasty)) = tokio::join!(reload, publish);
    patient.unwrap();
    let why = hasty.unwrap_err().to_string();
    assert!(why.contains("LOADING"), "{why}");
}

/// The same, of one that is a replica: there may be another primary in a moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_is_waited_for_until_it_is_promoted() {
    let redis = RedisServer::start().await;
    let room = topic("room:1");
    let wait = |connect_timeout| Options { connect_timeout, ..options(&redis.url()) };
    let patient = Node::start(wait(Duration::from_secs(8)));
    let hasty = Node::start(wait(Duration::from_millis(500)));
    for node in [&patient, &hasty] {
        node.wait_ready(true).await;
    }
    // Of a primary that is away.
    redis.cli(&["REPLICAOF", "127.0.0.1", &tidegate_testkit::free_port().to_string()]).await;
    let promote = async {
        let why = hasty.publish(&room, "hasty").await.unwrap_err().to_string();
        assert!(why.contains("READONLY"), "{why}");
        redis.promote().await;
    };
    let (taken, ()) = tokio::join!(patient.publish(&room, "patient"), promote);
    taken.unwrap();
}
