use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use serde_json::{Map, Value};

use crate::failure::Usage;
use crate::options::Common;
use crate::process::{self, Machine};
use crate::report::limits::Verdict;
use crate::report::{self, Latency, Report, Table, round};
use crate::shared::{Count, Shared};
use crate::watch::Watch;

/// One run of a scenario, from before its first connection to its report.
pub(crate) struct Session<'a> {
    pub(crate) common: &'a Common,
    pub(crate) shared: Arc<Shared>,
    scenario: &'static str,
    /// As it was before the run.
    machine: Machine,
    began: u64,
    processes: Vec<String>,
    watch: Watch,
    outcome: Outcome,
}

/// What a scenario has to say besides what all count.
#[derive(Default)]
struct Outcome {
    figures: Map<String, Value>,
    tables: Vec<Table>,
    notes: Vec<String>,
    limits: Vec<Verdict>,
    /// Instead of what the clients measured.
    latency: Option<Latency>,
}

impl<'a> Session<'a> {
    /// `clients`: so many files will be needed.
    pub(crate) fn begin(common: &'a Common, scenario: &'static str, clients: usize) -> Result<Self> {
        let machine = Machine::now();
        common.servers()?;
        common.publish_servers()?;
        let files = process::raise_open_files()?;
        let each = clients.div_ceil(common.processes.max(1)) as u64 + 100;
        ensure!(
            each <= files,
            Usage::new(format!(
                "{clients} clients need {each} files a process and may have {files}: raise ulimit -n or share them, \
                 --processes {}",
                clients as u64 / files.saturating_sub(100).max(1) + 1
            ))
        );
        for pid in &common.pids {
            process::cpu(&[*pid])
                .map_err(|_| Usage::new(format!("--pid {pid}: there is no such process")))?;
        }
        let shared = Shared::new(Instant::now());
        let watch = Watch::start(scenario, Arc::clone(&shared), common.pids.clone());
        let mut processes: Vec<String> =
            common.pids.iter().map(|pid| format!("{} ({pid})", process::name(*pid))).collect();
        processes.push("load tester".to_owned());
        Ok(Self {
            common,
            shared,
            scenario,
            machine,
            began: SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
            processes,
            watch,
            outcome: Outcome::default(),
        })
    }

    /// A name that no other run has used.
    pub(crate) fn topic(&self) -> String {
        format!("{}-{:x}-{}", self.scenario, self.began, std::process::id())
    }

    pub(crate) fn figure(&mut self, name: &str, value: impl Into<Value>) {
        self.outcome.figures.insert(name.to_owned(), value.into());
    }

    pub(crate) fn table(&mut self, table: Table) {
        self.outcome.tables.push(table);
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.outcome.notes.push(note.into());
    }

    /// A scenario's own limit, if one was stated.
    pub(crate) fn limit(&mut self, name: &'static str, limit: Option<f64>, value: Option<f64>) {
        self.outcome.limits.extend(limit.map(|limit| Verdict::most(name, limit, value)));
    }

    pub(crate) fn latency(&mut self, latency: Latency) {
        self.outcome.latency = Some(latency);
    }

    /// Per cent of what was tried, where `expected` events should have come: of the connections, the publishes or the
    /// events, whichever has most that failed.
    pub(crate) fn error_rate(&self, expected: u64) -> f64 {
        let shared = &self.shared;
        let of = |failed: u64, tried: u64| failed as f64 * 100.0 / tried.max(1) as f64;
        let (sent, retried) = (shared.get(Count::Sent), shared.get(Count::Retried));
        [
            of(shared.get(Count::Failed), shared.get(Count::Attempts)),
            of(shared.get(Count::Refused), sent),
            of(retried, retried + sent),
            of(shared.tally().lost(expected), expected),
        ]
        .into_iter()
        .fold(0.0, f64::max)
    }

    /// Prints and writes the report. `expected`: events that should have come, over all clients.
    pub(crate) fn finish(self, expected: u64) -> Result<ExitCode> {
        let error_rate = round(self.error_rate(expected));
        let timeline = self.watch.finish();
        let counts = self.shared.tally();
        let latency = self.outcome.latency.unwrap_or_else(|| Latency::of(&self.shared.measured().delivery));
        let refused = self.shared.get(Count::Refused);
        let mut limits = self.common.limits.judge(counts, refused, expected, &latency, error_rate);
        limits.extend(self.outcome.limits);
        let report = Report {
            scenario: self.scenario,
            command: report::command(),
            began: self.began,
            seconds: round(self.shared.start.elapsed().as_secs_f64()),
            machine: self.machine,
            sent: self.shared.get(Count::Sent),
            refused,
            expected,
            received: counts.received,
            lost: counts.lost(expected),
            doubled: counts.doubled,
            reordered: counts.reordered,
            stray: counts.stray,
            latency,
            error_rate,
            errors: self.shared.errors(),
            figures: self.outcome.figures,
            tables: self.outcome.tables,
            notes: self.outcome.notes,
            limits,
            processes: self.processes,
            timeline,
        };
        report.print();
        report.write(self.common.json.as_deref(), self.common.html.as_deref())?;
        Ok(if report.held() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
