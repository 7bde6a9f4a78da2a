//! Publishing: a few multiplexed connections to a primary, each supervised. A topic always uses the same one, so it keeps its order.
//!
//! Concurrent publishes share round trips: a connection writes whatever waits in one go. A batch is one pipeline on
//! each connection that it touches, and every publication in it succeeds or fails on its own. What Redis has not done
//! is tried again for a moment: another primary may be taking over.

mod attempt;
mod slot;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redis::{Cmd, Pipeline, Value};
use tidegate_broker::{Error, Publication, Receipt, Retention};
use tidegate_protocol::{Message, Partition, Position, Topic};
use tokio::time::Instant;

use crate::connect::unexpected;
use crate::errors::{Kind, Refusal, unanswered};
use crate::keys::Keys;
use crate::scripts;
use crate::standing::{Entered, Standing};
use attempt::Again;
use slot::{Slots, Up};

/// The publishing half of the broker.
pub(crate) struct Publisher {
    keys: Keys,
    partitions: Vec<Arc<Standing>>,
    hash: String,
    slots: Slots,
    patience: Duration,
}

/// What keeps an event from being stored twice.
#[derive(Clone, Copy)]
enum Once<'a> {
    Key(&'a str),
    Version(u64),
}

/// A call of the publish script, without what depends on where the node has entered.
struct Call<'a> {
    topic: &'a Topic,
    partition: Partition,
    message: Vec<u8>,
    retention: Retention,
    once: Option<Once<'a>>,
    /// It takes no number.
    probe: bool,
}

/// Why a probe was not published.
pub(crate) struct NotPublished {
    pub(crate) why: String,
    /// Redis said so itself: it is not a matter of this node.
    pub(crate) by_redis: bool,
}

impl Publisher {
    /// `patience`: how long a publish waits for a connection, or for a primary that takes over.
    pub(crate) fn new(
        keys: Keys,
        partitions: Vec<Arc<Standing>>,
        connections: usize,
        patience: Duration,
    ) -> Self {
        let slots = Slots::new(connections, partitions.len());
        Self { keys, partitions, hash: scripts::publish().get_hash().into(), slots, patience }
    }

    pub(crate) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// One result for each publication, in their order.
    pub(crate) async fn publish(&self, batch: &[Publication]) -> Vec<Result<Receipt, Error>> {
        if let [publication] = batch {
            let call = self.call(publication);
            return vec![self.single(&call).await.and_then(|answer| self.receipt(&answer, call.partition))];
        }
        let mut parts: Vec<Vec<usize>> = vec![Vec::new(); self.slots.len()];
        for (at, publication) in batch.iter().enumerate() {
            parts[self.slot_of(&publication.topic)].push(at);
        }
        let busy = parts.iter().enumerate().filter(|(_, part)| !part.is_empty());
        let sent = busy.map(|(slot, part)| async move {
            let calls: Vec<_> = part.iter().map(|at| self.call(&batch[*at])).collect();
            self.run(self.slots.get(slot), &calls).await.into_iter().zip(part).collect::<Vec<_>>()
        });
        let mut results: Vec<_> =
            batch.iter().map(|_| Err(Error::Unknown("Redis gave no answer".into()))).collect();
        for (answer, at) in join_all(sent).await.into_iter().flatten() {
            let partition = self.keys.partition(&batch[*at].topic);
            results[*at] = answer.and_then(|value| self.receipt(&value, partition));
        }
        results
    }

    /// `None`: that version of the topic, or a later one, was sent already.
    pub(crate) async fn publish_version(
        &self,
        publication: &Publication,
        version: u64,
    ) -> Result<Option<Receipt>, Error> {
        let call = Call { once: Some(Once::Version(version)), ..self.call(publication) };
        match self.single(&call).await? {
            Value::Nil | Value::Boolean(false) => Ok(None),
            answer => self.receipt(&answer, call.partition).map(Some),
        }
    }

    /// Publishes a probe on the connection of that number (modulo how many there are): all that a
    /// stored event needs, once.
    pub(crate) async fn probe(
        &self,
        topic: &Topic,
        nonce: u64,
        keep: Duration,
        number: usize,
        deadline: Instant,
    ) -> Result<(), NotPublished> {
        let here = |error: Error| NotPublished { why: crate::errors::words(error), by_redis: false };
        let partition = self.keys.partition(topic);
        let retention = Retention { size: 1, ttl: keep, record_ttl: keep, key_ttl: keep };
        let message = Message::Probe { nonce }.encode();
        let call = Call { topic, partition, message, retention, once: None, probe: true };
        let entered = self.partitions[partition.index()].entered(deadline).await.map_err(here)?;
        let slot = self.slots.get(number);
        let up = slot.up(deadline).await.map_err(here)?;
        let command = self.command(&call, &entered, true);
        let mut answer = up.ask(&command).await.map_err(here)?;
        if let Value::ServerError(error) = &answer
            && Refusal::of(error).kind == Kind::NoScript
        {
            up.ask(&scripts::load_publish()).await.map_err(here)?;
            answer = up.ask(&command).await.map_err(here)?;
        }
        match Again::of(&answer) {
            None => {}
            Some(Again::Enter) => {
                up.lost.notify_one();
                self.partitions[partition.index()].doubt(&entered);
            }
            Some(Again::Reconnect) => up.lost.notify_one(),
            Some(Again::Load | Again::Wait) => {}
        }
        let by_redis = match &answer {
            Value::ServerError(error) => matches!(Refusal::of(error).kind, Kind::Refused | Kind::Soon),
            _ => false,
        };
        self.receipt(&answer, partition).map(drop).map_err(|error| NotPublished { by_redis, ..here(error) })
    }

    /// The answer to a single call. The common case is one command without a pipeline.
    async fn single(&self, call: &Call<'_>) -> Result<Value, Error> {
        let slot = self.slots.get(self.slot_of(call.topic));
        let deadline = Instant::now() + self.patience;
        let partition = &self.partitions[call.partition.index()];
        let entered = partition.entered(deadline).await?;
        let up = slot.up(deadline).await.map_err(|error| partition.explain(error))?;
        let check = up.check(call.partition);
        let answer = up.ask(&self.command(call, &entered, check.is_some())).await?;
        if Again::of(&answer).is_none() {
            up.checked(check);
            return Ok(answer);
        }
        let answers = self.run(slot, std::slice::from_ref(call)).await;
        answers.into_iter().next().unwrap_or_else(|| Err(unexpected("no answer")))
    }

    /// A receipt, if the event is kept.
    fn receipt(&self, answer: &Value, partition: Partition) -> Result<Receipt, Error> {
        let (receipt, repeat) = receipt(answer, partition)?;
        if let Some((_, name)) = receipt.mark {
            self.partitions[partition.index()].keep(name, repeat)?;
        }
        Ok(receipt)
    }

    fn slot_of(&self, topic: &Topic) -> usize {
        let mut hasher = DefaultHasher::new();
        topic.hash(&mut hasher);
        let count = self.slots.len() as u64;
        usize::try_from(hasher.finish() % count).unwrap_or_default()
    }

    fn call<'a>(&self, publication: &'a Publication) -> Call<'a> {
        let Publication { topic, name, data, at, retention, key } = publication;
        let message = Message::Event { name: name.clone(), data: data.clone(), at: *at };
        Call {
            topic,
            partition: self.keys.partition(topic),
            message: message.encode(),
            retention: *retention,
            once: key.as_deref().map(Once::Key),
            probe: false,
        }
    }

    /// `check`: whether the script asks the server for its reign.
    fn command(&self, call: &Call<'_>, entered: &Entered, check: bool) -> Cmd {
        let (keys, Call { topic, partition, message, retention, once, probe }) = (&self.keys, call);
        let mut command = Cmd::with_capacity(20, message.len() + 640);
        command.arg("EVALSHA").arg(&self.hash).arg(if once.is_some() { 6 } else { 5 });
        command.arg(&keys.place(*partition)).arg(keys.record(topic)).arg(keys.stream(topic));
        match once {
            Some(Once::Key(key)) => _ = command.arg(keys.idempotency(topic, key)),
            Some(Once::Version(_)) => _ = command.arg(keys.version(topic)),
            None => {}
        }
        // A record that is gone before its stream would cut the stream off at the next event.
        let record_ttl = retention.record_ttl.max(retention.ttl + Duration::from_secs(1));
        command.arg(entered.place.head.epoch.as_str()).arg(u8::from(check));
        command.arg(message.as_slice());
        _ = if *probe { command.arg("probe") } else { command.arg(retention.size) };
        command.arg(millis(retention.ttl)).arg(millis(record_ttl)).arg(millis(retention.key_ttl));
        command.arg(keys.channel(topic));
        if let Some(Once::Version(version)) = once {
            command.arg(*version);
        }
        command
    }
}

impl Up {
    /// Sends one command.
    async fn ask(&self, command: &Cmd) -> Result<Value, Error> {
        self.connection.clone().send_packed_command(command).await.map_err(|error| {
            // A connection that let a command wait this long may be a dead one.
            self.lost.notify_one();
            unanswered(&error)
        })
    }

    /// Sends several in one go.
    async fn ask_all(&self, commands: Vec<Cmd>) -> Result<Vec<Value>, Error> {
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for command in commands {
            pipeline.add_command(command);
        }
        // Without this, one refused publication would hide the receipts of the others.
        pipeline.ignore_errors();
        let expected = pipeline.len();
        let answers = pipeline.query_async::<Vec<Value>>(&mut self.connection.clone()).await;
        let answers = answers.map_err(|error| {
            self.lost.notify_one();
            unanswered(&error)
        })?;
        if answers.len() == expected { Ok(answers) } else { Err(unexpected("too few answers")) }
    }
}

/// Reads what the publish script gives: a receipt, and whether it is an earlier one.
pub(crate) fn receipt(answer: &Value, partition: Partition) -> Result<(Receipt, bool), Error> {
    let Value::Array(parts) = answer else {
        return Err(scripts::failure(answer, "a receipt"));
    };
    let [epoch, offset, nodes, repeat @ ..] = parts.as_slice() else {
        return Err(scripts::failure(answer, "a receipt"));
    };
    let mark = match offset {
        Value::Nil | Value::Boolean(false) => None,
        offset => {
            let position = Position { epoch: scripts::epoch_of(epoch)?, offset: scripts::offset_of(offset)? };
            Some((partition, position))
        }
    };
    let nodes = u32::try_from(scripts::offset_of(nodes)?).unwrap_or(u32::MAX);
    Ok((Receipt { mark, nodes }, !repeat.is_empty()))
}

/// At least 1: Redis refuses an expiry of 0.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).clamp(1, 1 << 50)
}
