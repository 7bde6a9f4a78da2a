//! Clients that read late or not at all, and what is promised to them and to those beside them.

use std::slice;

use reqwest::Method;
use serde_json::{Value, json};
use tidegate_testkit::eventually;

use super::numbers;
use crate::client::{Ask, Client, End, Seen};
use crate::follower::Follower;
use crate::way::Way;
use crate::world::{World, counts, eventually_counts, lone_node, manage, node_for, send, somebody, unique};

over_every_transport!(
    a_slow_client_is_cut_off_and_comes_back,
    an_outbox_holds_a_number_of_events_and_no_more,
    large_and_many_events_pass_a_socket_that_is_often_full,
);

over_every_stream!(
    a_socket_that_stays_full_is_cut_and_the_client_comes_back,
    a_user_who_reads_nothing_has_room_again_when_disconnected,
);

const SLOW: &str = "tidegate_leaves_total{reason=\"slow_consumer\"} 1";
const STUCK: &str = "tidegate_leaves_total{reason=\"write_deadline\"} 1";

async fn a_slow_client_is_cut_off_and_comes_back(way: Way) {
    slow(way, &[("TIDEGATE_STREAM__OUTBOX_BYTES", "512KiB")]).await;
}

async fn an_outbox_holds_a_number_of_events_and_no_more(way: Way) {
    let bounds = [("TIDEGATE_STREAM__OUTBOX_EVENTS", "20"), ("TIDEGATE_STREAM__OUTBOX_BYTES", "64MiB")];
    slow(way, &bounds).await;
}

/// A client that reads nothing beside one that reads everything.
async fn slow(way: Way, bounds: &[(&str, &str)]) {
    let world = World::shared().await;
    let node = node_for(way, bounds).await;
    let (base, topic) = (node.base(), unique("room"));
    let ask = Ask::new(&[&topic]);
    let mut client = Client::open(way, slice::from_ref(&base), &ask.buffer(4 * 1024)).await;
    let mut quick = Client::open(way, slice::from_ref(&base), &ask).await;
    // Until the client's buffers, the sockets' and the outbox are full. Long polls have none of
    // them: they are behind, and no more.
    let text = "x".repeat(30 * 1024);
    let mut count = 0;
    while count < 400 && !(way.polls() && count == 80) && !counts(&node, SLOW).await {
        let batch: Vec<_> =
            (count..count + 10).map(|n| json!({"topic": topic, "data": format!("{n} {text}")})).collect();
        send(&world.plain[0].base(), &json!(batch)).await;
        for n in count..count + 10 {
            assert_eq!(number(&quick.event().await.data), n.to_string(), "the other one is not held up");
        }
        count += 10;
    }
    let mut data = Vec::new();
    if !way.polls() {
        assert!(counts(&node, SLOW).await, "not after {count} events");
        // A WebSocket is told if it reads again within seconds.
        let told = if way.is_websocket() { End::Said("slow_consumer".to_owned()) } else { End::Cut };
        assert_cut(way, &read_on(&mut client, &mut data).await, &told);
        assert!(data.len() < count, "cut off before the end");
    }
    let mut client = Client::open(way, &world.bases(way), &ask.after(&client.leave())).await;
    while data.len() < count {
        data.push(number(&client.event().await.data));
    }
    assert_eq!(data, numbers(0..count));
}

async fn a_socket_that_stays_full_is_cut_and_the_client_comes_back(way: Way) {
    const COUNT: usize = 300;
    let settings = [
        ("TIDEGATE_LIMITS__WRITE_DEADLINE", "2s"),
        ("TIDEGATE_STREAM__HEARTBEAT", "1s"),
        ("TIDEGATE_STREAM__OUTBOX_BYTES", "64MiB"),
        ("TIDEGATE_STREAM__OUTBOX_EVENTS", "1000000"),
    ];
    let world = World::shared().await;
    let node = node_for(way, &settings).await;
    let (base, topic) = (node.base(), unique("room"));
    let ask = Ask::new(&[&topic]);
    let mut stuck = Client::open(way, slice::from_ref(&base), &ask.buffer(4_096)).await;
    let mut quick = Client::open(way, slice::from_ref(&base), &ask).await;
    let text = "x".repeat(60_000);
    for n in (0..COUNT).step_by(10) {
        let batch: Vec<_> =
            (n..n + 10).map(|n| json!({"topic": topic, "data": format!("{n} {text}")})).collect();
        send(&base, &json!(batch)).await;
        let all: Vec<String> = quick.data(10).await.iter().map(|data| number(data)).collect();
        assert_eq!(all, numbers(n..n + 10), "the other one is not held up");
    }
    eventually_counts(&node, STUCK).await;
    let mut data = Vec::new();
    assert_cut(way, &read_on(&mut stuck, &mut data).await, &End::Cut);
    assert!(data.len() < COUNT, "cut off before the end");
    let follower = Follower::start(way, world.bases(way), ask.after(&stuck.leave())).await;
    let tale = follower.wait_data(COUNT - data.len()).await;
    data.extend(tale.data.iter().map(|data| number(data)));
    assert_eq!(data, numbers(0..COUNT));
    // More than is read for one stream at once comes over several.
    assert!(tale.words.iter().all(|word| word == "replay"), "{:?}", tale.words);
}

async fn large_and_many_events_pass_a_socket_that_is_often_full(way: Way) {
    let settings = [("TIDEGATE_STREAM__OUTBOX_BYTES", "64MiB"), ("TIDEGATE_STREAM__OUTBOX_EVENTS", "100000")];
    let node = lone_node(way, &settings).await;
    let bases = [node.base()];
    let mut client = Client::open(way, &bases, &Ask::new(&["a", "b"]).buffer(8_192)).await;
    let mut expected = Vec::new();
    for n in 0..200 {
        let batch: Vec<Value> = (0..5)
            .map(|m| {
                let length =
                    if n % 2 == 0 { (n * 370 + m * 9_110) % 50_000 } else { (n * 37 + m * 911) % 20_000 };
                let data = format!("{n}.{m} {}", "y".repeat(length));
                expected.push(data.clone());
                json!({"topic": (["a", "b"][m % 2]), "data": data})
            })
            .collect();
        send(&bases[0], &json!(batch)).await;
    }
    assert!(client.data(1_000).await == expected, "every byte, in order");
}

async fn a_user_who_reads_nothing_has_room_again_when_disconnected(way: Way) {
    let settings = [("TIDEGATE_STREAM__USER_CONNECTIONS", "1"), ("TIDEGATE_STREAM__OUTBOX_BYTES", "64MiB")];
    let node = lone_node(way, &settings).await;
    let (bases, user) = ([node.base()], somebody("bob"));
    let ask = Ask::as_user(&user, &["a"]);
    let stuck = Client::open(way, &bases, &ask.buffer(4_096)).await;
    let event = json!({"topic": "a", "data": "x".repeat(60_000)});
    for _ in 0..10 {
        send(&bases[0], &json!(vec![&event; 10])).await;
    }
    assert!(Client::try_open(way, &bases, &ask).await.is_err(), "one is all that he may have");
    manage(Method::POST, &node.url(&format!("/v1/users/{user}/disconnect"))).await;
    eventually("bob may come back", async || Client::try_open(way, &bases, &ask).await.ok()).await;
    drop(stuck);
}

/// Reads numbered events to the end, and gives how that was.
async fn read_on(client: &mut Client, data: &mut Vec<String>) -> End {
    loop {
        match client.next().await {
            Seen::Event(event) => data.push(number(&event.data)),
            Seen::End(end) => return end,
            other => panic!("{other:?}"),
        }
    }
}

/// A stream that is cut must not look finished.
#[track_caller]
fn assert_cut(way: Way, end: &End, expected: &End) {
    assert!(end == expected || way.hides_a_cut() && *end == End::InOrder, "{end:?}");
}

fn number(data: &str) -> String {
    data.split(' ').next().unwrap().to_owned()
}
