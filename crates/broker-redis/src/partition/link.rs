use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisError, Value};
use tidegate_broker::{Error, Metrics};
use tidegate_protocol::Position;
use tokio::time::{Instant, sleep};

use super::Subscription;
use super::eviction::LOOK_EVERY;
use super::repair::Round;
use super::sequencer::Mode;
use crate::backoff::{Backoff, Seldom};
use crate::connect::Connector;
use crate::errors::{unavailable, words};
use crate::history::Reader;
use crate::place::Place;
use crate::pool::Generation;
use crate::room::Room;
use crate::{Options, scripts};

/// Channels in one command.
const CHANNELS: usize = 1000;

/// While Redis is away, the log says so this often at most.
const COMPLAIN_EVERY: Duration = Duration::from_secs(15);

/// Small, so that a slow link has carried something before it is known how slow it is; quick
/// answers double it.
const FIRST_WINDOW: usize = 64 << 10;

/// Why a connection ends: the primary is to be looked for again.
const KNOWS_LESS: &str = "this Redis knows less than the node has seen: looking again for the primary";

const ADVICE: &str = "check redis.url and that Redis runs; this node keeps trying, is not ready, and refuses publishes with 503";

/// After a doubt that proved to be none, another one is not looked into for this long: connections
/// that reach two primaries must not keep the link from working.
const DOUBT_EVERY: Duration = Duration::from_secs(1);

/// The task that keeps a partition's subscription: it connects, enters, subscribes what is wanted, repairs what was missed, and starts over
/// without end.
///
/// Messages do not pass through it. The connection's read task hands them to the sequencer, which asks for the
/// link when something does not fit.
pub(crate) struct Link {
    pub(super) shared: Arc<Subscription>,
    pub(super) reader: Reader,
    pub(super) connector: Connector,
    /// Of the connections that are taken from pools: they go when this one does.
    generation: Generation,
    pub(super) metrics: Metrics,
    /// Bytes of events that a repair reads at once. It outlives connections: what a slow link has
    /// taught is kept.
    pub(super) windows: Room,
    /// A connection that has nothing to do is asked this often whether it is still that of a primary.
    check: Duration,
}

impl Link {
    pub(crate) fn new(
        shared: Arc<Subscription>,
        connector: Connector,
        reader: Reader,
        generation: Generation,
        metrics: Metrics,
        options: &Options,
    ) -> Self {
        let windows = Room::new(FIRST_WINDOW, options.response_timeout);
        Self { shared, reader, connector, generation, metrics, windows, check: options.probe_interval }
    }

    pub(crate) async fn run(self) {
        let (mut backoff, mut link, mut connected) = (Backoff::new(), 0, false);
        let (mut down, mut complaint) = (Instant::now(), Seldom::new(COMPLAIN_EVERY));
        // Whether the primary was looked for again since a server knew less than this node.
        let (mut sure, mut doubts) = (false, Seldom::new(DOUBT_EVERY));
        let partition = self.shared.partition.to_string();
        let up = self.metrics.partition_up.with_label_values(&[&partition]);
        self.metrics.evicting.with_label_values(&[&partition]);
        self.metrics.evicted_keys.with_label_values(&[&partition]);
        loop {
            link += 1;
            let why = match self.connect(link).await {
                Ok(connection) => {
                    if std::mem::replace(&mut connected, true) {
                        self.metrics.reconnects.inc();
                    }
                    let looked = std::mem::take(&mut sure);
                    let serving = Serving { link, sure: looked, down, doubts: &mut doubts };
                    let ended = self.serve(serving, connection).await;
                    sure = !looked && matches!(&ended, Error::Unavailable(why) if why == KNOWS_LESS);
                    ended
                }
                Err(error) => self.connector.failed(&error),
            };
            self.shared.sequencer.lock().away();
            self.shared.standing.set_state(Err(why.clone()));
            up.set(0);
            self.generation.end();
            // It may have been declared dead by others before.
            if self.shared.standing.state().borrow().link == link {
                down = Instant::now();
                backoff.reset();
                complaint = Seldom::new(COMPLAIN_EVERY);
            }
            if complaint.is_due() {
                let why = words(why);
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
    async fn serve(&self, serving: Serving<'_>, mut connection: MultiplexedConnection) -> Error {
        let Serving { link, sure, down, doubts } = serving;
        let shared = Arc::clone(&self.shared);
        shared.sequencer.lock().connected(link);
        let mut broken = shared.broken.subscribe();
        let work = async {
            self.enter(&mut connection, sure).await?;
            // Those that were made since the last link ended may be to the primary before.
            self.generation.end();
            self.settle(&mut connection, doubts).await?;
            shared.standing.set_state(Ok(link));
            let up = self.metrics.partition_up.with_label_values(&[&shared.partition.to_string()]);
            up.set(1);
            let (redis, away) = (&self.connector.address, down.elapsed());
            tracing::info!(%redis, partition = %shared.partition, ?away, "Redis is there: the subscription is live");
            self.look(&mut connection, true).await?;
            let mut checks = 0;
            loop {
                tokio::select! {
                    () = shared.standing.work.notified() => {}
                    // Where a PING would be answered, too: by a replica, or by a primary of which
                    // another node knows better.
                    () = sleep(self.check) => {
                        if self.head(&mut connection).await?.is_none() {
                            self.enter(&mut connection, false).await?;
                        }
                        checks = (checks + 1) % LOOK_EVERY;
                        if checks == 0 {
                            self.look(&mut connection, false).await?;
                        }
                    }
                }
                self.settle(&mut connection, doubts).await?;
            }
        };
        tokio::select! {
            biased;
            broken = broken.wait_for(|broken| broken.0 == link) => match broken {
                Ok(broken) => Error::Unavailable(broken.1.clone()),
                Err(_) => Error::Unavailable("the broker is shut down".into()),
            },
            ended = work => match ended {
                Ok(never) => never,
                Err(error) => error,
            },
        }
    }

    /// Enters the partition: tells this server what the node has seen, and learns where it stands.
    async fn enter(&self, connection: &mut MultiplexedConnection, sure: bool) -> Result<(), Error> {
        let (shared, keys) = (&self.shared, &self.reader.keys);
        loop {
            let entered = shared.standing.place().map(|place| place.head.epoch);
            let question = {
                let evidence = shared.standing.evidence();
                let evidence = evidence.lock();
                scripts::enter(keys, shared.partition, sure, entered, evidence.entries())
            };
            let answer = ask(connection, &question).await?;
            let refused = |why: String| Err(Error::Unavailable(why));
            match scripts::word(&answer) {
                Some(b"unknown") => return refused(KNOWS_LESS.into()),
                Some(b"refused") => {
                    return refused(
                        "a server that was replaced is back: this address answers for two servers".into(),
                    );
                }
                _ => {}
            }
            let misfit = scripts::other_partitions(&answer).map(|was| {
                let set = keys.count();
                format!("this deployment has {was} partitions, redis.partitions is {set}; set it to {was}, or begin with another redis.prefix")
            });
            shared.standing.set_misfit(misfit.clone());
            if let Some(why) = misfit {
                return refused(why);
            }
            let place = Place::parse(&answer)?;
            self.note(&place);
            let beyond = {
                let evidence = shared.standing.evidence();
                let mut evidence = evidence.lock();
                evidence.accepted(&place);
                evidence.is_beyond(&place)
            };
            // Something came in meanwhile that this server has not been told of.
            if !beyond {
                shared.set_entered(&place);
                return Ok(());
            }
        }
    }

    fn note(&self, place: &Place) {
        let Some(cause) = place.began.cause() else { return };
        self.metrics.epochs.with_label_values(&[cause]).inc();
        let (partition, epoch, offset) = (self.shared.partition, place.head.epoch, place.head.offset);
        match cause {
            "clean" => {
                tracing::info!(%partition, ?epoch, offset, "Redis has restarted or failed over: another epoch, nothing lost");
            }
            "lossy" => {
                tracing::error!(%partition, ?epoch, offset, "Redis has lost events: streams of the partition are told");
            }
            _ => tracing::info!(%partition, ?epoch, "a new partition"),
        }
    }

    /// Makes what is held what is wanted, and goes live (again). Several calls' changes go in few commands.
    async fn settle(&self, connection: &mut MultiplexedConnection, doubts: &mut Seldom) -> Result<(), Error> {
        let mut fresh = Vec::new();
        loop {
            let doubted = self.shared.standing.take_doubt();
            let (leaving, pending, mode) = {
                let mut sequencer = self.shared.sequencer.lock();
                (sequencer.take_leaving(), sequencer.take_pending(), sequencer.mode)
            };
            for chunk in leaving.chunks(CHANNELS) {
                connection.unsubscribe(names(chunk)).await.map_err(|error| unavailable(&error))?;
            }
            fresh.extend_from_slice(&pending);
            if fresh.is_empty() && mode == Mode::Live && !doubted {
                if leaving.is_empty() {
                    return Ok(());
                }
                continue;
            }
            let mut round = Round::begin(&self.shared.sequencer.lock());
            let Some(head) = self.subscribe(connection, &pending).await? else {
                self.enter(connection, false).await?;
                continue;
            };
            round.head = head;
            if doubted && doubts.is_due() {
                return Err(Error::Unavailable("another connection has met another primary".into()));
            }
            if !round.follows() {
                // The same epoch, and less of it.
                self.enter(connection, false).await?;
            } else if self.confirm(&fresh, &round) || self.repair(&fresh, round).await? {
                fresh.clear();
            }
        }
    }

    /// Subscribes and asks where the partition stands, the latter in the same round trip as the last channels. `None`: the node must
    /// enter again.
    ///
    /// One connection's answers come in order: whatever was sent to these channels before a head has arrived before it.
    async fn subscribe(
        &self,
        connection: &mut MultiplexedConnection,
        channels: &[Arc<str>],
    ) -> Result<Option<Position>, Error> {
        let mut chunks = channels.chunks(CHANNELS).peekable();
        while let Some(chunk) = chunks.next() {
            if chunks.peek().is_some() {
                connection.subscribe(names(chunk)).await.map_err(|error| unavailable(&error))?;
            } else {
                let mut second = connection.clone();
                // Polled in this order, so written in this order.
                let (subscribed, head) =
                    tokio::join!(biased; connection.subscribe(names(chunk)), self.head(&mut second));
                subscribed.map_err(|error| unavailable(&error))?;
                return head;
            }
        }
        self.head(connection).await
    }

    /// Where the partition stands on this connection's server, if that is the one that was entered.
    async fn head(&self, connection: &mut MultiplexedConnection) -> Result<Option<Position>, Error> {
        let Some(place) = self.shared.standing.place() else { return Ok(None) };
        let question = scripts::head(&self.reader.keys, self.shared.partition, place.head.epoch);
        let answer = ask(connection, &question).await?;
        if scripts::is_elsewhere(&answer) { Ok(None) } else { scripts::position(&answer).map(Some) }
    }

    /// The common case: new topics while live. False if there is something to repair first.
    fn confirm(&self, fresh: &[Arc<str>], round: &Round) -> bool {
        let mut sequencer = self.shared.sequencer.lock();
        if sequencer.mode != Mode::Live {
            return false;
        }
        sequencer.confirm(fresh, round.head);
        sequencer.reach(round.head);
        sequencer.answer(round.head);
        true
    }
}

/// One connection's time.
struct Serving<'a> {
    link: u64,
    /// The primary was looked for again: it is this one, whatever it knows.
    sure: bool,
    /// When the one before ended.
    down: Instant,
    /// When the doubts of others made the link begin again.
    doubts: &'a mut Seldom,
}

/// A refusal is an answer, too: it is not a matter of the connection.
pub(super) async fn ask(connection: &mut MultiplexedConnection, question: &Cmd) -> Result<Value, Error> {
    connection.send_packed_command(question).await.map_err(|error| unavailable(&error))
}

fn names(channels: &[Arc<str>]) -> Vec<&str> {
    channels.iter().map(AsRef::as_ref).collect()
}
