use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use crate::result::round;
use crate::streams::{Place, Reading, Streams};
use crate::target::Target;
use crate::{process, wait};

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// Streams to open.
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// Topics that they are spread over.
    #[arg(long, default_value_t = 100)]
    topics: usize,
    /// How long they are left alone before memory is read.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    #[command(flatten)]
    reading: Reading,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let addresses = options.target.addresses()?;
    ensure!(!options.target.pids.is_empty(), "--pid is needed: it is the server's memory that is measured");
    let before = process::pss(&options.target.pids)?;
    let places = (0..options.connections).map(|number| Place {
        address: addresses[number % addresses.len()],
        topic: format!("idle-{}", number % options.topics.max(1)),
        sources: 0..0,
    });
    let streams = Streams::open(options.target.profile, Instant::now(), places, options.reading)?;
    wait::pause(Duration::from_secs(options.seconds));
    let after = process::pss(&options.target.pids)?;
    let closed = streams.finish()?.closed;
    ensure!(closed == 0, "{closed} idle streams were closed");
    let grown = after.saturating_sub(before) as f64;
    options.target.finish(
        "idle",
        &json!({
            "connections": options.connections,
            "pss_before_kb": before,
            "pss_after_kb": after,
            "kb_per_connection": round(grown / options.connections as f64),
        }),
    )
}
