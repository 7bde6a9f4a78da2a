//! What happened, as lines for people and as one number for comparing two runs.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Shared by everything in a simulation.
#[derive(Clone)]
pub struct Trace(Arc<Inner>);

struct Inner {
    born: Instant,
    lines: Option<Mutex<Vec<String>>>,
    hash: Mutex<u64>,
}

impl Trace {
    /// `kept`: lines are kept. Without, only the number is.
    pub fn new(kept: bool) -> Self {
        let lines = kept.then(Mutex::default);
        Self(Arc::new(Inner { born: Instant::now(), lines, hash: Mutex::new(0xcbf2_9ce4_8422_2325) }))
    }

    pub fn note(&self, words: impl FnOnce() -> String) {
        if let Some(lines) = &self.0.lines {
            let line = format!("{:>10.6} {}", self.seconds(Instant::now()), words());
            lines.lock().push(line);
        }
    }

    /// Adds bytes, and when it was, to the number that two runs of a seed must share.
    pub fn mix(&self, parts: &[Vec<u8>]) {
        let mut hash = self.0.hash.lock();
        let mut add = |byte: u8| *hash = (*hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        parts.iter().flatten().for_each(|byte| add(*byte));
        (self.0.born.elapsed().as_micros() as u64).to_le_bytes().into_iter().for_each(add);
    }

    pub fn hash(&self) -> u64 {
        *self.0.hash.lock()
    }

    pub fn seconds(&self, at: Instant) -> f64 {
        (at - self.0.born).as_secs_f64()
    }

    pub fn lines(&self) -> Vec<String> {
        self.0.lines.as_ref().map(|lines| lines.lock().clone()).unwrap_or_default()
    }
}
