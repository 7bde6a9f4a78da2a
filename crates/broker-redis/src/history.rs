//! Reading stored events: a script for each read, so that a page and its partition's place are of one instant.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::{Cmd, Pipeline, Value};
use tidegate_broker::{Error, Page, Read, ResetReason, Span};
use tidegate_protocol::{Envelope, Epoch, Event, Mark, Message, Offset, Partition, Position, Topic};
use tokio::time::Instant;

use crate::connect::unexpected;
use crate::errors::unanswered;
use crate::keys::Keys;
use crate::partition::{Entered, Subscription};
use crate::place::{Place, Verdict};
use crate::pool::{Connection, Pool};
use crate::room::Room;
use crate::scripts::{self, eval};

/// Reads in one pipeline: Redis serves others between two scripts, but a pipeline's answers wait in memory for the last one.
const PIPELINE: usize = 64;

/// A caller waits for a page: what two attempts teach helps the next one.
const ATTEMPTS: usize = 2;

/// The reading half of the broker.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(crate) keys: Keys,
    pub(crate) partitions: Arc<[Arc<Subscription>]>,
    pub(crate) pool: Pool,
    /// How long a primary that takes over is waited for.
    pub(crate) patience: Duration,
    /// Topics that one user may be a member of.
    pub(crate) memberships: usize,
    /// Bytes of events in one page, unless a single event is larger. What is left out shows as
    /// [`Page::more`].
    pub(crate) pages: Room,
}

impl Reader {
    /// Runs commands in one round trip; the first refusal fails them all.
    pub(crate) async fn run(&self, commands: impl Iterator<Item = Cmd>) -> Result<Vec<Value>, Error> {
        ask(self.pool.get().await?, commands).await
    }

    /// Asks for what the link carries in time. What does not come in time is asked for again in
    /// smaller parts, `attempts` times in all.
    ///
    /// Not if there is no connection: a Redis that hangs gives none, whatever is asked.
    pub(crate) async fn sized(
        &self,
        room: &Room,
        attempts: usize,
        questions: impl Fn(usize) -> Vec<Cmd>,
    ) -> Result<Vec<Value>, Error> {
        let mut attempt = 1;
        loop {
            let (connection, bytes) = (self.pool.get().await?, room.bytes());
            let asked = Instant::now();
            match ask(connection, questions(bytes).into_iter()).await {
                Ok(answers) => {
                    room.answered(bytes, answers.iter().map(weight).sum(), asked.elapsed());
                    return Ok(answers);
                }
                Err(error) => {
                    if !room.failed(bytes, asked.elapsed()) || attempt == attempts {
                        return Err(error);
                    }
                }
            }
            attempt += 1;
        }
    }

    /// A page for each read, in their order.
    pub(crate) async fn history(&self, reads: &[Read]) -> Result<Vec<Page>, Error> {
        let mut pages = Vec::with_capacity(reads.len());
        for chunk in reads.chunks(PIPELINE) {
            pages.extend(self.pages_of(chunk).await?);
        }
        Ok(pages)
    }

    async fn pages_of(&self, reads: &[Read]) -> Result<Vec<Page>, Error> {
        let deadline = Instant::now() + self.patience;
        let mut partitions: Vec<Partition> =
            reads.iter().map(|read| self.keys.partition(&read.topic)).collect();
        partitions.sort_unstable();
        partitions.dedup();
        let mut entered = Vec::with_capacity(partitions.len());
        for partition in &partitions {
            entered.push(self.partitions[partition.index()].entered(deadline).await?);
        }
        let mut again = true;
        loop {
            let place = |partition: Partition| {
                let at = partitions.iter().position(|of| *of == partition).unwrap_or_default();
                &entered[at].place
            };
            let command =
                |read, bytes| self.command(read, place(self.keys.partition(&read.topic)).head.epoch, bytes);
            let commands = |bytes| reads.iter().map(|read| command(read, bytes)).collect();
            let answers = self.sized(&self.pages, ATTEMPTS, commands).await?;
            let moved = |partition: Partition| {
                let of_it = reads
                    .iter()
                    .zip(&answers)
                    .filter(|(read, _)| self.keys.partition(&read.topic) == partition);
                of_it.into_iter().any(|(_, answer)| scripts::is_elsewhere(answer))
            };
            let elsewhere: Vec<usize> = (0..partitions.len()).filter(|at| moved(partitions[*at])).collect();
            if elsewhere.is_empty() || !std::mem::take(&mut again) {
                let pages = reads.iter().zip(answers).map(|(read, answer)| {
                    let partition = self.keys.partition(&read.topic);
                    page(read, partition, place(partition), answer)
                });
                return pages.collect();
            }
            for at in elsewhere {
                let partition = &self.partitions[partitions[at].index()];
                entered[at] = partition.enter_again(&entered[at], deadline).await?;
            }
        }
    }

    /// Where the node has entered a partition.
    pub(crate) async fn entered(&self, partition: Partition) -> Result<Entered, Error> {
        self.partitions[partition.index()].entered(Instant::now() + self.patience).await
    }

    /// Runs one script in a partition; once more, if the node has to enter again first.
    pub(crate) async fn run_in(
        &self,
        partition: Partition,
        command: impl Fn(Epoch) -> Cmd,
    ) -> Result<Value, Error> {
        let mut entered = self.entered(partition).await?;
        let mut again = true;
        loop {
            let question = command(entered.place.head.epoch);
            let answer = self.run(std::iter::once(question)).await?.pop().unwrap_or_default();
            if !scripts::is_elsewhere(&answer) || !std::mem::take(&mut again) {
                return Ok(answer);
            }
            let deadline = Instant::now() + self.patience;
            entered = self.partitions[partition.index()].enter_again(&entered, deadline).await?;
        }
    }

    /// Drops a topic's stream and tells the nodes. Its record stays, so that older cursors get a reset.
    pub(crate) async fn forget(&self, topic: &Topic) -> Result<bool, Error> {
        let (dropped, _) =
            self.control(topic, &self.keys.stream(topic), &Message::Forgotten, &["DEL"]).await?;
        Ok(dropped > 0)
    }

    fn command(&self, read: &Read, epoch: Epoch, bytes: usize) -> Cmd {
        let Read { topic, span } = read;
        let keys = [self.keys.record(topic), self.keys.stream(topic)];
        let mut command = eval(&scripts::READ, &self.keys, self.keys.partition(topic), epoch, &keys);
        let limit = match span {
            Span::After { position, limit } => {
                command.arg("up").arg(format!("{}-1", position.offset)).arg("+");
                *limit
            }
            Span::Last { limit } => {
                command.arg("down").arg("+").arg("-");
                *limit
            }
            // Entries are `<offset>-0`: this excludes the offset itself without `(`, which 0 could not be given with.
            Span::Before { offset, limit } => {
                command.arg("down").arg(format!("{}-1", offset.saturating_sub(1))).arg("-");
                *limit
            }
        };
        command.arg(limit).arg(bytes);
        command
    }
}

/// Runs commands on a connection that goes back to its pool if all of them are answered.
async fn ask(mut connection: Connection, commands: impl Iterator<Item = Cmd>) -> Result<Vec<Value>, Error> {
    let mut pipeline = Pipeline::new();
    for command in commands {
        pipeline.add_command(command);
    }
    pipeline.ignore_errors();
    match pipeline.query_async::<Vec<Value>>(&mut connection).await {
        Ok(answers) if answers.len() == pipeline.len() => Ok(answers),
        Ok(_) => Err(unexpected("too few answers")),
        Err(error) => {
            // Late answers may still be on their way: not a connection for others.
            drop(Connection::take(connection));
            Err(unanswered(&error))
        }
    }
}

/// Bytes of an answer's strings.
fn weight(answer: &Value) -> usize {
    match answer {
        Value::BulkString(bytes) => bytes.len(),
        Value::Array(parts) => parts.iter().map(weight).sum(),
        _ => 0,
    }
}

pub(crate) fn page(read: &Read, partition: Partition, place: &Place, answer: Value) -> Result<Page, Error> {
    let head = scripts::position(&answer)?;
    let Value::Array(parts) = answer else { return Err(unexpected("a page is an array")) };
    let [_, _, last, envelopes, more]: [Value; 5] =
        parts.try_into().map_err(|_| unexpected("a page has five parts"))?;
    let (last, more) = (scripts::offset_of(&last)?, scripts::offset_of(&more)? > 0);
    let Value::Array(envelopes) = envelopes else { return Err(unexpected("events are an array")) };
    let mut events: Vec<_> =
        envelopes.into_iter().filter_map(|value| event(&read.topic, partition, head.epoch, value)).collect();
    let Span::After { position, .. } = read.span else {
        events.reverse();
        return Ok(Page { events, head, reset: None, more });
    };
    let reset = reset(position, place, head, last, events.first().map(|event| &event.mark));
    if reset.is_some_and(|reason| reason != ResetReason::Trimmed) {
        return Ok(Page { events: Vec::new(), head, reset, more: false });
    }
    Ok(Page { events, head, reset, more })
}

/// Whether what is stored still reaches back to `reader`.
fn reset(
    reader: Position,
    place: &Place,
    head: Position,
    last: Offset,
    first: Option<&Mark>,
) -> Option<ResetReason> {
    match place.judge(reader, head.offset) {
        Verdict::Continues => {}
        Verdict::Ahead => return Some(ResetReason::Unknown),
        Verdict::Lost(_) => return Some(ResetReason::Epoch),
    }
    match first {
        Some(mark) if mark.prev.is_some_and(|prev| prev > reader.offset) => Some(ResetReason::Trimmed),
        None if last > reader.offset => Some(ResetReason::Expired),
        _ => None,
    }
}

/// A stored envelope as an event. Foreign bytes in a stream are passed over. What earlier epochs have
/// left is the same offset of the current `epoch`.
pub(crate) fn event(topic: &Topic, partition: Partition, epoch: Epoch, value: Value) -> Option<Arc<Event>> {
    let Value::BulkString(bytes) = value else { return None };
    let envelope = match Envelope::parse(&Bytes::from(bytes)) {
        Ok(envelope) => envelope,
        Err(error) => {
            tracing::warn!(%topic, %error, "a stored event was passed over");
            return None;
        }
    };
    let Message::Event { name, data, at } = envelope.message else { return None };
    let offset = envelope.position.offset;
    let mark = Mark { partition, epoch, offset, prev: envelope.prev };
    Some(Arc::new(Event { topic: topic.clone(), name, data, at, mark }))
}
