//! What was missed is read from the streams and handed on in order; then deliveries go on live.
//!
//! A round goes up to heads that were read after everything was subscribed, on the same connection: what is stored up
//! to a head is in the streams, what is later is held back or still to come. Events are taken in
//! windows of bytes, in the order of their offsets, and each window that was handed on stays so:
//! memory is bounded however many topics and events there are, and a slow link makes a repair slow,
//! but never endless.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use tidegate_broker::{Error, ResetReason};
use tidegate_protocol::{Envelope, Epoch, Offset, Position, Topic};
use tokio::time::sleep;

use super::link::Link;
use super::sequencer::{Held, Mode, Refused, Sequencer};
use super::words::reset;
use crate::place::Place;
use crate::scripts;
use crate::window::{self, Limits, TOPICS};

/// Offsets read at once, however small the events are. A partition's offsets are unique, so no more
/// events than this are in memory.
const WINDOW: Offset = 4096;

/// Between two attempts to hand something to a dispatch that is behind.
const PAUSE: Duration = Duration::from_millis(5);

/// One look at where the partition stands.
pub(super) struct Round {
    pub(super) head: Position,
    /// As it was before the head was asked for.
    seen: Option<Position>,
    /// Messages held then: they are older than the head.
    older: usize,
}

/// A topic with something to read.
struct Missed {
    channel: Arc<str>,
    topic: Topic,
    /// What its record says its last event is.
    last: Offset,
}

enum Drained {
    Live,
    /// There is more to repair than this round has looked at.
    Again,
    Full,
}

impl Round {
    pub(super) fn begin(sequencer: &Sequencer) -> Self {
        let head = Position { epoch: Epoch::NONE, offset: 0 };
        Self { head, seen: sequencer.seen, older: sequencer.held.len() }
    }

    /// Whether the head is in the same epoch as what was seen, and not behind it.
    pub(super) fn follows(&self) -> bool {
        let follows = |seen: Position| seen.epoch == self.head.epoch && seen.offset <= self.head.offset;
        self.seen.is_none_or(follows)
    }
}

impl Link {
    /// Repairs up to the head of `round` and goes live, with the `fresh` topics confirmed. False: another round is needed.
    pub(super) async fn repair(&self, fresh: &[Arc<str>], mut round: Round) -> Result<bool, Error> {
        let (seen, head) = (self.shared.sequencer.lock().seen, round.head);
        if seen.is_some_and(|seen| seen.offset < head.offset) {
            self.catch_up(&mut round).await?;
        }
        {
            let mut sequencer = self.shared.sequencer.lock();
            sequencer.reach(head);
            sequencer.confirm(fresh, head);
        }
        loop {
            match drain(&mut self.shared.sequencer.lock(), &mut round) {
                Drained::Live => return Ok(true),
                Drained::Again => return Ok(false),
                Drained::Full => {}
            }
            sleep(PAUSE).await;
        }
    }

    /// Hands on what a partition's topics have stored after what was seen, up to the head.
    async fn catch_up(&self, round: &mut Round) -> Result<(), Error> {
        let head = round.head;
        let Some(place) = self.shared.standing.place() else {
            return Ok(());
        };
        let missed = self.missed(&place).await?;
        loop {
            let Some(seen) = self.shared.sequencer.lock().seen else { return Ok(()) };
            if seen.offset >= head.offset {
                break;
            }
            let upto = Position { epoch: head.epoch, offset: head.offset.min(seen.offset + WINDOW) };
            let (upto, mut window) = self.window(&missed, seen.offset, upto).await?;
            window.extend(self.held(upto, round).into_iter().map(|held| (held.channel, held.envelope)));
            // At one offset there is one stored event; what else carries it was sent after it.
            window.sort_by_key(|(_, envelope)| (envelope.position.offset, envelope.prev.is_none()));
            for (channel, envelope) in &window {
                while self.shared.sequencer.lock().replay(channel, envelope).is_err() {
                    sleep(PAUSE).await;
                }
            }
            self.shared.sequencer.lock().reach(upto);
        }
        self.tell_expired(&missed, head);
        Ok(())
    }

    /// The topics that have stored something after what was handed on of them.
    async fn missed(&self, place: &Place) -> Result<Vec<Missed>, Error> {
        let held: Vec<(Arc<str>, Topic, Offset)> = {
            let sequencer = self.shared.sequencer.lock();
            let ours = sequencer.entries.iter().filter(|(_, entry)| entry.confirmed);
            ours.map(|(channel, entry)| (Arc::clone(channel), entry.topic.clone(), entry.last)).collect()
        };
        let mut missed = Vec::new();
        for chunk in held.chunks(TOPICS) {
            let record = |(_, topic, _): &(_, Topic, _)| {
                let mut command = redis::cmd("HMGET");
                command.arg(self.reader.keys.record(topic)).arg("e").arg("l").arg("f");
                command
            };
            // Behind them, whether it is the primary that has answered: another server may not know
            // of what was missed.
            let head = scripts::head(&self.reader.keys, self.shared.partition, place.head.epoch);
            let mut answers = self.reader.run(chunk.iter().map(record).chain([head])).await?;
            scripts::position(&answers.pop().unwrap_or_default())?;
            for ((channel, topic, known), answer) in chunk.iter().zip(answers) {
                if let Some(last) = last_of(&answer, place)?
                    && last > *known
                {
                    missed.push(Missed { channel: Arc::clone(channel), topic: topic.clone(), last });
                }
            }
        }
        Ok(missed)
    }

    /// The stored events of these topics after `from`, up to `upto` or as far as fits. Gives how
    /// far that is.
    async fn window(
        &self,
        missed: &[Missed],
        from: Offset,
        mut upto: Position,
    ) -> Result<(Position, Vec<(Arc<str>, Envelope)>), Error> {
        let partition = self.shared.partition;
        let (mut events, mut taken): (Vec<(Arc<str>, Envelope)>, usize) = (Vec::new(), 0);
        let with_some: Vec<&Missed> = missed.iter().filter(|missed| missed.last > from).collect();
        let mut parts = with_some.len().div_ceil(TOPICS);
        for chunk in with_some.chunks(TOPICS) {
            let topics: Vec<_> = chunk.iter().map(|missed| (&missed.topic, from)).collect();
            let question = |room: usize| {
                let bytes = room.saturating_sub(taken) / parts;
                let limits = Limits { events: u32::MAX, bytes, upto: Some(upto.offset) };
                vec![window::command(&self.reader.keys, partition, upto.epoch, &topics, &limits)]
            };
            let answer =
                self.reader.sized(&self.windows, usize::MAX, question).await?.pop().unwrap_or_default();
            let window = window::parse(answer)?;
            upto.offset = window.upto;
            for (number, bytes) in window.events {
                taken += bytes.len();
                if let Ok(mut envelope) = Envelope::parse(&bytes) {
                    // What earlier epochs of this life have left is the same offset of this one.
                    envelope.position.epoch = upto.epoch;
                    events.push((Arc::clone(&chunk[number].channel), envelope));
                }
            }
            parts -= 1;
        }
        // A later part may have ended earlier.
        events.retain(|(_, envelope)| envelope.position.offset <= upto.offset);
        Ok((upto, events))
    }

    /// Takes what has come in meanwhile and belongs among what is read up to `upto`.
    fn held(&self, upto: Position, round: &mut Round) -> Vec<Held> {
        let mut sequencer = self.shared.sequencer.lock();
        let (mut taken, older) = (Vec::new(), &mut round.older);
        while let Some(next) = sequencer.held.front() {
            let position = next.envelope.position;
            let due = if position.epoch == upto.epoch { position.offset <= upto.offset } else { *older > 0 };
            if !due {
                break;
            }
            *older = older.saturating_sub(1);
            taken.extend(sequencer.pop_held());
        }
        taken
    }

    /// Events that a record knows of, and that no stream has any more.
    fn tell_expired(&self, missed: &[Missed], head: Position) {
        let mut sequencer = self.shared.sequencer.lock();
        let mut expired = Vec::new();
        // A later one than the head is still to come, and names its predecessor.
        for missed in missed.iter().filter(|missed| missed.last <= head.offset) {
            if let Some(entry) = sequencer.entries.get_mut(&missed.channel)
                && entry.confirmed
                && entry.last < missed.last
            {
                entry.last = missed.last;
                expired.push(missed.topic.clone());
            }
        }
        if !expired.is_empty() {
            sequencer.tell(reset(self.shared.partition, expired, ResetReason::Expired, head));
        }
    }
}

/// Hands on what was held back, and goes live if that leaves nothing open.
fn drain(sequencer: &mut Sequencer, round: &mut Round) -> Drained {
    while let Some(held) = sequencer.held.pop_front() {
        let position = held.envelope.position;
        let current = sequencer.seen.unwrap_or(round.head);
        // Read from a stream already, or of an epoch that is over: the latter only if the head is newer for sure.
        let done =
            if position.epoch == current.epoch { position.offset <= current.offset } else { round.older > 0 };
        let outcome = if done {
            sequencer.replay(&held.channel, &held.envelope).map_err(|_| Refused::Full)
        } else {
            sequencer.accept(&held.channel, &held.envelope)
        };
        sequencer.held.push_front(held);
        match outcome {
            Ok(()) => {}
            Err(Refused::Full) => return Drained::Full,
            Err(Refused::Gap(_)) => return Drained::Again,
        }
        sequencer.pop_held();
        round.older = round.older.saturating_sub(1);
    }
    sequencer.mode = Mode::Live;
    if std::mem::replace(&mut sequencer.ever_live, true) {
        sequencer.tell_gap();
    }
    sequencer.answer(round.head);
    Drained::Live
}

/// The last offset that a record holds, if it is of this life.
fn last_of(record: &Value, place: &Place) -> Result<Option<Offset>, Error> {
    let Value::Array(parts) = record else { return Err(scripts::failure(record, "a record")) };
    let [Value::BulkString(epoch), Value::BulkString(last), life] = parts.as_slice() else { return Ok(None) };
    let of_life = matches!(life, Value::BulkString(life) if life == place.life.as_bytes());
    // Gateways of the version before write no life.
    let of_epoch = [place.head.epoch.as_str(), &place.life].iter().any(|name| name.as_bytes() == epoch);
    let last = std::str::from_utf8(last).ok().and_then(|last| last.parse().ok());
    Ok(last.filter(|_| of_life || of_epoch))
}
