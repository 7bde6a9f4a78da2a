//! While a run lasts: a sample each second, more of them at first, and a line that says how far it is.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::process;
use crate::report::{Latency, round};
use crate::shared::{Count, Shared};

const STEP: Duration = Duration::from_secs(1);

/// A short run would have too few samples.
const FIRST: Duration = Duration::from_secs(20);

/// Where the output is no terminal a line each second would be too many.
const LINE: Duration = Duration::from_secs(5);

/// A moment of the run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    /// In seconds since the start.
    pub(crate) t: f64,
    /// Of the events that came since the one before, in milliseconds.
    pub(crate) p50: Option<f64>,
    pub(crate) p90: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) max: Option<f64>,
    pub(crate) open: u64,
    /// Events a second.
    pub(crate) sent_rate: f64,
    pub(crate) received_rate: f64,
    /// So far.
    pub(crate) errors: u64,
    pub(crate) reconnects: u64,
    /// Of each process, in per cent of a core.
    pub(crate) cpu: Vec<f64>,
    /// Of each process; None: it has ended, or nobody may look.
    pub(crate) mb: Vec<Option<f64>>,
}

pub(crate) struct Watch {
    stop: Sender<()>,
    thread: JoinHandle<Vec<Sample>>,
}

impl Watch {
    /// The tester's own CPU is the last of the processes: what it uses, a server on the same machine has not.
    pub(crate) fn start(scenario: &'static str, shared: Arc<Shared>, pids: Vec<u32>) -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut watcher = Watcher::new(scenario, shared, pids);
            let step = |watcher: &Watcher| {
                if watcher.shared.start.elapsed() < FIRST { STEP / 4 } else { STEP }
            };
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(step(&watcher)) {
                watcher.sample();
                watcher.tell();
            }
            watcher.sample();
            watcher.clear();
            watcher.samples
        });
        Self { stop, thread }
    }

    pub(crate) fn finish(self) -> Vec<Sample> {
        let _ = self.stop.send(());
        self.thread.join().unwrap_or_default()
    }
}

struct Watcher {
    scenario: &'static str,
    shared: Arc<Shared>,
    pids: Vec<u32>,
    samples: Vec<Sample>,
    at: Instant,
    sent: u64,
    received: u64,
    cpu: Vec<f64>,
    /// Reading a large process' memory takes the kernel a while, and holds the process up.
    memory_due: Instant,
    memory: Vec<Option<f64>>,
    terminal: bool,
    told: Instant,
}

impl Watcher {
    fn new(scenario: &'static str, shared: Arc<Shared>, pids: Vec<u32>) -> Self {
        let now = Instant::now();
        let mut watcher = Self {
            scenario,
            at: now,
            sent: shared.get(Count::Sent),
            received: shared.get(Count::Received),
            shared,
            cpu: Vec::new(),
            pids,
            samples: Vec::new(),
            memory_due: now,
            memory: Vec::new(),
            terminal: std::io::stderr().is_terminal(),
            told: now,
        };
        watcher.cpu = watcher.cpu_now();
        watcher
    }

    fn sample(&mut self) {
        let latency = Latency::of(&self.shared.take().delivery);
        let now = Instant::now();
        let seconds = now.duration_since(self.at).as_secs_f64().max(1e-3);
        let (sent, received) = (self.shared.get(Count::Sent), self.shared.get(Count::Received));
        let cpu = self.cpu_now();
        let used =
            cpu.iter().zip(&self.cpu).map(|(now, before)| round((now - before).max(0.0) / seconds * 100.0));
        let cpu_used = used.collect();
        let mb = self.memory(now);
        self.samples.push(Sample {
            t: round(self.shared.start.elapsed().as_secs_f64()),
            p50: latency.p50,
            p90: latency.p90,
            p99: latency.p99,
            max: latency.max,
            open: self.shared.open_now(),
            sent_rate: round((sent - self.sent) as f64 / seconds),
            received_rate: round((received - self.received) as f64 / seconds),
            errors: self.shared.errors().values().sum(),
            reconnects: self.shared.get(Count::Reconnected),
            cpu: cpu_used,
            mb,
        });
        (self.at, self.sent, self.received, self.cpu) = (now, sent, received, cpu);
    }

    fn cpu_now(&self) -> Vec<f64> {
        let theirs = self.pids.iter().map(|pid| process::cpu(&[*pid]).unwrap_or_default());
        theirs.chain([process::own_cpu()]).collect()
    }

    fn memory(&mut self, now: Instant) -> Vec<Option<f64>> {
        if now >= self.memory_due {
            let read = |pid: &u32| process::pss(&[*pid]).ok().map(|kb| round(kb as f64 / 1024.0));
            self.memory = self.pids.iter().map(read).collect();
            self.memory_due = now + now.elapsed() * 50;
        }
        self.memory.clone()
    }

    fn tell(&mut self) {
        let Some(last) = self.samples.last() else { return };
        if !self.terminal && self.told.elapsed() < LINE {
            return;
        }
        self.told = Instant::now();
        let shared = &self.shared;
        let number = |value: Option<f64>| value.map_or("–".to_owned(), |value| value.to_string());
        let line = format!(
            "{} {:>4.0} s  {}  open {}  sent {}  received {} ({}/s)  p50 {} p99 {} ms  errors {}  reconnects {}",
            self.scenario,
            last.t,
            *shared.phase.lock(),
            last.open,
            self.sent,
            self.received,
            last.received_rate,
            number(last.p50),
            number(last.p99),
            last.errors,
            last.reconnects,
        );
        let mut out = std::io::stderr().lock();
        // Not wrapped: a second line would stay. And where nobody reads, nothing is to be told.
        let _ = if self.terminal {
            write!(out, "\r\x1b[2K\x1b[?7l{line}\x1b[?7h")
        } else {
            writeln!(out, "{line}")
        };
        let _ = out.flush();
    }

    fn clear(&self) {
        if self.terminal {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[2K");
        }
    }
}
