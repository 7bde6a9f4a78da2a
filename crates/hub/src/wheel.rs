//! Heartbeats, ages, expiries and the drain: one wheel a node instead of timers for every connection.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng;
use tokio::time::Instant;

use crate::control_events::Word;
use crate::subscriber::Emitter;
use crate::{Inner, Leave, control_events};

/// Time in steps of the wheel since it started.
pub(crate) type Tick = u32;

/// One step: the precision of every deadline here. 497 days fit in a [`Tick`] at 10 ms steps, 13 years at these.
const STEP: Duration = Duration::from_millis(100);

/// Slots: one turn takes 102 s. What is due later goes round again.
const SLOTS: usize = 1024;

pub(crate) struct Wheel {
    slots: Vec<Mutex<Vec<Weak<Emitter>>>>,
    start: Instant,
    now: AtomicU32,
    /// The end of the drain's window, once one has begun.
    end: AtomicU32,
}

impl Wheel {
    pub(crate) fn new() -> Self {
        let slots = std::iter::repeat_with(Mutex::default).take(SLOTS).collect();
        Self { slots, start: Instant::now(), now: AtomicU32::new(0), end: AtomicU32::new(Tick::MAX) }
    }

    pub(crate) fn now(&self) -> Tick {
        self.now.load(Ordering::Relaxed)
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

    /// Looks at the emitter again at `due`, or after a whole turn if that is sooner.
    pub(crate) fn put(&self, emitter: Weak<Emitter>, due: Tick) {
        loop {
            let now = self.now();
            let end = self.end.load(Ordering::Relaxed);
            // At least two steps on: the wheel may be just about to take the next slot.
            let at = now.saturating_add(due.min(end).saturating_sub(now).clamp(2, SLOTS as u32 - 1));
            let mut slot = self.slots[at as usize % SLOTS].lock();
            // Has the wheel passed the slot, or a drain emptied it, before it was locked? Both say so before they take the lock.
            if self.now() < at && self.end.load(Ordering::Relaxed) == end {
                slot.push(emitter);
                return;
            }
        }
    }

    /// Gives every emitter its own moment within `window` to be closed.
    pub(crate) fn drain(&self, window: Duration) {
        let (first, last) = (self.now() + 1, self.tick_in(window));
        // First, so that an emitter which is out of its slot just now comes back in time.
        self.end.store(last, Ordering::Relaxed);
        let mut rng = rand::rng();
        let mut all = Vec::new();
        for slot in &self.slots {
            all.append(&mut slot.lock());
        }
        for emitter in all {
            let Some(strong) = emitter.upgrade() else { continue };
            let at = rng.random_range(first..=last.max(first));
            strong.drains.store(at, Ordering::Relaxed);
            self.put(emitter, at);
        }
    }
}

/// Turns the wheel.
pub(crate) async fn run(hub: Arc<Inner>) {
    let mut interval = tokio::time::interval_at(hub.wheel.start + STEP, STEP);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    let mut emitters = Vec::new();
    loop {
        interval.tick().await;
        let now = hub.wheel.now.fetch_add(1, Ordering::Relaxed) + 1;
        hub.reap(now);
        std::mem::swap(&mut *hub.wheel.slots[now as usize % SLOTS].lock(), &mut emitters);
        for emitter in emitters.drain(..) {
            if let Some(due) = emitter.upgrade().and_then(|emitter| hub.look_at(&emitter, now)) {
                hub.wheel.put(emitter, due);
            }
        }
    }
}

impl Inner {
    /// Does what is due and says when to look again.
    fn look_at(&self, emitter: &Emitter, now: Tick) -> Option<Tick> {
        let deadline = steps(self.options.write_deadline);
        let stuck = emitter.stuck(now).map_or(Tick::MAX, |since| since.saturating_add(deadline));
        if stuck <= now {
            emitter.give_up();
            self.gone(emitter);
            return None;
        }
        let drains = emitter.drains.load(Ordering::Relaxed).min(self.wheel.end.load(Ordering::Relaxed));
        for (due, reason) in
            [(emitter.expires, Leave::TokenExpired), (emitter.oldest, Leave::MaxAge), (drains, Leave::Drain)]
        {
            if due <= now {
                self.close(emitter, reason);
                // Again, in case that its socket does not take the goodbye.
                return Some(now.saturating_add(deadline));
            }
        }
        let mut beat = emitter.last.load(Ordering::Relaxed).saturating_add(self.beat(emitter));
        if beat <= now {
            let style = emitter.manner.as_ref().map_or(&self.options.heartbeat_style, |manner| &manner.style);
            emitter.tell(now, Word::Heartbeat, |format, cursor| {
                let moved = self.seen.refresh(cursor);
                let block = control_events::heartbeat(format, style, moved.as_ref());
                if let Some(moved) = moved {
                    *cursor = moved;
                }
                block
            });
            beat = now.saturating_add(self.beat(emitter));
        }
        Some(beat.min(emitter.expires).min(emitter.oldest).min(drains).min(stuck))
    }

    /// The heartbeat interval in steps, ±10 %: streams that began together don't beat together.
    pub(crate) fn beat(&self, emitter: &Emitter) -> Tick {
        let every = emitter.manner.as_ref().map_or(self.options.heartbeat, |manner| manner.heartbeat);
        let steps = steps(every);
        rand::rng().random_range(steps - steps / 10..=steps.saturating_add(steps / 10)).max(1)
    }
}

/// A duration in steps, at least one.
fn steps(duration: Duration) -> Tick {
    u32::try_from(duration.as_millis() / STEP.as_millis()).unwrap_or(u32::MAX).max(1)
}
