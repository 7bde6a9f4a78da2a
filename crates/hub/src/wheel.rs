//! Heartbeats, ages, expiries and the drain: one wheel a node instead of timers for every stream.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng as _;

use crate::clock::{STEP, Tick, steps};
use crate::close_reason::CloseReason;
use crate::control_events;
use crate::dispatch::Seen;
use crate::subscriber::{Subscriber, Subscribers};

/// Slots: one turn takes 102 s. What is due later goes round again.
const SLOTS: usize = 1024;

pub(crate) struct Wheel {
    slots: Vec<Mutex<Vec<Weak<Subscriber>>>>,
    /// The end of the drain's window, once one has begun.
    drain_end: AtomicU32,
    subscribers: Arc<Subscribers>,
    seen: Arc<Seen>,
}

impl Wheel {
    pub(crate) fn new(subscribers: &Arc<Subscribers>, seen: &Arc<Seen>) -> Self {
        Self {
            slots: std::iter::repeat_with(Mutex::default).take(SLOTS).collect(),
            drain_end: AtomicU32::new(Tick::MAX),
            subscribers: Arc::clone(subscribers),
            seen: Arc::clone(seen),
        }
    }

    /// Sees to a subscriber from now on.
    pub(crate) fn add(&self, subscriber: &Arc<Subscriber>) {
        let deadlines = &subscriber.deadlines;
        let beat = subscriber.last_write_at().saturating_add(self.heartbeat(subscriber));
        self.put(Arc::downgrade(subscriber), beat.min(deadlines.expires_at).min(deadlines.max_age_at));
    }

    /// Looks at the subscriber again at `due`, or after a whole turn if that is sooner.
    fn put(&self, subscriber: Weak<Subscriber>, due: Tick) {
        let clock = self.subscribers.clock();
        loop {
            let now = clock.now();
            let end = self.drain_end.load(Ordering::Relaxed);
            // At least two steps on: the wheel may be just about to take the next slot.
            let at = now.saturating_add(due.min(end).saturating_sub(now).clamp(2, SLOTS as u32 - 1));
            let mut slot = self.slots[at as usize % SLOTS].lock();
            // Has the wheel passed the slot, or a drain emptied it, before it was locked? Both say
            // so before they take the lock.
            if clock.now() < at && self.drain_end.load(Ordering::Relaxed) == end {
                slot.push(subscriber);
                return;
            }
        }
    }

    /// Gives every subscriber its own moment within `window` to be closed.
    pub(crate) fn drain(&self, window: Duration) {
        let clock = self.subscribers.clock();
        let (first, last) = (clock.now() + 1, clock.tick_in(window));
        // First, so that a subscriber which is out of its slot at this moment comes back in time.
        self.drain_end.store(last, Ordering::Relaxed);
        let mut rng = rand::rng();
        let mut all = Vec::new();
        for slot in &self.slots {
            all.append(&mut slot.lock());
        }
        for subscriber in all {
            let Some(strong) = subscriber.upgrade() else { continue };
            let at = rng.random_range(first..=last.max(first));
            strong.set_drain_at(at);
            self.put(subscriber, at);
        }
    }

    /// Turns the wheel.
    pub(crate) async fn run(self: Arc<Self>) {
        let clock = self.subscribers.clock();
        let mut interval = tokio::time::interval_at(clock.start() + STEP, STEP);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
        let mut due = Vec::new();
        loop {
            interval.tick().await;
            let now = clock.advance();
            self.subscribers.topics().let_go(now);
            std::mem::swap(&mut *self.slots[now as usize % SLOTS].lock(), &mut due);
            for subscriber in due.drain(..) {
                let next = subscriber.upgrade().and_then(|subscriber| self.look_at(&subscriber, now));
                if let Some(next) = next {
                    self.put(subscriber, next);
                }
            }
        }
    }

    /// Does what is due and returns when to look again.
    fn look_at(&self, subscriber: &Subscriber, now: Tick) -> Option<Tick> {
        let options = self.subscribers.options();
        let deadline = steps(options.write_deadline);
        let blocked_since = subscriber.blocked_since(now);
        let give_up_at = blocked_since.map_or(Tick::MAX, |since| since.saturating_add(deadline));
        if give_up_at <= now {
            subscriber.give_up();
            self.subscribers.depart(subscriber);
            return None;
        }
        let drain_at = subscriber.drain_at().min(self.drain_end.load(Ordering::Relaxed));
        let (expires_at, max_age_at) = (subscriber.deadlines.expires_at, subscriber.deadlines.max_age_at);
        for (at, reason) in [
            (expires_at, CloseReason::TokenExpired),
            (max_age_at, CloseReason::MaxAge),
            (drain_at, CloseReason::Drain),
        ] {
            if at <= now {
                self.subscribers.close(subscriber, reason);
                // Again, in case that its socket does not take the goodbye.
                return Some(now.saturating_add(deadline));
            }
        }
        let mut beat_at = subscriber.last_write_at().saturating_add(self.heartbeat(subscriber));
        if beat_at <= now {
            let overrides = subscriber.overrides.as_ref();
            let style = overrides.map_or(&options.heartbeat_style, |overrides| &overrides.style);
            subscriber.heartbeat(now, |format, cursor| {
                let moved = self.seen.refresh(cursor);
                let block = control_events::heartbeat(format, style, moved.as_ref());
                if let Some(moved) = moved {
                    *cursor = moved;
                }
                block
            });
            beat_at = now.saturating_add(self.heartbeat(subscriber));
        }
        Some(beat_at.min(expires_at).min(max_age_at).min(drain_at).min(give_up_at))
    }

    /// The heartbeat interval in steps, ±10 %: streams that began together don't beat together.
    fn heartbeat(&self, subscriber: &Subscriber) -> Tick {
        let overrides = subscriber.overrides.as_ref();
        let every = overrides.map_or(self.subscribers.options().heartbeat, |overrides| overrides.heartbeat);
        let steps = steps(every);
        rand::rng().random_range(steps - steps / 10..=steps.saturating_add(steps / 10)).max(1)
    }
}
