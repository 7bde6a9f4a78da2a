//! Clients for which there is no room at a node are told so, and come in later.

use std::time::Duration;

use tidegate_testkit::{Gateway, eventually};

use crate::client::{Ask, Client, Refused};
use crate::way::Way;
use crate::world::{counts, lone_node};

over_every_transport!(
    a_user_has_a_number_of_streams_and_no_more,
    an_address_has_a_number_of_streams_and_no_more,
    a_full_node_tells_clients_to_come_back,
    a_rush_is_spread,
);

async fn a_user_has_a_number_of_streams_and_no_more(way: Way) {
    let node = lone_node(way, &[("TIDEGATE_STREAM__USER_CONNECTIONS", "2")]).await;
    two_and_no_more(way, &node, "user_limit", 429).await;
    let eve = Ask::as_user("eve", &["a"]);
    assert_eq!(Client::try_open(way, &[node.base()], &eve).await.err(), None);
}

async fn an_address_has_a_number_of_streams_and_no_more(way: Way) {
    let node = lone_node(way, &[("TIDEGATE_LIMITS__ADDRESS_CONNECTIONS", "2")]).await;
    two_and_no_more(way, &node, "address_limit", 429).await;
}

async fn two_and_no_more(way: Way, node: &Gateway, reason: &str, status: u16) {
    let (bases, ask) = ([node.base()], Ask::as_user("bob", &["a"]));
    let _first = Client::open(way.plain_stream(), &bases, &ask).await;
    // A long poll is counted while it waits.
    let other = if way.polls() { way.plain_stream() } else { way };
    let second = Client::open(other, &bases, &ask).await;
    assert!(refusals(node, reason, 0).await);
    let refused = Client::try_open(way, &bases, &ask).await.err();
    assert_eq!(refused, Some(Refused::for_now(way, reason, status)));
    assert!(refusals(node, reason, 1).await);
    drop(second);
    eventually("its place is free", async || Client::try_open(way, &bases, &ask).await.ok()).await;
}

async fn a_full_node_tells_clients_to_come_back(way: Way) {
    let node = lone_node(way, &[("TIDEGATE_LIMITS__CONNECTIONS", "1")]).await;
    let (bases, ask) = ([node.base()], Ask::new(&["a"]));
    let first = Client::open(way.plain_stream(), &bases, &ask).await;
    let refused = Client::try_open(way, &bases, &ask).await.err();
    assert_eq!(refused, Some(Refused::for_now(way, "overloaded", 503)));
    drop(first);
    let again = async || {
        // A connection more than is told so is closed without an answer: don't wait for one.
        let opening = Client::try_open(way, &bases, &ask);
        tokio::time::timeout(Duration::from_secs(1), opening).await.ok()?.ok()
    };
    eventually("its place is free", again).await;
}

async fn a_rush_is_spread(way: Way) {
    const BURST: usize = 3;
    let rate = [("TIDEGATE_LIMITS__CONNECT_RATE", "1"), ("TIDEGATE_LIMITS__CONNECT_BURST", "3")];
    let node = lone_node(way, &rate).await;
    let (bases, ask) = ([node.base()], Ask::new(&["a"]));
    let mut open = Vec::new();
    let refused = loop {
        match Client::try_open(way, &bases, &ask).await {
            Ok(client) => open.push(client),
            Err(refused) => break refused,
        }
    };
    assert!(open.len() >= BURST, "{}", open.len());
    assert_eq!(refused, Refused::for_now(way, "connect_rate", 503));
    assert!(refusals(&node, "connect_rate", 1).await);
    let room = async || Client::try_open(way, &bases, &ask).await.ok();
    eventually("a second later there is room for one more", room).await;
}

async fn refusals(node: &Gateway, reason: &str, count: u8) -> bool {
    counts(node, &format!("tidegate_connections_refused_total{{reason=\"{reason}\"}} {count}")).await
}
