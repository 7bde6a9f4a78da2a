//! An epoch and an offset name one event, for whoever gave it, and whoever got it.

use std::collections::BTreeMap;

use tidegate_protocol::{Partition, Position};

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
    failures
}
