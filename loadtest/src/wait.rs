use std::time::{Duration, Instant};

/// Asks every millisecond; false if it takes longer.
pub(crate) fn until(within: Duration, come: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + within;
    while !come() {
        if Instant::now() >= deadline {
            return false;
        }
        pause(Duration::from_millis(1));
    }
    true
}

/// For a steady rate and for letting things settle: here time itself is what is waited for.
#[allow(clippy::disallowed_methods, reason = "a tester's thread has nothing else to do")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
