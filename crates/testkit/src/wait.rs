//! Waiting for what cannot announce itself: a process that comes up, a counter on a metrics page.

use std::time::Duration;

use tidegate_children::Process;
use tokio::time::{Instant, sleep};

/// How long anything in a test may take before it counts as never.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Between two looks. A loop of 20 ms costs a waiting test nothing and adds little to a passing one.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks again and again until `attempt` has an answer; panics with `what` after [`DEADLINE`].
///
/// For things seen only by asking (`/readyz`, a metric). Whatever arrives on a stream is awaited on the stream.
pub async fn eventually<T>(what: &str, attempt: impl AsyncFnMut() -> Option<T>) -> T {
    match within(DEADLINE, attempt).await {
        Some(answer) => answer,
        None => panic!("not within {DEADLINE:?}: {what}"),
    }
}

/// Waits until a child is up. Panics with the end of its log when it takes longer than [`DEADLINE`] or ends before.
pub(crate) async fn up(process: &Process, otherwise: &str, mut is_up: impl AsyncFnMut() -> bool) {
    let outcome = within(DEADLINE, async || match is_up().await {
        true => Some(true),
        false => process.ended().map(|_| false),
    });
    assert_eq!(outcome.await, Some(true), "{otherwise}\n{}", process.tail());
}

pub(crate) async fn within<T>(limit: Duration, mut attempt: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        // An attempt that hangs (a stopped process accepts connections) must not outlive the limit.
        match tokio::time::timeout_at(end, attempt()).await {
            Ok(Some(answer)) => return Some(answer),
            Ok(None) if Instant::now() + PAUSE < end => sleep(PAUSE).await,
            _ => return None,
        }
    }
}
