//! Both versions, and a Redis without a fault.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tidegate_testkit::{Gateway, Publisher, RedisServer, Sse, http};

use super::account::{QUERY, TOPICS};
use super::{
    FOUR_PARTITIONS, Mixed, assert_no_reset, before, current, data, history, publish, publish_kept, resume,
};
use crate::cluster::numbers;

const ROOM: &str = "/v1/events?topic=room:1";
const PAGE: &str = "/v1/topics/room:1/events";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the gateway of the version before: make test-upgrade"]
async fn a_deployment_of_the_version_before_is_adopted_as_it_is() {
    let redis = RedisServer::start().await;
    let old = before(&redis, &[]).await;
    let mut stays = Sse::open(&old.url(ROOM)).await;
    stays.next_named("tidegate:ready").await;
    let first = publish_kept(&old, "room:1", 0).await;
    publish_kept(&old, "room:1", 1).await;
    let new = current(&redis, &[]).await;
    let mut moved = resume(&new, ROOM, &first).await;
    assert_eq!(moved.collect_data(1).await, ["1"]);
    publish_kept(&new, "room:1", 2).await;
    assert_eq!(moved.collect_data(1).await, ["2"]);
    assert_eq!(data(&history(&new, PAGE).await), [0, 1, 2]);
    assert_eq!(data(&history(&old, PAGE).await), [0, 1, 2]);
    let mut back = resume(&old, ROOM, moved.last_event_id()).await;
    publish_kept(&new, "room:1", 3).await;
    publish_kept(&old, "room:1", 4).await;
    assert_eq!(back.collect_data(2).await, ["3", "4"]);
    assert_eq!(moved.collect_data(2).await, ["3", "4"]);
    assert_eq!(stays.collect_data(5).await, numbers(5));
    [stays, moved, back].iter().for_each(assert_no_reset);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the gateway of the version before: make test-upgrade"]
async fn subscribers_of_both_get_what_both_publish_once_and_in_order() {
    let mixed = Mixed::start().await;
    let query = "/v1/events?topic=room:1&topic=fleeting:1&topic=room:2";
    let mut streams = [Sse::open(&mixed.old.url(query)).await, Sse::open(&mixed.new.url(query)).await];
    for stream in &mut streams {
        stream.next_named("tidegate:ready").await;
    }
    let nodes = [&mixed.old, &mixed.new];
    for n in 0..60 {
        let topic = ["room:1", "fleeting:1", "room:2"][n % 3];
        // Two in a row from each, so that each topic changes its publisher, too.
        let receipt = publish(nodes[n / 2 % 2], json!({ "topic": topic, "data": n })).await;
        assert_eq!(receipt["nodes"], 2, "{receipt}");
    }
    for stream in &mut streams {
        assert_eq!(stream.collect_data(60).await, numbers(60));
        assert_no_reset(stream);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the gateway of the version before: make test-upgrade"]
async fn a_key_is_known_to_the_other_version() {
    let mixed = Mixed::start().await;
    let mut stream = Sse::open(&mixed.new.url("/v1/events?topic=room:1&topic=fleeting:1")).await;
    stream.next_named("tidegate:ready").await;
    for (number, (first, second)) in mixed.pairs().into_iter().enumerate() {
        for topic in ["room:1", "fleeting:1"] {
            let event = json!({ "topic": topic, "data": number, "key": format!("order {number}") });
            let receipt = publish(first, event.clone()).await;
            assert_eq!(publish(second, event.clone()).await, receipt);
            assert_eq!(publish(first, event).await, receipt);
        }
    }
    publish_kept(&mixed.old, "room:1", "end").await;
    assert_eq!(stream.collect_data(5).await, ["0", "0", "1", "1", "end"]);
    assert_no_reset(&stream);
}

/// Versions of a topic: each change of a seat is told once, by whichever node is first.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the gateway of the version before: make test-upgrade"]
async fn seats_of_both_are_one_schedule() {
    let mixed = Mixed::start().await;
    let mut streams = Vec::new();
    for node in [&mixed.old, &mixed.new] {
        let mut stream = Sse::open(&node.url("/api/schedules/1/seats/events")).await;
        stream.next_named("tidegate:ready").await;
        streams.push(stream);
    }
    let act = async |node: &Gateway, user: &str, act: &str| {
        let url = node.url(&format!("/api/schedules/1/seats/7/{act}?userId={user}"));
        http::post(&url, &json!({})).await.status
    };
    for (first, second) in mixed.pairs() {
        assert_eq!(act(first, "ann", "hold").await, StatusCode::OK);
        assert_eq!(act(second, "bob", "hold").await, StatusCode::CONFLICT);
        assert_eq!(act(second, "ann", "release").await, StatusCode::OK);
    }
    let mut told = Vec::new();
    for stream in &mut streams {
        let changes: Vec<Value> =
            stream.collect_data(4).await.iter().map(|data| serde_json::from_str(data).unwrap()).collect();
        told.push(changes.iter().map(|change| change["status"].clone()).collect::<Vec<_>>());
        assert_no_reset(stream);
    }
    assert_eq!(told, [["HELD", "AVAILABLE", "HELD", "AVAILABLE"]; 2]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the gateway of the version before: make test-upgrade"]
async fn users_are_managed_from_the_other_version() {
    manage_users(Mixed::start().await).await;
    manage_users(Mixed::with(false, &[FOUR_PARTITIONS]).await).await;
}

async fn manage_users(mixed: Mixed) {
    for (there, here) in mixed.pairs() {
        let mut stream = Sse::open(&here.url("/v1/events?userId=bob")).await;
        stream.next_named("tidegate:ready").await;
        let membership = there.url("/v1/users/bob/topics/room:9");
        assert_eq!(http::put(&membership).await.body["changed"], true);
        publish_kept(there, "room:9", "in").await;
        assert_eq!(stream.collect_data(1).await, ["in"]);
        assert_eq!(http::delete(&membership).await.body["changed"], true);
        publish_kept(there, "room:9", "out").await;
        publish_kept(here, "user:bob", "own").await;
        assert_eq!(stream.collect_data(1).await, ["own"]);
        assert_no_reset(&stream);
        let told = http::post(&there.url("/v1/users/bob/disconnect"), &json!({})).await;
        assert_eq!(told.status, 200, "{}", told.body);
        assert!(stream.next_named("tidegate:closing").await.data.contains("disconnected"));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the gateway of the version before: make test-upgrade"]
async fn a_history_that_one_forgets_is_gone_for_the_other() {
    let mixed = Mixed::start().await;
    for (there, here) in mixed.pairs() {
        let first = publish_kept(there, "room:1", 0).await;
        publish_kept(here, "room:1", 1).await;
        assert_eq!(http::delete(&there.url(PAGE)).await.status, StatusCode::NO_CONTENT);
        for node in [there, here] {
            assert_eq!(data(&history(node, PAGE).await), Vec::<Value>::new());
            let mut late = resume(node, ROOM, &first).await;
            assert!(late.next_named("tidegate:reset").await.data.contains("expired"));
        }
        let mut kept = resume(here, ROOM, &publish_kept(there, "room:1", 2).await).await;
        publish_kept(here, "room:1", 3).await;
        assert_eq!(kept.collect_data(1).await, ["3"]);
        assert_no_reset(&kept);
        assert_eq!(data(&history(here, PAGE).await), [2, 3]);
        assert_eq!(http::delete(&here.url(PAGE)).await.status, StatusCode::NO_CONTENT);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the gateway of the version before: make test-upgrade"]
async fn clients_go_back_and_forth_while_events_are_published() {
    let mixed = Mixed::start().await;
    let mut stream = Sse::open(&mixed.old.url(QUERY)).await;
    stream.next_named("tidegate:ready").await;
    let mut id = stream.last_event_id().to_owned();
    drop(stream);
    let publisher = Publisher::start(mixed.bases(), TOPICS, Duration::from_millis(2));
    let mut got = Vec::new();
    for turn in 0..12 {
        // Some are missed between two streams, and some come while one is open.
        publisher.more(5).await;
        let node = if turn % 2 == 0 { &mixed.new } else { &mixed.old };
        let mut stream = resume(node, QUERY, &id).await;
        got.extend(stream.collect_data(15).await);
        id = stream.last_event_id().to_owned();
        assert_no_reset(&stream);
    }
    publisher.finish().await;
    assert_eq!(got, numbers(180));
}
