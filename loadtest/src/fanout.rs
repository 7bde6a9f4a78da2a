use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use serde_json::json;

use crate::client::{Publisher, Stream};
use crate::report::{finish, round};
use crate::{Target, process};

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// Streams, spread over the nodes.
    #[arg(long, default_value_t = 1_000)]
    connections: usize,
    /// Events a second.
    #[arg(long, default_value_t = 50)]
    rate: u32,
    /// How long events are sent.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Bytes of data in an event.
    #[arg(long, default_value_t = 128)]
    size: usize,
}

/// What one stream saw.
struct Seen {
    latency: Histogram<u64>,
    received: u64,
    doubled: u64,
    reordered: u64,
}

pub(crate) async fn run(options: &Options) -> Result<()> {
    let addresses = options.target.addresses()?;
    let start = Instant::now();
    let topic = format!("fanout:{}", std::process::id());
    let path = format!("/v1/events?topic={topic}");
    let total = u64::from(options.rate) * options.seconds;
    ensure!(total > 0, "--rate and --seconds must be at least 1");
    let arrived = Arc::new(AtomicU64::new(0));
    let mut readers = Vec::new();
    for number in 0..options.connections {
        let stream = Stream::open(addresses[number % addresses.len()], &path).await?;
        readers.push(tokio::spawn(read(stream, start, total, Arc::clone(&arrived))));
    }
    let cpu = process::cpu(&options.target.pids)?;
    publish(options, addresses[0], &topic, start, total).await?;
    let sent = Instant::now();
    let expected = total * options.connections as u64;
    while arrived.load(Ordering::Relaxed) < expected && sent.elapsed() < Duration::from_secs(10) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let cpu = process::cpu(&options.target.pids)? - cpu;
    let mut all = latencies();
    let (mut received, mut doubled, mut reordered) = (0, 0, 0);
    for reader in readers {
        if let Ok(Ok(seen)) = tokio::time::timeout(Duration::from_secs(1), reader).await {
            all.add(&seen.latency)?;
            received += seen.received;
            doubled += seen.doubled;
            reordered += seen.reordered;
        }
    }
    let millis = |quantile: f64| round(all.value_at_quantile(quantile) as f64 / 1e3);
    let lost = expected.saturating_sub(received - doubled);
    finish(
        &options.target,
        "fanout",
        &json!({
            "connections": options.connections, "sent": total, "expected": expected, "received": received,
            "lost": lost, "doubled": doubled, "reordered": reordered,
            "p50_ms": millis(0.5), "p95_ms": millis(0.95), "p99_ms": millis(0.99), "max_ms": millis(1.0),
            "server_cpu_us_per_delivery": round(cpu * 1e6 / received.max(1) as f64),
        }),
    )?;
    ensure!(lost == 0 && doubled == 0 && reordered == 0, "events were lost, doubled or reordered");
    Ok(())
}

async fn publish(
    options: &Options,
    address: std::net::SocketAddr,
    topic: &str,
    start: Instant,
    total: u64,
) -> Result<()> {
    let mut publisher = Publisher::connect(address).await?;
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / options.rate);
    for number in 0..total {
        ticks.tick().await;
        let now = start.elapsed().as_micros();
        let padding = "x".repeat(options.size.saturating_sub(32));
        let body = json!({ "topic": topic, "data": format!("{number} {now} {padding}") });
        publisher.publish("application/json", body.to_string().as_bytes()).await?;
    }
    Ok(())
}

#[allow(clippy::expect_used, reason = "three digits are always a valid precision")]
fn latencies() -> Histogram<u64> {
    Histogram::new(3).expect("a valid precision")
}

/// Reads until all have come, or the tester ends it: then what has come is lost with the task, and counted as lost.
async fn read(mut stream: Stream, start: Instant, total: u64, arrived: Arc<AtomicU64>) -> Seen {
    let mut seen = Seen { latency: latencies(), received: 0, doubled: 0, reordered: 0 };
    let mut came = vec![false; usize::try_from(total).unwrap_or(0)];
    let mut highest = 0;
    while seen.received < total {
        let read = stream.read(|data| {
            let mut words =
                data.split(|byte| *byte == b' ').map(|word| std::str::from_utf8(word).unwrap_or_default());
            let (Some(number), Some(then)) = (
                words.next().and_then(|w| w.parse::<u64>().ok()),
                words.next().and_then(|w| w.parse::<u64>().ok()),
            ) else {
                return;
            };
            let now = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
            let _ = seen.latency.record(now.saturating_sub(then).max(1));
            seen.received += 1;
            match usize::try_from(number).ok().and_then(|number| came.get_mut(number)) {
                Some(came) if !*came => *came = true,
                _ => seen.doubled += 1,
            }
            if number < highest {
                seen.reordered += 1;
            }
            highest = highest.max(number);
            arrived.fetch_add(1, Ordering::Relaxed);
        });
        if read.await.is_err() {
            break;
        }
    }
    seen
}
