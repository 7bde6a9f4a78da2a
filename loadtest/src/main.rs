//! The load tester: measures any gateway over plain HTTP, like any stranger.

mod client;
mod fanout;
mod idle;
mod process;
mod publish;
mod report;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

#[derive(Parser)]
#[command(name = "loadtest", about = "Measures a running gateway over plain HTTP")]
struct Cli {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    /// Open streams and leave them alone: what does one cost the server?
    Idle(idle::Options),
    /// One topic, many streams, events at a steady rate: latency, CPU, and every event accounted for.
    Fanout(fanout::Options),
    /// Publish as fast as connections allow.
    Publish(publish::Options),
}

/// What every scenario takes.
#[derive(Args, Clone)]
struct Target {
    /// A gateway, http://HOST:PORT; several times for several nodes, used in turn.
    #[arg(long = "url", required = true)]
    urls: Vec<String>,
    /// A process of the server, whose CPU time and memory (PSS) are measured; several times for several.
    #[arg(long = "pid")]
    pids: Vec<u32>,
    /// Also write the result as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

impl Target {
    fn addresses(&self) -> Result<Vec<SocketAddr>> {
        let address = |url: &String| {
            let host = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
            host.parse()
                .with_context(|| format!("--url {url}: give http://ADDRESS:PORT with a numeric address"))
        };
        self.urls.iter().map(address).collect()
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    match Cli::parse().scenario {
        Scenario::Idle(options) => idle::run(&options).await,
        Scenario::Fanout(options) => fanout::run(&options).await,
        Scenario::Publish(options) => publish::run(&options).await,
    }
}
