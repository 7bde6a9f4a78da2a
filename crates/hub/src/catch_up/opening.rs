//! Opening a stream: subscribe, hold live events back, read history, merge, go live.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tidegate_protocol::{Cursor, Format, Partition, Topic};

use super::resume_plan::Plan;
use super::watermark;
use crate::catch_up::Found;
use crate::control_events::{Ready, Word};
use crate::item::Item;
use crate::subscriber::{Emitter, Leave, Merge, Release, Subscription};
use crate::topics::Channel;
use crate::wheel::Tick;
use crate::{Hub, Inner, Manner, control_events};

/// A wish to receive.
#[derive(Clone)]
pub struct Join {
    /// Whose stream it is, by the user's own topic: it is counted among the user's, and ends when
    /// the user is disconnected.
    pub user: Option<Topic>,
    /// What it carries of the user's.
    pub scope: Scope,
    /// The topics asked for; the caller has checked that they may be.
    pub topics: Vec<Topic>,
    /// Where to begin.
    pub resume: Resume,
    /// When the credential expires.
    pub expires: Option<Instant>,
    /// How events look.
    pub format: Format,
    /// How the stream differs from the node's settings.
    pub manner: Option<Arc<Manner>>,
}

/// What a user's stream carries besides the topics asked for, and what ends it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// The user's own topic and memberships.
    #[default]
    Own,
    /// Nothing.
    Topics,
    /// Nothing, and it ends when the user stops being a member of one of its topics.
    Membership,
}

/// Where a stream begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resume {
    /// With what comes.
    Live,
    /// After an id, as the client gave it.
    After(String),
    /// With the last few events of each topic.
    Last(u32),
}

/// Why a stream was not opened.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The broker did not confirm in time.
    #[error("the broker is unavailable: {0}")]
    Unavailable(String),
    /// The user has as many streams on this node as allowed.
    #[error("the user has {0} streams on this node already")]
    UserLimit(usize),
    /// The node goes away.
    #[error("the node is draining")]
    Draining,
}

impl Error {
    /// The reason told to the client in `tidegate:closing`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::UserLimit(_) => "user_limit",
            Self::Draining => "drain",
        }
    }
}

impl Hub {
    /// Opens a stream. When this returns, every event published from now on reaches it.
    pub async fn join(&self, join: Join) -> Result<Subscription, Error> {
        if self.draining() {
            return Err(Error::Draining);
        }
        let hub = &self.0;
        let subscription = hub.admit(&join);
        if let Some(user) = &join.user {
            subscription.emitter.belongs(hub.attach_user(user, &subscription.emitter)?);
        }
        let open = hub.open(&subscription, &join);
        match tokio::time::timeout(hub.options.join_timeout, open).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(Error::Unavailable(error.to_string())),
            Err(_) => return Err(Error::Unavailable(hub.broker.health().detail)),
        }
        hub.metrics.joins.inc();
        let emitter = &subscription.emitter;
        emitter.opened();
        let first = emitter.last.load(Ordering::Relaxed).saturating_add(hub.beat(emitter));
        hub.wheel.put(Arc::downgrade(emitter), first.min(emitter.expires).min(emitter.oldest));
        Ok(subscription)
    }

    /// The closing block for a stream that could not be opened: a client gets it with 200 and comes back later.
    pub fn turned_away(&self, reason: &str) -> Vec<u8> {
        // Later than after a stream that ended: what turned it away may take a while.
        control_events::closing(Format::Sse, self.0.options.retry * 4, reason)
    }
}

impl Inner {
    fn admit(self: &Arc<Self>, join: &Join) -> Subscription {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let expires = join.expires.map_or(Tick::MAX, |at| self.wheel.tick_at(at.into()));
        let manner = join.manner.as_ref();
        let oldest = manner.map_or(self.options.max_age, |manner| manner.max_age).map_or(Tick::MAX, |age| {
            let factor = rand::Rng::random_range(&mut rand::rng(), 0.9..1.1);
            self.wheel.tick_in(age.mul_f64(factor))
        });
        let (now, manner) = (self.wheel.now(), join.manner.clone());
        let emitter = Emitter::new(id, join.format, join.scope, now, expires, oldest, manner);
        self.live.fetch_add(1, Ordering::Relaxed);
        Subscription { emitter: Arc::new(emitter), hub: Arc::downgrade(self) }
    }

    async fn open(
        self: &Arc<Self>,
        subscription: &Subscription,
        join: &Join,
    ) -> Result<(), tidegate_broker::Error> {
        let emitter = &subscription.emitter;
        let mut topics = join.topics.clone();
        if join.scope == Scope::Own {
            topics.extend(join.user.clone());
        }
        self.attach(emitter, &topics, true);
        let mut base = self.confirm(emitter).await?;
        loop {
            if let Some(user) = &emitter.user() {
                self.know(user).await?;
            }
            if let Some(user) = &emitter.user().filter(|_| join.scope == Scope::Own) {
                // What is read below contains them.
                while emitter.next_change().is_some() {}
                let members = self.broker.memberships(&user.topic).await?;
                let known: HashSet<&Topic> = members.iter().collect();
                self.unseat_all(emitter, false, |topic| !known.contains(topic));
                if !self.attach(emitter, &members, false).is_empty() {
                    base = self.confirm(emitter).await?;
                }
            }
            let channels = emitter.channels();
            let plan = Plan::new(&join.resume, &channels, &base);
            let mut found = self
                .gather(plan.wishes(&channels, self.options.replay_events), |channel, position| {
                    base.get(channel.partition)
                        .is_some_and(|head| head.epoch == position.epoch && position.offset <= head.offset)
                })
                .await?;
            loop {
                let mut short = Vec::new();
                let released = emitter.release(self.wheel.now(), |merge, held| {
                    match watermark::find(&self.seen, &base, merge.place(), &channels, &found, held) {
                        Ok(level) => {
                            let ready =
                                Begin { plan: plan.clone(), level, channels: &channels, subscription, join };
                            self.begin(merge, std::mem::take(held), ready, std::mem::take(&mut found));
                        }
                        Err(behind) => short = behind,
                    }
                    short.is_empty()
                });
                match released {
                    Release::Done => return Ok(()),
                    Release::Changed => break,
                    Release::Uneven => self.lengthen(&mut found, short).await?,
                    Release::Reset => {
                        base = self.confirm(emitter).await?;
                        break;
                    }
                }
            }
        }
    }

    /// Waits until the broker confirms all of the emitter's topics.
    pub(crate) async fn confirm(&self, emitter: &Emitter) -> Result<Cursor, tidegate_broker::Error> {
        let channels = emitter.channels();
        let mut topics: Vec<Topic> = channels.iter().map(|channel| channel.topic.clone()).collect();
        // Whatever it carries: what happens to the user is told on the user's own topic.
        topics.extend(emitter.user().map(|user| user.topic.clone()).filter(|own| !topics.contains(own)));
        if topics.is_empty() {
            return Ok(Cursor::default());
        }
        let places = self.broker.subscribe(topics).await?;
        let mut base = Cursor::default();
        for channel in channels {
            if let Some(position) = places.get(channel.partition) {
                channel.confirmed(position);
                base.set(channel.partition, position);
            }
        }
        Ok(base)
    }

    /// Queues the beginning of the stream: ready, resets, what was missed in order.
    fn begin(
        &self,
        merge: &mut Merge<'_>,
        held: Vec<Item>,
        begin: Begin<'_>,
        found: Vec<(Arc<Channel>, Found)>,
    ) {
        let Begin { mut plan, level, channels, subscription, join } = begin;
        let mut items = Vec::new();
        let mut horizons: BTreeMap<Partition, u64> = BTreeMap::new();
        for (channel, page) in found {
            if let Some(reason) = page.reset {
                plan.reset(&channel, reason, page.head);
            }
            if let (true, Some(last)) = (page.more && !plan.backwards(), page.items.last()) {
                let horizon = horizons.entry(channel.partition).or_insert(u64::MAX);
                *horizon = (*horizon).min(last.event.mark.offset);
            }
            items.extend(page.items);
        }
        watermark::cut(&mut items, &level);
        items.extend(held);
        Item::sort(&mut items);
        let options = &self.options;
        items.retain(|item| !plan.is_past(item));
        let start = plan.start(&items);
        let topics: Vec<Topic> = channels.iter().map(|channel| channel.topic.clone()).collect();
        let connection = format!("{}-{:x}", options.node, subscription.emitter.id);
        let user = join.user.as_ref().and_then(Topic::owner);
        let ready = plan.ready(&start);
        let format = merge.format();
        let ready = Ready {
            retry: options.retry,
            id: &ready,
            connection: &connection,
            node: &options.node,
            user,
            topics: &topics,
        };
        merge.say(Word::Ready, control_events::ready(format, &ready));
        if let Some(greeting) = join.manner.as_ref().and_then(|manner| manner.greeting.as_ref()) {
            merge.say(Word::Greeting, control_events::greeting(format, greeting));
        }
        for (reason, topics) in &plan.resets {
            self.metrics.resets.with_label_values(&[reason.as_str()]).inc();
            merge.say(Word::Reset, control_events::reset(format, &start, topics, *reason));
        }
        *merge.cursor() = start;
        let mut bytes = 0;
        for item in items {
            let mark = &item.event.mark;
            bytes += item.event.data.as_bytes().len();
            let beyond = horizons.get(&mark.partition).is_some_and(|horizon| mark.offset > *horizon);
            // At least one goes out: the client would come back for it for ever.
            if beyond || (bytes > options.replay_bytes && bytes > item.event.data.as_bytes().len()) {
                merge.close(Leave::Replay, options);
                return;
            }
            merge.item(&item, options);
            self.metrics.replayed.inc();
        }
        if !horizons.is_empty() {
            merge.close(Leave::Replay, options);
        }
    }
}

/// What a stream begins with, besides events.
struct Begin<'a> {
    plan: Plan,
    /// Up to where events go out now.
    level: Cursor,
    channels: &'a [Arc<Channel>],
    subscription: &'a Subscription,
    join: &'a Join,
}
