use std::collections::VecDeque;

use bytes::Bytes;

use crate::control_events::ControlEvent;

/// What waits for one connection: shared frames, nothing allocated while empty.
///
/// Two kinds of entries: live events count against the limits; what a join replays does not, for it
/// has limits of its own, and a client that is still reading it must not be thrown out for that.
#[derive(Default)]
pub(crate) struct Outbox {
    /// The first has a field of its own: most of the time nothing else waits, and nothing needs to
    /// be allocated.
    first: Option<Entry>,
    others: VecDeque<Entry>,
    events: usize,
    bytes: usize,
}

/// Bytes that leave together.
pub(crate) struct Entry {
    pub(crate) bytes: Bytes,
    /// Events in them.
    pub(crate) events: u32,
    /// When the oldest of them was published; 0: not an event, or an old one replayed.
    pub(crate) at: u64,
    /// Whether it counts against the limits.
    pub(crate) counted: bool,
    /// The control event that they are, or begin with.
    pub(crate) control: Option<ControlEvent>,
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Live events that wait.
    pub(crate) fn events(&self) -> usize {
        self.events
    }

    /// Bytes of live events that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds an entry. False, and nothing added, if it counts and something counted waits already
    /// and the limits would be passed: a single entry always fits, or a large event could never be
    /// sent.
    #[must_use]
    pub(crate) fn push(&mut self, entry: Entry, max_events: usize, max_bytes: usize) -> bool {
        if entry.counted {
            let (events, bytes) = (self.events + entry.events as usize, self.bytes + entry.bytes.len());
            if self.events > 0 && (events > max_events || bytes > max_bytes) {
                return false;
            }
            (self.events, self.bytes) = (events, bytes);
        }
        match self.first {
            None => self.first = Some(entry),
            Some(_) => self.others.push_back(entry),
        }
        true
    }

    pub(crate) fn pop(&mut self) -> Option<Entry> {
        let entry = self.first.take()?;
        self.first = self.others.pop_front();
        if entry.counted {
            self.events -= entry.events as usize;
            self.bytes -= entry.bytes.len();
        }
        if self.others.is_empty() && self.others.capacity() > 0 {
            // Gives the memory of a burst back.
            self.others = VecDeque::new();
        }
        Some(entry)
    }

    /// The size of the next entry.
    pub(crate) fn next_len(&self) -> Option<usize> {
        self.first.as_ref().map(|entry| entry.bytes.len())
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(len: usize, counted: bool) -> Entry {
        Entry { bytes: vec![b'x'; len].into(), events: 1, at: 0, counted, control: None }
    }

    #[test]
    fn bounds_hold_for_live_events_only() {
        let mut outbox = Outbox::default();
        assert!(outbox.push(entry(5_000, false), 2, 100));
        assert!(outbox.push(entry(500, true), 2, 100), "a single event always fits");
        assert!(!outbox.push(entry(1, true), 2, 100));
        assert_eq!(outbox.pop().map(|e| e.bytes.len()), Some(5_000));
        assert_eq!(outbox.pop().map(|e| e.bytes.len()), Some(500));
        assert!(outbox.push(entry(50, true), 2, 100));
        assert!(outbox.push(entry(50, true), 2, 100));
        assert!(!outbox.push(entry(0, true), 2, 100), "two events at most");
        outbox.clear();
        assert!(outbox.is_empty() && outbox.bytes() == 0);
    }
}
