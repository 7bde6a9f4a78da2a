//! Two nodes with one store, and what they have announced.

use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use tidegate_broker::{Broker, Deliveries, Local, LocalOptions, Metrics, Read, Span};
use tidegate_broker_redis::Pool;
use tidegate_seats::model::{Act, Change, Reason, Seat, Status};
use tidegate_seats::store::{Memory, Redis, Store};
use tidegate_seats::{Error, Options, Place, Schedule, Seats};
use tidegate_testkit::{DEADLINE, RedisServer};

/// Where the tests' seats are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Memory,
    Redis,
}

pub(crate) struct House {
    pub(crate) nodes: [Arc<Seats>; 2],
    pub(crate) store: Arc<dyn Store>,
    pub(crate) broker: Arc<dyn Broker>,
    _deliveries: Deliveries,
    pub(crate) redis: Option<RedisServer>,
}

impl House {
    pub(crate) async fn open(kind: Kind, options: &Options) -> Self {
        Self::with(kind, options, |store| store).await
    }

    /// With something between the first node and its store.
    pub(crate) async fn with(
        kind: Kind,
        options: &Options,
        between: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store>,
    ) -> Self {
        let (broker, deliveries) =
            Local::new(LocalOptions::default(), Metrics::new(&Registry::new()).unwrap());
        let redis = if kind == Kind::Redis { Some(RedisServer::start().await) } else { None };
        let store = || -> Arc<dyn Store> {
            match &redis {
                Some(redis) => Arc::new(Redis::new(pool(&redis.url()), "tg", options)),
                None => Arc::new(Memory::new(options)),
            }
        };
        let first = store();
        let second = if redis.is_some() { store() } else { Arc::clone(&first) };
        let node = |store: &Arc<dyn Store>| {
            let broker = Arc::<Local>::clone(&broker);
            Seats::start(Arc::clone(store), broker, options.clone(), &Default::default())
        };
        let nodes = [node(&between(Arc::clone(&first))), node(&second)];
        Self { nodes, store: first, broker, _deliveries: deliveries, redis }
    }

    /// What `user` gets of the seat, on either node.
    pub(crate) async fn act(&self, node: usize, number: u32, user: &str, act: Act) -> Result<Seat, Refused> {
        match self.nodes[node].act(&place(number), user, act).await {
            Ok(seat) => Ok(seat),
            Err(Error::Refused(refusal)) => Err((refusal.reason, refusal.seat.status)),
            Err(Error::Store(error)) => panic!("{error}"),
        }
    }

    pub(crate) async fn status(&self, number: u32) -> Status {
        let seats = self.nodes[1].all(&schedule()).await.unwrap();
        seats[number as usize - 1].status.clone()
    }

    /// Everything that was announced of the schedule.
    pub(crate) async fn announced(&self) -> Vec<Change> {
        let read = Read { topic: schedule().topic().clone(), span: Span::Last { limit: 1000 } };
        let page = self.broker.history(vec![read]).await.unwrap().remove(0);
        let change = |data: &[u8]| serde_json::from_slice(data).unwrap();
        page.events.iter().map(|event| change(event.data.as_bytes())).collect()
    }

    /// Waits until the seat's last announcement says so.
    pub(crate) async fn said(&self, number: u32, status: &Status) {
        let said = async || {
            let all = self.announced().await;
            let last = all.into_iter().rev().find(|change| change.seat.number == number)?;
            (last.seat.status == *status).then_some(())
        };
        tidegate_testkit::eventually("it is announced", said).await;
    }
}

pub(crate) type Refused = (Reason, Status);

pub(crate) fn pool(url: &str) -> Pool {
    let options = tidegate_broker_redis::Options { url: url.into(), ..Default::default() };
    Pool::open(&options).unwrap()
}

pub(crate) fn schedule() -> Schedule {
    Schedule::parse("공연:1").unwrap()
}

pub(crate) fn place(number: u32) -> Place {
    Place { schedule: schedule(), number }
}

/// Nothing ends by itself, and who holds a seat is shown.
pub(crate) fn slow() -> Options {
    Options { hold: 100 * DEADLINE, show_holders: true, ..Options::default() }
}

/// Holds are over soon, and that is seen to at once.
pub(crate) fn quick() -> Options {
    let (hold, sweep) = (Duration::from_millis(150), Duration::from_millis(20));
    Options { hold, sweep, show_holders: true, ..Options::default() }
}
