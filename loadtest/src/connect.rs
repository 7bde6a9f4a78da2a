use std::time::Instant;

use anyhow::Result;
use serde_json::json;

use crate::process;
use crate::result::round;
use crate::streams::{Place, Reading, Streams};
use crate::target::Target;

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// Streams to open.
    #[arg(long, default_value_t = 8_000)]
    connections: usize,
    /// Topics that they are spread over.
    #[arg(long, default_value_t = 100)]
    topics: usize,
    #[command(flatten)]
    reading: Reading,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let addresses = options.target.addresses()?;
    let places = (0..options.connections).map(|number| Place {
        address: addresses[number % addresses.len()],
        topic: format!("connect-{}", number % options.topics.max(1)),
        sources: 0..0,
    });
    let cpu = process::cpu(&options.target.pids)?;
    let streams = Streams::open(&options.target, Instant::now(), places, options.reading)?;
    let cpu = process::cpu(&options.target.pids)? - cpu;
    let seconds = streams.opened_in.as_secs_f64();
    streams.finish()?;
    let count = options.connections as f64;
    options.target.finish(
        "connect",
        &json!({
            "connections": options.connections,
            "parallel": options.reading.parallel,
            "opened_per_second": round(count / seconds),
            "server_cpu_us_per_stream": round(cpu * 1e6 / count),
        }),
    )
}
