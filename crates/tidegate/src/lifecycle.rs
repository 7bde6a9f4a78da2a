//! The end of a process: signals, and the phases of a drain.
//!
//! The first SIGTERM or SIGINT begins the drain, the second ends the process at once.

use std::future::Future;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::config::Drain;

/// What the parts of a process wait for. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Phases {
    /// Readiness says no from here on. New connections are still accepted: the load balancer has yet to notice.
    pub(crate) draining: CancellationToken,
    /// Listeners close, and streams end, spread over `drain.window`.
    pub(crate) closing: CancellationToken,
    /// Whatever is still there stops.
    pub(crate) stopped: CancellationToken,
}

/// How a drain went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Every stream was closed in time.
    Clean,
    /// The deadline cut what was left.
    Cut,
    /// A second signal.
    Interrupted,
}

/// SIGTERM and SIGINT, caught from the moment this is made.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The next signal's name.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Goes through the phases. `again` is the signal that ends them early; `finished` resolves when the last connection has closed.
pub(crate) async fn drain(
    times: &Drain,
    phases: &Phases,
    again: impl Future<Output = &'static str>,
    finished: impl Future<Output = ()>,
) -> Outcome {
    let deadline = Instant::now() + times.deadline;
    let orderly = async {
        phases.draining.cancel();
        tracing::info!(delay = ?times.delay, "draining: not ready any more, still accepting; a second signal ends the process at once");
        sleep(times.delay).await;
        phases.closing.cancel();
        tracing::info!(window = ?times.window, "draining: closing streams");
        match timeout_at(deadline, finished).await {
            Ok(()) => Outcome::Clean,
            Err(_) => Outcome::Cut,
        }
    };
    let outcome = tokio::select! {
        biased;
        signal = again => {
            tracing::warn!(signal, "ending at once");
            Outcome::Interrupted
        }
        outcome = orderly => outcome,
    };
    for phase in [&phases.draining, &phases.closing, &phases.stopped] {
        phase.cancel();
    }
    outcome
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::time::Duration;

    use super::*;

    const TIMES: Drain = Drain {
        delay: Duration::from_secs(5),
        window: Duration::from_secs(10),
        deadline: Duration::from_secs(30),
    };

    #[tokio::test(start_paused = true)]
    async fn streams_close_after_the_delay() {
        let (phases, start) = (Phases::default(), Instant::now());
        let closing = phases.closing.clone();
        let draining = phases.draining.clone();
        let finished = async {
            assert!(draining.is_cancelled());
            closing.cancelled().await;
            assert_eq!(start.elapsed(), TIMES.delay);
        };
        assert_eq!(drain(&TIMES, &phases, pending(), finished).await, Outcome::Clean);
        assert!(phases.stopped.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_counts_from_the_signal() {
        let (phases, start) = (Phases::default(), Instant::now());
        assert_eq!(drain(&TIMES, &phases, pending(), pending()).await, Outcome::Cut);
        assert_eq!(start.elapsed(), TIMES.deadline);
        assert!(phases.stopped.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_waits_for_nothing() {
        let (phases, start) = (Phases::default(), Instant::now());
        assert_eq!(drain(&TIMES, &phases, ready("SIGINT"), pending()).await, Outcome::Interrupted);
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert!(phases.stopped.is_cancelled());
    }
}
