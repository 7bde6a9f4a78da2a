//! Places for connections, each with a supervisor that fills it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{PushKind, RedisError};
use tidegate_broker::Error;
use tidegate_protocol::Partition;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

use crate::backoff::Backoff;
use crate::connect::Connector;
use crate::errors::words;
use crate::scripts;

/// A server is asked for its reign this often at most: it costs as much again as the rest of a
/// publish. A demotion, another reign and a promotion take several times as long.
const CHECK_EVERY: Duration = Duration::from_millis(1);

/// The connections for publishing to one primary.
pub(crate) struct Slots(Vec<Arc<Slot>>);

/// A place for one connection. Its supervisor fills it.
pub(crate) struct Slot {
    link: watch::Sender<Link>,
    /// Redis was seen by others: shared by all slots.
    seen: Arc<Notify>,
    partitions: usize,
}

#[derive(Clone)]
enum Link {
    /// The first attempt, or the first one after a loss: worth waiting for.
    Connecting,
    Up(Up),
    /// Attempts fail: why.
    Down(Error),
}

/// A connection.
#[derive(Clone)]
pub(super) struct Up {
    pub(super) connection: MultiplexedConnection,
    /// Tells the supervisor that the connection is of no use any more.
    pub(super) lost: Arc<Notify>,
    begun: Instant,
    /// When a script last went out that found its server's reign to be that of the place, by
    /// partition: microseconds since it `begun`.
    checked: Arc<[AtomicU64]>,
}

/// That a script has asked its server for its reign.
#[derive(Clone, Copy)]
pub(super) struct Check {
    partition: Partition,
    sent: u64,
}

impl Slots {
    pub(super) fn new(count: usize, partitions: usize) -> Self {
        let seen = Arc::new(Notify::new());
        let slot = || {
            let link = watch::Sender::new(Link::Connecting);
            Arc::new(Slot { link, seen: Arc::clone(&seen), partitions })
        };
        Self((0..count).map(|_| slot()).collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The one of that number, modulo how many there are.
    pub(super) fn get(&self, number: usize) -> &Arc<Slot> {
        &self.0[number % self.0.len()]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Arc<Slot>> + '_ {
        self.0.iter().cloned()
    }

    /// Redis is there: those that wait to try again try now.
    pub(crate) fn wake(&self) {
        self.0[0].seen.notify_waiters();
    }

    /// Why one of the connections can't be made, if that is so: its topics can't be published to.
    pub(crate) fn down(&self) -> Option<String> {
        self.0.iter().find_map(|slot| match &*slot.link.borrow() {
            Link::Down(why) => Some(words(why.clone())),
            _ => None,
        })
    }

    /// Ends the connection of that number: it does not answer in time.
    pub(crate) fn distrust(&self, number: usize) {
        if let Link::Up(up) = &*self.get(number).link.borrow() {
            up.lost.notify_one();
        }
    }

    /// Drops the connections, once nobody supervises them any more.
    pub(crate) fn close(&self) {
        for slot in &self.0 {
            let why = Error::Unavailable("the broker is shut down".into());
            slot.link.send_replace(Link::Down(why));
        }
    }
}

impl Up {
    /// Whether the next script has to ask the server for its reign.
    pub(super) fn check(&self, partition: Partition) -> Option<Check> {
        let sent = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX) + 1;
        let last = self.checked[partition.index()].load(Ordering::Relaxed);
        let due = last == 0 || u128::from(sent - last.min(sent)) >= CHECK_EVERY.as_micros();
        due.then_some(Check { partition, sent })
    }

    /// A script with that check has run.
    pub(super) fn checked(&self, check: Option<Check>) {
        if let Some(Check { partition, sent }) = check {
            self.checked[partition.index()].fetch_max(sent, Ordering::Relaxed);
        }
    }
}

impl Slot {
    /// A connection, once there is one: waits until `deadline`, if an attempt is under way.
    pub(super) async fn up(&self, deadline: Instant) -> Result<Up, Error> {
        self.up_after(None, deadline).await
    }

    /// A connection that is not `before`.
    pub(super) async fn up_after(&self, before: Option<&Up>, deadline: Instant) -> Result<Up, Error> {
        let away = |why: &str| Error::Unavailable(why.into());
        let is_new = |up: &Up| before.is_none_or(|before| !Arc::ptr_eq(&before.lost, &up.lost));
        // Nearly always: no timer, and no place among those who wait.
        if let Link::Up(up) = &*self.link.borrow()
            && is_new(up)
        {
            return Ok(up.clone());
        }
        let mut link = self.link.subscribe();
        let settled = link.wait_for(|link| match link {
            Link::Connecting => false,
            Link::Up(up) => is_new(up),
            Link::Down(_) => true,
        });
        let settled = timeout_at(deadline, settled).await;
        match settled.map_err(|_| away("no connection to Redis yet"))?.as_deref() {
            Ok(Link::Up(up)) => Ok(up.clone()),
            Ok(Link::Down(why)) => Err(why.clone()),
            Ok(Link::Connecting) | Err(_) => Err(away("the broker is shut down")),
        }
    }

    /// Keeps the slot filled, without end.
    pub(crate) async fn supervise(self: Arc<Self>, connector: Connector) {
        let mut backoff = Backoff::new();
        loop {
            let lost = Arc::new(Notify::new());
            match connect(&connector, &lost).await {
                Ok(connection) => {
                    let checked = (0..self.partitions).map(|_| AtomicU64::new(0)).collect();
                    let up = Up { connection, lost: Arc::clone(&lost), begun: Instant::now(), checked };
                    self.link.send_replace(Link::Up(up));
                    self.seen.notify_waiters();
                    let begun = Instant::now();
                    lost.notified().await;
                    tracing::warn!(redis = %connector.address, "a publishing connection was lost");
                    self.link.send_replace(Link::Connecting);
                    // A server that is no primary takes connections, and is of no use.
                    if begun.elapsed() < Backoff::LAST {
                        backoff.wait().await;
                    } else {
                        backoff.reset();
                    }
                }
                Err(error) => {
                    tracing::debug!(redis = %connector.address, %error, "no publishing connection");
                    self.link.send_replace(Link::Down(connector.failed(&error)));
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
