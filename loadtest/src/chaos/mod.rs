//! The chaos: a whole cluster out of child processes, under load, and everything that can go wrong goes wrong. At the end
//! every client must have had every event, once and in order.

mod cast;
mod client;
mod cluster;
mod faults;
mod garbage;
mod ledger;
mod outcome;
mod play;
mod publisher;
mod rolling;
mod schedule;
mod verdict;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use clap::ValueEnum;

use self::cast::Cast;
use self::cluster::Cluster;
use self::outcome::Run;
use self::play::Play;
use self::schedule::Fault;
use self::verdict::Evidence;
use crate::failure::Usage;
use crate::local;
use crate::process::{self, Machine};
use crate::shared::Shared;
use crate::watch::Watch;

/// Three nodes, Redis and nginx as child processes, 60 clients, 40 events a second, and one fault after the other.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Gateways.
    #[arg(long, value_name = "N", default_value_t = 3)]
    nodes: usize,
    /// How long events are published, in seconds.
    #[arg(long, value_name = "S", default_value_t = 60)]
    seconds: u64,
    /// Clients: SSE, WebSocket and long polls, through nginx and past it.
    #[arg(long, value_name = "N", default_value_t = 60)]
    clients: usize,
    /// Topics; each client has three of them.
    #[arg(long, value_name = "N", default_value_t = 6)]
    topics: usize,
    /// Events a second, all together.
    #[arg(long, value_name = "R", default_value_t = 40.0)]
    rate: f64,
    /// Bytes of data in an event.
    #[arg(long, value_name = "BYTES", default_value_t = 128)]
    size: usize,
    /// The same seed makes the same schedule; none: another one each time.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// What may happen, separated by commas; all of it if nothing is said.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "FAULT,…")]
    faults: Vec<Fault>,
    /// Milliseconds over which a node that is told to end closes its streams.
    #[arg(long, value_name = "MS", default_value_t = 1_500)]
    window: u64,
    /// The gateway; none: the one beside this program.
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Leave the directory with all logs behind. It is also left when something was wrong.
    #[arg(long)]
    keep: bool,
    /// Write the result as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the result as a page with plots, one file that needs nothing else.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let counts = [options.nodes, options.clients, options.topics, options.seconds as usize];
    let whole = counts.iter().all(|count| *count > 0) && options.rate > 0.0;
    ensure!(whole, Usage::new("--nodes, --clients, --topics, --seconds and --rate must be more than 0"));
    let seed = options.seed.unwrap_or_else(some_seed);
    let faults = if options.faults.is_empty() { Fault::value_variants() } else { &options.faults };
    let window = Duration::from_millis(options.window);
    let steps = schedule::plan(seed, faults, options.nodes, window, Duration::from_secs(options.seconds));
    println!("seed {seed}; the same schedule again with --seed {seed}:");
    steps.iter().for_each(|step| println!("  {step}"));

    let machine = Machine::now();
    process::raise_open_files()?;
    let cluster = Cluster::start(
        &local::gateway(options.binary.as_deref())?,
        options.nodes,
        Duration::from_millis(options.window),
    )?;
    let cast = Cast::of(&cluster, options.clients, options.topics, seed)?;
    let shared = Shared::new(Instant::now());
    let began = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let watch = Watch::start("chaos", Arc::clone(&shared), Vec::new());
    let play = Play::new(options, &cluster, &cast, &shared, seed);
    let played = play.run(&steps, faults.contains(&Fault::Garbage));
    let timeline = watch.finish();
    if played.is_err() {
        cluster.keep();
    }
    let (happened, garbage) = played?;

    let mut complaints = cluster.complaints();
    complaints.extend(cluster.farewell().err().map(|error| format!("{error:#}")));
    let (sent, seen) = play.finish();
    let evidence = Evidence { sent: &sent, clients: &cast.clients, seen: &seen, happened: &happened };
    let run = Run { seed, began, machine, shared: &shared, timeline, garbage, complaints };
    let report = run.report(&evidence);
    report.print();
    report.write(options.json.as_deref(), options.html.as_deref())?;
    let held = report.held();
    if options.keep || !held {
        cluster.keep();
    }
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn some_seed() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64 % 1_000_000)
}
