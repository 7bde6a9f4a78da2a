//! How much one answer of Redis may bring, so that a slow link carries it in time: less and less
//! makes any link fast enough.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// An answer that a link of 16 kbit/s carries within the default time for an answer.
const LEAST: usize = 4 << 10;

/// More would not be faster: the round trip is a small part of it by then.
pub(crate) const MOST: usize = 1 << 20;

/// Bytes that are asked for at once. Learns from each answer; shared by all who ask over the same
/// link.
#[derive(Clone)]
pub(crate) struct Room {
    bytes: Arc<AtomicUsize>,
    patience: Duration,
}

impl Room {
    /// `patience`: how long an answer may take.
    pub(crate) fn new(bytes: usize, patience: Duration) -> Self {
        Self { bytes: Arc::new(AtomicUsize::new(bytes)), patience }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// `asked` bytes were asked for, and that many came. One that was nearly too slow makes the
    /// next smaller, a quick and full one larger.
    pub(crate) fn answered(&self, asked: usize, came: usize, took: Duration) {
        if took > self.patience / 2 {
            self.become_of(asked, asked / 2);
        } else if took < self.patience / 8 && came >= asked / 2 {
            self.become_of(asked, asked * 2);
        }
    }

    /// No answer. True: it was for want of time, and less can be asked for. Much less: each attempt
    /// costs all of that time, and keeps the link from carrying what others wait for.
    pub(crate) fn failed(&self, asked: usize, took: Duration) -> bool {
        if took < self.patience || asked <= LEAST {
            return false;
        }
        self.become_of(asked, asked / 4);
        true
    }

    /// Unless another one has changed it since: many answers at once are one experience.
    fn become_of(&self, asked: usize, bytes: usize) {
        let bytes = bytes.clamp(LEAST, MOST);
        let _ = self.bytes.compare_exchange(asked, bytes, Ordering::Relaxed, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(2);

    #[test]
    fn shrinks_until_an_answer_comes_in_time_and_grows_while_they_are_quick() {
        let room = Room::new(MOST, PATIENCE);
        let mut failures = 0;
        while room.failed(room.bytes(), PATIENCE) {
            failures += 1;
        }
        assert_eq!((room.bytes(), failures), (LEAST, 4));
        room.answered(LEAST, LEAST, PATIENCE / 10);
        room.answered(LEAST, LEAST, PATIENCE / 10);
        assert_eq!(room.bytes(), 2 * LEAST, "two answers to one size are one experience");
        room.answered(2 * LEAST, 10, PATIENCE / 10);
        assert_eq!(room.bytes(), 2 * LEAST, "a small answer says nothing about a large one");
        room.answered(2 * LEAST, 2 * LEAST, PATIENCE / 4);
        assert_eq!(room.bytes(), 2 * LEAST, "neither quick nor slow");
        room.answered(2 * LEAST, 2 * LEAST, PATIENCE * 3 / 4);
        assert_eq!(room.bytes(), LEAST);
        for _ in 0..20 {
            room.answered(room.bytes(), room.bytes(), Duration::ZERO);
        }
        assert_eq!(room.bytes(), MOST);
        assert!(!room.failed(MOST, Duration::ZERO), "a refusal is not a matter of size");
    }
}
