use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use crate::client::Stream;
use crate::report::{finish, round};
use crate::{Target, process};

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// Streams to open.
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// How long they are left alone before memory is read.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

pub(crate) async fn run(options: &Options) -> Result<()> {
    let addresses = options.target.addresses()?;
    ensure!(!options.target.pids.is_empty(), "--pid is needed: it is the server's memory that is measured");
    let before = process::pss(&options.target.pids)?;
    let began = Instant::now();
    let mut streams = Vec::with_capacity(options.connections);
    while streams.len() < options.connections {
        // Fifty at a time: quick, and within every listen backlog.
        let count = 50.min(options.connections - streams.len());
        let opening = (0..count).map(|n| {
            let number = streams.len() + n;
            let (address, path) =
                (addresses[number % addresses.len()], format!("/v1/events?topic=idle:{}", number % 100));
            tokio::spawn(async move { Stream::open(address, &path).await })
        });
        for stream in opening.collect::<Vec<_>>() {
            streams.push(stream.await??);
        }
    }
    let opened = began.elapsed();
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    let after = process::pss(&options.target.pids)?;
    let grown = after.saturating_sub(before) as f64;
    finish(
        &options.target,
        "idle",
        &json!({
            "connections": streams.len(),
            "opened_per_second": round(streams.len() as f64 / opened.as_secs_f64()),
            "pss_before_kb": before,
            "pss_after_kb": after,
            "kb_per_connection": round(grown / streams.len() as f64),
        }),
    )
}
