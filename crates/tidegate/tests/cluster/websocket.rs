//! WebSockets as streams: the promises of a cluster hold for them, too.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::json;
use tidegate_testkit::ws::Close;
use tidegate_testkit::{Nginx, Publisher, WebSocket};

use crate::cluster::{Cluster, numbers, publish};

async fn ready(url: &str) -> WebSocket {
    let mut socket = WebSocket::open(url).await;
    socket.next_named("tidegate:ready").await;
    socket
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_on_one_node_is_heard_on_another_and_resumed_on_a_third() {
    let cluster = Cluster::start(3).await;
    let path = "/v1/ws?topic=a";
    let mut speaker = ready(&cluster.nodes[0].url(path)).await;
    let mut listener = ready(&cluster.nodes[1].url(path)).await;
    listener.subscribe(&["b"]).await;
    for n in 0..50 {
        let receipt = speaker.publish(&json!({ "topic": (["a", "b"][n % 2]), "data": n })).await;
        assert_eq!(receipt["nodes"], if n % 2 == 0 { 2 } else { 1 });
    }
    assert_eq!(listener.collect_data(50).await, numbers(50));
    let place = listener.last_event_id().to_owned();
    drop(listener);
    publish(&cluster.nodes[0].base(), "a", 50).await;
    let url = cluster.nodes[2].url("/v1/ws?topic=a&topic=b");
    let mut resumed = WebSocket::builder(&url).last_event_id(&place).h2().open().await;
    publish(&cluster.nodes[1].base(), "b", 51).await;
    assert_eq!(resumed.collect_data(2).await, ["50", "51"]);
}

/// The last event of a story.
const END: &str = "end";

/// A client that does what docs/protocol.md says until it has seen the end: everything, in order, and the codes with which it was sent away.
async fn follow(url: String) -> (Vec<String>, HashSet<u16>) {
    let (mut seen, mut place, mut codes) = (Vec::new(), String::new(), HashSet::new());
    loop {
        let builder = WebSocket::builder(&url).deadline(Duration::from_secs(30));
        let builder = if place.is_empty() { builder } else { builder.last_event_id(&place) };
        // nginx has found no node yet.
        let Ok(mut socket) = builder.try_open().await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        while let Some(event) = socket.next().await {
            assert_ne!(event.event, "tidegate:reset");
            if event.data == END {
                return (seen, codes);
            }
            if !event.event.starts_with("tidegate:") {
                seen.push(event.data);
            }
        }
        socket.last_event_id().clone_into(&mut place);
        if let Some(Close::Said(code, _)) = socket.closed() {
            codes.insert(*code);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_behind_nginx_loses_and_repeats_nothing() {
    let mut cluster = Cluster::start(2).await;
    let upstreams: Vec<_> = cluster.nodes.iter().map(tidegate_testkit::Gateway::addr).collect();
    let nginx = Nginx::repository(&upstreams).await;
    let url = nginx.url("/v1/ws?topic=a&topic=b");
    let clients: Vec<_> = (0..10).map(|_| tokio::spawn(follow(url.clone()))).collect();
    let live = async || {
        let mut live = 0;
        for node in &cluster.nodes {
            let metrics = tidegate_testkit::http::get(&node.admin_url("/metrics")).await.body;
            let line = metrics.as_str().unwrap().lines().find(|l| l.contains("transport=\"ws-h1\"")).unwrap();
            live += line.rsplit(' ').next().unwrap().parse::<u32>().unwrap();
        }
        (live == 10).then_some(())
    };
    tidegate_testkit::eventually("all are connected", live).await;
    let publisher = Publisher::start(vec![nginx.base()], &["a", "b"], Duration::from_millis(2));
    for n in 0..2 {
        publisher.more(50).await;
        cluster.nodes[n].terminate();
        assert!(cluster.nodes[n].wait().await.success(), "{}", cluster.nodes[n].log());
        cluster.nodes[n].restart().await;
    }
    publisher.more(50).await;
    let count = publisher.finish().await;
    publish(&nginx.base(), "a", END).await;
    for client in clients {
        let (seen, codes) = client.await.unwrap();
        assert_eq!(seen, numbers(count));
        assert_eq!(codes, HashSet::from([1012]), "each was sent away by its node");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_speaks_hears_that_the_store_is_away() {
    let cluster = Cluster::start(1).await;
    let mut socket = ready(&cluster.nodes[0].url("/v1/ws?topic=a")).await;
    cluster.redis.pause();
    socket.send(&json!({ "publish": { "topic": "a", "data": 1, "key": "k" }, "ref": 1 })).await;
    let answer = socket.next_object_named("tidegate:error").await;
    assert_eq!((&answer["data"]["status"], &answer["ref"]), (&json!(503), &json!(1)), "{answer}");
    cluster.redis.resume();
    cluster.nodes[0].ready().await;
    tidegate_testkit::eventually("it is taken", async || {
        socket.send(&json!({ "publish": { "topic": "a", "data": 1, "key": "k" } })).await;
        loop {
            match socket.next_object().await.unwrap()["event"].as_str() {
                Some("tidegate:published") => return Some(()),
                Some("tidegate:error") => return None,
                _ => {}
            }
        }
    })
    .await;
    socket.publish(&json!({ "topic": "a", "data": 2 })).await;
    let data: Vec<_> =
        socket.seen().iter().filter(|o| o["topic"] == "a").map(|o| o["data"].clone()).collect();
    assert_eq!(data[0], json!(1), "once, whatever was tried again: {data:?}");
    assert!(data.iter().filter(|data| **data == json!(1)).count() == 1, "{data:?}");
}
