//! Clients in another process of this program: commands go to its standard input, what it counts comes from its output, a
//! line of JSON each.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command as Program, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::manner::Manner;
use super::{Command, Streams};
use crate::shared::{Arrival, COUNTS, Measured, Shared, Slot, micros};
use crate::tally::latencies;

/// How often it tells.
const TELLS: Duration = Duration::from_millis(50);

/// The first line.
#[derive(Serialize, Deserialize)]
struct Start {
    manner: Manner,
    /// When the run began, in microseconds of the machine's clock: payloads count from there.
    began: u64,
}

/// What has been counted since the last update.
#[derive(Default, Serialize, Deserialize)]
struct Update {
    counts: Vec<u64>,
    errors: BTreeMap<String, u64>,
    last: u64,
    delivery: Vec<(u64, u64)>,
    opening: Vec<(u64, u64)>,
    arrivals: Vec<(u32, u64)>,
}

/// The parent's end.
pub(super) struct Remote {
    child: Child,
    commands: std::sync::Mutex<ChildStdin>,
    listener: JoinHandle<Result<()>>,
}

impl Remote {
    pub(super) fn start(shared: &Arc<Shared>, manner: &Manner) -> Result<Self> {
        let mut child = Program::new(std::env::current_exe()?)
            .arg("share")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("can't start another process")?;
        let (Some(mut commands), Some(updates)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("another process without pipes")
        };
        let began = micros(SystemTime::now().duration_since(UNIX_EPOCH)?) - micros(shared.start.elapsed());
        say(&mut commands, &Start { manner: manner.clone(), began })?;
        let (shared, slot) = (Arc::clone(shared), shared.slot());
        let listener = std::thread::spawn(move || {
            for line in BufReader::new(updates).lines() {
                let update = serde_json::from_str(&line?).context("another process tells something else")?;
                take(&shared, &slot, &update);
            }
            Ok(())
        });
        Ok(Self { child, commands: std::sync::Mutex::new(commands), listener })
    }

    pub(super) fn tell(&self, command: &Command) -> Result<()> {
        say(&mut *self.commands.lock().unwrap_or_else(PoisonError::into_inner), command)
    }

    pub(super) fn is_finished(&self) -> bool {
        self.listener.is_finished()
    }

    pub(super) fn finish(mut self) -> Result<()> {
        let _ = self.tell(&Command::Stop);
        let Ok(listened) = self.listener.join() else { bail!("a listener has panicked") };
        listened?;
        let status = self.child.wait()?;
        ensure!(status.success(), "another process has ended with {status}");
        Ok(())
    }
}

/// The child's whole life.
pub(crate) fn run() -> Result<()> {
    let mut first = String::new();
    std::io::stdin().read_line(&mut first)?;
    let start: Start = serde_json::from_str(&first).context("this is for other processes of the tester")?;
    let age = Duration::from_micros(
        micros(SystemTime::now().duration_since(UNIX_EPOCH)?).saturating_sub(start.began),
    );
    let shared = Shared::new(Instant::now().checked_sub(age).context("a run older than the machine")?);
    let mut streams = Streams::start(&shared, &start.manner, 1)?;
    let (commands, inbox) = mpsc::channel();
    std::thread::spawn(move || {
        // The parent's end is this one's, too: the channel closes with the input.
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if let Ok(command) = serde_json::from_str::<Command>(&line)
                && commands.send(command).is_err()
            {
                return;
            }
        }
    });
    let mut told = Told::default();
    loop {
        match inbox.recv_timeout(TELLS) {
            Ok(Command::Open(places)) => streams.add(places)?,
            Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            Ok(command) => streams.tell(&command)?,
            Err(RecvTimeoutError::Timeout) => {}
        }
        told.tell(&shared)?;
    }
    streams.finish()?;
    told.tell(&shared)
}

/// What the parent knows already.
#[derive(Default)]
struct Told {
    counts: Vec<u64>,
    errors: BTreeMap<String, u64>,
}

impl Told {
    fn tell(&mut self, shared: &Shared) -> Result<()> {
        let counts = shared.all().to_vec();
        self.counts.resize(COUNTS, 0);
        let errors = shared.errors();
        let measured = shared.take();
        let arrivals = std::mem::take(&mut *shared.arrivals.lock());
        let update = Update {
            counts: counts.iter().zip(&self.counts).map(|(now, before)| now - before).collect(),
            errors: errors
                .iter()
                .map(|(kind, now)| (kind.clone(), now - self.errors.get(kind).unwrap_or(&0)))
                .filter(|(_, more)| *more > 0)
                .collect(),
            last: micros(shared.last()),
            delivery: pairs(&measured.delivery),
            opening: pairs(&measured.opening),
            arrivals: arrivals.into_iter().map(|arrival| (arrival.number, arrival.at)).collect(),
        };
        if counts != self.counts || !update.delivery.is_empty() || !update.errors.is_empty() {
            say(&mut std::io::stdout().lock(), &update)?;
        }
        (self.counts, self.errors) = (counts, errors);
        Ok(())
    }
}

fn take(shared: &Shared, slot: &Slot, update: &Update) {
    let more = Measured { delivery: histogram(&update.delivery), opening: histogram(&update.opening) };
    slot.lock().add(&more);
    let arrivals = update.arrivals.iter().map(|(number, at)| Arrival { number: *number, at: *at });
    shared.arrivals.lock().extend(arrivals);
    for (kind, count) in &update.errors {
        shared.error(kind, *count);
    }
    shared.came(Duration::from_micros(update.last));
    // Last: who waits for so many events may look at everything else then.
    shared.add_all(&update.counts);
}

/// Every bucket that has something in it: with one precision on both sides nothing is lost.
fn pairs(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    let buckets = histogram.iter_recorded();
    buckets.map(|bucket| (bucket.value_iterated_to(), bucket.count_since_last_iteration())).collect()
}

fn histogram(pairs: &[(u64, u64)]) -> Histogram<u64> {
    let mut histogram = latencies();
    for (value, count) in pairs {
        let _ = histogram.record_n(*value, *count);
    }
    histogram
}

fn say(to: &mut impl Write, words: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(words)?;
    line.push(b'\n');
    to.write_all(&line).and_then(|()| to.flush()).context("the other process has gone")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::shared::Count;

    #[test]
    fn a_histogram_arrives_as_it_left_and_merges_exactly() {
        let (mut whole, mut merged) = (latencies(), latencies());
        for part in 0..3u64 {
            let mut one = latencies();
            for step in 0..5_000u64 {
                let value = (step * step * 31 + part * 7_919) % 60_000_000 + 1;
                one.record(value).unwrap();
                whole.record(value).unwrap();
            }
            merged.add(histogram(&pairs(&one))).unwrap();
        }
        assert_eq!(pairs(&merged), pairs(&whole));
        assert_eq!(merged, whole);
        for quantile in [0.5, 0.9, 0.95, 0.99, 0.999, 1.0] {
            assert_eq!(merged.value_at_quantile(quantile), whole.value_at_quantile(quantile));
        }
    }

    #[test]
    fn updates_add_up_to_what_the_child_counted() {
        let (parent, child) = (Shared::new(Instant::now()), Shared::new(Instant::now()));
        let slot = parent.slot();
        let mut before = vec![0; COUNTS];
        for round in 1..=3 {
            child.add(Count::Received, round);
            child.error("status 503", 1);
            let now = child.all();
            let counts = now.iter().zip(&before).map(|(now, before)| now - before).collect();
            let update = Update {
                counts,
                errors: BTreeMap::from([("status 503".to_owned(), 1)]),
                delivery: vec![(round, 2)],
                ..Update::default()
            };
            let text = serde_json::to_string(&update).unwrap();
            take(&parent, &slot, &serde_json::from_str(&text).unwrap());
            before = now.to_vec();
        }
        assert_eq!(parent.get(Count::Received), 6);
        assert_eq!(parent.errors(), BTreeMap::from([("status 503".to_owned(), 3)]));
        assert_eq!(parent.measured().delivery.len(), 6);
    }
}
