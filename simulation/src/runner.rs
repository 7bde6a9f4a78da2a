//! Many schedules, side by side; and one failing schedule made smaller.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::{Counts, Failure, Family, Plan, simulate};

/// Which schedules to run: the families take turns, seeds count up.
pub struct Batch {
    pub families: Vec<Family>,
    pub from: u64,
    /// At most this many schedules, and no new one after this time.
    pub count: u64,
    pub time: Duration,
    pub jobs: usize,
    /// One in this many is run twice, and must go the same way.
    pub twice: u64,
    /// Ends after so many failing schedules.
    pub stop: usize,
}

/// What came of a batch.
#[derive(Default)]
pub struct Summary {
    pub schedules: u64,
    pub repeated: u64,
    pub virtual_time: Duration,
    pub counts: Counts,
    /// Failing plans, with their failures, and when they were found.
    pub failed: Vec<(Plan, Vec<Failure>, Duration)>,
}

/// Runs a batch; `found` hears of each failing schedule at once.
pub fn run(batch: &Batch, found: &(dyn Fn(&Plan, &[Failure], Duration) + Sync)) -> Summary {
    let (next, begun) = (AtomicU64::new(0), Instant::now());
    let summary = Mutex::new(Summary::default());
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let enough = summary.lock().failed.len() >= batch.stop;
            if number >= batch.count || begun.elapsed() >= batch.time || enough {
                return;
            }
            let families = batch.families.len() as u64;
            let family = batch.families[(number % families) as usize];
            let plan = family.plan(batch.from + number / families);
            let failures = one(&plan, number % batch.twice.max(1) == 0, &mut |outcome, repeated| {
                summary.lock().add(outcome, repeated);
            });
            if !failures.is_empty() {
                found(&plan, &failures, begun.elapsed());
                summary.lock().failed.push((plan, failures, begun.elapsed()));
            }
        }
    };
    std::thread::scope(|scope| {
        (0..batch.jobs).for_each(|_| drop(scope.spawn(work)));
    });
    summary.into_inner()
}

/// Runs a plan, perhaps twice, and gives its failures.
fn one(plan: &Plan, twice: bool, note: &mut dyn FnMut(&crate::Outcome, bool)) -> Vec<Failure> {
    let outcome = match simulate(plan, false) {
        Ok(outcome) => outcome,
        Err(panic) => return vec![panic],
    };
    note(&outcome, twice);
    let mut failures = outcome.failures;
    if twice && simulate(plan, false).map(|again| again.hash) != Ok(outcome.hash) {
        failures.push(Failure::new("NOT REPRODUCIBLE", "two runs of this plan went different ways"));
    }
    failures
}

/// Makes a failing plan smaller for as long as it fails in the same way. Gives it with its failure,
/// and how many runs that took.
pub fn shrink(plan: Plan, kind: &str) -> (Plan, Option<Failure>, usize) {
    let fails = |plan: &Plan| match simulate(plan, false) {
        Ok(outcome) => outcome.failures.into_iter().find(|failure| failure.kind == kind),
        Err(panic) => Some(panic).filter(|panic| panic.kind == kind),
    };
    let (mut smallest, mut failure, mut runs) = (plan, None, 0);
    loop {
        let smaller = smallest.smaller().into_iter().find_map(|plan| {
            runs += 1;
            fails(&plan).map(|failure| (plan, failure))
        });
        let Some((plan, why)) = smaller else { return (smallest, failure, runs) };
        (smallest, failure) = (plan, Some(why));
    }
}

impl Summary {
    fn add(&mut self, outcome: &crate::Outcome, repeated: bool) {
        self.schedules += 1;
        self.repeated += u64::from(repeated);
        self.virtual_time += outcome.virtual_time;
        self.counts += outcome.counts;
    }
}
