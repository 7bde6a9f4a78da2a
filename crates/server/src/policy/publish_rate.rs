use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock;
use governor::{DefaultKeyedRateLimiter, Quota};

use crate::problem::Problem;

/// Events that a credential may publish, per second.
pub(crate) struct PublishRate {
    limiter: Option<DefaultKeyedRateLimiter<Arc<str>>>,
    burst: usize,
}

impl PublishRate {
    /// So many per second, 0 for any number; so many at once, 0 for one second's worth.
    pub(crate) fn new(rate: u32, burst: u32) -> Self {
        let quota = NonZeroU32::new(rate)
            .map(|rate| Quota::per_second(rate).allow_burst(NonZeroU32::new(burst).unwrap_or(rate)));
        let burst = quota.map_or(usize::MAX, |quota| quota.burst_size().get() as usize);
        Self { limiter: quota.map(governor::RateLimiter::keyed), burst }
    }

    /// Events that a credential may publish at once.
    pub(crate) fn burst(&self) -> usize {
        self.burst
    }

    /// Takes `events` from the credential's allowance, or says when to come back. A batch larger
    /// than the whole burst can never pass.
    pub(crate) fn take(&self, who: &Arc<str>, events: usize) -> Result<(), Problem> {
        let (Some(limiter), Some(events)) =
            (&self.limiter, NonZeroU32::new(u32::try_from(events).unwrap_or(u32::MAX)))
        else {
            return Ok(());
        };
        match limiter.check_key_n(who, events) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(early)) => {
                let wait = early.wait_time_from(governor::clock::DefaultClock::default().now());
                Err(Problem::rate_limited(u32::try_from(wait.as_secs() + 1).unwrap_or(u32::MAX)))
            }
            Err(burst) => Err(Problem::too_large(
                None,
                format!(
                    "This credential may publish at most {} events at once; send smaller batches.",
                    burst.0
                ),
            )),
        }
    }

    /// Forgets credentials that have their whole allowance: the map would grow without end.
    pub(crate) async fn sweep(self: Arc<Self>) {
        let mut minutes = tokio::time::interval(Duration::from_secs(60));
        loop {
            minutes.tick().await;
            if let Some(limiter) = &self.limiter {
                limiter.retain_recent();
                limiter.shrink_to_fit();
            }
        }
    }
}
