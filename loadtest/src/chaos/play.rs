//! The run itself: clients come, events are published, faults happen, and at the end it becomes quiet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Error, Result, anyhow, ensure};
use parking_lot::Mutex;

use super::cast::Cast;
use super::client::Stage;
use super::cluster::Cluster;
use super::faults::{self, Happened};
use super::ledger::{Ledger, Seen, Sent};
use super::publisher::{LARGE, Publisher};
use super::schedule::Step;
use super::{Options, garbage};
use crate::shared::{Count, Shared};
use crate::wait;

/// So long all clients may take to be there, and nothing new may come at the end: a busy machine needs its time.
const PATIENCE: Duration = Duration::from_secs(30);

const PUBLISHERS: usize = 4;

pub(super) struct Play<'a> {
    cluster: &'a Cluster,
    cast: &'a Cast,
    stage: Stage,
    publishers: Vec<Publisher>,
    ledger: Arc<Ledger>,
    /// By client.
    seen: Vec<Mutex<Seen>>,
    enough: Arc<AtomicBool>,
    time: Duration,
    seed: u64,
}

impl<'a> Play<'a> {
    pub(super) fn new(
        options: &Options,
        cluster: &'a Cluster,
        cast: &'a Cast,
        shared: &Arc<Shared>,
        seed: u64,
    ) -> Self {
        let stage = Stage {
            slot: shared.slot(),
            shared: Arc::clone(shared),
            stop: Arc::default(),
            stalled: Arc::default(),
        };
        let ledger = Arc::new(Ledger::new(cast.targets.len()));
        let enough = Arc::new(AtomicBool::new(false));
        let publisher = |sources: Vec<(u32, String)>, pause, size, floods| Publisher {
            front: cluster.front(),
            sources,
            pause,
            size,
            run: format!("{seed}"),
            ledger: Arc::clone(&ledger),
            enough: Arc::clone(&enough),
            floods,
        };
        let sources = (0..).zip(cast.targets.iter().cloned());
        let (flood, steady): (Vec<_>, Vec<_>) = sources.partition(|(source, _)| *source == cast.flood);
        let count = PUBLISHERS.min(steady.len());
        let pause = Duration::from_secs_f64(count as f64 / options.rate);
        let mut publishers = vec![publisher(flood, Duration::from_millis(10), LARGE, true)];
        for number in 0..count {
            let share = steady.iter().skip(number).step_by(count).cloned().collect();
            publishers.push(publisher(share, pause, options.size, false));
        }
        Self {
            publishers,
            seen: cast.clients.iter().map(|client| Mutex::new(client.seen())).collect(),
            time: Duration::from_secs(options.seconds),
            cluster,
            cast,
            stage,
            ledger,
            enough,
            seed,
        }
    }

    /// The faults that happened, and how many connections brought garbage.
    pub(super) fn run(&self, steps: &[Step], garbage: bool) -> Result<(Vec<Happened>, u64)> {
        std::thread::scope(|scope| {
            let stage = &self.stage;
            // However this ends, everybody else has to.
            let _end = End(self);
            for (client, seen) in self.cast.clients.iter().zip(&self.seen) {
                scope.spawn(move || client.run(stage, seen));
            }
            self.gather()?;
            let noise = garbage.then(|| {
                let (front, gateways) = (self.cluster.front(), self.cluster.gateways());
                let token = &self.cast.clients[0].token;
                scope.spawn(move || garbage::run(stage, self.seed, front, gateways, token))
            });
            let began = Instant::now();
            let publishers: Vec<_> =
                self.publishers.iter().map(|publisher| scope.spawn(|| publisher.run(stage))).collect();
            let happened = faults::run(steps, self.cluster, stage)?;
            wait::pause(self.time.saturating_sub(began.elapsed()));
            stage.shared.phase("the last events");
            self.enough.store(true, Ordering::Relaxed);
            for publisher in publishers {
                publisher.join().map_err(panicked)??;
            }
            stage.shared.phase("until it is quiet");
            self.quiet();
            stage.stop.store(true, Ordering::Relaxed);
            Ok((happened, noise.map_or(Ok(0), |noise| noise.join().map_err(panicked))?))
        })
    }

    /// By source what was sent, by client what was seen.
    pub(super) fn finish(self) -> (Vec<Vec<Sent>>, Vec<Seen>) {
        (self.ledger.all(), self.seen.into_iter().map(Mutex::into_inner).collect())
    }

    /// Everybody is there and hears every one of its topics.
    fn gather(&self) -> Result<()> {
        let shared = &self.stage.shared;
        shared.phase("gathering");
        let all = self.cast.clients.len() as u64;
        let there = wait::until(2 * PATIENCE, || shared.get(Count::Joined) >= all);
        ensure!(
            there,
            "only {} of {all} clients are there: {:?}",
            shared.get(Count::Joined),
            shared.errors()
        );
        let topics: usize = self.cast.clients.iter().map(|client| client.topics.len()).sum();
        self.publishers.iter().try_for_each(|publisher| publisher.warm_up(&self.stage))?;
        let heard = wait::until(2 * PATIENCE, || shared.get(Count::Warm) >= topics as u64);
        ensure!(heard, "{} of {topics} first events came", shared.get(Count::Warm));
        Ok(())
    }

    /// Waits until everybody has everything, or nothing has come for a while.
    fn quiet(&self) {
        let received = || self.stage.shared.get(Count::Received);
        let (mut before, mut since) = (received(), Instant::now());
        while since.elapsed() < PATIENCE && !self.complete() {
            wait::pause(Duration::from_millis(200));
            if received() != before {
                (before, since) = (received(), Instant::now());
            }
        }
        // What comes twice would come now.
        wait::pause(Duration::from_secs(1));
    }

    fn complete(&self) -> bool {
        self.cast.clients.iter().zip(&self.seen).all(|(client, seen)| {
            let seen = seen.lock();
            let mut topics = client.topics.iter().zip(&seen.arrivals);
            topics.all(|(heard, arrivals)| arrivals.len() >= self.ledger.count(heard.source))
        })
    }
}

struct End<'a, 'b>(&'a Play<'b>);

impl Drop for End<'_, '_> {
    fn drop(&mut self) {
        self.0.enough.store(true, Ordering::Relaxed);
        self.0.stage.stop.store(true, Ordering::Relaxed);
    }
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Error {
    anyhow!("a part of the tester has panicked")
}
