//! What was missed is read from the streams and handed on in order; then deliveries go on live.
//!
//! A round goes up to heads that were read after everything was subscribed, on the same connection: what is stored up
//! to a head is in the streams, what is later is held back or still to come. Events are taken in
//! windows of bytes, in the order of their offsets, and each window that was handed on stays so:
//! memory is bounded however many topics and events there are, and a slow link makes a repair slow,
//! but never endless.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use redis::aio::MultiplexedConnection;
use tidegate_broker::{Delivery, Error, ResetReason};
use tidegate_protocol::{Envelope, Offset, Partition, Position, Topic};
use tokio::time::sleep;

use super::sequencer::{Held, Mode, Refused, Sequencer};
use super::supervisor::Supervisor;
use super::words::reset;
use crate::connect::unavailable;
use crate::scripts;
use crate::window::{self, Limits, TOPICS};

/// Offsets read at once, however small the events are. A partition's offsets are unique, so no more
/// events than this are in memory.
const WINDOW: Offset = 4096;

/// Between two attempts to hand something to a dispatch that is behind.
const PAUSE: Duration = Duration::from_millis(5);

/// One look at where the partitions stand.
pub(super) struct Round {
    pub(super) heads: Vec<Position>,
    /// As it was before the heads were asked for.
    seen: Vec<Option<Position>>,
    /// Messages held then: they are older than the heads.
    older: Vec<usize>,
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
        let older = sequencer.held.iter().map(VecDeque::len).collect();
        Self { heads: Vec::new(), seen: sequencer.seen.clone(), older }
    }

    /// Whether the heads are in the same epochs as what was seen, and not behind it.
    pub(super) fn follows(&self) -> bool {
        let follows = |(seen, head): (&Option<Position>, &Position)| {
            seen.is_some_and(|seen| seen.epoch == head.epoch && seen.offset <= head.offset)
        };
        self.seen.iter().zip(&self.heads).all(follows)
    }
}

impl Supervisor {
    /// Repairs up to the heads of `round` and goes live, with the `fresh` topics confirmed. False: another round is needed.
    pub(super) async fn repair(
        &self,
        connection: &mut MultiplexedConnection,
        fresh: &[Arc<str>],
        mut round: Round,
    ) -> Result<bool, Error> {
        for partition in self.reader.keys.partitions() {
            let head = self.agree(connection, partition, round.heads[partition.index()]).await?;
            round.heads[partition.index()] = head;
            let seen = self.shared.sequencer.lock().seen[partition.index()];
            if seen.is_some_and(|seen| seen.offset < head.offset) {
                self.catch_up(partition, &mut round).await?;
            }
            self.shared.sequencer.lock().reach(partition, head);
        }
        self.shared.sequencer.lock().confirm(fresh, &round.heads);
        loop {
            match drain(&mut self.shared.sequencer.lock(), &mut round) {
                Drained::Live => return Ok(true),
                Drained::Again => return Ok(false),
                Drained::Full => {}
            }
            sleep(PAUSE).await;
        }
    }

    /// Makes sure that what was seen and `head` are of one life of the counter. Gives the head that then counts.
    async fn agree(
        &self,
        connection: &mut MultiplexedConnection,
        partition: Partition,
        head: Position,
    ) -> Result<Position, Error> {
        let seen = self.shared.sequencer.lock().seen[partition.index()];
        let Some(seen) = seen else {
            self.shared.sequencer.lock().seen[partition.index()] = Some(head);
            return Ok(head);
        };
        if seen.epoch == head.epoch && seen.offset <= head.offset {
            return Ok(head);
        }
        let mut current = head;
        if seen.epoch == head.epoch {
            // The offsets between would be given again, to other events.
            tracing::error!(%partition, seen = seen.offset, head = head.offset, "Redis has fallen back to older data");
            let renew = scripts::renew(&self.reader.keys, partition, seen.epoch);
            let answer = renew.query_async::<Value>(connection).await.map_err(|error| unavailable(&error))?;
            current = scripts::position(&answer)?;
        } else {
            tracing::error!(%partition, "Redis has lost its data: another epoch has begun");
        }
        self.shared.sequencer.lock().renewed(partition, current.epoch);
        Ok(current)
    }

    /// Hands on what a partition's topics have stored after what was seen, up to the head.
    async fn catch_up(&self, partition: Partition, round: &mut Round) -> Result<(), Error> {
        let head = round.heads[partition.index()];
        let missed = self.missed(partition, head).await?;
        loop {
            let Some(seen) = self.shared.sequencer.lock().seen[partition.index()] else { return Ok(()) };
            if seen.offset >= head.offset {
                break;
            }
            let upto = Position { epoch: head.epoch, offset: head.offset.min(seen.offset + WINDOW) };
            let (upto, mut window) = self.window(partition, &missed, seen.offset, upto).await?;
            window.extend(
                self.held(partition, upto, round).into_iter().map(|held| (held.channel, held.envelope)),
            );
            // At one offset there is one stored event; what else carries it was sent after it.
            window.sort_by_key(|(_, envelope)| (envelope.position.offset, envelope.prev.is_none()));
            for (channel, envelope) in &window {
                while self.shared.sequencer.lock().replay(channel, envelope).is_err() {
                    sleep(PAUSE).await;
                }
            }
            self.shared.sequencer.lock().reach(partition, upto);
        }
        self.tell_expired(partition, &missed, head);
        Ok(())
    }

    /// The topics that have stored something after what was handed on of them.
    async fn missed(&self, partition: Partition, head: Position) -> Result<Vec<Missed>, Error> {
        let held: Vec<(Arc<str>, Topic, Offset)> = {
            let sequencer = self.shared.sequencer.lock();
            let ours = sequencer.entries.iter().filter(|(_, e)| e.partition == partition && e.confirmed);
            ours.map(|(channel, entry)| (Arc::clone(channel), entry.topic.clone(), entry.last)).collect()
        };
        let mut missed = Vec::new();
        for chunk in held.chunks(TOPICS) {
            let record = |(_, topic, _): &(_, Topic, _)| {
                let mut command = redis::cmd("HMGET");
                command.arg(self.reader.keys.record(topic)).arg("e").arg("l");
                command
            };
            let answers = self.reader.run(chunk.iter().map(record)).await?;
            for ((channel, topic, known), answer) in chunk.iter().zip(answers) {
                if let Some(last) = last_of(&answer, head)?
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
        partition: Partition,
        missed: &[Missed],
        from: Offset,
        mut upto: Position,
    ) -> Result<(Position, Vec<(Arc<str>, Envelope)>), Error> {
        let (mut events, mut taken): (Vec<(Arc<str>, Envelope)>, usize) = (Vec::new(), 0);
        let with_some: Vec<&Missed> = missed.iter().filter(|missed| missed.last > from).collect();
        let mut parts = with_some.len().div_ceil(TOPICS);
        for chunk in with_some.chunks(TOPICS) {
            let topics: Vec<_> = chunk.iter().map(|missed| (&missed.topic, from)).collect();
            let question = |room: usize| {
                let bytes = room.saturating_sub(taken) / parts;
                let limits = Limits { events: u32::MAX, bytes, upto: Some(upto.offset) };
                vec![window::command(&self.reader.keys, partition, &topics, &limits)]
            };
            let answer =
                self.reader.sized(&self.windows, usize::MAX, question).await?.pop().unwrap_or_default();
            let window = window::parse(answer)?;
            if window.head.epoch != upto.epoch {
                return Err(Error::Unavailable("another epoch began meanwhile".into()));
            }
            upto.offset = window.upto;
            for (number, bytes) in window.events {
                taken += bytes.len();
                if let Ok(envelope) = Envelope::parse(&bytes) {
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
    fn held(&self, partition: Partition, upto: Position, round: &mut Round) -> Vec<Held> {
        let mut sequencer = self.shared.sequencer.lock();
        let (mut taken, older) = (Vec::new(), &mut round.older[partition.index()]);
        while let Some(next) = sequencer.held[partition.index()].front() {
            let position = next.envelope.position;
            let due = if position.epoch == upto.epoch { position.offset <= upto.offset } else { *older > 0 };
            if !due {
                break;
            }
            *older = older.saturating_sub(1);
            taken.extend(sequencer.pop_held(partition));
        }
        taken
    }

    /// Events that a record knows of, and that no stream has any more.
    fn tell_expired(&self, partition: Partition, missed: &[Missed], head: Position) {
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
            sequencer.tell(reset(partition, expired, ResetReason::Expired, head));
        }
    }
}

/// Hands on what was held back, and goes live if that leaves nothing open.
fn drain(sequencer: &mut Sequencer, round: &mut Round) -> Drained {
    for (index, head) in round.heads.iter().enumerate() {
        while let Some(held) = sequencer.held[index].pop_front() {
            let older = round.older[index] > 0;
            let position = held.envelope.position;
            let current = sequencer.seen[index].unwrap_or(*head);
            // Read from a stream already, or of an epoch that is over: the latter only if the head is newer for sure.
            let done =
                if position.epoch == current.epoch { position.offset <= current.offset } else { older };
            let outcome = if done {
                sequencer.replay(&held.channel, &held.envelope).map_err(|_| Refused::Full)
            } else {
                sequencer.accept(&held.channel, &held.envelope)
            };
            sequencer.held[index].push_front(held);
            match outcome {
                Ok(()) => {}
                Err(Refused::Full) => return Drained::Full,
                Err(Refused::Gap(_)) => return Drained::Again,
            }
            if let Some(partition) = Partition::new(u8::try_from(index).unwrap_or(u8::MAX)) {
                sequencer.pop_held(partition);
            }
            round.older[index] = round.older[index].saturating_sub(1);
        }
    }
    sequencer.mode = Mode::Live;
    if std::mem::replace(&mut sequencer.ever_live, true) {
        sequencer.tell(Delivery::Gap);
    }
    sequencer.answer(&round.heads);
    Drained::Live
}

/// The last offset that a record holds, if it is of the current epoch.
fn last_of(record: &Value, head: Position) -> Result<Option<Offset>, Error> {
    match record {
        Value::Array(parts) => match parts.as_slice() {
            [Value::BulkString(epoch), Value::BulkString(last)]
                if epoch == head.epoch.as_str().as_bytes() =>
            {
                Ok(std::str::from_utf8(last).ok().and_then(|last| last.parse().ok()))
            }
            _ => Ok(None),
        },
        other => Err(scripts::failure(other, "a record")),
    }
}
