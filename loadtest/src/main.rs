//! The load tester: measures Tidegate, and what it is compared with, over HTTP, like any stranger.

mod baseline;
mod connect;
mod delivery;
mod fanout;
mod flood;
mod frames;
mod hold;
mod idle;
mod line;
mod payload;
mod process;
mod profile;
mod publish;
mod pump;
mod reader;
mod result;
mod rows;
mod streams;
mod table;
mod tally;
mod target;
mod users;
mod wait;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "loadtest",
    about = "Measures a running server over HTTP: Tidegate, or what it is compared with"
)]
struct Cli {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    /// Open streams and leave them alone: what does one cost the server?
    Idle(idle::Options),
    /// Open streams as fast as it takes them.
    Connect(connect::Options),
    /// One topic, many streams, one event at a time at a steady rate: latency, CPU, and every event accounted for.
    Fanout(fanout::Options),
    /// One topic, many streams, events as fast as the publishers get rid of them.
    Flood(flood::Options),
    /// Many users with a topic and a stream each, events spread over them.
    Users(users::Options),
    /// Publish as fast as connections allow, to nobody.
    Publish(publish::Options),
    /// Be the floor of a fan-out: a server that does nothing but one write(2) a delivery (--profile loop).
    Baseline(baseline::Options),
    /// Lay results side by side: medians, ratios, and what was to be reached.
    Table(table::Options),
}

fn main() -> Result<()> {
    match Cli::parse().scenario {
        Scenario::Idle(options) => idle::run(&options),
        Scenario::Connect(options) => connect::run(&options),
        Scenario::Fanout(options) => fanout::run(&options),
        Scenario::Flood(options) => flood::run(&options),
        Scenario::Users(options) => users::run(&options),
        Scenario::Publish(options) => publish::run(&options),
        Scenario::Baseline(options) => baseline::run(&options),
        Scenario::Table(options) => table::run(&options),
    }
}
