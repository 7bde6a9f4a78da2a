//! Writing to many sockets at once: nine tenths of what a delivery costs are spent in the kernel,
//! so this is the part that all cores share.
//!
//! Queueing stays in one place, the dispatch loop, and with it the order of every connection. Only
//! the writes are spread.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::subscriber::{Subscriber, Subscribers};

/// Sockets that one worker takes at a time: some hundred microseconds of work, so that the last
/// ones of all end about together.
const SHARE: usize = 32;

/// Fewer than this for each worker are not worth its waking.
const WORTH: usize = 128;

/// A round's sockets.
struct Round {
    subscribers: Arc<Subscribers>,
    pending: Vec<Arc<Subscriber>>,
    /// How many have been taken.
    taken: AtomicUsize,
    /// How many have been written to.
    done: AtomicUsize,
    over: Notify,
}

/// Flushes them all and leaves `pending` empty. Returns when all have been written to: the dispatch
/// must not run ahead of the writers, or outboxes would fill up in a flood that the sockets could
/// take.
pub(crate) async fn all(subscribers: &Arc<Subscribers>, pending: &mut Vec<Arc<Subscriber>>) {
    let helpers = (pending.len() / WORTH).min(Handle::current().metrics().num_workers()).saturating_sub(1);
    if helpers == 0 {
        let now = subscribers.clock().now();
        pending.drain(..).for_each(|subscriber| subscriber.flush(subscribers.metrics(), now));
        return;
    }
    let round = Arc::new(Round {
        subscribers: Arc::clone(subscribers),
        pending: std::mem::take(pending),
        taken: AtomicUsize::new(0),
        done: AtomicUsize::new(0),
        over: Notify::new(),
    });
    for _ in 0..helpers {
        let round = Arc::clone(&round);
        // Short-lived: one round. A panic is made up for by `Share`.
        tokio::spawn(async move { round.work() });
    }
    round.work();
    // Not for the helpers to end: one that never got a core has nothing to do any more.
    while round.done.load(Ordering::Acquire) < round.pending.len() {
        round.over.notified().await;
    }
}

impl Round {
    fn work(&self) {
        let now = self.subscribers.clock().now();
        loop {
            let from = self.taken.fetch_add(SHARE, Ordering::Relaxed);
            let Some(rest) = self.pending.get(from..).filter(|rest| !rest.is_empty()) else { return };
            let share = &rest[..rest.len().min(SHARE)];
            let _seen_to = Share { round: self, count: share.len() };
            share.iter().for_each(|subscriber| subscriber.flush(self.subscribers.metrics(), now));
        }
    }
}

/// Counted when it is over, in whatever way: the dispatch would wait without end for a worker that
/// panicked.
struct Share<'a> {
    round: &'a Round,
    count: usize,
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let done = self.round.done.fetch_add(self.count, Ordering::AcqRel) + self.count;
        if done == self.round.pending.len() {
            self.round.over.notify_one();
        }
    }
}
