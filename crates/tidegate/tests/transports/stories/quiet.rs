//! Streams on which nothing happens.

use std::slice;

use serde_json::json;

use crate::client::{Ask, Client, PATIENCE};
use crate::way::Way;
use crate::world::{eventually_counts, lone_node, publish, send};

over_every_transport!(a_quiet_stream_keeps_its_cursor_fresh, a_client_that_leaves_is_noticed_at_once);

over_every_stream!(an_old_stream_is_closed_in_good_order);

async fn a_quiet_stream_keeps_its_cursor_fresh(way: Way) {
    let node = lone_node(way, &[("TIDEGATE_STREAM__HEARTBEAT", "1s")]).await;
    let bases = [node.base()];
    let mut quiet = Client::open(way, &bases, &Ask::new(&["quiet"])).await;
    // The listener of the busy topic makes the node see how far the partition is.
    let _busy = Client::open(way.plain_stream(), &bases, &Ask::new(&["busy"])).await;
    let receipt = send(&bases[0], &json!({"topic": "busy", "data": 1})).await;
    let fresh = async {
        while quiet.cursor() != receipt["id"] {
            quiet.beat().await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, fresh).await.is_ok(), "it stays where it was: {quiet:?}");
}

/// Long before the next heartbeat. While it is there it is counted, and under no other name.
async fn a_client_that_leaves_is_noticed_at_once(way: Way) {
    let node = lone_node(way, &[("TIDEGATE_STREAM__HEARTBEAT", "1h")]).await;
    let mut client = Client::open(way, slice::from_ref(&node.base()), &Ask::new(&["a"])).await;
    // A long poll has to wait to be there.
    let waiting = tokio::spawn(async move { client.next().await });
    for label in ["sse-h1", "sse-h2", "sse-h3", "poll", "ws-h1", "ws-h2"] {
        let count = u8::from(label == way.label());
        eventually_counts(&node, &format!("tidegate_connections{{transport=\"{label}\"}} {count}")).await;
    }
    waiting.abort();
    eventually_counts(&node, &format!("tidegate_connections{{transport=\"{}\"}} 0", way.label())).await;
    if !way.polls() {
        eventually_counts(&node, "tidegate_leaves_total{reason=\"client\"} 1").await;
    }
}

async fn an_old_stream_is_closed_in_good_order(way: Way) {
    let node = lone_node(way, &[("TIDEGATE_STREAM__MAX_AGE", "1s")]).await;
    let (bases, ask) = ([node.base()], Ask::new(&["a"]));
    let mut client = Client::open(way, &bases, &ask).await;
    publish(&bases[0], "a", 1).await;
    assert_eq!(client.data(1).await, ["1"]);
    let cursor = client.cursor().to_owned();
    client.closed_for("max_age").await;
    assert_eq!(client.leave(), cursor, "the place stays");
    publish(&bases[0], "a", 2).await;
    let mut client = Client::open(way, &bases, &ask.after(&cursor)).await;
    assert_eq!(client.data(1).await, ["2"]);
}
