//! A storm: everybody was away, and everybody comes back at once with a cursor.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use crate::delivery::{Load, PATIENCE};
use crate::failure::Usage;
use crate::options::{self, Common};
use crate::process;
use crate::pump::Pump;
use crate::redis::{Commands, Redis};
use crate::report::{Latency, Table, round};
use crate::session::Session;
use crate::shared::Count;
use crate::streams::{Command, Place, Streams};
use crate::wait;

/// 1,000 clients lose their connection at once, 100 events are published meanwhile, and all come back at once, or over
/// --spread. Then one more event shows that they are live, and they are left alone for 10 seconds before memory is read. The
/// percentiles are those of that event and of what came late.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Topics that the clients are spread over.
    #[arg(long, default_value_t = 1)]
    topics: usize,
    /// Events that each topic gets while everybody is away; 0: they come back at once and have missed nothing.
    #[arg(long, default_value_t = 100)]
    missed: u32,
    /// Seconds over which they come back.
    #[arg(long, value_name = "S", default_value_t = 0.0, value_parser = crate::options::seconds)]
    spread: f64,
    /// The gateway's Redis, redis://[:PASSWORD@]HOST:PORT: counts the commands that the storm makes it execute.
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    /// Milliseconds until the last client has everything.
    #[arg(long, value_name = "MS", help_heading = "Limits")]
    max_recovery_ms: Option<f64>,
    /// Commands that Redis may execute during the storm.
    #[arg(long, value_name = "N", help_heading = "Limits")]
    max_redis_commands: Option<u64>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let common = &options.common;
    let connections = common.connections.unwrap_or(1_000);
    ensure!(options.topics > 0, Usage::new("--topics must be at least 1"));
    let mut redis = options.redis.as_deref().map(Redis::connect).transpose()?;
    let mut session = Session::begin(common, "reconnect", connections)?;
    let prefix = session.topic();
    let topics: Vec<String> = (0..options.topics).map(|topic| format!("{prefix}-{topic}")).collect();
    let sources = topics.len() as u32;
    let mut load = Load {
        sources,
        topics,
        base: 0,
        rounds: 0..options.missed,
        publishers: sources.min(8),
        rate: common.rate.unwrap_or(0.0),
        size: common.size,
    };
    let mut manner = common.manner(common.via()?)?;
    manner.reconnect = true;
    let words = &manner.words;
    let publish_at = common.publish_servers()?;
    let mut pump =
        Pump::connect(&publish_at, load.publishers as usize, &options::tls(&publish_at, b"http/1.1")?)?;
    let empty = process::pss(&common.pids)?;
    session.shared.phase("connecting");
    let mut streams = Streams::start(&session.shared, &manner, common.processes)?;
    streams.open((0..connections).map(|number| {
        let source = number as u32 % sources;
        Place { server: number, topic: load.topics[source as usize].clone(), sources: source..source + 1 }
    }))?;
    streams.warm_up(|| load.warm_up(words, &mut pump))?;

    let connected = process::pss(&common.pids)?;
    session.shared.phase("away");
    streams.tell(&Command::Leave)?;
    ensure!(streams.wait(PATIENCE, || session.shared.open_now() == 0), "not everybody has hung up");
    load.publish(&session, words, &mut pump)?;
    let before = redis.as_mut().map(Redis::commands).transpose()?;

    session.shared.phase("coming back");
    session.shared.step();
    let (began, cpu) = (session.shared.start.elapsed(), process::cpu(&common.pids)?);
    let spread = Duration::from_secs_f64(options.spread);
    let parallel = common.parallel.unwrap_or(connections);
    streams.tell(&Command::Return { spread, parallel })?;
    let all = connections as u64;
    let missed = all * u64::from(options.missed);
    let peak = storm(&session, all, || {
        streams.counted(Count::Reconnected) >= all && streams.counted(Count::Received) >= missed
    })?;
    let back = session.shared.start.elapsed();
    let cpu = process::cpu(&common.pids)? - cpu;
    let executed = redis.as_mut().map(Redis::commands).transpose()?;
    let last = if missed > 0 { session.shared.last().max(began) } else { back };
    let recovery = round((last - began).as_secs_f64() * 1e3);
    let opening = Latency::of(&session.shared.step().opening);

    session.shared.phase("live again");
    load.rounds = options.missed..options.missed + 1;
    load.publish(&session, words, &mut pump)?;
    let expected = missed + all;
    streams.received(expected, PATIENCE);
    session.latency(Latency::of(&session.shared.step().delivery));
    session.shared.phase("left alone");
    wait::pause(common.duration(10));
    let settled = process::pss(&common.pids)?;
    let counts = [Count::Reconnected, Count::Failed, Count::Resets].map(|count| streams.counted(count));
    streams.finish()?;

    session.figure("connections", connections);
    session.figure("topics", options.topics);
    session.figure("missed_each", options.missed);
    session.figure("recovery_ms", recovery);
    for (name, count) in ["reconnects", "failed_attempts", "resets"].into_iter().zip(counts) {
        session.figure(name, count);
    }
    for (name, value) in
        [("open_p50_ms", opening.p50), ("open_p99_ms", opening.p99), ("open_max_ms", opening.max)]
    {
        session.figure(name, value);
    }
    session.figure("caught_up_per_second", round(missed as f64 / (last - began).as_secs_f64().max(1e-3)));
    if !common.pids.is_empty() {
        let memory = [
            ("memory_before_mb", empty),
            ("memory_connected_mb", connected),
            ("memory_peak_mb", peak),
            ("memory_settled_mb", settled),
        ];
        for (name, kb) in memory {
            session.figure(name, round(kb as f64 / 1024.0));
        }
        session.figure("server_cpu_s", round(cpu));
    }
    session.limit("recovery ms", options.max_recovery_ms, Some(recovery));
    let executed = before.zip(executed).map(|(before, after)| after.since(&before));
    if let Some(executed) = &executed {
        session.figure("redis_commands", executed.total());
        session.table(table(executed));
    }
    let limit = options.max_redis_commands.map(|limit| limit as f64);
    session.limit("Redis commands", limit, executed.map(|executed| executed.total() as f64));
    session.finish(expected)
}

/// Waits until all are back, as long as there is progress; the most memory that was seen meanwhile.
fn storm(session: &Session<'_>, clients: u64, all_back: impl Fn() -> bool) -> Result<u64> {
    let shared = &session.shared;
    let progress =
        || shared.get(Count::Received) + shared.get(Count::Reconnected) + shared.get(Count::Failed);
    let (mut peak, mut seen, mut since) = (0, progress(), Instant::now());
    let patience = || if shared.open_now() >= clients { PATIENCE } else { PATIENCE * 6 };
    while !wait::until(Duration::from_millis(100), &all_back) {
        peak = peak.max(process::pss(&session.common.pids)?);
        if progress() != seen {
            (seen, since) = (progress(), Instant::now());
        }
        if since.elapsed() > patience() {
            break;
        }
    }
    Ok(peak.max(process::pss(&session.common.pids)?))
}

fn table(executed: &Commands) -> Table {
    Table {
        title: "Commands that Redis executed during the storm".to_owned(),
        columns: vec!["command", "calls"],
        rows: executed.0.iter().map(|(name, calls)| vec![json!(name), json!(calls)]).collect(),
    }
}
