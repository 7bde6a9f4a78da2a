//! An epoch and an offset name one event, for its publisher and for all who got it. A batch keeps
//! its order within a topic.

use std::collections::BTreeMap;

use tidegate_protocol::{Partition, Position, Topic};

use super::{Failure, Log};
use crate::world::World;

pub(super) fn judge(world: &World, log: &Log) -> Vec<Failure> {
    let receipts = log.sent.iter().enumerate().filter_map(|(number, sent)| Some((number, sent.place?)));
    let mut names: BTreeMap<(usize, String, u64), usize> = BTreeMap::new();
    let mut failures = Vec::new();
    let mut claim = |number: usize, (partition, position): (Partition, Position), who: &str| {
        let name = (partition.index(), position.epoch.as_str().to_owned(), position.offset);
        let first = *names.entry(name).or_insert(number);
        if first != number {
            let words = format!("{position:?} is event {first}, and {number} for {who}");
            failures.push(Failure::new("TWO EVENTS OF ONE NAME", words));
        }
    };
    receipts.for_each(|(number, place)| claim(number, place, "its publisher"));
    for life in world.lives.lock().iter() {
        for (number, place) in life.tap.places() {
            claim(number, place, &format!("node {}", life.number));
        }
    }
    failures.extend(batches(log));
    failures
}

/// Of events with keys some may have been repeated later than others.
fn batches(log: &Log) -> Vec<Failure> {
    let mut last: BTreeMap<(usize, &Topic), Position> = BTreeMap::new();
    let mut failures = Vec::new();
    for (number, sent) in log.sent.iter().enumerate().filter(|(_, sent)| !sent.keyed) {
        let Some((_, position)) = sent.place else { continue };
        let before = last.insert((sent.batch, &sent.topic), position);
        if before.is_some_and(|before| before.epoch == position.epoch && before.offset > position.offset) {
            let words = format!("event {number} ({position:?}) was before {before:?} in its batch");
            failures.push(Failure::new("REORDERED", words));
        }
    }
    failures
}
