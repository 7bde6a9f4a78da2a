use std::time::{Duration, Instant};

/// How fast one connection may speak: so many frames a second, and twice as many at once.
pub(super) struct Pace {
    /// The time that a frame takes; zero: none.
    each: Duration,
    /// When all that was said would have been said at the allowed pace.
    until: Instant,
    /// What was refused since it last was in step.
    refused: u32,
    /// How much of that is borne.
    patience: u32,
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
    /// `rate` frames a second; 0: any number.
    pub(super) fn new(rate: u32, now: Instant) -> Self {
        let each = Duration::from_secs(1).checked_div(rate).unwrap_or_default();
        Self { each, until: now, refused: 0, patience: rate.saturating_mul(2) }
    }

    pub(super) fn take(&mut self, now: Instant) -> Verdict {
        if self.until <= now {
            self.until = now;
            self.refused = 0;
        }
        let until = self.until + self.each;
        if until - now <= self.each * self.patience {
            self.until = until;
            return Verdict::Go;
        }
        self.refused += 1;
        if self.refused > self.patience { Verdict::Close } else { Verdict::Refuse }
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
    fn no_rate_is_no_limit() {
        let start = Instant::now();
        assert_eq!(count(&mut Pace::new(0, start), start, 1_000), [1_000, 0, 0]);
    }
}
