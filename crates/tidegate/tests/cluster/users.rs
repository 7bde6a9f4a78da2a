use serde_json::json;
use tidegate_testkit::{Sse, http};

use crate::cluster::{Cluster, publish};

#[tokio::test(flavor = "multi_thread")]
async fn changes_missed_while_redis_was_away_are_caught_up() {
    let mut cluster = Cluster::start(2).await;
    let mut bob = Sse::open(&cluster.nodes[1].url("/v1/events?userId=bob")).await;
    let mut eve = Sse::open(&cluster.nodes[1].url("/v1/events?userId=eve")).await;
    bob.next_named("tidegate:ready").await;
    eve.next_named("tidegate:ready").await;
    // Node 1 is held still, so that it hears nothing of the changes; killing its subscription makes it miss them.
    cluster.nodes[1].pause();
    http::put(&cluster.nodes[0].url("/v1/users/bob/topics/room:1")).await;
    http::post(&cluster.nodes[0].url("/v1/users/eve/disconnect"), &json!({})).await;
    cluster.redis.restart().await;
    cluster.nodes[1].resume();
    assert!(eve.next_named("tidegate:closing").await.data.contains("disconnected"));
    cluster.nodes[0].ready().await;
    publish(&cluster.nodes[0].base(), "room:1", "here").await;
    assert_eq!(bob.collect_data(1).await, ["here"]);
}
