use std::collections::{BTreeSet, HashMap};

use tidegate_protocol::Topic;

use super::disconnects::Disconnects;
use crate::Error;

/// About what an entry of a map or a set costs.
const ENTRY_BYTES: usize = 96;

/// What is known about users, each named by their own topic.
#[derive(Default)]
pub(super) struct Users {
    members: HashMap<Topic, BTreeSet<Topic>>,
    bytes: usize,
    pub(super) disconnects: Disconnects,
}

impl Users {
    /// The topics of a user, in their own order.
    pub(super) fn memberships(&self, user: &Topic) -> Vec<Topic> {
        self.members.get(user).into_iter().flatten().cloned().collect()
    }

    /// Whether the user may become a member of `topic`: each has at most `limit`, all together
    /// take `bytes`.
    pub(super) fn check(&self, user: &Topic, topic: &Topic, limit: usize, bytes: usize) -> Result<(), Error> {
        let topics = self.members.get(user);
        if topics.is_some_and(|topics| topics.contains(topic)) {
            Ok(())
        } else if topics.map_or(0, BTreeSet::len) >= limit {
            Err(Error::Memberships(limit))
        } else if self.bytes >= bytes {
            Err(Error::Busy("the memory for memberships is full".into()))
        } else {
            Ok(())
        }
    }

    /// True if the user was no member.
    pub(super) fn join(&mut self, user: &Topic, topic: &Topic) -> bool {
        let joined = self.members.entry(user.clone()).or_default().insert(topic.clone());
        if joined {
            self.bytes += weight(user, topic);
        }
        joined
    }

    /// True if the user was a member.
    pub(super) fn leave(&mut self, user: &Topic, topic: &Topic) -> bool {
        let Some(topics) = self.members.get_mut(user) else { return false };
        let left = topics.remove(topic);
        if topics.is_empty() {
            self.members.remove(user);
        }
        if left {
            self.bytes -= weight(user, topic);
        }
        left
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.disconnects.bytes()
    }
}

fn weight(user: &Topic, topic: &Topic) -> usize {
    ENTRY_BYTES + user.as_str().len() + topic.as_str().len()
}
