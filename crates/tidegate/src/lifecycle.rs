//! The end of a process: signals, and the phases of a drain.
//!
//! The first SIGTERM or SIGINT begins the drain, the second ends the process at once.

use std::fmt;
use std::future::Future;
use std::io;
use std::time::Duration;

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

/// A signal that ends the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caught {
    /// SIGTERM: from whatever supervises the process.
    Terminate,
    /// SIGINT: Ctrl-C, if there is a terminal.
    Interrupt,
}

impl fmt::Display for Caught {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
        })
    }
}

/// How long the phases of a drain take that `signal` begins. After Ctrl-C nothing waits for a load balancer: there is none in
/// front of a terminal.
pub(crate) fn times(configured: &Drain, signal: Caught, at_terminal: bool) -> Drain {
    let by_hand = signal == Caught::Interrupt && at_terminal;
    Drain { delay: if by_hand { Duration::ZERO } else { configured.delay }, ..configured.clone() }
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

    /// The next signal.
    pub(crate) async fn next(&mut self) -> Caught {
        tokio::select! {
            _ = self.terminate.recv() => Caught::Terminate,
            _ = self.interrupt.recv() => Caught::Interrupt,
        }
    }
}

/// SIGHUPs, caught from now on: they end nothing. What they ask for is in [`crate::tls::upkeep`].
pub(crate) fn hangups() -> io::Result<Signal> {
    signal(SignalKind::hangup())
}

/// Goes through the phases. `again` is the signal that ends them early; `finished` resolves when the last connection has closed.
pub(crate) async fn drain(
    times: &Drain,
    phases: &Phases,
    again: impl Future<Output = Caught>,
    finished: impl Future<Output = ()>,
) -> Outcome {
    let deadline = Instant::now() + times.deadline;
    let orderly = async {
        phases.draining.cancel();
        if !times.delay.is_zero() {
            tracing::info!(delay = ?times.delay, "draining: not ready any more, still accepting");
            sleep(times.delay).await;
        }
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
            tracing::warn!(%signal, "ending at once");
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

    use super::*;

    const TIMES: Drain = Drain {
        delay: Duration::from_secs(5),
        window: Duration::from_secs(10),
        deadline: Duration::from_secs(30),
    };

    #[test]
    fn only_ctrl_c_waits_for_no_load_balancer() {
        for (signal, at_terminal, delay) in [
            (Caught::Terminate, true, TIMES.delay),
            (Caught::Terminate, false, TIMES.delay),
            (Caught::Interrupt, false, TIMES.delay),
            (Caught::Interrupt, true, Duration::ZERO),
        ] {
            assert_eq!(
                times(&TIMES, signal, at_terminal),
                Drain { delay, ..TIMES },
                "{signal} {at_terminal}"
            );
        }
    }

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
        assert_eq!(drain(&TIMES, &phases, ready(Caught::Interrupt), pending()).await, Outcome::Interrupted);
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert!(phases.stopped.is_cancelled());
    }
}
