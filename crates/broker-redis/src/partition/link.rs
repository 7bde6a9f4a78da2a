use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisError, Value};
use tidegate_broker::{Error, Metrics};
use tidegate_protocol::Position;
use tokio::time::{Instant, sleep};

use super::Subscription;
use super::repair::Round;
use super::sequencer::Mode;
use crate::backoff::Backoff;
use crate::connect::{Connector, unavailable, unexpected, words};
use crate::history::Reader;
use crate::room::Room;
use crate::{Options, scripts};

/// Channels in one command.
const CHANNELS: usize = 1000;

/// While Redis is away, the log says so this often at most.
const COMPLAIN_EVERY: Duration = Duration::from_secs(15);

/// Small, so that a slow link has carried something before it is known how slow it is; quick
/// answers double it.
const FIRST_WINDOW: usize = 64 << 10;

const ADVICE: &str = "check redis.url and that Redis runs; this node keeps trying, is not ready, and refuses publishes with 503";

/// The task that keeps the subscription: it connects, subscribes what is wanted, repairs what was missed, and starts over for ever.
///
/// Messages do not pass through it. The connection's read task hands them to the sequencer, which asks for the
/// supervisor when something does not fit.
pub(crate) struct Supervisor {
    pub(super) shared: Arc<Subscription>,
    pub(super) reader: Reader,
    connector: Connector,
    metrics: Metrics,
    /// Bytes of events that a repair reads at once. It outlives connections: what a slow link has
    /// taught is kept.
    pub(super) windows: Room,
    /// A connection that has nothing to do is asked for a sign of life this often.
    check: Duration,
}

impl Supervisor {
    pub(crate) fn new(
        shared: Arc<Subscription>,
        connector: Connector,
        reader: Reader,
        metrics: Metrics,
        options: &Options,
    ) -> Self {
        let windows = Room::new(FIRST_WINDOW, options.response_timeout);
        Self { shared, reader, connector, metrics, windows, check: options.probe_interval }
    }

    pub(crate) async fn run(self) {
        let (mut backoff, mut link, mut connected) = (Backoff::new(), 0, false);
        let (mut down, mut complaint) = (Instant::now(), Complaint::default());
        loop {
            link += 1;
            let why = match self.connect(link).await {
                Ok(connection) => {
                    if std::mem::replace(&mut connected, true) {
                        self.metrics.reconnects.inc();
                    }
                    self.serve(link, connection, down).await
                }
                Err(error) => format!(
                    "no connection to Redis at {}: {}",
                    self.connector.address,
                    words(unavailable(&error))
                ),
            };
            self.shared.sequencer.lock().away();
            self.shared.set_state(None, &why);
            // It may have been declared dead by others before.
            if self.shared.state.borrow().link == link {
                down = Instant::now();
                backoff.reset();
                complaint = Complaint::default();
            }
            if complaint.is_due() {
                tracing::warn!(redis = %self.connector.address, why, "Redis is away: {ADVICE}");
            }
            backoff.wait().await;
        }
    }

    async fn connect(&self, link: u64) -> Result<MultiplexedConnection, RedisError> {
        let shared = Arc::clone(&self.shared);
        self.connector.connect(move |info| shared.received(link, info)).await
    }

    /// Runs one connection, and tells what ended it.
    async fn serve(&self, link: u64, mut connection: MultiplexedConnection, down: Instant) -> String {
        let shared = Arc::clone(&self.shared);
        shared.sequencer.lock().connected(link);
        let mut broken = shared.broken.subscribe();
        let address = self.connector.address.clone();
        let work = async {
            self.settle(&mut connection).await?;
            shared.set_state(Some(link), "");
            let away = down.elapsed();
            tracing::info!(redis = %address, ?away, "Redis is there: the subscription is live");
            loop {
                tokio::select! {
                    () = shared.work.notified() => self.settle(&mut connection).await?,
                    () = sleep(self.check) => redis::cmd("PING").query_async::<()>(&mut connection).await
                        .map_err(|error| unavailable(&error))?,
                }
            }
        };
        tokio::select! {
            biased;
            broken = broken.wait_for(|broken| broken.0 == link) => match broken {
                Ok(broken) => broken.1.clone(),
                Err(_) => "the broker is shut down".into(),
            },
            ended = work => match ended {
                Ok(never) => never,
                Err(error) => words(error),
            },
        }
    }

    /// Makes what is held what is wanted, and goes live (again). Several calls' changes go in few commands.
    async fn settle(&self, connection: &mut MultiplexedConnection) -> Result<(), Error> {
        let mut fresh = Vec::new();
        loop {
            let (leaving, pending, mode) = {
                let mut sequencer = self.shared.sequencer.lock();
                (sequencer.take_leaving(), sequencer.take_pending(), sequencer.mode)
            };
            for chunk in leaving.chunks(CHANNELS) {
                connection.unsubscribe(names(chunk)).await.map_err(|error| unavailable(&error))?;
            }
            fresh.extend_from_slice(&pending);
            if fresh.is_empty() && mode == Mode::Live {
                if leaving.is_empty() {
                    return Ok(());
                }
                continue;
            }
            let mut round = Round::begin(&self.shared.sequencer.lock());
            round.heads = self.subscribe(connection, &pending).await?;
            if self.confirm(&fresh, &round) || self.repair(connection, &fresh, round).await? {
                fresh.clear();
            }
        }
    }

    /// Subscribes and asks where the partitions stand, the latter in the same round trip as the last channels.
    ///
    /// One connection's answers come in order: whatever was sent to these channels before a head has arrived before it.
    async fn subscribe(
        &self,
        connection: &mut MultiplexedConnection,
        channels: &[Arc<str>],
    ) -> Result<Vec<Position>, Error> {
        let mut chunks = channels.chunks(CHANNELS).peekable();
        while let Some(chunk) = chunks.next() {
            if chunks.peek().is_some() {
                connection.subscribe(names(chunk)).await.map_err(|error| unavailable(&error))?;
            } else {
                let mut second = connection.clone();
                // Polled in this order, so written in this order.
                let (subscribed, heads) =
                    tokio::join!(biased; connection.subscribe(names(chunk)), self.heads(&mut second));
                subscribed.map_err(|error| unavailable(&error))?;
                return heads;
            }
        }
        self.heads(connection).await
    }

    async fn heads(&self, connection: &mut MultiplexedConnection) -> Result<Vec<Position>, Error> {
        let keys = &self.reader.keys;
        let mut pipeline = Pipeline::new();
        keys.partitions().for_each(|partition| {
            pipeline.add_command(scripts::head(keys, partition));
        });
        pipeline.ignore_errors();
        let answers = pipeline.query_async::<Vec<Value>>(connection).await;
        let answers = answers.map_err(|error| unavailable(&error))?;
        let heads = answers.iter().map(scripts::position).collect::<Result<Vec<_>, _>>()?;
        if heads.len() == usize::from(keys.count()) { Ok(heads) } else { Err(unexpected("too few answers")) }
    }

    /// The common case: new topics while live. False if there is something to repair first.
    fn confirm(&self, fresh: &[Arc<str>], round: &Round) -> bool {
        let mut sequencer = self.shared.sequencer.lock();
        if sequencer.mode != Mode::Live {
            return false;
        }
        if !round.follows() {
            sequencer.mode = Mode::Repairing;
            return false;
        }
        sequencer.confirm(fresh, &round.heads);
        for (partition, head) in self.reader.keys.partitions().zip(&round.heads) {
            sequencer.reach(partition, *head);
        }
        sequencer.answer(&round.heads);
        true
    }
}

fn names(channels: &[Arc<str>]) -> Vec<&str> {
    channels.iter().map(AsRef::as_ref).collect()
}

/// When an outage was last complained of.
#[derive(Default)]
struct Complaint(Option<Instant>);

impl Complaint {
    fn is_due(&mut self) -> bool {
        let due = self.0.is_none_or(|last| last.elapsed() >= COMPLAIN_EVERY);
        if due {
            self.0 = Some(Instant::now());
        }
        due
    }
}
