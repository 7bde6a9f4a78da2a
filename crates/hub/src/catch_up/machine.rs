//! The state machine of every catch-up.
//!
//! The subscriber is *held*: live events wait. Then, until it is live:
//!
//! 1. **Confirm** the topics that it is attached to: from that position on nothing is missed.
//! 2. **Gather** what it is to receive, and read what it has missed of that. Changes that arrived
//!    meanwhile are among it.
//! 3. **Go live**, under the subscriber's lock: find the watermark, queue the initial batch.
//!    Instead, this may find
//!    - that changes arrived meanwhile: back to 2;
//!    - that topics are behind: read these on, and try again;
//!    - that there is more than one join may read: the stream ends behind what there is, and the
//!      client comes back for the rest;
//!    - that events were lost, and what was read with them: an opening goes back to 1, a change
//!      gives up;
//!    - that another epoch has begun, and nothing was lost: confirmed and read again.
//!
//! A stream that has ended meanwhile counts as live: its handle takes back what it holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_broker::{Error, ResetReason};
use tidegate_protocol::{Cursor, Offset, Partition, Topic};

use super::CatchUp;
use super::changes::Changes;
use super::found::{Found, History, horizons};
use super::history::Memory;
use super::opening::Opening;
use super::watermark::{self, Behind, Reach};
use crate::change::Basis;
use crate::item::Item;
use crate::subscriber::{Release, Subscriber, TopicState};

/// What a catch-up is for.
pub(super) enum Goal<'a> {
    /// A stream begins.
    Open(Opening<'a>),
    /// What an open stream receives changes.
    Change(Changes),
}

/// One catch-up of one subscriber.
pub(super) struct Run<'a> {
    pub(super) hub: &'a CatchUp,
    pub(super) subscriber: &'a Arc<Subscriber>,
    /// Where the broker has confirmed the subscriber's topics.
    pub(super) base: Cursor,
    /// What was read.
    pub(super) found: Found,
    /// Its part of the node's memory for that.
    pub(super) memory: Memory,
}

/// What a stream goes live with.
pub(super) struct Gathered<'a> {
    /// All topics of the stream.
    pub(super) topics: &'a [Arc<TopicState>],
    pub(super) found: Found,
    /// Where partitions end for now: there is more of a topic.
    pub(super) horizons: BTreeMap<Partition, Offset>,
    held: Vec<Item>,
    /// Up to where events go out now.
    watermark: Cursor,
}

impl<'a> Run<'a> {
    pub(super) fn new(hub: &'a CatchUp, subscriber: &'a Arc<Subscriber>) -> Self {
        Self { hub, subscriber, base: Cursor::default(), found: Found::new(), memory: None }
    }

    /// Runs until the stream is live.
    pub(super) async fn until_live(mut self, mut goal: Goal<'_>) -> Result<(), Error> {
        if let Goal::Open(_) = goal {
            self.confirm().await?;
        }
        loop {
            match &mut goal {
                Goal::Open(opening) => opening.gather(&mut self).await?,
                Goal::Change(changes) => changes.gather(&mut self).await?,
            }
            loop {
                let release = if self.is_of_two_epochs() { Release::Moved } else { self.go_live(&mut goal) };
                match release {
                    Release::Done => return Ok(()),
                    Release::Changed => break,
                    Release::Behind(behind) => {
                        self.hub.history.read_on(&mut self.found, behind, &mut self.memory).await?;
                        if let Goal::Change(changes) = &goal {
                            changes.check(&self.found)?;
                        }
                    }
                    Release::Moved => {
                        self.confirm().await?;
                        match &mut goal {
                            Goal::Open(_) => break,
                            Goal::Change(changes) => changes.read_again(&mut self).await?,
                        }
                    }
                    Release::Lost => match goal {
                        Goal::Open(_) => {
                            self.confirm().await?;
                            break;
                        }
                        Goal::Change(_) => {
                            return Err(Error::Unavailable("events were lost meanwhile".into()));
                        }
                    },
                }
            }
        }
    }

    /// Attaches the subscriber to the topics that it is not attached to yet, and has them
    /// confirmed. Returns those.
    pub(super) async fn attach(
        &mut self,
        topics: &[Topic],
        basis: Basis,
    ) -> Result<Vec<Arc<TopicState>>, Error> {
        let new = self.hub.subscribers.attach(self.subscriber, topics, basis);
        if !new.is_empty() {
            self.confirm().await?;
        }
        Ok(new)
    }

    /// Waits until the broker confirms all of the subscriber's topics.
    async fn confirm(&mut self) -> Result<(), Error> {
        let states = self.subscriber.topic_states();
        let mut topics: Vec<Topic> = states.iter().map(|state| state.topic.clone()).collect();
        // Whatever it carries: what changes for the user comes on the user's own topic.
        let own = self.subscriber.user().map(|user| user.topic.clone());
        topics.extend(own.filter(|own| !topics.contains(own)));
        self.base = Cursor::default();
        if topics.is_empty() {
            return Ok(());
        }
        let confirmed = self.hub.broker.subscribe(topics).await?;
        for state in states {
            if let Some(position) = confirmed.get(state.partition) {
                state.confirmed(position);
                self.base.set(state.partition, position);
            }
        }
        Ok(())
    }

    /// Whether what was read goes on in another epoch than that in which the topics were confirmed.
    fn is_of_two_epochs(&self) -> bool {
        let goes_on = |history: &History| !history.reset.is_some_and(ResetReason::is_void);
        self.found.iter().filter(|(_, history)| goes_on(history)).any(|(topic, history)| {
            self.base.get(topic.partition).is_some_and(|base| base.epoch != history.head.epoch)
        })
    }

    fn go_live(&mut self, goal: &mut Goal<'_>) -> Release<Behind> {
        let (hub, base, found) = (self.hub, &self.base, &mut self.found);
        let topics = &self.subscriber.topic_states();
        self.subscriber.release(hub.subscribers.clock().now(), |batch, held| {
            let cursor = batch.cursor();
            let horizons = horizons(found);
            let reach = Reach { seen: &hub.seen, base, cursor, topics, found, held, horizons: &horizons };
            let watermark = reach.watermark()?;
            let (found, held) = (std::mem::take(found), std::mem::take(held));
            let gathered = Gathered { topics, found, horizons, held, watermark };
            match goal {
                Goal::Open(opening) => opening.write(&hub.subscribers, batch, gathered),
                Goal::Change(changes) => changes.write(&hub.subscribers, batch, gathered),
            }
            Ok(())
        })
    }
}

impl Gathered<'_> {
    /// The events, in the one order of the stream.
    pub(super) fn into_items(self) -> Vec<Item> {
        let mut items: Vec<Item> = self.found.into_iter().flat_map(|(_, history)| history.items).collect();
        watermark::cut(&mut items, &self.watermark);
        items.extend(self.held);
        items.retain(|item| {
            let mark = &item.event.mark;
            self.horizons.get(&mark.partition).is_none_or(|horizon| mark.offset <= *horizon)
        });
        Item::sort(&mut items);
        items
    }
}
