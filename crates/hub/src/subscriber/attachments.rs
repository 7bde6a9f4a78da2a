//! Which topics a subscriber is attached to, and where it stands in their partitions.

use std::collections::HashSet;
use std::sync::Arc;

use tidegate_protocol::{Cursor, Partition, Position, Topic};

use super::{Subscriber, TopicState};
use crate::change::Basis;

/// A subscriber's slot in a topic.
pub(super) struct Attachment {
    pub(super) topic: Arc<TopicState>,
    pub(super) key: usize,
    pub(super) basis: Basis,
}

/// Which attachments a detachment may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detach {
    /// Those that only a membership gave.
    Memberships,
    /// Those that the client asked for as well.
    All,
}

impl Subscriber {
    /// The states of the topics that it is attached to.
    pub(crate) fn topic_states(&self) -> Vec<Arc<TopicState>> {
        self.state.lock().attachments.iter().map(|attachment| Arc::clone(&attachment.topic)).collect()
    }

    /// The topics that it receives, and why.
    pub(crate) fn topics(&self) -> Vec<(Topic, Basis)> {
        let state = self.state.lock();
        state.attachments.iter().map(|one| (one.topic.topic.clone(), one.basis)).collect()
    }

    /// How many topics its client asked for, the user's own among them.
    pub(crate) fn requested(&self) -> usize {
        self.state.lock().attachments.iter().filter(|one| one.basis == Basis::Request).count()
    }

    /// Sets its position in a partition that it had no topic in so far, or none since the
    /// partition's epoch began.
    pub(crate) fn begin_at(&self, partition: Partition, position: Position) {
        let mut state = self.state.lock();
        if state.cursor.get(partition).is_none_or(|at| at.epoch != position.epoch) {
            state.cursor.set(partition, position);
        }
    }

    /// Where it stands.
    pub(crate) fn cursor(&self) -> Cursor {
        self.state.lock().cursor.clone()
    }

    /// Takes an attachment. False if the stream has ended: the caller must detach it.
    pub(super) fn add_attachment(&self, attachment: Attachment) -> bool {
        let mut state = self.state.lock();
        if state.phase.close_reason().is_some() {
            return false;
        }
        state.attachments.push(attachment);
        true
    }

    /// Notes that it is to receive these topics on this basis: a request outlives the membership.
    /// Returns those that it is not attached to yet, each once.
    pub(super) fn claim<'a>(&self, topics: &'a [Topic], basis: Basis) -> Vec<&'a Topic> {
        let mut missing: HashSet<&Topic> = topics.iter().collect();
        for attachment in &mut self.state.lock().attachments {
            if missing.remove(&attachment.topic.topic) && basis == Basis::Request {
                attachment.basis = basis;
            }
        }
        topics.iter().filter(|topic| missing.remove(topic)).collect()
    }

    /// Takes the attachments to the topics that `which` names.
    pub(super) fn take_attachments(&self, detach: Detach, which: impl Fn(&Topic) -> bool) -> Vec<Attachment> {
        let mut state = self.state.lock();
        let goes = |one: &mut Attachment| {
            (detach == Detach::All || one.basis == Basis::Membership) && which(&one.topic.topic)
        };
        state.attachments.extract_if(.., goes).collect()
    }
}
