use std::collections::{BTreeMap, HashMap};

use tidegate_protocol::Topic;

/// About what an entry of the two maps costs.
const ENTRY_BYTES: usize = 192;

/// Which user was disconnected after which.
///
/// One counter for all: a user's number is what it stood at when the user was last disconnected. So
/// the number of a user that was forgotten and is disconnected again is higher than any before it,
/// and hides nothing.
#[derive(Default)]
pub(super) struct Disconnects {
    counter: u64,
    /// No forgotten user had a higher number. Who is unknown is taken to have been disconnected
    /// right then: a stream may end once too often, and none lives on.
    floor: u64,
    numbers: HashMap<Topic, u64>,
    /// The same the other way round: who was disconnected longest ago comes first.
    order: BTreeMap<u64, Topic>,
    bytes: usize,
}

impl Disconnects {
    /// The user's number.
    pub(super) fn number(&self, user: &Topic) -> u64 {
        self.numbers.get(user).copied().unwrap_or(self.floor)
    }

    /// Counts a disconnect, and forgets who was disconnected longest ago until all fits into
    /// `limit` bytes. Never refused: a user must always be disconnected.
    pub(super) fn count(&mut self, user: &Topic, limit: usize) {
        self.counter += 1;
        match self.numbers.insert(user.clone(), self.counter) {
            Some(before) => drop(self.order.remove(&before)),
            None => self.bytes += weight(user),
        }
        self.order.insert(self.counter, user.clone());
        while self.bytes > limit
            && let Some((number, user)) = self.order.pop_first()
        {
            self.numbers.remove(&user);
            self.bytes -= weight(&user);
            self.floor = number;
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn weight(user: &Topic) -> usize {
    ENTRY_BYTES + user.as_str().len()
}
