use std::collections::{BTreeSet, HashMap};

use tidegate_protocol::Topic;

use crate::Error;

/// About what an entry of a map or a set costs.
const ENTRY_BYTES: usize = 96;

/// What is known about users, each named by their own topic.
#[derive(Default)]
pub(super) struct Users {
    members: HashMap<Topic, BTreeSet<Topic>>,
    disconnects: HashMap<Topic, u64>,
    bytes: usize,
}

impl Users {
    /// The topics of a user, in their own order.
    pub(super) fn memberships(&self, user: &Topic) -> Vec<Topic> {
        self.members.get(user).into_iter().flatten().cloned().collect()
    }

    /// How often the user was disconnected.
    pub(super) fn disconnects(&self, user: &Topic) -> u64 {
        self.disconnects.get(user).copied().unwrap_or_default()
    }

    /// Whether another entry may be made in `limit` bytes.
    pub(super) fn check(&self, limit: usize) -> Result<(), Error> {
        if self.bytes < limit {
            Ok(())
        } else {
            Err(Error::Busy("memberships take as much memory as they may".into()))
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

    /// Counts a disconnect.
    pub(super) fn disconnect(&mut self, user: &Topic) {
        let count = self.disconnects.entry(user.clone()).or_insert_with(|| {
            self.bytes += ENTRY_BYTES + user.as_str().len();
            0
        });
        *count += 1;
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn weight(user: &Topic, topic: &Topic) -> usize {
    ENTRY_BYTES + user.as_str().len() + topic.as_str().len()
}
