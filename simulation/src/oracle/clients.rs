//! What a client got against what was acknowledged: nothing is lost, doubled or out of order,
//! unless a reset said so.

use std::collections::BTreeMap;

use tidegate_protocol::{Position, Topic};
use tokio::time::Instant;

use super::names::{holds, stored_at};
use super::users;
use super::{Failure, Got, Log, Sent};
use crate::plan::Family;
use crate::world::World;

/// One client's side of the story.
struct Story<'a> {
    log: &'a Log,
    me: usize,
    resets: Vec<(Instant, &'a Topic)>,
    had: BTreeMap<usize, Instant>,
    /// When the current stream began.
    opened: Option<Instant>,
    /// For each topic the last event in order.
    last: BTreeMap<&'a Topic, (usize, Position)>,
    failures: Vec<Failure>,
}

pub(super) fn judge(world: &World, log: &Log, me: usize) -> Vec<Failure> {
    let mut story = Story {
        log,
        me,
        resets: Vec::new(),
        had: BTreeMap::new(),
        opened: None,
        last: BTreeMap::new(),
        failures: Vec::new(),
    };
    for (at, got) in log.got(me) {
        match got {
            Got::Event { number } => story.event(*at, *number),
            Got::Reset { topics, reason } => {
                for topic in topics {
                    story.reset(*at, topic);
                    // To a user, a node that may have missed a membership says so with one.
                    if world.plan.keeps_all() && !log.forgotten(topic) && me >= world.plan.users {
                        let words = format!("client {me}: {reason} for {topic} at {:.3}", world.seconds(*at));
                        story.failures.push(Failure::new("WRONG RESET", words));
                    }
                }
            }
            Got::Ready => story.opened = Some(*at),
            Got::Left => {}
        }
    }
    story.lost(world);
    story.failures
}

/// Whether anything that is left could know that an event is lost: its primary may have died, and
/// every process that knew of it, before it was replicated. That is the one way to lose an event in
/// silence.
pub(super) fn known(world: &World, sent: &Sent, number: usize) -> bool {
    let lives = world.lives.lock();
    let mut living = lives.iter().filter(|life| life.lives());
    living.any(|life| sent.receipts.contains(&life.life) || life.tap.knows(number))
}

impl<'a> Story<'a> {
    fn reset(&mut self, at: Instant, topic: &'a Topic) {
        self.resets.push((at, topic));
        self.last.remove(topic);
    }

    fn was_reset(&self, topic: &Topic, since: Instant) -> bool {
        self.resets.iter().any(|(at, reset)| *at >= since && *reset == topic)
    }

    /// Whether a reset stands for the event: one that came after it was acknowledged, or stored at
    /// that place.
    fn told(&self, world: &World, number: usize, done: Instant) -> bool {
        let sent = &self.log.sent[number];
        let mut resets = self.resets.iter().filter(|(at, topic)| *at >= sent.begun && **topic == sent.topic);
        let stored = || sent.place.and_then(|(_, place)| stored_at(world, number, place));
        resets.any(|(at, _)| *at >= done || stored().is_some_and(|stored| *at >= stored))
    }

    fn event(&mut self, at: Instant, number: usize) {
        let (me, sent) = (self.me, &self.log.sent[number]);
        // An event without history moves no id: a node that is late may have it for a client that
        // had it elsewhere.
        let counts = |before| sent.stored() || self.opened.is_some_and(|opened| opened <= before);
        if let Some(before) = self.had.insert(number, at)
            && counts(before)
            && !self.was_reset(&sent.topic, before)
        {
            let words = format!("client {me} got event {number} on {} twice", sent.topic);
            self.failures.push(Failure::new("DOUBLED", words));
        }
        // One that was published again may be stored twice, if the first time was lost: the receipt does
        // not say which of them came.
        let Some((_, place)) = sent.place.filter(|_| sent.unknown == 0) else { return };
        if let Some((before, last)) = self.last.insert(&sent.topic, (number, place))
            && last.epoch == place.epoch
            && last.offset > place.offset
        {
            let words = format!(
                "client {me} got event {number} ({}) on {} after {before} ({})",
                place.offset, sent.topic, last.offset
            );
            self.failures.push(Failure::new("REORDERED", words));
        }
    }

    /// Everything that was acknowledged after the client's first stream was open, and that it never
    /// got.
    fn lost(&mut self, world: &World) {
        let first = self.log.got(self.me).iter().find(|(_, got)| matches!(got, Got::Ready));
        let Some((first, _)) = first else { return };
        for (number, sent) in self.log.sent.iter().enumerate() {
            let (Some(done), Some((partition, place))) = (sent.done, sent.place) else { continue };
            let due = sent.begun > *first && self.entitled(world, number);
            if !due || self.had.contains_key(&number) || self.told(world, number, done) {
                continue;
            }
            // Whether it could still be given.
            let key = format!("tg:{{{partition}}}:s:{}", sent.topic);
            let there = world
                .redis
                .state()
                .primary()
                .db
                .messages(&key)
                .into_iter()
                .any(|message| holds(message, number));
            if !there && !known(world, sent, number) {
                continue;
            }
            let words = format!(
                "client {} never got event {number} on {} (offset {}), published {:.3} to {:.3}",
                self.me,
                sent.topic,
                place.offset,
                world.seconds(sent.begun),
                world.seconds(done),
            );
            self.failures.push(Failure::new(if there { "LOST" } else { "DESTROYED" }, words));
        }
    }

    fn entitled(&self, world: &World, number: usize) -> bool {
        let sent = &self.log.sent[number];
        if self.me < world.plan.users {
            return users::entitled(self.log, self.me, sent, world.plan.family == Family::Members);
        }
        self.log.wants.get(&self.me).is_some_and(|topics| topics.contains(&sent.topic))
    }
}
