//! Topics that come and go while events keep coming, on several cores: between the two words there is every event of a topic, once, and
//! outside of them none.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tidegate_hub::{Options, Resume};

use crate::rig::{Rig, quiet, topic};

const TOPICS: [&str; 4] = ["topic:a", "topic:b", "topic:c", "topic:d"];
const EVENTS: u32 = 1_500;

async fn run(partitions: u8, seed: u64) {
    let rig = Arc::new(Rig::new(partitions, Options { outbox_events: 100_000, ..quiet() }));
    let mut reader = rig.join(None, &["topic:end"], Resume::Live).await;
    reader.ready().await;
    let publishers = TOPICS.map(|name| {
        let rig = Arc::clone(&rig);
        tokio::spawn(async move {
            for n in 0..EVENTS {
                rig.publish(name, &format!("{name} {n}")).await;
                tokio::task::yield_now().await;
            }
        })
    });
    tokio::spawn(async move {
        join_all(publishers).await;
        rig.publish("topic:end", "end").await;
    });
    let mut rng = StdRng::seed_from_u64(seed);
    // The topics that are to come, each with its last event.
    let mut last: HashMap<String, Option<u32>> = HashMap::new();
    let (mut wished, mut told, mut events, mut over) = (0, 0, 0, false);
    while !over || told < wished {
        let idle = wished == told && last.is_empty();
        if !over && (idle || wished - told < 4 && rng.random_bool(0.3)) {
            let name = topic(TOPICS[rng.random_range(0..TOPICS.len())]);
            if idle || rng.random() {
                reader.subscription.subscribe(vec![name]);
            } else {
                reader.subscription.unsubscribe(vec![name]);
            }
            wished += 1;
        }
        let block = reader.block().await.expect("the stream goes on");
        let data = block.data.unwrap();
        match block.name.as_deref() {
            Some(word @ ("tidegate:subscribed" | "tidegate:unsubscribed")) => {
                told += 1;
                let name = data.split('"').nth(3).unwrap().to_owned();
                if word == "tidegate:subscribed" {
                    last.entry(name).or_default();
                } else {
                    last.remove(&name);
                }
            }
            Some(other) => panic!("{other}: {data}"),
            None if data == "end" => over = true,
            None => {
                events += 1;
                let (name, n) = data.split_once(' ').unwrap();
                let n: u32 = n.parse().unwrap();
                let before = last.get_mut(name).unwrap_or_else(|| panic!("seed {seed}: not wanted: {data}"));
                assert!(before.is_none_or(|before| n == before + 1), "seed {seed}: {before:?}, then {data}");
                *before = Some(n);
            }
        }
    }
    assert!(events > 0 && told > 10, "{events} events, {told} changes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_topic_is_whole_between_its_words() {
    for seed in 0..6 {
        run(1, seed).await;
        run(4, seed).await;
    }
}
