//! The node's time in steps: a deadline is a number of four bytes.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rand::Rng as _;
use tokio::time::Instant;

/// Steps since the clock started.
pub(crate) type Tick = u32;

/// One step: the precision of every deadline here. 497 days fit in a [`Tick`] at 10 ms steps, 13
/// years at these.
pub(crate) const STEP: Duration = Duration::from_millis(100);

/// Moved by the wheel, read by all.
pub(crate) struct Clock {
    start: Instant,
    now: AtomicU32,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), now: AtomicU32::new(0) }
    }

    pub(crate) fn start(&self) -> Instant {
        self.start
    }

    pub(crate) fn now(&self) -> Tick {
        self.now.load(Ordering::Relaxed)
    }

    /// Moves on by one step and returns the new time.
    pub(crate) fn advance(&self) -> Tick {
        self.now.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The step in which `at` lies; deadlines are never early.
    pub(crate) fn tick_at(&self, at: Instant) -> Tick {
        let steps = at.saturating_duration_since(self.start).as_millis().div_ceil(STEP.as_millis());
        Tick::try_from(steps).unwrap_or(Tick::MAX - 1)
    }

    /// The step `after` from now.
    pub(crate) fn tick_in(&self, after: Duration) -> Tick {
        self.tick_at(Instant::now() + after.min(Duration::from_secs(365 * 86_400)))
    }
}

/// A duration in steps, at least one.
pub(crate) fn steps(duration: Duration) -> Tick {
    u32::try_from(duration.as_millis() / STEP.as_millis()).unwrap_or(u32::MAX).max(1)
}

/// Milliseconds within ±50 % of `base`: what began together does not come back together.
pub(crate) fn jittered(base: Duration) -> u64 {
    let millis = u64::try_from(base.as_millis()).unwrap_or(u64::MAX).clamp(1, 1 << 32);
    rand::rng().random_range(millis.div_ceil(2)..=millis + millis / 2)
}
