use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use hdrhistogram::Histogram;
use mio::{Poll, Waker};

use crate::reader::{Reader, WAKE};
use crate::tally::{Counts, latencies};
use crate::target::Target;
use crate::wait;

/// How streams are opened and read.
#[derive(clap::Args, Clone, Copy)]
pub(crate) struct Reading {
    /// Threads that read the streams. What they use is taken from the server on the same machine.
    #[arg(long, default_value_t = 1)]
    pub(crate) readers: usize,
    /// Streams in opening at once, over all readers.
    #[arg(long, default_value_t = 64)]
    pub(crate) parallel: usize,
}

/// One stream to open.
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    pub(crate) topic: String,
    /// Whose events it is to receive.
    pub(crate) sources: Range<u32>,
}

/// Open streams, read by threads of their own.
pub(crate) struct Streams {
    pub(crate) count: usize,
    /// How long it took until all were open.
    pub(crate) opened_in: Duration,
    shared: Arc<Shared>,
    readers: Vec<(JoinHandle<Result<Seen>>, Waker)>,
}

/// What the readers tell while they read.
pub(crate) struct Shared {
    pub(crate) start: Instant,
    pub(crate) opened: AtomicUsize,
    /// Streams that a warm-up event has reached.
    pub(crate) warm: AtomicUsize,
    pub(crate) received: AtomicU64,
    pub(crate) closed: AtomicUsize,
    pub(crate) stop: AtomicBool,
}

/// What the streams have seen in the end.
pub(crate) struct Seen {
    pub(crate) latency: Histogram<u64>,
    pub(crate) counts: Counts,
    /// When the last event came, since the tester's start.
    pub(crate) last: Duration,
    /// Streams that the server closed.
    pub(crate) closed: usize,
}

impl Streams {
    /// Opens them all. `start` is what payloads count from.
    pub(crate) fn open(
        target: &Target,
        start: Instant,
        places: impl IntoIterator<Item = Place>,
        reading: Reading,
    ) -> Result<Self> {
        ensure!(reading.readers > 0 && reading.parallel > 0, "--readers and --parallel must be at least 1");
        let mut shares: Vec<Vec<Place>> = (0..reading.readers).map(|_| Vec::new()).collect();
        let mut count = 0;
        for place in places {
            shares[count % reading.readers].push(place);
            count += 1;
        }
        let tls = target.tls(b"http/1.1")?;
        let shared = Arc::new(Shared {
            start,
            opened: AtomicUsize::new(0),
            warm: AtomicUsize::new(0),
            received: AtomicU64::new(0),
            closed: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let began = Instant::now();
        let mut readers = Vec::new();
        for share in shares {
            let poll = Poll::new()?;
            let waker = Waker::new(poll.registry(), WAKE)?;
            let window = reading.parallel.div_ceil(reading.readers);
            let reader = Reader::new(target.profile, tls.clone(), poll, share, window, Arc::clone(&shared));
            readers.push((std::thread::spawn(move || reader.run()), waker));
        }
        let mut streams = Self { count, opened_in: Duration::ZERO, shared, readers };
        let opened =
            streams.wait(Duration::from_secs(60), |shared| shared.opened.load(Ordering::Relaxed) == count);
        streams.opened_in = began.elapsed();
        if !opened {
            let opened = streams.shared.opened.load(Ordering::Relaxed);
            streams.finish()?;
            bail!("only {opened} of {count} streams opened");
        }
        Ok(streams)
    }

    /// Publishes with `warm_up` until every stream has seen a warm-up event: the server has arranged all it has to.
    pub(crate) fn warm_up(&self, mut publish: impl FnMut() -> Result<()>) -> Result<()> {
        for _ in 0..5 {
            publish()?;
            if self.wait(Duration::from_secs(5), |shared| shared.warm.load(Ordering::Relaxed) == self.count) {
                return Ok(());
            }
        }
        bail!("{} of {} streams receive", self.shared.warm.load(Ordering::Relaxed), self.count)
    }

    /// Waits until so many events have come; false if nothing more comes.
    pub(crate) fn received(&self, expected: u64) -> bool {
        let mut before = 0;
        loop {
            let all = |shared: &Shared| shared.received.load(Ordering::Relaxed) >= expected;
            if self.wait(Duration::from_secs(5), all) {
                return true;
            }
            let now = self.shared.received.load(Ordering::Relaxed);
            if now == before {
                return false;
            }
            before = now;
        }
    }

    /// Stops reading and closes them all.
    pub(crate) fn finish(self) -> Result<Seen> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut all =
            Seen { latency: latencies(), counts: Counts::default(), last: Duration::ZERO, closed: 0 };
        for (reader, waker) in self.readers {
            waker.wake()?;
            let Ok(seen) = reader.join() else { bail!("a reader has panicked") };
            let seen = seen?;
            all.latency.add(&seen.latency)?;
            all.counts.add(seen.counts);
            all.last = all.last.max(seen.last);
            all.closed += seen.closed;
        }
        Ok(all)
    }

    /// False if it takes longer, or no reader is left.
    fn wait(&self, within: Duration, until: impl Fn(&Shared) -> bool) -> bool {
        wait::until(within, || {
            until(&self.shared) || self.readers.iter().any(|(reader, _)| reader.is_finished())
        }) && until(&self.shared)
    }
}
