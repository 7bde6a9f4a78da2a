//! Users of an ACL.

use tidegate_broker::{Broker, Span};
use tidegate_broker_redis::Pool;
use tidegate_testkit::{RedisServer, eventually};

use crate::cluster::{Node, options, topic};

const DOCUMENT: &str = include_str!("../../../../docs/operations.md");

/// The line of the document, and some more, for the user `tidegate` with the password `PASSWORD`.
async fn user(redis: &RedisServer, more: &[&str]) -> String {
    let rights = DOCUMENT.split("### Rights").nth(1).expect("a part about rights");
    let line = rights.lines().find(|line| line.starts_with("ACL SETUSER tidegate ")).expect("a user");
    let words: Vec<&str> = line.split_whitespace().chain(more.iter().copied()).collect();
    redis.cli(&words).await;
    format!("redis://tidegate:PASSWORD@{}/", redis.addr())
}

/// All that a gateway does, with the rights that are said to be enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_rights_are_enough() {
    let redis = RedisServer::start().await;
    let options = options(&user(&redis, &[]).await);
    let (room, ann) = (topic("room:1"), topic("user:ann"));
    let mut node = Node::start(options.clone());
    node.subscribe(&[room.clone(), ann.clone()]).await;
    node.publish_at_last(&room, "hello").await;
    assert_eq!(node.text().await, "hello");
    node.wait_ready(true).await;
    assert_eq!(node.read(&room, Span::Last { limit: 1 }).await.events.len(), 1);
    let broker = &node.broker;
    assert!(broker.set_membership(&ann, &room, true).await.unwrap());
    assert_eq!(broker.memberships_of(std::slice::from_ref(&ann)).await.unwrap(), [[room.clone()]]);
    assert!(broker.set_membership(&ann, &room, false).await.unwrap());
    broker.disconnect(&ann).await.unwrap();
    assert!(broker.disconnects(&[ann]).await.unwrap()[0] > 0);
    assert!(broker.forget(&room).await.unwrap());
    broker.unsubscribe(vec![room]);
    // An idle connection is asked for a sign of life before it is used again.
    let pool = Pool::open(&options).unwrap();
    for _ in 0..2 {
        redis::cmd("PING").query_async::<()>(&mut pool.get().await.unwrap()).await.unwrap();
    }
    let denied = redis.cli(&["ACL", "LOG"]).await;
    assert_eq!(denied, redis::Value::Array(Vec::new()));
}

/// A right that is missing is named where an operator looks, and nothing is written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_right_is_named() {
    for (missing, name) in [("-info", "+info"), ("resetchannels", "channel"), ("-xadd", "Rights")] {
        let redis = RedisServer::start().await;
        let node = Node::start(options(&user(&redis, &[missing]).await));
        let detail = eventually("a reason", async || {
            let health = node.broker.health();
            assert!(!health.ready, "without {missing}");
            health.detail.contains(name).then_some(health.detail)
        })
        .await;
        assert!(detail.contains("Rights"), "{detail}");
        node.publish(&topic("room:1"), "nowhere").await.unwrap_err();
        user(&redis, &[]).await;
        node.wait_ready(true).await;
    }
}
