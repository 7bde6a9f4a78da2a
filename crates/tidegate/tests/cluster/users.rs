use serde_json::json;
use tidegate_testkit::{Sse, http};

use crate::cluster::{Cluster, publish};

#[tokio::test(flavor = "multi_thread")]
async fn a_membership_added_on_one_node_reaches_the_stream_on_another() {
    let cluster = Cluster::start(2).await;
    let (one, two) = (&cluster.nodes[0], &cluster.nodes[1]);
    let mut bob = Sse::open(&two.url("/v1/events?userId=bob")).await;
    bob.next_named("tidegate:ready").await;
    for n in 0..100 {
        let url = one.url(&format!("/v1/users/bob/topics/room:{n}"));
        assert_eq!(http::put(&url).await.status, 200);
        publish(&one.base(), &format!("room:{n}"), n).await;
        assert_eq!(bob.collect_data(1).await, [n.to_string()], "an event right after the answer");
    }
    let id = bob.last_event_id().to_owned();
    assert_eq!(http::delete(&one.url("/v1/users/bob/topics/room:7")).await.status, 200);
    publish(&one.base(), "room:7", "no longer").await;
    publish(&one.base(), "room:8", "still").await;
    assert_eq!(bob.collect_data(1).await, ["still"]);
    drop(bob);
    let mut bob = Sse::builder(&one.url("/v1/events?userId=bob")).last_event_id(&id).open().await;
    assert_eq!(bob.collect_data(1).await, ["still"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_disconnected_on_every_node() {
    let cluster = Cluster::start(3).await;
    let mut streams = Vec::new();
    for node in &cluster.nodes {
        let mut stream = Sse::open(&node.url("/v1/events?userId=bob")).await;
        stream.next_named("tidegate:ready").await;
        streams.push(stream);
    }
    let answer = http::post(&cluster.nodes[0].url("/v1/users/bob/disconnect"), &json!({})).await;
    assert_eq!((answer.status.as_u16(), &answer.body["nodes"]), (200, &json!(3)));
    for stream in &mut streams {
        assert_eq!(stream.next_named("tidegate:closing").await.data, r#"{"reason":"disconnected"}"#);
        assert_eq!(stream.next().await, None);
    }
}

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
