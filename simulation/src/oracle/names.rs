//! An epoch and an offset name one event, for its publisher, for all who got it, and in every
//! server that ever stored one. The event itself may have several names: it is called by a later
//! epoch when it is read after a change that lost nothing. A batch keeps its order within a topic.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_protocol::{Epoch, Partition, Position, Topic};
use tokio::time::Instant;

use super::{Failure, Log};
use crate::redis::Stored;
use crate::world::{World, number};

pub(super) fn judge(world: &World, log: &Log) -> Vec<Failure> {
    let receipts = log.sent.iter().enumerate().filter_map(|(number, sent)| Some((number, sent.place?)));
    let mut names: BTreeMap<(usize, String, u64), usize> = BTreeMap::new();
    let mut failures = Vec::new();
    let mut claim =
        |number: usize, (partition, position): (Partition, Position), who: &dyn Fn() -> String| {
            let name = (partition.index(), position.epoch.as_str().to_owned(), position.offset);
            let first = *names.entry(name).or_insert(number);
            if first != number {
                let words = format!("{position:?} is event {first}, and {number} for {}", who());
                failures.push(Failure::new("TWO EVENTS OF ONE NAME", words));
            }
        };
    receipts.for_each(|(number, place)| claim(number, place, &|| "its publisher".into()));
    for life in world.lives.lock().iter() {
        for (number, place) in life.tap.places() {
            claim(number, place, &|| format!("node {}", life.number));
        }
    }
    for stored in &world.redis.state().record.stored {
        if let Some((number, place)) = place(stored) {
            claim(number, place, &|| format!("server {}", stored.server));
        }
    }
    failures.extend(batches(log));
    failures.extend(not_stored(world, log));
    failures
}

/// An event is nowhere if every attempt was answered with an error other than `Unknown`.
fn not_stored(world: &World, log: &Log) -> Vec<Failure> {
    let refused = |number: usize| {
        let sent = &log.sent[number];
        sent.done.is_none() && sent.unknown == 0
    };
    let state = world.redis.state();
    let stored = state.record.stored.iter().filter_map(|stored| Some((place(stored)?.0, stored.server)));
    stored
        .filter(|(number, _)| refused(*number))
        .map(|(number, server)| {
            let words = format!("event {number}, which was refused, is stored in server {server}");
            Failure::new("NOT REFUSED", words)
        })
        .collect()
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

/// The events that the primary has.
pub(super) fn kept(world: &World) -> BTreeSet<usize> {
    let state = world.redis.state();
    let keys: BTreeSet<Vec<u8>> = state.record.stored.iter().map(|stored| stored.key.clone()).collect();
    let db = &state.servers[state.current].db;
    let messages = keys.iter().flat_map(|key| db.messages(std::str::from_utf8(key).unwrap_or_default()));
    messages.filter_map(|message| Some(event(message)?.1)).collect()
}

/// Whether a stored message is the event of that number.
pub(super) fn holds(message: &[u8], number: usize) -> bool {
    event(message).is_some_and(|(_, found)| found == number)
}

/// When an event was written to that place, if it was.
pub(super) fn stored_at(world: &World, number: usize, position: Position) -> Option<Instant> {
    let state = world.redis.state();
    let is = |stored: &&Stored| event(&stored.message) == Some((position, number));
    state.record.stored.iter().find(is).map(|stored| stored.at)
}

/// A stored event's number and place.
fn place(stored: &Stored) -> Option<(usize, (Partition, Position))> {
    let (position, number) = event(&stored.message)?;
    let key = std::str::from_utf8(&stored.key).ok()?;
    let partition = key.split_once('{')?.1.split_once('}')?.0.parse().ok()?;
    Some((number, (Partition::new(partition)?, position)))
}

fn event(message: &[u8]) -> Option<(Position, usize)> {
    let mut lines = message.splitn(3, |byte| *byte == b'\n');
    let mut head = std::str::from_utf8(lines.next()?).ok()?.split(' ').skip(1);
    let epoch = Epoch::parse(head.next()?.as_bytes())?;
    let position = Position { epoch, offset: head.next()?.parse().ok()? };
    Some((position, number(lines.nth(1)?)?))
}
