use std::sync::atomic::Ordering;

use tidegate_broker::{Broker, Delivery};
use tidegate_hub::Resume;
use tidegate_protocol::Cursor;

use crate::rig::{Rig, quiet, topic, zero};

/// What was deleted is not shown again, though this node had it at hand. Who has seen it is not
/// told.
#[tokio::test]
async fn deleted_events_are_not_replayed() {
    let rig = Rig::new(1, quiet());
    let mut live = rig.join(None, &["topic:a"], Resume::Live).await;
    live.ready().await;
    let (partition, first) = rig.publish("topic:a", "1").await;
    let id = Cursor::single(partition, first).to_string();
    rig.publish("topic:a", "2").await;
    let (_, third) = rig.publish("topic:a", "3").await;
    assert_eq!(live.all(3).await, ["1", "2", "3"]);
    let mut early = rig.join(None, &["topic:a"], Resume::After(id.clone())).await;
    early.ready().await;
    assert_eq!(early.all(2).await, ["2", "3"]);
    assert_eq!(rig.counter("tidegate_history_reads_total", "ring"), 1);

    assert!(rig.broker.forget(&topic("topic:a")).await.unwrap());
    rig.whisper("topic:a", "after the deletion").await;
    assert_eq!(live.data().await, "after the deletion");
    let mut late = rig.join(None, &["topic:a"], Resume::After(id)).await;
    late.ready().await;
    assert!(late.told("tidegate:reset").await.contains(r#""reason":"expired""#));

    let id = Cursor::single(partition, third).to_string();
    let mut current = rig.join(None, &["topic:a"], Resume::After(id)).await;
    current.ready().await;
    rig.publish("topic:a", "4").await;
    assert_eq!(early.all(2).await, ["after the deletion", "4"]);
    for reader in [&mut live, &mut late, &mut current] {
        assert_eq!(reader.data().await, "4");
    }
}

/// A node that was cut off can't know what was deleted meanwhile: it asks the store.
#[tokio::test]
async fn a_deletion_that_was_missed() {
    let rig = Rig::new(1, quiet());
    let mut live = rig.join(None, &["topic:a"], Resume::Live).await;
    live.ready().await;
    let (partition, first) = rig.publish("topic:a", "1").await;
    let id = Cursor::single(partition, first).to_string();
    rig.publish("topic:a", "2").await;
    assert_eq!(live.all(2).await, ["1", "2"]);
    rig.broker.deaf.store(true, Ordering::Relaxed);
    assert!(rig.broker.forget(&topic("topic:a")).await.unwrap());
    rig.whisper("topic:a", "after the deletion").await;
    assert_eq!(live.data().await, "after the deletion");
    rig.say(&[Delivery::Gap(zero())]);
    rig.settled().await;
    let mut late = rig.join(None, &["topic:a"], Resume::After(id)).await;
    late.ready().await;
    assert!(late.told("tidegate:reset").await.contains(r#""reason":"expired""#));
}
