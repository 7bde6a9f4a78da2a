//! Publishing: a few multiplexed connections, each supervised. A topic always uses the same one, so it keeps its order.
//!
//! Concurrent publishes share round trips: a connection writes whatever waits in one go. A batch is one pipeline on
//! each connection that it touches, and every publication in it succeeds or fails on its own.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, PushKind, RedisError, Value};
use tidegate_broker::{Error, Publication, Receipt, Retention};
use tidegate_protocol::{Message, Partition, Position, Topic};
use tokio::sync::{Notify, watch};

use crate::backoff::Backoff;
use crate::connect::{Connector, unavailable, unexpected};
use crate::keys::Keys;
use crate::scripts;

/// The publishing half of the broker.
pub(crate) struct Publisher {
    keys: Keys,
    hash: String,
    slots: Vec<Arc<Slot>>,
    patience: Duration,
}

/// A place for one connection. Its supervisor fills it.
pub(crate) struct Slot {
    link: watch::Sender<Link>,
    /// Redis was seen by somebody else: shared by all slots.
    seen: Arc<Notify>,
}

/// What keeps an event from being stored twice.
#[derive(Clone, Copy)]
enum Once<'a> {
    Key(&'a str),
    Version(u64),
}

#[derive(Clone)]
enum Link {
    /// The first attempt, or the first one after a loss: worth waiting for.
    Connecting,
    /// `lost` tells the supervisor that the connection is of no use any more.
    Up { connection: MultiplexedConnection, lost: Arc<Notify> },
    /// Attempts fail: why.
    Down(String),
}

impl Publisher {
    /// `patience`: how long a publish waits for a connection that is just being made.
    pub(crate) fn new(keys: Keys, connections: usize, patience: Duration) -> Self {
        let seen = Arc::new(Notify::new());
        let slot = || Arc::new(Slot { link: watch::Sender::new(Link::Connecting), seen: Arc::clone(&seen) });
        let slots = (0..connections).map(|_| slot()).collect();
        Self { keys, hash: scripts::publish().get_hash().into(), slots, patience }
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = Arc<Slot>> + '_ {
        self.slots.iter().cloned()
    }

    /// Redis is there: whoever waits to try again tries now.
    pub(crate) fn wake(&self) {
        if let Some(slot) = self.slots.first() {
            slot.seen.notify_waiters();
        }
    }

    /// Why one of the connections can't be made, if that is so: its topics can't be published to.
    pub(crate) fn down(&self) -> Option<String> {
        self.slots.iter().find_map(|slot| match &*slot.link.borrow() {
            Link::Down(why) => Some(why.clone()),
            _ => None,
        })
    }

    /// Drops the connections, once nobody supervises them any more.
    pub(crate) fn close(&self) {
        for slot in &self.slots {
            slot.link.send_replace(Link::Down("the broker is shut down".into()));
        }
    }

    /// One result for each publication, in their order.
    pub(crate) async fn publish(&self, batch: &[Publication]) -> Vec<Result<Receipt, Error>> {
        if let [publication] = batch {
            return vec![self.publish_one(publication).await];
        }
        let mut parts: Vec<Vec<usize>> = vec![Vec::new(); self.slots.len()];
        for (at, publication) in batch.iter().enumerate() {
            parts[self.slot_of(&publication.topic)].push(at);
        }
        let busy = parts.iter().enumerate().filter(|(_, part)| !part.is_empty());
        let sent = busy.map(|(slot, part)| async move {
            let calls: Vec<_> = part.iter().map(|at| self.call(&batch[*at])).collect();
            self.run(slot, &calls).await.into_iter().zip(part).collect::<Vec<_>>()
        });
        let mut results: Vec<_> =
            batch.iter().map(|_| Err(Error::Unavailable("Redis gave no answer".into()))).collect();
        for (answer, at) in join_all(sent).await.into_iter().flatten() {
            let partition = self.keys.partition(&batch[*at].topic);
            results[*at] = answer.and_then(|value| receipt(&value, partition));
        }
        results
    }

    async fn publish_one(&self, publication: &Publication) -> Result<Receipt, Error> {
        let topic = &publication.topic;
        self.only(self.slot_of(topic), &self.call(publication), self.keys.partition(topic)).await
    }

    /// `None`: that version of the topic, or a later one, was sent already.
    pub(crate) async fn publish_version(
        &self,
        publication: &Publication,
        version: u64,
    ) -> Result<Option<Receipt>, Error> {
        let Publication { topic, name, data, at, retention, key: _ } = publication;
        let message = Message::Event { name: name.clone(), data: data.clone(), at: *at };
        let call = self.command(topic, &message.encode(), *retention, Some(Once::Version(version)));
        match self.answer(self.slot_of(topic), &call).await? {
            Value::Nil | Value::Boolean(false) => Ok(None),
            answer => receipt(&answer, self.keys.partition(topic)).map(Some),
        }
    }

    /// The receipt of a single call.
    async fn only(&self, slot: usize, call: &Cmd, partition: Partition) -> Result<Receipt, Error> {
        receipt(&self.answer(slot, call).await?, partition)
    }

    /// The answer to a single call.
    async fn answer(&self, slot: usize, call: &Cmd) -> Result<Value, Error> {
        match self.one(slot, call).await? {
            // The rare case is for those who know it.
            Value::ServerError(error) if error.code() == "NOSCRIPT" => {
                let answers = self.run(slot, std::slice::from_ref(call)).await;
                answers.into_iter().next().unwrap_or_else(|| Err(unexpected("no answer")))
            }
            answer => Ok(answer),
        }
    }

    /// Sends a message that is not stored, on the connection of that number (modulo how many there are).
    pub(crate) async fn send(
        &self,
        topic: &Topic,
        message: &Message,
        connection: usize,
    ) -> Result<Receipt, Error> {
        let none =
            Retention { size: 0, ttl: Duration::ZERO, record_ttl: Duration::ZERO, key_ttl: Duration::ZERO };
        let call = self.command(topic, &message.encode(), none, None);
        self.only(connection % self.slots.len(), &call, self.keys.partition(topic)).await
    }

    /// Ends the connection of that number: it does not answer in time.
    pub(crate) fn distrust(&self, connection: usize) {
        if let Link::Up { lost, .. } = &*self.slots[connection % self.slots.len()].link.borrow() {
            lost.notify_one();
        }
    }

    fn slot_of(&self, topic: &Topic) -> usize {
        let mut hasher = DefaultHasher::new();
        topic.hash(&mut hasher);
        let count = self.slots.len() as u64;
        usize::try_from(hasher.finish() % count).unwrap_or_default()
    }

    fn call(&self, publication: &Publication) -> Cmd {
        let Publication { topic, name, data, at, retention, key } = publication;
        let message = Message::Event { name: name.clone(), data: data.clone(), at: *at };
        self.command(topic, &message.encode(), *retention, key.as_deref().map(Once::Key))
    }

    fn command(&self, topic: &Topic, message: &[u8], retention: Retention, once: Option<Once<'_>>) -> Cmd {
        let keys = &self.keys;
        let partition = keys.partition(topic);
        let mut call = Cmd::with_capacity(19, message.len() + 512);
        call.arg("EVALSHA").arg(&self.hash).arg(if once.is_some() { 5 } else { 4 });
        call.arg(keys.epoch(partition)).arg(keys.counter(partition));
        call.arg(keys.record(topic)).arg(keys.stream(topic));
        match once {
            Some(Once::Key(key)) => _ = call.arg(keys.idempotency(topic, key)),
            Some(Once::Version(_)) => _ = call.arg(keys.version(topic)),
            None => {}
        }
        // A record that is gone before its stream would cut the stream off at the next event.
        let record_ttl = retention.record_ttl.max(retention.ttl + Duration::from_secs(1));
        call.arg(scripts::new_epoch().as_str()).arg(message).arg(retention.size);
        call.arg(millis(retention.ttl)).arg(millis(record_ttl)).arg(millis(retention.key_ttl));
        call.arg(keys.channel(topic));
        if let Some(Once::Version(version)) = once {
            call.arg(version);
        }
        call
    }

    /// One answer for each call. Calls that met a Redis without the script are made again, after loading it.
    async fn run(&self, slot: usize, calls: &[Cmd]) -> Vec<Result<Value, Error>> {
        let mut answers = match self.pipeline(slot, calls.iter()).await {
            Ok(answers) => answers,
            Err(error) => return calls.iter().map(|_| Err(error.clone())).collect(),
        };
        let unknown = |value: &Value| matches!(value, Value::ServerError(e) if e.code() == "NOSCRIPT");
        // Another node may have loaded the script in the middle of the pipeline. Calls before one
        // that ran are not repeated: they would be stored after it. Their callers get the error.
        let ran = answers.iter().rposition(|value| !unknown(value)).map_or(0, |at| at + 1);
        let again: Vec<usize> = (ran..answers.len()).collect();
        if !again.is_empty() {
            let load = scripts::load_publish();
            let calls = std::iter::once(&load).chain(again.iter().map(|at| &calls[*at]));
            match self.pipeline(slot, calls).await {
                Ok(second) => {
                    for (at, answer) in again.iter().zip(second.into_iter().skip(1)) {
                        answers[*at] = answer;
                    }
                }
                Err(error) => {
                    let failed =
                        |(at, value)| if again.contains(&at) { Err(error.clone()) } else { Ok(value) };
                    return answers.into_iter().enumerate().map(failed).collect();
                }
            }
        }
        answers.into_iter().map(Ok).collect()
    }

    async fn one(&self, slot: usize, call: &Cmd) -> Result<Value, Error> {
        let (mut connection, lost) = self.slots[slot].connection(self.patience).await?;
        connection.send_packed_command(call).await.map_err(|error| {
            lost.notify_one();
            unavailable(&error)
        })
    }

    async fn pipeline<'a>(
        &self,
        slot: usize,
        calls: impl Iterator<Item = &'a Cmd>,
    ) -> Result<Vec<Value>, Error> {
        let (mut connection, lost) = self.slots[slot].connection(self.patience).await?;
        let mut pipeline = Pipeline::new();
        for call in calls {
            pipeline.add_command(call.clone());
        }
        // Without this, one refused publication would hide the receipts of the others.
        pipeline.ignore_errors();
        let expected = pipeline.len();
        let answers = pipeline.query_async::<Vec<Value>>(&mut connection).await.map_err(|error| {
            // A connection that let a command wait this long may be a dead one.
            lost.notify_one();
            unavailable(&error)
        })?;
        if answers.len() != expected { Err(unexpected("too few answers")) } else { Ok(answers) }
    }
}

impl Slot {
    async fn connection(&self, patience: Duration) -> Result<(MultiplexedConnection, Arc<Notify>), Error> {
        let away = |why: &str| Error::Unavailable(why.into());
        // Nearly always: no timer, and no place among those who wait.
        if let Link::Up { connection, lost } = &*self.link.borrow() {
            return Ok((connection.clone(), Arc::clone(lost)));
        }
        let mut link = self.link.subscribe();
        let settled = link.wait_for(|link| !matches!(link, Link::Connecting));
        let settled = tokio::time::timeout(patience, settled).await;
        match settled.map_err(|_| away("no connection to Redis yet"))?.as_deref() {
            Ok(Link::Up { connection, lost }) => Ok((connection.clone(), Arc::clone(lost))),
            Ok(Link::Down(why)) => Err(away(why)),
            Ok(Link::Connecting) | Err(_) => Err(away("the broker is shut down")),
        }
    }

    /// Keeps the slot filled, for ever.
    pub(crate) async fn supervise(self: Arc<Self>, connector: Connector) {
        let mut backoff = Backoff::new();
        loop {
            let lost = Arc::new(Notify::new());
            match connect(&connector, &lost).await {
                Ok(connection) => {
                    backoff.reset();
                    self.link.send_replace(Link::Up { connection, lost: Arc::clone(&lost) });
                    self.seen.notify_waiters();
                    lost.notified().await;
                    tracing::warn!(redis = %connector.address, "a publishing connection was lost");
                    self.link.send_replace(Link::Connecting);
                }
                Err(error) => {
                    tracing::debug!(redis = %connector.address, %error, "no publishing connection");
                    let why = format!("no connection to Redis at {}: {error}", connector.address);
                    self.link.send_replace(Link::Down(why));
                    tokio::select! {
                        () = backoff.wait() => {}
                        () = self.seen.notified() => {}
                    }
                }
            }
        }
    }
}

async fn connect(connector: &Connector, lost: &Arc<Notify>) -> Result<MultiplexedConnection, RedisError> {
    let ended = Arc::clone(lost);
    let push = move |info: redis::PushInfo| {
        if info.kind == PushKind::Disconnection {
            ended.notify_one();
        }
    };
    let mut connection = connector.connect(push).await?;
    // A Redis that is still loading its data answers with an error here: not connected yet.
    scripts::load_publish().query_async::<()>(&mut connection).await?;
    Ok(connection)
}

pub(crate) fn receipt(answer: &Value, partition: Partition) -> Result<Receipt, Error> {
    let Value::Array(parts) = answer else {
        return Err(scripts::failure(answer, "a receipt"));
    };
    let [epoch, offset, nodes] = parts.as_slice() else {
        return Err(unexpected("a receipt has three parts"));
    };
    let mark = match offset {
        Value::Nil | Value::Boolean(false) => None,
        offset => {
            let position = Position { epoch: scripts::epoch_of(epoch)?, offset: scripts::offset_of(offset)? };
            Some((partition, position))
        }
    };
    let nodes = u32::try_from(scripts::offset_of(nodes)?).unwrap_or(u32::MAX);
    Ok(Receipt { mark, nodes })
}

/// At least 1: Redis refuses an expiry of 0.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).clamp(1, 1 << 50)
}
