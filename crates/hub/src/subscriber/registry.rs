//! The subscribers of this node: coming, going, and the topics and users that they are attached to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rand::Rng as _;
use tidegate_broker::Broker;
use tidegate_protocol::Topic;

use super::attachments::Attachment;
use super::{Deadlines, Detach, Subscriber, TopicState, UserSlot};
use crate::change::Basis;
use crate::clock::{Clock, Tick};
use crate::close_reason::CloseReason;
use crate::join::{Error, Join};
use crate::metrics::Metrics;
use crate::options::Options;
use crate::topics::Topics;
use crate::users::Users;

/// All subscribers of this node, by topic and by user.
pub(crate) struct Subscribers {
    topics: Topics<Subscriber>,
    users: Arc<Users<Subscriber>>,
    next_id: AtomicU64,
    live: AtomicUsize,
    clock: Clock,
    options: Options,
    metrics: Metrics,
}

impl Subscribers {
    pub(crate) fn new(options: Options, broker: &Arc<dyn Broker>, metrics: Metrics) -> Self {
        let topics = Topics::new(Arc::clone(broker), metrics.topics.clone());
        let users = Users::new(Arc::clone(broker), options.user_connections, metrics.users.clone());
        Self {
            topics,
            users: Arc::new(users),
            next_id: AtomicU64::new(1),
            live: AtomicUsize::new(0),
            clock: Clock::new(),
            options,
            metrics,
        }
    }

    pub(crate) fn topics(&self) -> &Topics<Subscriber> {
        &self.topics
    }

    pub(crate) fn users(&self) -> &Arc<Users<Subscriber>> {
        &self.users
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Streams open on this node.
    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Makes a subscriber and counts it, until it [departs](Self::depart).
    pub(crate) fn admit(&self, join: &Join) -> Arc<Subscriber> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let expires_at = join.expires_at.map_or(Tick::MAX, |at| self.clock.tick_at(at.into()));
        let overrides = join.overrides.as_ref();
        let max_age = overrides.map_or(self.options.max_age, |overrides| overrides.max_age);
        let max_age_at = max_age.map_or(Tick::MAX, |age| {
            let factor = rand::rng().random_range(0.9..1.1);
            self.clock.tick_in(age.mul_f64(factor))
        });
        let deadlines = Deadlines { expires_at, max_age_at };
        self.live.fetch_add(1, Ordering::Relaxed);
        Arc::new(Subscriber::new(id, self.clock.now(), deadlines, join))
    }

    /// Counts a subscriber among its user's, or refuses it because there are too many. The user's
    /// own topic is kept from now on: it carries what changes for the user.
    pub(crate) fn attach_user(&self, own_topic: &Topic, subscriber: &Arc<Subscriber>) -> Result<(), Error> {
        let slot = self.users.attach(own_topic, subscriber)?;
        self.topics.hold(own_topic);
        subscriber.state.lock().user = Some(slot);
        Ok(())
    }

    /// Attaches a subscriber to the topics that it is not attached to yet, and returns those.
    pub(crate) fn attach(
        &self,
        subscriber: &Arc<Subscriber>,
        topics: &[Topic],
        basis: Basis,
    ) -> Vec<Arc<TopicState>> {
        let mut new = Vec::new();
        for topic in subscriber.claim(topics, basis) {
            let (state, key) = self.topics.attach(topic, subscriber);
            if subscriber.add_attachment(Attachment { topic: Arc::clone(&state), key, basis }) {
                new.push(state);
            } else {
                self.topics.detach(&state, key, self.linger_until());
            }
        }
        new
    }

    /// Detaches a subscriber from the topics that `which` names.
    pub(crate) fn detach(&self, subscriber: &Subscriber, detach: Detach, which: impl Fn(&Topic) -> bool) {
        self.detach_all(subscriber.take_attachments(detach, which));
    }

    /// Ends a stream and takes it out of every map at once: a client that does not take its goodbye
    /// takes no other's slot.
    pub(crate) fn close(&self, subscriber: &Subscriber, reason: CloseReason) {
        subscriber.close(reason, &self.options);
        self.vacate(subscriber);
    }

    /// Takes a stream that has ended out of every map.
    pub(crate) fn vacate(&self, subscriber: &Subscriber) {
        let (attachments, user) = {
            let mut state = subscriber.state.lock();
            if state.phase.close_reason().is_none() {
                return;
            }
            (std::mem::take(&mut state.attachments), state.user.take())
        };
        self.detach_all(attachments);
        if let Some(slot) = user {
            self.detach_user(&slot);
        }
    }

    /// Ends what is left of a stream when its transport has let it go, or is no longer waited for.
    pub(crate) fn depart(&self, subscriber: &Subscriber) {
        let departure = subscriber.depart();
        self.vacate(subscriber);
        let Some(departure) = departure else { return };
        self.live.fetch_sub(1, Ordering::Relaxed);
        let Some(reason) = departure.reason else { return };
        self.metrics.leaves.with_label_values(&[reason.as_str()]).inc();
        if departure.dropped > 0 {
            let dropped = self.metrics.dropped.with_label_values(&[reason.as_str()]);
            dropped.inc_by(departure.dropped as u64);
        }
    }

    fn detach_all(&self, attachments: Vec<Attachment>) {
        if attachments.is_empty() {
            return;
        }
        let until = self.linger_until();
        for attachment in attachments {
            self.topics.detach(&attachment.topic, attachment.key, until);
        }
    }

    fn detach_user(&self, slot: &UserSlot) {
        self.users.detach(slot);
        self.topics.release(&slot.user.topic, self.linger_until());
    }

    fn linger_until(&self) -> Tick {
        self.clock.tick_in(self.options.linger)
    }
}
