//! What came: every event accounted for, and how long it took.

use std::collections::HashSet;
use std::ops::Range;

use hdrhistogram::Histogram;

use crate::payload::Payload;

/// Which events a stream has seen. While they come in order this is one number a source.
pub(crate) struct Order {
    first_source: u32,
    /// By source: the number after the highest one seen.
    next: Box<[u32]>,
    /// Passed over and not come since.
    missing: HashSet<(u32, u32)>,
}

/// What many streams saw.
#[derive(Default, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    /// All of them, doubled ones too.
    pub(crate) received: u64,
    pub(crate) doubled: u64,
    /// Came after a later one of the same source.
    pub(crate) reordered: u64,
    /// Meant for another stream.
    pub(crate) stray: u64,
}

impl Order {
    /// A stream that these sources' events are meant for.
    pub(crate) fn of(sources: Range<u32>) -> Self {
        let next = vec![0; sources.len()].into_boxed_slice();
        Self { first_source: sources.start, next, missing: HashSet::new() }
    }

    pub(crate) fn saw(&mut self, payload: Payload, counts: &mut Counts) {
        let source = payload.source.wrapping_sub(self.first_source) as usize;
        let Some(next) = self.next.get_mut(source) else {
            counts.stray += 1;
            return;
        };
        counts.received += 1;
        if payload.number >= *next {
            self.missing.extend((*next..payload.number).map(|number| (payload.source, number)));
            *next = payload.number + 1;
        } else if self.missing.remove(&(payload.source, payload.number)) {
            counts.reordered += 1;
        } else {
            counts.doubled += 1;
        }
    }
}

impl Counts {
    /// Of so many that should have come, so many never did.
    pub(crate) fn lost(&self, expected: u64) -> u64 {
        expected.saturating_sub(self.received - self.doubled)
    }
}

/// Microseconds, three digits exact.
#[allow(clippy::expect_used, reason = "three digits are always a valid precision")]
pub(crate) fn latencies() -> Histogram<u64> {
    Histogram::new(3).expect("a valid precision")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a stream of sources 4 and 5 counts after these (source, number) pairs.
    fn counted(events: &[(u32, u32)]) -> Counts {
        let mut counts = Counts::default();
        let mut order = Order::of(4..6);
        for (source, number) in events {
            order.saw(Payload { source: *source, number: *number, sent: 0 }, &mut counts);
        }
        counts
    }

    #[test]
    fn order_is_each_sources_own() {
        let counts = counted(&[(4, 0), (5, 0), (5, 1), (4, 1), (4, 2), (5, 2)]);
        assert_eq!(counts, Counts { received: 6, ..Counts::default() });
        assert_eq!(counts.lost(6), 0);
    }

    #[test]
    fn a_late_event_is_reordered_and_not_lost() {
        let counts = counted(&[(4, 0), (4, 3), (4, 1), (4, 2), (4, 4)]);
        assert_eq!(counts, Counts { received: 5, reordered: 2, ..Counts::default() });
        assert_eq!(counts.lost(5), 0);
    }

    #[test]
    fn a_repeated_event_is_doubled_and_hides_no_loss() {
        let counts = counted(&[(4, 0), (4, 0), (4, 2), (4, 2), (4, 2)]);
        assert_eq!(counts, Counts { received: 5, doubled: 3, ..Counts::default() });
        assert_eq!(counts.lost(3), 1);
    }

    #[test]
    fn a_late_event_that_comes_again_is_doubled() {
        let counts = counted(&[(4, 1), (4, 0), (4, 0)]);
        assert_eq!(counts, Counts { received: 3, reordered: 1, doubled: 1, ..Counts::default() });
    }

    #[test]
    fn what_comes_again_after_a_reconnect_is_doubled_and_what_it_skips_is_lost() {
        // Cut off after 2, resumed one too early.
        let counts = counted(&[(4, 0), (4, 1), (4, 2), (4, 2), (4, 3), (5, 0)]);
        assert_eq!(counts, Counts { received: 6, doubled: 1, ..Counts::default() });
        assert_eq!(counts.lost(5), 0);
        // Resumed one too late; the one that is missing comes by no later reconnect.
        let counts = counted(&[(4, 0), (4, 1), (4, 3), (4, 4), (4, 4)]);
        assert_eq!(counts, Counts { received: 5, doubled: 1, ..Counts::default() });
        assert_eq!(counts.lost(5), 1);
        // All of it twice, in another order.
        let counts = counted(&[(4, 0), (4, 1), (4, 1), (4, 0)]);
        assert_eq!(counts, Counts { received: 4, doubled: 2, ..Counts::default() });
    }

    #[test]
    fn anothers_event_is_stray_and_makes_up_for_nothing() {
        let counts = counted(&[(3, 0), (6, 0), (4, 0)]);
        assert_eq!(counts, Counts { received: 1, stray: 2, ..Counts::default() });
        assert_eq!(counts.lost(2), 1);
    }

    #[test]
    fn events_that_never_came_are_lost_at_the_end_too() {
        assert_eq!(counted(&[(4, 0), (5, 0)]).lost(10), 8);
    }
}
