//! A hub, and the in-process broker under it, with a hand on everything that passes between the
//! two.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use prometheus::Registry;
use prometheus::proto::MetricFamily;
use tidegate_broker::{
    Broker, Control, Delivery, Error, Feed, Health, Local, LocalOptions, Page, Publication, Read, Receipt,
    Retention, queue,
};
use tidegate_hub::{Hub, Join, Metrics, Options, Resume, Scope, SubscriberHandle};
use tidegate_protocol::{Cursor, Data, Epoch, Event, Format, Mark, Partition, Position, Topic};
use tokio::sync::watch;

use crate::reader::Reader;

/// A door: who comes by while it is shut waits, and is counted.
pub(crate) struct Door {
    open: watch::Sender<bool>,
    waiting: watch::Sender<usize>,
    passed: watch::Sender<usize>,
}

impl Door {
    fn new() -> Self {
        Self { open: watch::Sender::new(true), waiting: watch::Sender::new(0), passed: watch::Sender::new(0) }
    }

    pub(crate) fn shut(&self) {
        self.open.send_replace(false);
    }

    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }

    /// Until `count` have come to the door while it was shut, over all time.
    pub(crate) async fn reached(&self, count: usize) {
        until(&self.waiting, count).await;
    }

    /// Until `count` have gone through, over all time.
    pub(crate) async fn passed(&self, count: usize) {
        until(&self.passed, count).await;
    }

    /// How many have gone through, over all time.
    pub(crate) fn count(&self) -> usize {
        *self.passed.borrow()
    }

    /// How many have come to the door while it was shut, over all time.
    pub(crate) fn waiting(&self) -> usize {
        *self.waiting.borrow()
    }

    async fn pass(&self) {
        let mut open = self.open.subscribe();
        if !*open.borrow_and_update() {
            self.waiting.send_modify(|n| *n += 1);
            open.wait_for(|open| *open).await.unwrap();
        }
        self.passed.send_modify(|n| *n += 1);
    }
}

async fn until(counter: &watch::Sender<usize>, count: usize) {
    let mut counter = counter.subscribe();
    let counted = counter.wait_for(|n| *n >= count);
    tokio::time::timeout(Duration::from_secs(10), counted).await.unwrap().unwrap();
}

/// The broker as the hub sees it.
pub(crate) struct Wrapped {
    pub(crate) local: Arc<Local>,
    pub(crate) history: Door,
    pub(crate) memberships: Door,
    pub(crate) disconnects: Door,
    /// Deliveries from the broker; not what a test says itself.
    pub(crate) deliveries: Arc<Door>,
    /// Controls and deletions get lost.
    pub(crate) deaf: Arc<AtomicBool>,
    /// The store has lost the numbers of disconnects.
    pub(crate) forgetful: AtomicBool,
    /// So many of the next questions after memberships and disconnects fail.
    pub(crate) failures: AtomicUsize,
    /// The next history read or subscription panics.
    pub(crate) faulty: AtomicBool,
    /// Reads of several topics are made one by one.
    pub(crate) apart: AtomicBool,
    /// Bytes of the largest answer to a read.
    pub(crate) largest: AtomicUsize,
}

pub(crate) struct Rig {
    pub(crate) hub: Hub,
    pub(crate) broker: Arc<Wrapped>,
    pub(crate) registry: Registry,
    feed: Feed,
}

impl Rig {
    pub(crate) fn new(partitions: u8, options: Options) -> Self {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        let of_broker = tidegate_broker::Metrics::new(&registry).unwrap();
        let local = LocalOptions { partitions, memberships: usize::MAX, ..Default::default() };
        let (local, mut source) = Local::new(local, of_broker);
        let (feed, deliveries) = queue(64 << 20);
        let (door, deaf) = (Arc::new(Door::new()), Arc::new(AtomicBool::new(false)));
        let (to, gate, ears) = (feed.clone(), Arc::clone(&door), Arc::clone(&deaf));
        tokio::spawn(async move {
            let mut batch = VecDeque::new();
            while source.next(&mut batch).await {
                for delivery in batch.drain(..) {
                    gate.pass().await;
                    let word = matches!(delivery, Delivery::Control { .. } | Delivery::Forgotten { .. });
                    let lost = word && ears.load(Ordering::Relaxed);
                    if !lost {
                        to.push(delivery).unwrap();
                    }
                }
            }
        });
        let broker = Arc::new(Wrapped {
            local,
            history: Door::new(),
            memberships: Door::new(),
            disconnects: Door::new(),
            deliveries: door,
            deaf,
            forgetful: AtomicBool::new(false),
            failures: AtomicUsize::new(0),
            faulty: AtomicBool::new(false),
            apart: AtomicBool::new(true),
            largest: AtomicUsize::new(0),
        });
        let hub = Hub::start(
            options,
            Arc::clone(&broker) as Arc<dyn Broker>,
            deliveries,
            metrics,
            &Default::default(),
        );
        Self { hub, broker, registry, feed }
    }

    /// Says something to the hub in the broker's name.
    pub(crate) fn say(&self, deliveries: &[Delivery]) {
        self.feed.push_all(deliveries.iter().cloned()).unwrap();
    }

    pub(crate) async fn publish(&self, topic: &str, data: &str) -> (Partition, Position) {
        publish(&self.broker.local, topic, data, 1_000).await.unwrap()
    }

    /// An event that is not stored.
    pub(crate) async fn whisper(&self, topic: &str, data: &str) {
        assert_eq!(publish(&self.broker.local, topic, data, 0).await, None);
    }

    pub(crate) async fn join(&self, user: Option<&str>, topics: &[&str], resume: Resume) -> Reader {
        self.try_join(user, topics, resume).await.unwrap()
    }

    pub(crate) async fn try_join(
        &self,
        user: Option<&str>,
        topics: &[&str],
        resume: Resume,
    ) -> Result<Reader, tidegate_hub::Error> {
        self.scoped(user, Scope::Own, topics, resume).await
    }

    /// A stream that may carry less of its user's.
    pub(crate) async fn scoped(
        &self,
        user: Option<&str>,
        scope: Scope,
        topics: &[&str],
        resume: Resume,
    ) -> Result<Reader, tidegate_hub::Error> {
        let user = user.map(|user| Topic::user(user).unwrap());
        let topics = topics.iter().map(|name| topic(name)).collect();
        let join = Join::new(topics).user(user).scope(scope).resume(resume);
        self.hub.join(join).await.map(Reader::new)
    }

    /// A stream of JSON objects.
    pub(crate) async fn objects(&self, topics: &[&str], resume: Resume) -> SubscriberHandle {
        let topics = topics.iter().map(|name| topic(name)).collect();
        self.hub.join(Join::new(topics).resume(resume).format(Format::Json)).await.unwrap()
    }

    /// Until the hub has done what it was told so far about `topic`: the word goes to a stream of
    /// its own.
    pub(crate) async fn settled(&self) {
        let mut probe = self.join(None, &["topic:settled"], Resume::Live).await;
        probe.ready().await;
        let places = self.broker.subscribe(vec![topic("topic:settled")]).await.unwrap();
        let epoch = places.iter().next().unwrap().1.epoch;
        let partition = topic("topic:settled").partition(self.broker.partitions());
        self.say(&[Delivery::Event(Arc::new(event("topic:settled", partition, epoch, 0, None, "now")))]);
        assert_eq!(probe.data().await, "now");
    }

    pub(crate) fn counter(&self, name: &str, label: &str) -> u64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name);
        let metrics = family.into_iter().flat_map(MetricFamily::get_metric);
        let wanted = metrics.filter(|m| m.get_label().iter().any(|pair| pair.value() == label));
        wanted.map(|m| m.get_counter().get_value() as u64).sum()
    }
}

pub(crate) fn event(
    name: &str,
    partition: Partition,
    epoch: Epoch,
    offset: u64,
    prev: Option<u64>,
    data: &str,
) -> Event {
    let mark = Mark { partition, epoch, offset, prev };
    Event { topic: topic(name), name: None, data: Data::Text(data.to_owned().into()), at: 1, mark }
}

/// The only partition there is.
pub(crate) fn zero() -> Partition {
    Partition::new(0).unwrap()
}

pub(crate) fn control(user: &str, seen: (Partition, Position), control: Control) -> Delivery {
    Delivery::Control { user: Topic::user(user).unwrap(), seen, control }
}

pub(crate) fn topic(name: &str) -> Topic {
    Topic::parse(name).unwrap()
}

pub(crate) async fn publish(
    local: &Local,
    name: &str,
    data: &str,
    size: u32,
) -> Option<(Partition, Position)> {
    let day = Duration::from_secs(86_400);
    let publication = Publication {
        topic: topic(name),
        name: None,
        data: Data::Text(data.to_owned().into()),
        at: 1,
        retention: Retention { size, ttl: day, record_ttl: day, key_ttl: day },
        key: None,
    };
    local.publish(vec![publication]).await.remove(0).unwrap().mark
}

/// Settings with nothing that happens by itself.
pub(crate) fn quiet() -> Options {
    Options { heartbeat: Duration::from_secs(3_600), ..Options::default() }
}

impl Wrapped {
    fn panic(&self) {
        assert!(!self.faulty.swap(false, Ordering::Relaxed), "as the test wants it");
    }

    fn fail(&self) -> Result<(), Error> {
        let left = self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        if left.is_ok() { Err(Error::Busy("as the test wants it".into())) } else { Ok(()) }
    }
}

#[async_trait]
impl Broker for Wrapped {
    fn partitions(&self) -> u8 {
        self.local.partitions()
    }

    async fn publish(&self, batch: Vec<Publication>) -> Vec<Result<Receipt, Error>> {
        self.local.publish(batch).await
    }

    async fn publish_version(&self, event: Publication, version: u64) -> Result<Option<Receipt>, Error> {
        self.local.publish_version(event, version).await
    }

    async fn subscribe(&self, topics: Vec<Topic>) -> Result<Cursor, Error> {
        self.panic();
        self.local.subscribe(topics).await
    }

    fn unsubscribe(&self, topics: Vec<Topic>) {
        self.local.unsubscribe(topics);
    }

    async fn history_within(&self, reads: Vec<Read>, bytes: usize) -> Result<Vec<Page>, Error> {
        self.history.pass().await;
        self.panic();
        if !self.apart.load(Ordering::Relaxed) {
            let pages = self.local.history_within(reads, bytes).await?;
            self.largest.fetch_max(pages.iter().map(Page::bytes).sum(), Ordering::Relaxed);
            return Ok(pages);
        }
        let (mut pages, share) = (Vec::new(), bytes / reads.len().max(1));
        for read in reads {
            // One by one, and others run in between: pages are of different instants.
            pages.append(&mut self.local.history_within(vec![read], share).await?);
            tokio::task::yield_now().await;
        }
        Ok(pages)
    }

    async fn forget(&self, topic: &Topic) -> Result<bool, Error> {
        self.local.forget(topic).await
    }

    async fn memberships_of(&self, users: &[Topic]) -> Result<Vec<Vec<Topic>>, Error> {
        self.fail()?;
        let members = self.local.memberships_of(users).await;
        self.memberships.pass().await;
        members
    }

    async fn set_membership(&self, user: &Topic, topic: &Topic, member: bool) -> Result<bool, Error> {
        self.local.set_membership(user, topic, member).await
    }

    async fn disconnect(&self, user: &Topic) -> Result<u32, Error> {
        self.local.disconnect(user).await
    }

    async fn disconnects(&self, users: &[Topic]) -> Result<Vec<u64>, Error> {
        self.fail()?;
        self.disconnects.pass().await;
        let numbers = self.local.disconnects(users).await?;
        let forgetful = self.forgetful.load(Ordering::Relaxed);
        Ok(if forgetful { vec![0; numbers.len()] } else { numbers })
    }

    fn health(&self) -> Health {
        self.local.health()
    }
}
