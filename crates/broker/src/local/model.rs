//! Random operations on a shard and on a model that is too simple to be wrong.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tidegate_protocol::{Data, Epoch, Offset, Position, Topic};

use super::shard::Shard;
use crate::{Delivery, Publication, Read, Receipt, ResetReason, Retention, Span, queue};

#[derive(Clone, Debug)]
enum Op {
    Publish { topic: usize, size: u32, ttl: u64, record_ttl: u64, key: Option<(u8, u64)> },
    Subscribe(usize),
    Unsubscribe(usize),
    Forget(usize),
    Wait(u64),
    After(usize, Offset, u32),
    Before(usize, Offset, u32),
}

/// Times in ms: some of what is published has expired at each point, some has not.
fn op() -> impl Strategy<Value = Op> {
    let key = prop::option::weighted(0.3, (0..3u8, 1..60u64));
    let publish = (0..4usize, prop::sample::select(vec![0, 1, 2, 5, 100]), 1..60u64, 1..90u64, key)
        .prop_map(|(topic, size, ttl, record_ttl, key)| Op::Publish { topic, size, ttl, record_ttl, key });
    prop_oneof![
        6 => publish,
        1 => (0..4usize).prop_map(Op::Subscribe),
        1 => (0..4usize).prop_map(Op::Unsubscribe),
        1 => (0..4usize).prop_map(Op::Forget),
        3 => (1..30u64).prop_map(Op::Wait),
        4 => (0..4usize, 0..40u64, 1..8u32).prop_map(|(topic, offset, limit)| Op::After(topic, offset, limit)),
        2 => (0..4usize, 0..40u64, 0..8u32).prop_map(|(topic, offset, limit)| Op::Before(topic, offset, limit)),
    ]
}

/// Keeps everything, and works out from scratch what of it still counts.
#[derive(Default)]
struct Model {
    now: u64,
    counter: Offset,
    topics: HashMap<usize, Kept>,
    keys: HashMap<(usize, u8), (Receipt, u64)>,
    subscribed: HashSet<usize>,
}

#[derive(Default)]
struct Kept {
    /// Each with the one before.
    events: Vec<(Offset, Offset)>,
    last: Offset,
    events_end: u64,
    record_end: u64,
}

impl Model {
    fn expire(&mut self) {
        let now = self.now;
        self.topics.retain(|_, kept| kept.record_end > now);
        self.topics.values_mut().filter(|kept| kept.events_end <= now).for_each(|kept| kept.events.clear());
        self.keys.retain(|_, (_, end)| *end > now);
    }

    fn last(&self, topic: usize) -> Offset {
        self.topics.get(&topic).map_or(0, |kept| kept.last)
    }

    fn events(&self, topic: usize) -> &[(Offset, Offset)] {
        self.topics.get(&topic).map_or(&[], |kept| &kept.events)
    }

    fn after(&self, topic: usize, offset: Offset, limit: u32) -> (Vec<Offset>, Option<ResetReason>, bool) {
        if offset > self.counter {
            return (Vec::new(), Some(ResetReason::Unknown), false);
        }
        let rest: Vec<_> = self.events(topic).iter().filter(|event| event.0 > offset).collect();
        let reset = match rest.first() {
            Some(first) => (first.1 > offset).then_some(ResetReason::Trimmed),
            None => (self.last(topic) > offset).then_some(ResetReason::Expired),
        };
        let limit = limit as usize;
        (rest.iter().take(limit).map(|event| event.0).collect(), reset, rest.len() > limit)
    }

    fn before(&self, topic: usize, offset: Offset, limit: u32) -> (Vec<Offset>, bool) {
        let mut events: Vec<_> =
            self.events(topic).iter().map(|event| event.0).filter(|event| *event < offset).collect();
        let more = events.len() > limit as usize;
        (events.split_off(events.len().saturating_sub(limit as usize)), more)
    }
}

fn name(topic: usize) -> Topic {
    Topic::parse(&format!("topic:{topic}")).expect("valid")
}

fn publication(topic: usize, retention: Retention, key: Option<String>) -> Publication {
    Publication { topic: name(topic), name: None, data: Data::Text("x".into()), at: 0, retention, key }
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

proptest! {
    #[test]
    fn a_shard_does_what_the_model_does(ops in prop::collection::vec(op(), 1..150)) {
        let start = Instant::now();
        let (feed, mut deliveries) = queue(1 << 30);
        let (partition, epoch) = (name(0).partition(1), Epoch::from_random(1));
        let mut shard = Shard::new(partition, epoch, 1 << 30, 100);
        let mut model = Model::default();
        let mut sent = Vec::new();
        for op in ops {
            let now = start + millis(model.now);
            model.expire();
            match op {
                Op::Publish { topic, size, ttl, record_ttl, key } => {
                    let key_ttl = millis(key.map_or(0, |key| key.1));
                    let retention =
                        Retention { size, ttl: millis(ttl), record_ttl: millis(record_ttl), key_ttl };
                    let text = key.map(|(key, _)| key.to_string());
                    let receipt = shard
                        .publish(publication(topic, retention, text), now, &feed)
                        .expect("there is room");
                    if let Some((first, _)) = key.and_then(|(key, _)| model.keys.get(&(topic, key))) {
                        prop_assert_eq!(receipt, *first);
                        continue;
                    }
                    let prev = model.last(topic);
                    if size > 0 {
                        model.counter += 1;
                        let kept = model.topics.entry(topic).or_default();
                        kept.events.push((model.counter, prev));
                        kept.events.drain(..kept.events.len().saturating_sub(size as usize));
                        kept.last = model.counter;
                        kept.events_end = model.now + ttl;
                        kept.record_end = model.now + ttl.max(record_ttl);
                    }
                    let listened = model.subscribed.contains(&topic);
                    let position = Position { epoch, offset: model.counter };
                    let mark = (size > 0).then_some((partition, position));
                    prop_assert_eq!(receipt, Receipt { mark, nodes: u32::from(listened) });
                    if listened {
                        sent.push((name(topic), model.counter, (size > 0).then_some(prev)));
                    }
                    if let Some((key, ttl)) = key {
                        model.keys.insert((topic, key), (receipt, model.now + ttl));
                    }
                }
                Op::Subscribe(topic) => {
                    model.subscribed.insert(topic);
                    let head = Position { epoch, offset: model.counter };
                    prop_assert_eq!(shard.subscribe(name(topic)), (partition, head));
                }
                Op::Unsubscribe(topic) => {
                    model.subscribed.remove(&topic);
                    shard.unsubscribe(&name(topic));
                }
                Op::Forget(topic) => {
                    let there = !model.events(topic).is_empty();
                    model.topics.entry(topic).and_modify(|kept| kept.events.clear());
                    prop_assert_eq!(shard.forget(&name(topic), now, &feed), there);
                }
                Op::Wait(ms) => model.now += ms,
                Op::After(topic, offset, limit) => {
                    let span = Span::After { position: Position { epoch, offset }, limit };
                    let read = Read { topic: name(topic), span };
                    let page = shard.after(&[&read], usize::MAX, now).remove(0);
                    let offsets = page.events.iter().map(|event| event.mark.offset).collect();
                    prop_assert_eq!((offsets, page.reset, page.more), model.after(topic, offset, limit));
                    let last = page.events.last().map_or(offset, |event| event.mark.offset);
                    prop_assert_eq!(page.head.offset, if page.more { last } else { model.counter });
                }
                Op::Before(topic, offset, limit) => {
                    let read = Read { topic: name(topic), span: Span::Before { offset, limit } };
                    let page = shard.before(&read, usize::MAX, now);
                    let offsets = page.events.iter().map(|event| event.mark.offset).collect();
                    prop_assert_eq!((offsets, page.more), model.before(topic, offset, limit));
                    prop_assert_eq!(page.reset, None);
                }
            }
            shard.check();
        }
        feed.close();
        prop_assert_eq!(events(&mut deliveries), sent);
    }

    /// Short of room, a shard stays within it, and whatever it drops it says: a page without a reset is complete.
    #[test]
    fn short_of_room_nothing_goes_silently(
        limit in 500..4000usize,
        published in prop::collection::vec((0..12usize, 1..6u32), 1..120),
    ) {
        let now = Instant::now();
        let (feed, _deliveries) = queue(1 << 30);
        let epoch = Epoch::from_random(1);
        let mut shard = Shard::new(name(0).partition(1), epoch, limit, 100);
        let mut all: HashMap<usize, Vec<Offset>> = HashMap::new();
        for (offset, (topic, size)) in (1..).zip(published) {
            let day = millis(86_400_000);
            let retention = Retention { size, ttl: day, record_ttl: day, key_ttl: day };
            shard.publish(publication(topic, retention, None), now, &feed).expect("the feed has room");
            prop_assert!(shard.check() <= limit);
            all.entry(topic).or_default().push(offset);
        }
        let head = shard.head().offset;
        for (topic, offsets) in &all {
            for place in 0..=head {
                let span = Span::After { position: Position { epoch, offset: place }, limit: 1000 };
                let read = Read { topic: name(*topic), span };
                let page = shard.after(&[&read], usize::MAX, now).remove(0);
                let told: Vec<_> = page.events.iter().map(|event| event.mark.offset).collect();
                let missed: Vec<_> = offsets.iter().copied().filter(|offset| *offset > place).collect();
                prop_assert!(page.reset.is_some() || told == missed, "{topic} after {place}: {told:?}");
                prop_assert!(missed.ends_with(&told));
            }
        }
    }

    /// Publishing alone frees what has expired: in the end nothing is left but the last.
    #[test]
    fn what_has_expired_is_swept(ttls in prop::collection::vec((1..50u64, 1..50u64), 1..200)) {
        let start = Instant::now();
        let (feed, _deliveries) = queue(1 << 30);
        let mut shard = Shard::new(name(0).partition(1), Epoch::from_random(1), 1 << 30, 100);
        let count = ttls.len();
        let publish = |shard: &mut Shard, topic, ttl, record_ttl, now| {
            let (ttl, record_ttl) = (millis(ttl), millis(record_ttl));
            let retention = Retention { size: 10, ttl, record_ttl, key_ttl: ttl };
            shard.publish(publication(topic, retention, Some(topic.to_string())), now, &feed).expect("room");
            shard.check()
        };
        for (topic, (ttl, record_ttl)) in ttls.into_iter().enumerate() {
            publish(&mut shard, topic, ttl, record_ttl, start);
        }
        let later = start + millis(100);
        let mut left = 0;
        for _ in 0..count {
            left = publish(&mut shard, count, 50, 50, later);
        }
        prop_assert!(left < 1000, "{left} bytes are left");
    }
}

fn events(deliveries: &mut crate::Deliveries) -> Vec<(Topic, Offset, Option<Offset>)> {
    let mut batch = VecDeque::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let (mut all, mut last) = (Vec::new(), 0);
    while runtime.block_on(deliveries.next(&mut batch)) {
        for delivery in batch.drain(..) {
            match delivery {
                Delivery::Event(event) => {
                    last = event.mark.offset;
                    all.push((event.topic.clone(), last, event.mark.prev));
                }
                Delivery::Seen(_, position) => {
                    assert!(position.offset > last, "a place that was not told before");
                    last = position.offset;
                }
                Delivery::Forgotten { seen: (_, position), .. } => assert!(position.offset >= last),
                other => panic!("unexpected: {other:?}"),
            }
        }
    }
    all
}
