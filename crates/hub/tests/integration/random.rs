//! Everything at once, by chance: at the end every reader has every event of its topics once, in
//! order.

use std::collections::HashMap;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tidegate_broker::Broker;
use tidegate_hub::{Options, Resume};
use tidegate_protocol::Topic;

use crate::rig::{Rig, quiet, topic};

const TOPICS: [&str; 5] = ["topic:a", "topic:b", "topic:c", "topic:d", "topic:e"];
const EVENTS: u32 = 150;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reader_gets_every_event_once_and_in_order() {
    let mut sources: HashMap<&str, u64> = HashMap::new();
    for seed in 0..24 {
        let mut rng = StdRng::seed_from_u64(seed);
        let options = Options {
            ring_events: rng.random_range(1..=8),
            replay_events: rng.random_range(5..=60),
            linger: std::time::Duration::ZERO,
            ..quiet()
        };
        let rig = Arc::new(Rig::new(if seed % 2 == 0 { 1 } else { 4 }, options));
        let readers: Vec<_> = (0..2 + seed % 7)
            .map(|n| tokio::spawn(read(Arc::clone(&rig), StdRng::seed_from_u64(seed * 100 + n))))
            .collect();
        let writers: Vec<_> = TOPICS
            .iter()
            .enumerate()
            .map(|(n, name)| {
                tokio::spawn(write(Arc::clone(&rig), name, StdRng::seed_from_u64(seed * 7 + n as u64)))
            })
            .collect();
        let lag = tokio::spawn(lag(Arc::clone(&rig), StdRng::seed_from_u64(seed)));
        for writer in writers {
            writer.await.unwrap();
        }
        for (n, reader) in readers.into_iter().enumerate() {
            reader.await.unwrap_or_else(|error| panic!("seed {seed}, reader {n}: {error}"));
        }
        lag.abort();
        for source in ["ring", "broker", "shared"] {
            *sources.entry(source).or_default() += rig.counter("tidegate_history_reads_total", source);
        }
    }
    assert!(sources.values().all(|count| *count > 0), "a path was never taken: {sources:?}");
}

async fn write(rig: Arc<Rig>, name: &'static str, mut rng: StdRng) {
    for n in 1..=EVENTS {
        rig.publish(name, &format!("{name} {n}")).await;
        for _ in 0..rng.random_range(0..20) {
            tokio::task::yield_now().await;
        }
    }
}

/// Deliveries and reads are late now and then.
async fn lag(rig: Arc<Rig>, mut rng: StdRng) {
    loop {
        let door = if rng.random() { &*rig.broker.deliveries } else { &rig.broker.history };
        door.shut();
        for _ in 0..rng.random_range(0..200) {
            tokio::task::yield_now().await;
        }
        door.open();
        for _ in 0..rng.random_range(0..200) {
            tokio::task::yield_now().await;
        }
    }
}

/// Comes and goes until it has the last event of each of its topics.
async fn read(rig: Arc<Rig>, mut rng: StdRng) {
    let user = format!("u{}", rng.random::<u32>());
    let count = rng.random_range(1..=3);
    let topics: Vec<&str> = TOPICS.iter().copied().cycle().skip(rng.random_range(0..5)).take(count).collect();
    // One of them comes by membership, that of a user with nothing else.
    let (member, asked) = if rng.random() { (Some(topics[0]), &topics[1..]) } else { (None, &topics[..]) };
    let own = Topic::user(&user).unwrap();
    if let Some(member) = member {
        rig.broker.set_membership(&own, &topic(member), true).await.unwrap();
    }
    let mut last: HashMap<String, u32> = HashMap::new();
    let mut resume = Resume::Live;
    loop {
        let mut reader = rig.join(member.map(|_| user.as_str()), asked, resume).await;
        let most = if rng.random() { 4 } else { 60 };
        for _ in 0..rng.random_range(1..most) {
            let Some(block) = reader.block().await else { break };
            match block.name.as_deref() {
                None => {
                    let data = block.data.unwrap();
                    let (name, number) = data.split_once(' ').unwrap();
                    let number: u32 = number.parse().unwrap();
                    let before = last.insert(name.into(), number);
                    let next = before.is_none_or(|before| number == before + 1);
                    assert!(next, "{name}: {number} after {before:?}, id {}", reader.last_id);
                }
                Some("tidegate:ready" | "tidegate:closing") => {}
                Some(_) => panic!("{block:?}"),
            }
            if topics.iter().all(|name| last.get(*name) == Some(&EVENTS)) {
                return;
            }
        }
        resume = Resume::After(reader.last_id.clone());
        drop(reader);
        // Long enough, now and then, for its topics to be let go.
        if rng.random_bool(0.1) {
            while rig.hub.live() > 1 && rng.random_bool(0.99) {
                tokio::task::yield_now().await;
            }
        }
        // A change of memberships that leaves everything as it is.
        if let Some(member) = member
            && rng.random()
        {
            rig.broker.set_membership(&own, &topic(member), true).await.unwrap();
        }
    }
}
