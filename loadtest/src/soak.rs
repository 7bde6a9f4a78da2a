//! A long time with few events: who is cut off, who comes back, and whether memory stays where it was.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::delivery::PATIENCE;
use crate::failure::Usage;
use crate::options::{self, Common};
use crate::payload::{Payload, WARM_UP};
use crate::process;
use crate::pump::Pump;
use crate::report::round;
use crate::session::Session;
use crate::shared::{Count, micros};
use crate::streams::{Place, Streams};
use crate::wait;

/// 1,000 clients for 30 minutes, a message a minute (--rate 0.0167). They come back by themselves, with their cursors,
/// after the time that the server asks for.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Topics that the clients are spread over; each has every message.
    #[arg(long, default_value_t = 1)]
    topics: usize,
    /// A connection on which nothing came for so many seconds, not even a heartbeat, has timed out.
    #[arg(long, value_name = "S", default_value_t = 60)]
    silence: u64,
    /// Connections that may end.
    #[arg(long, value_name = "N", help_heading = "Limits")]
    max_disconnects: Option<u64>,
    /// What the server's memory may grow by from after the first message to the end, in MB.
    #[arg(long, value_name = "MB", help_heading = "Limits")]
    max_growth_mb: Option<f64>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let common = &options.common;
    let connections = common.connections.unwrap_or(1_000);
    let (duration, rate) = (common.duration(1_800), common.rate.unwrap_or(1.0 / 60.0));
    ensure!(rate > 0.0 && options.topics > 0, Usage::new("soak has a --rate and --topics"));
    let mut session = Session::begin(common, "soak", connections)?;
    let prefix = session.topic();
    let topics: Vec<String> = (0..options.topics).map(|topic| format!("{prefix}-{topic}")).collect();
    let mut manner = common.manner(common.via()?)?;
    manner.reconnect = true;
    manner.silence = Some(Duration::from_secs(options.silence));
    let before = process::pss(&common.pids)?;
    session.shared.phase("connecting");
    let mut streams = Streams::start(&session.shared, &manner, common.processes)?;
    streams.open((0..connections).map(|number| Place {
        server: number,
        topic: topics[number % topics.len()].clone(),
        sources: 0..1,
    }))?;
    let publish_at = common.publish_servers()?;
    let mut pump = Pump::connect(&publish_at, 1, &options::tls(&publish_at, b"http/1.1")?)?;
    pump.persist(&session.shared);
    let words = &manner.words;
    let mut tell = |text: &mut dyn FnMut(&mut String) -> String| -> Result<()> {
        let mut data = String::new();
        let mut left = topics.iter();
        pump.run(|_, server, request| {
            let Some(topic) = left.next() else { return false };
            let key = text(&mut data);
            let key = words.greets().then(|| format!("{topic}-{key}"));
            words.publish(server, topic, &data, key.as_deref(), request);
            true
        })?;
        Ok(())
    };
    streams.warm_up(|| {
        tell(&mut |data| {
            WARM_UP.clone_into(data);
            format!("warm-up-{}", micros(session.shared.start.elapsed()))
        })
    })?;
    let warm = process::pss(&common.pids)?;
    let shared = &session.shared;
    shared.phase("soaking");
    let began = shared.start.elapsed();
    let rounds = (duration.as_secs_f64() * rate).ceil().max(1.0) as u32;
    for number in 0..rounds {
        let due = began + Duration::from_secs_f64(f64::from(number) / rate);
        wait::pause(due.saturating_sub(shared.start.elapsed()));
        let sent = micros(shared.start.elapsed());
        tell(&mut |data| {
            Payload { source: 0, number, sent }.write(common.size, data);
            shared.add(Count::Sent, 1);
            number.to_string()
        })?;
    }
    wait::pause((began + duration).saturating_sub(shared.start.elapsed()));
    let expected = u64::from(rounds) * connections as u64;
    shared.phase("waiting for the last");
    streams.received(expected, PATIENCE);
    let after = process::pss(&common.pids)?;
    let ended = shared.get(Count::Ended);
    streams.finish()?;

    let counted = [
        ("disconnects", ended),
        ("timeouts", shared.get(Count::Silent)),
        ("reconnects", shared.get(Count::Reconnected)),
        ("failed_attempts", shared.get(Count::Failed)),
        ("resets", shared.get(Count::Resets)),
        ("publishes_retried", shared.get(Count::Retried)),
    ];
    session.figure("connections", connections);
    session.figure("messages", rounds);
    for (name, count) in counted {
        session.figure(name, count);
    }
    session.limit("disconnects", options.max_disconnects.map(|limit| limit as f64), Some(ended as f64));
    let mut growth = None;
    if !common.pids.is_empty() {
        let mb = |kb: u64| kb as f64 / 1024.0;
        growth = Some(round(mb(after) - mb(warm)));
        session.figure("memory_before_mb", round(mb(before)));
        session.figure("memory_connected_mb", round(mb(warm)));
        session.figure("memory_after_mb", round(mb(after)));
        session.figure("memory_growth_mb", growth);
        session.figure(
            "kb_per_connection",
            round((after.saturating_sub(before)) as f64 / connections.max(1) as f64),
        );
    }
    session.limit("memory growth MB", options.max_growth_mb, growth);
    session.finish(expected)
}
