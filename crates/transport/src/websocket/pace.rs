use std::time::{Duration, Instant};

/// How fast one connection may speak: a number of messages or frames a second, and twice as many at
/// once.
pub(super) struct Pace {
    /// How many a second; 0: any number.
    rate: u32,
    /// When all that was said would have been said at the allowed pace.
    until: Instant,
    /// What was refused since it last was in step.
    refused: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Go,
    /// Too fast.
    Refuse,
    /// Too fast for too long: another burst's worth was refused, with no pause in between.
    Close,
}

impl Pace {
    pub(super) fn new(rate: u32, now: Instant) -> Self {
        Self { rate, until: now, refused: 0 }
    }

    pub(super) fn take(&mut self, now: Instant) -> Verdict {
        self.take_all(1, now)
    }

    /// Takes `count` together, or none of them.
    pub(super) fn take_all(&mut self, count: u32, now: Instant) -> Verdict {
        let Some(each) = Duration::from_secs(1).checked_div(self.rate) else { return Verdict::Go };
        if self.until <= now {
            self.until = now;
            self.refused = 0;
        }
        let burst = self.rate.saturating_mul(2);
        let until = self.until + each.saturating_mul(count);
        if until - now <= each * burst {
            self.until = until;
            return Verdict::Go;
        }
        self.refused = self.refused.saturating_add(count);
        if self.refused > burst { Verdict::Close } else { Verdict::Refuse }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(pace: &mut Pace, now: Instant, frames: usize) -> [usize; 3] {
        let mut seen = [0; 3];
        for _ in 0..frames {
            seen[pace.take(now) as usize] += 1;
        }
        seen
    }

    #[test]
    fn a_burst_a_rate_and_an_end_of_patience() {
        let start = Instant::now();
        let mut pace = Pace::new(10, start);
        assert_eq!(count(&mut pace, start, 25), [20, 5, 0]);
        let later = start + Duration::from_millis(500);
        assert_eq!(count(&mut pace, later, 6), [5, 1, 0]);
        let in_step = later + Duration::from_secs(2);
        assert_eq!(count(&mut pace, in_step, 41), [20, 20, 1], "what was refused before is forgotten");
    }

    #[test]
    fn several_go_together_or_not_at_all() {
        let start = Instant::now();
        let mut pace = Pace::new(10, start);
        assert_eq!(
            [15, 6, 5].map(|count| pace.take_all(count, start)),
            [Verdict::Go, Verdict::Refuse, Verdict::Go]
        );
        assert_eq!(pace.take_all(u32::MAX, start), Verdict::Close);
    }

    #[test]
    fn no_rate_is_no_limit() {
        let start = Instant::now();
        assert_eq!(count(&mut Pace::new(0, start), start, 1_000), [1_000, 0, 0]);
    }
}
