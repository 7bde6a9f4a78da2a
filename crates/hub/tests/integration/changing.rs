//! Topics that come and go while events keep coming, on several cores: between the two words there
//! is every event of a topic, once, and outside of them none.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tidegate_hub::{Options, Resume};

use crate::rig::{Rig, publish, quiet, topic};

const TOPICS: [&str; 4] = ["topic:a", "topic:b", "topic:c", "topic:d"];
const CHANGES: usize = 40;

async fn run(partitions: u8, seed: u64) {
    // The dispatch may be far behind here: nobody is cut for that, and no topic is let go of which
    // events are still on their way.
    let linger = Duration::from_secs(3_600);
    let options = Options { outbox_events: 1 << 30, outbox_bytes: 1 << 30, linger, ..quiet() };
    let rig = Arc::new(Rig::new(partitions, options));
    let mut reader = rig.join(None, &["topic:end"], Resume::Live).await;
    reader.ready().await;
    let enough = Arc::new(AtomicBool::new(false));
    let publishers = TOPICS.map(|name| {
        let (rig, enough) = (Arc::clone(&rig), Arc::clone(&enough));
        tokio::spawn(async move {
            for n in 0.. {
                // Kept for long: the publishers may be far ahead.
                publish(&rig.broker.local, name, &format!("{name} {n}"), 1 << 20).await;
                tokio::task::yield_now().await;
                if enough.load(Ordering::Relaxed) {
                    break;
                }
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
        enough.store(wished >= CHANGES, Ordering::Relaxed);
        if wished < CHANGES && (idle || wished - told < 4 && rng.random_bool(0.3)) {
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
                assert!(
                    before.is_none_or(|before| n == before + 1),
                    "{partitions}, seed {seed}: {before:?}, then {data}"
                );
                *before = Some(n);
            }
        }
    }
    assert!(events > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_topic_is_whole_between_its_words() {
    for seed in 0..4 {
        run(1, seed).await;
        run(4, seed).await;
    }
}
