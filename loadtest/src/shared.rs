//! What all that takes part in a run counts together: readers, publishers, other processes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use crate::tally::{Counts, latencies};

/// Counters, all of them only growing.
#[derive(Clone, Copy, Debug)]
#[repr(usize)]
pub(crate) enum Count {
    /// Connections tried.
    Attempts,
    /// Connections opened.
    Opened,
    /// Open ones that ended, but not by the scenario's will.
    Ended,
    /// Open ones that the scenario hung up.
    Left,
    /// Attempts that failed.
    Failed,
    /// Clients that opened for the first time.
    Joined,
    /// Clients that failed and will not try again.
    Lost,
    /// Clients that opened again.
    Reconnected,
    /// Open connections that were silent for too long.
    Silent,
    /// Clients that could not be continued from where they were.
    Resets,
    /// Clients that a warm-up event has reached.
    Warm,
    Received,
    Doubled,
    Reordered,
    Stray,
    /// Events given to publishers, those that were refused as well.
    Sent,
    /// Publishes that were not taken, and that was it.
    Refused,
    /// Publishes that failed and were sent again.
    Retried,
}

pub(crate) const COUNTS: usize = Count::Retried as usize + 1;

/// An event that came to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) number: u32,
    /// Microseconds since the start.
    pub(crate) at: u64,
}

pub(crate) struct Shared {
    /// What payloads count from.
    pub(crate) start: Instant,
    counts: [AtomicU64; COUNTS],
    /// When the last event came, in microseconds since the start.
    last: AtomicU64,
    /// By kind.
    errors: Mutex<BTreeMap<String, u64>>,
    pub(crate) arrivals: Mutex<Vec<Arrival>>,
    /// One for each thread that measures, so that they don't wait for each other.
    slots: Mutex<Vec<Arc<Slot>>>,
    recorded: Mutex<Recorded>,
    /// What is being done, for the progress display.
    pub(crate) phase: Mutex<String>,
}

/// What a thread measures until somebody takes it, in microseconds.
pub(crate) struct Measured {
    /// From a publish to its arrival.
    pub(crate) delivery: Histogram<u64>,
    /// From an attempt to its success.
    pub(crate) opening: Histogram<u64>,
}

pub(crate) type Slot = Mutex<Measured>;

/// What was taken from the slots so far.
struct Recorded {
    whole: Measured,
    /// Since the scenario's current step began.
    step: Measured,
}

impl Measured {
    pub(crate) fn new() -> Self {
        Self { delivery: latencies(), opening: latencies() }
    }

    /// All have one precision and grow as needed, so nothing can fail.
    pub(crate) fn add(&mut self, other: &Self) {
        let _ = self.delivery.add(&other.delivery);
        let _ = self.opening.add(&other.opening);
    }
}

impl Shared {
    pub(crate) fn new(start: Instant) -> Arc<Self> {
        Arc::new(Self {
            start,
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            last: AtomicU64::new(0),
            errors: Mutex::default(),
            arrivals: Mutex::default(),
            slots: Mutex::default(),
            recorded: Mutex::new(Recorded { whole: Measured::new(), step: Measured::new() }),
            phase: Mutex::default(),
        })
    }

    pub(crate) fn slot(&self) -> Arc<Slot> {
        let slot = Arc::new(Mutex::new(Measured::new()));
        self.slots.lock().push(Arc::clone(&slot));
        slot
    }

    pub(crate) fn get(&self, count: Count) -> u64 {
        self.counts[count as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, count: Count, more: u64) {
        self.counts[count as usize].fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn all(&self) -> [u64; COUNTS] {
        std::array::from_fn(|at| self.counts[at].load(Ordering::Relaxed))
    }

    pub(crate) fn add_all(&self, more: &[u64]) {
        for (count, more) in self.counts.iter().zip(more) {
            count.fetch_add(*more, Ordering::Relaxed);
        }
    }

    pub(crate) fn open_now(&self) -> u64 {
        self.get(Count::Opened).saturating_sub(self.get(Count::Ended) + self.get(Count::Left))
    }

    pub(crate) fn tally(&self) -> Counts {
        Counts {
            received: self.get(Count::Received),
            doubled: self.get(Count::Doubled),
            reordered: self.get(Count::Reordered),
            stray: self.get(Count::Stray),
        }
    }

    pub(crate) fn add_tally(&self, more: Counts) {
        self.add(Count::Received, more.received);
        self.add(Count::Doubled, more.doubled);
        self.add(Count::Reordered, more.reordered);
        self.add(Count::Stray, more.stray);
    }

    pub(crate) fn came(&self, at: Duration) {
        self.last.fetch_max(micros(at), Ordering::Relaxed);
    }

    pub(crate) fn last(&self) -> Duration {
        Duration::from_micros(self.last.load(Ordering::Relaxed))
    }

    pub(crate) fn error(&self, kind: &str, more: u64) {
        let mut errors = self.errors.lock();
        match errors.get_mut(kind) {
            Some(count) => *count += more,
            None => drop(errors.insert(kind.to_owned(), more)),
        }
    }

    pub(crate) fn errors(&self) -> BTreeMap<String, u64> {
        self.errors.lock().clone()
    }

    pub(crate) fn phase(&self, phase: impl Into<String>) {
        *self.phase.lock() = phase.into();
    }

    /// Takes what the slots have measured since the last time.
    pub(crate) fn take(&self) -> Measured {
        let mut taken = Measured::new();
        let slots = self.slots.lock().clone();
        for slot in slots {
            let mut measured = slot.lock();
            taken.add(&measured);
            measured.delivery.reset();
            measured.opening.reset();
        }
        let mut recorded = self.recorded.lock();
        recorded.whole.add(&taken);
        recorded.step.add(&taken);
        taken
    }

    /// Everything so far.
    pub(crate) fn measured(&self) -> Measured {
        self.take();
        let mut all = Measured::new();
        all.add(&self.recorded.lock().whole);
        all
    }

    /// Everything since this was last asked.
    pub(crate) fn step(&self) -> Measured {
        self.take();
        std::mem::replace(&mut self.recorded.lock().step, Measured::new())
    }
}

pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn what_threads_measure_is_counted_once_for_the_whole_and_for_its_step() {
        let shared = Shared::new(Instant::now());
        let (one, other) = (shared.slot(), shared.slot());
        one.lock().delivery.record(10).unwrap();
        other.lock().delivery.record(20).unwrap();
        assert_eq!(shared.take().delivery.len(), 2);
        assert_eq!(shared.take().delivery.len(), 0);
        one.lock().delivery.record(30).unwrap();
        assert_eq!(shared.step().delivery.len(), 3);
        other.lock().delivery.record(40).unwrap();
        assert_eq!(shared.step().delivery.max(), 40);
        assert_eq!(shared.measured().delivery.len(), 4);
    }
}
