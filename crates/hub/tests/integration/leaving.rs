use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use tidegate_broker::Delivery;
use tidegate_hub::{Error, Flushed, Options, Resume, Sink};
use tidegate_protocol::Cursor;

use crate::rig::{Rig, event, quiet};

/// A client that reads is not slow, however much comes at once.
#[tokio::test]
async fn a_flood_reaches_those_who_read() {
    let small = Options { outbox_events: 20, outbox_bytes: 1 << 20, ..quiet() };
    for (options, size) in [(small, 1), (quiet(), 30_000)] {
        let rig = Rig::new(1, options);
        let mut reader = rig.join(None, &["topic:a"], Resume::Live).await;
        reader.ready().await;
        let (partition, first) = rig.publish("topic:a", "first").await;
        assert_eq!(reader.data().await, "first");
        let text = "x".repeat(size);
        let flood = (1..=100).map(|n| {
            let offset = first.offset + n;
            Delivery::Event(Arc::new(event(
                "topic:a",
                partition,
                first.epoch,
                offset,
                Some(offset - 1),
                &text,
            )))
        });
        rig.say(&flood.collect::<Vec<_>>());
        for n in 1..=100 {
            assert_eq!(reader.data().await, text, "{n}");
        }
    }
}

/// Who does not read is cut, and comes back for all of it.
#[tokio::test]
async fn a_slow_consumer_is_cut_and_resumes() {
    let rig = Rig::new(1, Options { outbox_events: 3, ..quiet() });
    let mut slow = rig.join(None, &["topic:a"], Resume::Live).await;
    slow.ready().await;
    rig.publish("topic:a", "0").await;
    assert_eq!(slow.data().await, "0");
    for n in 1..=9 {
        rig.publish("topic:a", &n.to_string()).await;
        rig.settled().await;
    }
    assert_eq!(slow.rest().await, []);
    assert!(slow.subscription.is_cut());
    let id = slow.last_id.clone();
    drop(slow);
    assert_eq!(rig.counter("tidegate_leaves_total", "slow_consumer"), 1);
    assert_eq!(rig.counter("tidegate_events_dropped_total", "slow_consumer"), 3);
    let mut again = rig.join(None, &["topic:a"], Resume::After(id)).await;
    again.ready().await;
    assert_eq!(again.all(9).await.join(""), "123456789");
}

/// What piles up while a join reads is bounded too.
#[tokio::test]
async fn a_join_that_takes_too_long_for_its_topics_is_cut() {
    let rig = Arc::new(Rig::new(1, Options { outbox_events: 3, ..quiet() }));
    let (partition, first) = rig.publish("topic:a", "0").await;
    rig.publish("topic:a", "1").await;
    rig.broker.history.shut();
    let joining = {
        let (rig, id) = (Arc::clone(&rig), Cursor::single(partition, first).to_string());
        tokio::spawn(async move { rig.join(None, &["topic:a"], Resume::After(id)).await })
    };
    rig.broker.history.reached(1).await;
    for n in 2..=9 {
        rig.publish("topic:a", &n.to_string()).await;
        rig.settled().await;
    }
    rig.broker.history.open();
    let mut reader = joining.await.unwrap();
    assert_eq!(reader.rest().await, []);
    assert!(reader.subscription.is_cut());
    drop(reader);
    assert_eq!(rig.counter("tidegate_leaves_total", "slow_consumer"), 1);
    assert_eq!(rig.hub.live(), 0);
}

#[tokio::test]
async fn a_users_streams_are_counted_and_given_back() {
    let rig =
        Rig::new(1, Options { user_connections: 2, join_timeout: Duration::from_millis(20), ..quiet() });
    let first = rig.join(Some("u"), &[], Resume::Live).await;
    let _second = rig.join(Some("u"), &[], Resume::Live).await;
    let third = rig.try_join(Some("u"), &[], Resume::Live).await;
    assert!(matches!(third, Err(Error::UserLimit(2))));
    assert_eq!(rig.hub.live(), 2);
    drop(first);
    // A join that fails gives its place back as well.
    rig.broker.memberships.shut();
    let failed = rig.try_join(Some("u"), &[], Resume::Live).await;
    assert!(matches!(failed, Err(Error::Unavailable(_))));
    rig.broker.memberships.open();
    let mut again = rig.join(Some("u"), &[], Resume::Live).await;
    again.ready().await;
    assert_eq!((rig.hub.live(), rig.hub.metrics().users.get()), (2, 1));
}

#[tokio::test]
async fn nothing_is_left_of_streams_that_are_gone() {
    let rig = Rig::new(1, Options { linger: Duration::ZERO, ..quiet() });
    let readers = [
        rig.join(Some("u"), &["topic:a"], Resume::Live).await,
        rig.join(None, &["topic:a"], Resume::Live).await,
    ];
    assert_eq!((rig.hub.metrics().topics.get(), rig.hub.metrics().users.get()), (2, 1));
    drop(readers);
    while rig.hub.metrics().topics.get() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!((rig.hub.live(), rig.hub.metrics().users.get()), (0, 0));
}

/// A drain ends every stream within its window, one that is still joining included, each with a
/// delay of its own.
#[tokio::test]
async fn a_drain_takes_everybody_in_its_window() {
    const WINDOW: Duration = Duration::from_millis(600);
    let rig = Arc::new(Rig::new(1, quiet()));
    let (partition, first) = rig.publish("topic:a", "1").await;
    let mut readers = Vec::new();
    for _ in 0..50 {
        readers.push(rig.join(None, &["topic:a"], Resume::Live).await);
    }
    // Not answered by the ring.
    rig.publish("topic:b", "2").await;
    rig.broker.history.shut();
    let joining = {
        let (rig, id) = (Arc::clone(&rig), Cursor::single(partition, first).to_string());
        tokio::spawn(async move { rig.join(None, &["topic:b"], Resume::After(id)).await })
    };
    rig.broker.history.reached(1).await;
    let begun = Instant::now();
    rig.hub.drain(WINDOW);
    rig.broker.history.open();
    assert!(matches!(rig.try_join(None, &["topic:a"], Resume::Live).await, Err(Error::Draining)));
    readers.push(joining.await.unwrap());
    for reader in &mut readers {
        reader.ready().await;
        let last = reader.rest().await.pop().unwrap();
        assert_eq!(last.data.as_deref(), Some(r#"{"reason":"drain"}"#));
    }
    // Two steps of the wheel more at most, and a slow machine.
    assert!(begun.elapsed() < WINDOW + Duration::from_secs(1), "{:?}", begun.elapsed());
    drop(readers);
    assert_eq!(rig.counter("tidegate_leaves_total", "drain"), 51);
    assert_eq!(rig.hub.live(), 0);
}

/// A quiet stream's place moves on with its heartbeat.
#[tokio::test]
async fn a_heartbeat_keeps_the_place_fresh() {
    let rig = Rig::new(1, Options { heartbeat: Duration::from_millis(100), ..quiet() });
    let mut quiet = rig.join(None, &["topic:a"], Resume::Live).await;
    let id = quiet.ready().await.id;
    rig.publish("topic:b", "elsewhere").await;
    loop {
        let block = quiet.block().await.unwrap();
        assert_eq!(block.data, None);
        if block.id.is_some() && block.id != id {
            break;
        }
    }
}

#[tokio::test]
async fn age_ends_a_stream_in_good_order() {
    let rig = Rig::new(1, Options { max_age: Some(Duration::from_millis(100)), ..quiet() });
    let mut reader = rig.join(None, &["topic:a"], Resume::Live).await;
    reader.ready().await;
    assert_eq!(reader.told("tidegate:closing").await, r#"{"reason":"max_age"}"#);
    assert_eq!(reader.rest().await, []);
    assert!(!reader.subscription.is_cut());
}

/// A socket that takes what it is told to.
struct Pipe(Arc<Mutex<(usize, Vec<u8>)>>, Vec<u8>);

impl Sink for Pipe {
    fn send(&mut self, parts: &[bytes::Bytes]) -> std::io::Result<bool> {
        assert!(self.1.is_empty(), "nothing may overtake the rest");
        self.1 = parts.concat();
        self.resume()
    }

    fn resume(&mut self) -> std::io::Result<bool> {
        let mut pipe = self.0.lock().unwrap();
        let taken = pipe.0.min(self.1.len());
        pipe.0 -= taken;
        pipe.1.extend(self.1.drain(..taken));
        Ok(self.1.is_empty())
    }
}

#[tokio::test]
async fn a_sink_is_written_to_by_the_hub_itself_and_keeps_its_order_when_full() {
    let rig = Rig::new(1, quiet());
    let mut reader = rig.join(None, &["topic:a"], Resume::Live).await;
    reader.ready().await;
    let pipe = Arc::new(Mutex::new((usize::MAX, Vec::new())));
    let mut attached = reader.subscription.attach(Box::new(Pipe(Arc::clone(&pipe), Vec::new())));
    let mut cx = Context::from_waker(Waker::noop());
    assert_eq!(attached.flush(&mut cx), Flushed::All);
    rig.publish("topic:a", "one").await;
    rig.settled().await;
    assert!(text(&pipe).ends_with("data: one\n\n"), "written without any task");
    pipe.lock().unwrap().0 = 3;
    for word in ["two", "three", "four"] {
        rig.publish("topic:a", word).await;
    }
    rig.settled().await;
    assert_eq!(attached.flush(&mut cx), Flushed::Blocked);
    pipe.lock().unwrap().0 = usize::MAX;
    assert_eq!(attached.flush(&mut cx), Flushed::All);
    let words: Vec<String> =
        text(&pipe).lines().filter_map(|line| line.strip_prefix("data: ").map(Into::into)).collect();
    assert_eq!(words, ["one", "two", "three", "four"]);
    rig.hub.drain(Duration::from_millis(1));
    while attached.flush(&mut cx) != Flushed::Ended {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(text(&pipe).contains("tidegate:closing"));
}

fn text(pipe: &Mutex<(usize, Vec<u8>)>) -> String {
    String::from_utf8_lossy(&pipe.lock().unwrap().1).into_owned()
}
