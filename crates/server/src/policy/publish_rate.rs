use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock;
use governor::{DefaultKeyedRateLimiter, Quota};
use prometheus::IntCounter;

use crate::problem::Problem;

/// Events that a credential may publish, per second.
pub(crate) struct PublishRate {
    limiter: Option<DefaultKeyedRateLimiter<Arc<str>>>,
    /// Events that a credential may publish at once.
    burst: usize,
    /// Requests that came too early.
    refused: IntCounter,
}

impl PublishRate {
    /// So many per second, 0 for any number; so many at once, 0 for one second's worth.
    pub(crate) fn new(rate: u32, burst: u32, refused: IntCounter) -> Self {
        let quota = NonZeroU32::new(rate)
            .map(|rate| Quota::per_second(rate).allow_burst(NonZeroU32::new(burst).unwrap_or(rate)));
        let burst = quota.map_or(usize::MAX, |quota| quota.burst_size().get() as usize);
        Self { limiter: quota.map(governor::RateLimiter::keyed), burst, refused }
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
                self.refused.inc();
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

    /// The same for one request that fans out into `events`. It can't be sent in parts. So one that
    /// is larger than the burst takes the whole burst: an application's users can go on, once in
    /// the time that the burst takes to fill.
    pub(crate) fn take_fan_out(&self, who: &Arc<str>, events: usize) -> Result<(), Problem> {
        self.take(who, events.min(self.burst))
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
