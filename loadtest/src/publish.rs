use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;

use crate::process;
use crate::pump::Pump;
use crate::result::round;
use crate::target::Target;

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// Keep-alive connections that publish, each to a topic of its own.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Events in a request: 1 is an event a request, more are NDJSON.
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// How long.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Bytes of data in an event.
    #[arg(long, default_value_t = 128)]
    size: usize,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let profile = options.target.profile;
    let addresses = options.target.publish_addresses()?;
    let batch = options.batch.max(1);
    let data = "x".repeat(options.size);
    let request = |number: usize| {
        let (address, topic) = (addresses[number % addresses.len()], format!("publish-{number}"));
        if batch > 1 {
            return profile.publish_many(address, &topic, &data, batch);
        }
        let mut request = Vec::new();
        profile.publish(address, &topic, &data, &mut request);
        Some(request)
    };
    let requests = (0..options.connections).map(request).collect::<Option<Vec<_>>>();
    let requests = requests.with_context(|| format!("{profile:?} takes one event a request: no --batch"))?;
    let mut pump = Pump::connect(&addresses, options.connections, &options.target.tls(b"http/1.1")?)?;
    let cpu = process::cpu(&options.target.pids)?;
    let began = Instant::now();
    let until = began + Duration::from_secs(options.seconds);
    let answered = pump.run(|publisher, _, request| {
        let more = Instant::now() < until;
        if more {
            request.extend_from_slice(&requests[publisher]);
        }
        more
    })?;
    let seconds = began.elapsed().as_secs_f64();
    let cpu = process::cpu(&options.target.pids)? - cpu;
    let events = answered * batch as u64;
    options.target.finish(
        "publish",
        &json!({
            "connections": options.connections,
            "events_per_request": batch,
            "events": events,
            "published_per_second": round(events as f64 / seconds),
            "server_cpu_us_per_event": round(cpu * 1e6 / events.max(1) as f64),
        }),
    )
}
