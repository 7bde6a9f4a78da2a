use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use slab::Slab;
use tidegate_protocol::Topic;

/// A user's streams on this node.
pub(crate) struct User<S> {
    /// The user's own topic.
    pub(crate) topic: Topic,
    streams: Mutex<Slab<Arc<S>>>,
    /// How often the user had been disconnected when the streams that are open now began: shows
    /// whether one was missed. `None`: not known, and no stream is open that began before.
    disconnects: Mutex<Option<u64>>,
    /// Changes of membership received so far. Held while one is handed on to the streams.
    changes: Mutex<u64>,
}

impl<S> User<S> {
    pub(super) fn new(topic: Topic) -> Self {
        Self { topic, streams: Mutex::default(), disconnects: Mutex::default(), changes: Mutex::default() }
    }

    /// `None`: there are `limit` already.
    pub(super) fn attach(&self, stream: &Arc<S>, limit: usize) -> Option<usize> {
        let mut streams = self.streams.lock();
        (streams.len() < limit).then(|| streams.insert(Arc::clone(stream)))
    }

    /// True if it was the last.
    pub(super) fn detach(&self, key: usize) -> bool {
        let mut streams = self.streams.lock();
        let gone = streams.try_remove(key);
        let last = streams.is_empty();
        // Not under the lock: the stream may end with it.
        drop(streams);
        drop(gone);
        last
    }

    pub(super) fn is_empty(&self) -> bool {
        self.streams.lock().is_empty()
    }

    /// Its streams now.
    pub(super) fn streams(&self) -> Vec<Arc<S>> {
        self.streams.lock().iter().map(|(_, stream)| Arc::clone(stream)).collect()
    }

    pub(super) fn knows_disconnects(&self) -> bool {
        self.disconnects.lock().is_some()
    }

    /// Notes the count, unless another has been noted since it was asked for.
    pub(super) fn learn_disconnects(&self, count: u64) {
        self.disconnects.lock().get_or_insert(count);
    }

    /// A disconnect was received. It may or may not be in a count that was read before: the next
    /// stream reads it again.
    pub(super) fn disconnected(&self) {
        *self.disconnects.lock() = None;
    }

    /// Whether there may have been a disconnect that was not received: the number is `count` now.
    /// Also if it is lower: it was lost, and maybe after a disconnect.
    pub(super) fn missed_disconnect(&self, count: u64) -> bool {
        self.disconnects.lock().replace(count).is_some_and(|known| known != count)
    }

    /// The number of changes so far. The next one waits while this is held.
    pub(super) fn changes(&self) -> MutexGuard<'_, u64> {
        self.changes.lock()
    }
}
