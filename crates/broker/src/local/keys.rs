use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Instant;

use tidegate_protocol::Topic;

/// About what two hash map and heap slots cost.
const ENTRY_BYTES: usize = 160;

/// How many entries one sweep looks at: more than one publication adds.
const SWEEP: usize = 4;

/// An idempotency key: the same text means something else on another topic.
pub(super) type Key = (Topic, Arc<str>);

/// What is remembered until its time is over.
pub(super) struct Expiring<K, V> {
    entries: HashMap<K, (V, Instant)>,
    /// One for each entry: when to look at it. Its end may have moved further by then.
    ends: BinaryHeap<Reverse<(Instant, K)>>,
    bytes: usize,
}

/// How long a key's text is.
pub(super) trait Weigh {
    fn text(&self) -> usize;
}

impl<K: Clone + Eq + Hash + Ord + Weigh, V: Copy> Expiring<K, V> {
    pub(super) fn get(&self, key: &K, now: Instant) -> Option<V> {
        self.entries.get(key).filter(|(_, end)| *end > now).map(|(value, _)| *value)
    }

    /// Remembers it, or something else than before, until `end`.
    pub(super) fn put(&mut self, key: K, value: V, end: Instant) {
        if self.entries.insert(key.clone(), (value, end)).is_none() {
            self.bytes += ENTRY_BYTES + key.text();
            self.ends.push(Reverse((end, key)));
        }
    }

    /// Frees some of what has expired.
    pub(super) fn sweep(&mut self, now: Instant) {
        for _ in 0..SWEEP {
            if self.ends.peek().is_none_or(|Reverse((end, _))| *end > now) {
                return;
            }
            let Some(Reverse((_, key))) = self.ends.pop() else { return };
            match self.entries.get(&key) {
                Some((_, end)) if *end > now => self.ends.push(Reverse((*end, key))),
                _ => {
                    self.bytes -= ENTRY_BYTES + key.text();
                    self.entries.remove(&key);
                }
            }
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl<K: Ord, V> Default for Expiring<K, V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), ends: BinaryHeap::new(), bytes: 0 }
    }
}

impl Weigh for Key {
    fn text(&self) -> usize {
        self.0.text() + self.1.len()
    }
}

impl Weigh for Topic {
    fn text(&self) -> usize {
        self.as_str().len()
    }
}
