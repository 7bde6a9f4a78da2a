use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use crate::hold::{Plan, Via};
use crate::profile::Profile;
use crate::result::round;
use crate::streams::{Place, Reading, Streams};
use crate::target::Target;
use crate::{process, wait};

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// Connections to open.
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// Topics that they are spread over.
    #[arg(long, default_value_t = 100)]
    topics: usize,
    /// How long they are left alone before memory is read.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// What is opened on them, if not streams over HTTP/1.1. For Tidegate alone, which must let polls wait for ten minutes.
    #[arg(long, value_enum)]
    via: Option<Via>,
    /// Streams on each connection, with --via h2.
    #[arg(long, default_value_t = 1)]
    streams_per_connection: usize,
    #[command(flatten)]
    reading: Reading,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let pids = &options.target.pids;
    ensure!(!pids.is_empty(), "--pid is needed: it is the server's memory that is measured");
    let streams = options.streams_per_connection;
    ensure!(
        streams == 1 || options.via == Some(Via::H2),
        "only HTTP/2 has more than one stream on a connection"
    );
    let before = process::pss(pids)?;
    let settled = || {
        wait::pause(Duration::from_secs(options.seconds));
        process::pss(pids)
    };
    let (after, closed) = match options.via {
        None => {
            let streams = open(options)?;
            (settled()?, streams.finish()?.closed)
        }
        Some(via) => {
            ensure!(options.target.profile == Profile::Tidegate, "--via is for Tidegate");
            let plan = Plan {
                via,
                addresses: options.target.addresses()?,
                tls: options.target.tls(via.alpn())?,
                topics: options.topics,
                streams,
            };
            let sockets = plan.open(options.connections, options.reading.parallel)?;
            (settled()?, plan.ended(sockets)?)
        }
    };
    ensure!(closed == 0, "{closed} idle connections were closed");
    let grown = after.saturating_sub(before) as f64;
    options.target.finish(
        "idle",
        &json!({
            "connections": options.connections,
            "streams_per_connection": streams,
            "pss_before_kb": before,
            "pss_after_kb": after,
            "kb_per_connection": round(grown / options.connections as f64),
            "kb_per_stream": round(grown / (options.connections * streams) as f64),
        }),
    )
}

fn open(options: &Options) -> Result<Streams> {
    let addresses = options.target.addresses()?;
    let places = (0..options.connections).map(|number| Place {
        address: addresses[number % addresses.len()],
        topic: format!("idle-{}", number % options.topics.max(1)),
        sources: 0..0,
    });
    Streams::open(&options.target, Instant::now(), places, options.reading)
}
