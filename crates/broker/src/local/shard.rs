use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_protocol::{Epoch, Event, Partition, Position, Topic};

use super::end;
use super::keys::{Expiring, Key};
use super::log::Log;
use super::users::Users;
use crate::{Control, Delivery, Error, Feed, Page, Publication, Read, Receipt};

/// Between two places told for events that nobody listens to. Such deliveries are let into a full queue, so they come at a bounded rate; a
/// quiet connection's cursor may be this much behind.
const PLACE_INTERVAL: Duration = Duration::from_secs(1);

/// One partition. Its lock is held while something is numbered, stored and handed on, so these three orders are the same.
pub(super) struct Shard {
    log: Log,
    /// Idempotency keys, and what was answered to their first use.
    keys: Expiring<Key, Receipt>,
    /// The last version of each topic that has versions.
    versions: Expiring<Topic, u64>,
    pub(super) users: Users,
    subscribed: HashSet<Topic>,
    next_place: Option<Instant>,
    limit: usize,
    /// Of one user.
    memberships: usize,
}

impl Shard {
    /// `limit` is in bytes; a user has at most so many `memberships`.
    pub(super) fn new(partition: Partition, epoch: Epoch, limit: usize, memberships: usize) -> Self {
        Self {
            log: Log::new(partition, epoch),
            keys: Expiring::default(),
            versions: Expiring::default(),
            users: Users::default(),
            subscribed: HashSet::new(),
            next_place: None,
            limit,
            memberships,
        }
    }

    /// With a key that is known, the first receipt again.
    pub(super) fn publish(
        &mut self,
        mut publication: Publication,
        now: Instant,
        feed: &Feed,
    ) -> Result<Receipt, Error> {
        self.sweep(now);
        let key_ttl = publication.retention.key_ttl;
        let key = publication.key.take().map(|text| (publication.topic.clone(), text.into()));
        if let Some(key) = &key {
            if let Some(first) = self.keys.get(key, now) {
                return Ok(first);
            }
            self.room_for_a_key()?;
        }
        let receipt = self.append(publication, now, feed)?;
        if let Some(key) = key {
            self.keys.put(key, receipt, end(now, key_ttl));
        }
        Ok(receipt)
    }

    /// A version that is no later than the last one changes nothing.
    pub(super) fn publish_version(
        &mut self,
        publication: Publication,
        version: u64,
        now: Instant,
        feed: &Feed,
    ) -> Result<Option<Receipt>, Error> {
        self.sweep(now);
        let (topic, key_ttl) = (publication.topic.clone(), publication.retention.key_ttl);
        match self.versions.get(&topic, now) {
            Some(last) if last >= version => return Ok(None),
            Some(_) => {}
            None => self.room_for_a_key()?,
        }
        let receipt = self.append(publication, now, feed)?;
        self.versions.put(topic, version, end(now, key_ttl));
        Ok(Some(receipt))
    }

    fn sweep(&mut self, now: Instant) {
        self.log.sweep(now);
        self.keys.sweep(now);
        self.versions.sweep(now);
    }

    /// Whether another key or version may be remembered.
    fn room_for_a_key(&self) -> Result<(), Error> {
        if self.keys.bytes() + self.versions.bytes() < self.limit / 4 {
            return Ok(());
        }
        Err(Error::Busy("the memory for idempotency keys is full".into()))
    }

    /// Everything that can fail comes before the first change.
    fn append(&mut self, publication: Publication, now: Instant, feed: &Feed) -> Result<Receipt, Error> {
        let Publication { topic, name, data, at, retention, key: _ } = publication;
        let listened = self.subscribed.contains(&topic);
        let mark = if retention.size > 0 { self.log.next(&topic, now) } else { self.log.here() };
        let event = Arc::new(Event { topic, name, data, at, mark });
        if listened {
            feed.push(Delivery::Event(Arc::clone(&event)))?;
        }

        let mut receipt = Receipt { mark: None, nodes: u32::from(listened) };
        if mark.stored() {
            receipt.mark = Some((mark.partition, mark.position()));
            self.log.append(event, &retention, now);
        }
        let others = self.keys.bytes() + self.versions.bytes() + self.users.bytes();
        self.log.make_room(self.limit.saturating_sub(others));
        if mark.stored() && !listened {
            self.tell_place(now, feed);
        }
        Ok(receipt)
    }

    /// Gives the place after which every event of `topic` is delivered.
    pub(super) fn subscribe(&mut self, topic: Topic) -> (Partition, Position) {
        self.subscribed.insert(topic);
        self.log.head()
    }

    pub(super) fn unsubscribe(&mut self, topic: &Topic) {
        self.subscribed.remove(topic);
    }

    pub(super) fn after(&mut self, reads: &[&Read], bytes: usize, now: Instant) -> Vec<Page> {
        self.log.after(reads, bytes, now)
    }

    pub(super) fn before(&mut self, read: &Read, bytes: usize, now: Instant) -> Page {
        self.log.before(read, bytes, now)
    }

    pub(super) fn forget(&mut self, topic: &Topic, now: Instant, feed: &Feed) -> bool {
        if self.subscribed.contains(topic) {
            // It always fits.
            let _ = feed.push(Delivery::Forgotten { topic: topic.clone(), seen: self.log.head() });
        }
        self.log.forget(topic, now)
    }

    pub(super) fn head(&self) -> Position {
        self.log.head().1
    }

    /// Joins the user at `from`, or ends the membership.
    pub(super) fn set_membership(
        &mut self,
        user: &Topic,
        topic: &Topic,
        from: Option<Position>,
        feed: &Feed,
    ) -> Result<bool, Error> {
        let topic = topic.clone();
        if from.is_some() {
            self.users.check(user, &topic, self.memberships, self.limit / 4)?;
            self.tell(user, Control::Joined { topic: topic.clone(), from }, feed)?;
            Ok(self.users.join(user, &topic))
        } else {
            self.tell(user, Control::Left { topic: topic.clone() }, feed)?;
            Ok(self.users.leave(user, &topic))
        }
    }

    /// Counts a disconnect of the user. Gives the number of nodes told: 0 or 1.
    pub(super) fn disconnect(&mut self, user: &Topic, feed: &Feed) -> Result<u32, Error> {
        let told = self.tell(user, Control::Disconnect, feed)?;
        self.users.disconnects.count(user, self.limit / 16);
        Ok(u32::from(told))
    }

    fn tell(&self, user: &Topic, control: Control, feed: &Feed) -> Result<bool, Error> {
        let listened = self.subscribed.contains(user);
        if listened {
            feed.push(Delivery::Control { user: user.clone(), seen: self.log.head(), control })?;
        }
        Ok(listened)
    }

    fn tell_place(&mut self, now: Instant, feed: &Feed) {
        if self.subscribed.is_empty() || self.next_place.is_some_and(|next| now < next) {
            return;
        }
        self.next_place = Some(now + PLACE_INTERVAL);
        let (partition, position) = self.log.head();
        // A place always fits. Were it refused, a later one would say the same and more.
        let _ = feed.push(Delivery::Seen(partition, position));
    }

    /// Counts everything anew. Gives the bytes in use.
    #[cfg(test)]
    pub(super) fn check(&self) -> usize {
        self.log.check() + self.keys.bytes() + self.versions.bytes() + self.users.bytes()
    }
}
