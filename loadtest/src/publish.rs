use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::options::{self, Common};
use crate::pump::Pump;
use crate::report::{Latency, round};
use crate::session::Session;
use crate::shared::{Count, micros};
use crate::tally::latencies;
use crate::{process, wait};

/// 32 keep-alive connections (--connections) that publish, each to a topic of its own, for 5 seconds, to nobody. The
/// percentiles are those of the answers.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Events in a request: 1 is an event a request, more are NDJSON.
    #[arg(long, default_value_t = 1)]
    batch: usize,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let common = &options.common;
    let connections = common.connections.unwrap_or(32);
    let mut session = Session::begin(common, "publish", connections)?;
    let (words, servers) = (common.words()?, common.publish_servers()?);
    let batch = options.batch.max(1);
    let data = "x".repeat(common.size);
    let prefix = session.topic();
    let request = |number: usize| {
        let (server, topic) = (&servers[number % servers.len()], format!("{prefix}-{number}"));
        if batch > 1 {
            return words.publish_many(server, &topic, &data, batch);
        }
        let mut request = Vec::new();
        words.publish(server, &topic, &data, None, &mut request);
        Some(request)
    };
    let requests = (0..connections).map(request).collect::<Option<Vec<_>>>();
    let requests =
        requests.with_context(|| format!("{:?} takes one event a request: no --batch", common.profile))?;
    let mut pump = Pump::connect(&servers, connections, &options::tls(&servers, b"http/1.1")?)?;
    pump.tolerate(&session.shared);
    let cpu = process::cpu(&common.pids)?;
    let began = Instant::now();
    let until = began + common.duration(5);
    let rate = common.rate.unwrap_or(0.0) / batch as f64;
    session.shared.phase("publishing");
    let shared = &session.shared;
    let mut asked: Vec<Option<Instant>> = vec![None; connections];
    let (mut answers, mut due) = (latencies(), 0.0);
    let answered = pump.run(|publisher, _, request| {
        if let Some(asked) = asked[publisher] {
            let _ = answers.record(micros(asked.elapsed()).max(1));
            shared.add(Count::Sent, batch as u64);
        }
        if rate > 0.0 {
            wait::pause(Duration::from_secs_f64(due / rate).saturating_sub(began.elapsed()));
            due += 1.0;
        }
        let more = Instant::now() < until;
        if more {
            asked[publisher] = Some(Instant::now());
            request.extend_from_slice(&requests[publisher]);
        }
        more
    })?;
    let seconds = began.elapsed().as_secs_f64();
    let cpu = process::cpu(&common.pids)? - cpu;
    let events = answered * batch as u64;
    session.latency(Latency::of(&answers));
    session.figure("connections", connections);
    session.figure("events_per_request", batch);
    session.figure("events", events);
    session.figure("published_per_second", round(events as f64 / seconds));
    if !common.pids.is_empty() {
        session.figure("server_cpu_us_per_event", round(cpu * 1e6 / events.max(1) as f64));
    }
    session.finish(0)
}
