use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use crate::client::Publisher;
use crate::report::{finish, round};
use crate::{Target, process};

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// Keep-alive connections that publish.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Events in a request: 1 sends JSON, more sends NDJSON.
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// How long.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Bytes of data in an event.
    #[arg(long, default_value_t = 128)]
    size: usize,
}

pub(crate) async fn run(options: &Options) -> Result<()> {
    let addresses = options.target.addresses()?;
    let count = Arc::new(AtomicU64::new(0));
    let until = Instant::now() + Duration::from_secs(options.seconds);
    let data = "x".repeat(options.size);
    let cpu = process::cpu(&options.target.pids)?;
    let began = Instant::now();
    let mut tasks = Vec::new();
    for number in 0..options.connections {
        let event = json!({ "topic": format!("publish:{number}"), "data": data }).to_string();
        let (kind, body) = match options.batch {
            0 | 1 => ("application/json", event),
            many => ("application/x-ndjson", format!("{event}\n").repeat(many)),
        };
        let mut publisher = Publisher::connect(addresses[number % addresses.len()]).await?;
        let (count, batch) = (Arc::clone(&count), options.batch.max(1) as u64);
        tasks.push(tokio::spawn(async move {
            while Instant::now() < until {
                publisher.publish(kind, body.as_bytes()).await?;
                count.fetch_add(batch, Ordering::Relaxed);
            }
            anyhow::Ok(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    let seconds = began.elapsed().as_secs_f64();
    let cpu = process::cpu(&options.target.pids)? - cpu;
    let events = count.load(Ordering::Relaxed);
    finish(
        &options.target,
        "publish",
        &json!({
            "connections": options.connections, "events_per_request": options.batch.max(1), "published": events,
            "per_second": round(events as f64 / seconds),
            "server_cpu_us_per_event": round(cpu * 1e6 / events.max(1) as f64),
        }),
    )
}
