use std::time::Duration;

use tokio::time::Instant;

/// The first wait's upper end: a Redis that restarts is back within it, or needs longer anyway.
const FIRST: Duration = Duration::from_millis(50);

/// Exponential, with full jitter: nodes that lost the same Redis must not come back in step.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    /// The last wait's upper end: what a node may add to an outage.
    pub(crate) const LAST: Duration = Duration::from_secs(2);

    pub(crate) fn new() -> Self {
        Self(FIRST)
    }

    /// Waits, and makes the next wait longer.
    pub(crate) async fn wait(&mut self) {
        let wait = self.0.mul_f64(rand::random::<f64>());
        self.0 = Self::LAST.min(self.0 * 2);
        tokio::time::sleep(wait).await;
    }

    /// It worked.
    pub(crate) fn reset(&mut self) {
        self.0 = FIRST;
    }
}

/// Something that is done at most once in a time.
#[derive(Debug)]
pub(crate) struct Seldom {
    every: Duration,
    last: Option<Instant>,
}

impl Seldom {
    pub(crate) fn new(every: Duration) -> Self {
        Self { every, last: None }
    }

    /// Whether it is time again. If so, the next time is counted from now.
    pub(crate) fn is_due(&mut self) -> bool {
        let due = self.last.is_none_or(|last| last.elapsed() >= self.every);
        if due {
            self.last = Some(Instant::now());
        }
        due
    }
}
