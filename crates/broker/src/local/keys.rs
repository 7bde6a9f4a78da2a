use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use tidegate_protocol::Topic;

use crate::{Error, Receipt};

/// About what two hash map and heap slots cost.
const ENTRY_BYTES: usize = 160;

/// How many keys one sweep frees at most: more than one publication adds.
const SWEEP: usize = 4;

/// An idempotency key: the same text means something else on another topic.
pub(super) type Key = (Topic, Arc<str>);

/// Idempotency keys that are remembered, and what was answered to their first use.
#[derive(Default)]
pub(super) struct Keys {
    receipts: HashMap<Key, (Receipt, Instant)>,
    ends: BinaryHeap<Reverse<(Instant, Key)>>,
    bytes: usize,
}

impl Keys {
    /// What was answered to the first publication with `key`.
    pub(super) fn get(&self, key: &Key, now: Instant) -> Option<Receipt> {
        self.receipts.get(key).filter(|(_, end)| *end > now).map(|(receipt, _)| *receipt)
    }

    /// Whether another key may be remembered in `limit` bytes.
    pub(super) fn check(&self, limit: usize) -> Result<(), Error> {
        if self.bytes < limit {
            Ok(())
        } else {
            Err(Error::Busy("idempotency keys take as much memory as they may".into()))
        }
    }

    /// Remembers a key that [`Keys::get`] did not find.
    pub(super) fn put(&mut self, key: Key, receipt: Receipt, end: Instant) {
        self.bytes += weight(&key);
        self.ends.push(Reverse((end, key.clone())));
        self.receipts.insert(key, (receipt, end));
    }

    /// Frees some of what has expired.
    pub(super) fn sweep(&mut self, now: Instant) {
        for _ in 0..SWEEP {
            if self.ends.peek().is_none_or(|Reverse((end, _))| *end > now) {
                return;
            }
            let Some(Reverse((end, key))) = self.ends.pop() else { return };
            self.bytes -= weight(&key);
            // A key used again after its end has a later entry of its own.
            if self.receipts.get(&key).is_some_and(|(_, current)| *current == end) {
                self.receipts.remove(&key);
            }
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn weight((topic, text): &Key) -> usize {
    ENTRY_BYTES + topic.as_str().len() + text.len()
}
