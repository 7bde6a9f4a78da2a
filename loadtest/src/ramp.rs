//! More and more clients: what each step costs, how fast events still are, and where it ends.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::delivery::{Load, PATIENCE};
use crate::failure::Usage;
use crate::options::{self, Common};
use crate::process;
use crate::pump::Pump;
use crate::report::{Latency, Table, round};
use crate::session::Session;
use crate::shared::Count;
use crate::streams::{Place, Streams};

/// 100, 1,000, 5,000 and 10,000 clients (--steps), at each of them 2 events a second for 10 seconds.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// How many clients there are, step by step; --connections is one step.
    #[arg(long, value_delimiter = ',', default_value = "100,1000,5000,10000")]
    steps: Vec<usize>,
    /// It stops after a step in which more than so many per cent of connections or events failed.
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0)]
    stop_above: f64,
    /// Clients that must be reached.
    #[arg(long, value_name = "N", help_heading = "Limits")]
    min_connections: Option<usize>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let common = &options.common;
    let steps = common.connections.map_or_else(|| options.steps.clone(), |one| vec![one]);
    let growing = steps.windows(2).all(|pair| pair[0] < pair[1]) && steps.iter().all(|step| *step > 0);
    ensure!(growing, Usage::new("--steps: give growing numbers, such as 100,1000,5000"));
    let most = steps.iter().copied().max().unwrap_or_default();
    let mut session = Session::begin(common, "ramp", most)?;
    let mut ramp = Ramp::start(&session, options, steps.len() as u32)?;
    let mut reached = 0;
    for (number, clients) in (0u32..).zip(&steps) {
        session.shared.phase(format!("{clients} clients"));
        let step = ramp.step(&session, number, *clients)?;
        if step.error_rate > options.stop_above {
            session.note(format!("Stopped at {clients} clients: {} % failed.", round(step.error_rate)));
            break;
        }
        reached = *clients;
    }
    session.table(ramp.table);
    session.figure("reached", reached);
    session.figure("topic", ramp.load.topics.concat());
    let limit = options.min_connections.map(|limit| limit as f64);
    session.limit(
        "connections missing",
        limit.map(|_| 0.0),
        limit.map(|least| (least - reached as f64).max(0.0)),
    );
    ramp.streams.finish()?;
    session.finish(ramp.expected)
}

struct Ramp<'a> {
    common: &'a Common,
    streams: Streams,
    pump: Pump,
    load: Load,
    steps: u32,
    expected: u64,
    /// Memory before the first client.
    before: u64,
    table: Table,
}

struct Step {
    error_rate: f64,
}

impl<'a> Ramp<'a> {
    fn start(session: &Session<'a>, options: &Options, steps: u32) -> Result<Self> {
        let common = session.common;
        let rate = common.rate.unwrap_or(2.0);
        ensure!(rate > 0.0, Usage::new("ramp has a steady --rate"));
        let publish_at = common.publish_servers()?;
        let load = Load {
            sources: 1,
            topics: vec![session.topic()],
            base: 0,
            rounds: 0..(rate * common.duration(10).as_secs_f64()).ceil() as u32,
            publishers: 1,
            rate,
            size: common.size,
        };
        let columns = vec![
            "clients", "open", "failed", "open p50", "open p99", "p50", "p95", "p99", "max", "CPU %", "MB",
            "kB each", "lost", "error %",
        ];
        let title = format!(
            "Steps at {rate} events/s, stopping above {} % (times in ms, the server's CPU in % of a core)",
            options.stop_above
        );
        Ok(Self {
            common,
            streams: Streams::start(&session.shared, &common.manner(common.via()?)?, common.processes)?,
            pump: Pump::connect(&publish_at, 1, &options::tls(&publish_at, b"http/1.1")?)?,
            load,
            steps,
            expected: 0,
            before: process::pss(&common.pids)?,
            table: Table { title, columns, rows: Vec::new() },
        })
    }

    /// Adds what is missing to so many clients, and publishes to all of them: source `number`, so that who came later
    /// misses nothing of what was before.
    fn step(&mut self, session: &Session<'_>, number: u32, clients: usize) -> Result<Step> {
        let shared = &session.shared;
        let tally_before = shared.tally();
        let more = clients - self.streams.count;
        let topic = self.load.topics.concat();
        let sources = number..self.steps;
        self.streams.open((0..more).map(|at| Place {
            server: at,
            topic: topic.clone(),
            sources: sources.clone(),
        }))?;
        let open = self.streams.counted(Count::Opened) - self.streams.counted(Count::Ended);
        let words = self.common.words()?;
        if open > 0 {
            let (load, pump) = (&self.load, &mut self.pump);
            self.streams.warm_up(|| load.warm_up(&words, pump))?;
        }
        let opening = Latency::of(&shared.step().opening);
        let (began, cpu) = (Instant::now(), process::cpu(&self.common.pids)?);
        self.load.base = number;
        self.load.publish(session, &words, &mut self.pump)?;
        let expected = self.load.rounds.len() as u64 * open;
        self.expected += expected;
        self.streams.received(self.expected, PATIENCE);
        let cpu = (process::cpu(&self.common.pids)? - cpu) / began.elapsed().as_secs_f64() * 100.0;
        let memory = process::pss(&self.common.pids)?;
        let latency = Latency::of(&shared.step().delivery);
        let tally = shared.tally();
        let came = (tally.received - tally_before.received) - (tally.doubled - tally_before.doubled);
        let lost = expected.saturating_sub(came);
        // Also those that were open once, and were cut.
        let there = self.streams.counted(Count::Opened) - self.streams.counted(Count::Ended);
        let failed = (clients as u64).saturating_sub(there.min(open));
        let of = |part: u64, whole: u64| part as f64 * 100.0 / whole.max(1) as f64;
        let error_rate = of(failed, clients as u64).max(of(lost, expected));
        let measured = !self.common.pids.is_empty();
        let each = memory.saturating_sub(self.before) as f64 / open.max(1) as f64;
        self.table.rows.push(vec![
            json!(clients),
            json!(open),
            json!(failed),
            json!(opening.p50),
            json!(opening.p99),
            json!(latency.p50),
            json!(latency.p95),
            json!(latency.p99),
            json!(latency.max),
            json!(measured.then(|| round(cpu))),
            json!(measured.then(|| round(memory as f64 / 1024.0))),
            json!(measured.then(|| round(each))),
            json!(lost),
            json!(round(error_rate)),
        ]);
        Ok(Step { error_rate })
    }
}
