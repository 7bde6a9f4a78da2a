//! The load tester: measures Tidegate, and what it is compared with, over HTTP, like any stranger.

mod baseline;
mod burst;
mod chaos;
mod compare;
mod connect;
mod delivery;
mod failure;
mod fanout;
mod flood;
mod frames;
mod hold;
mod idle;
mod line;
mod local;
mod options;
mod payload;
mod process;
mod profile;
mod proxy;
mod publish;
mod pump;
mod ramp;
mod reconnect;
mod redis;
mod report;
mod rows;
mod server;
mod session;
mod shared;
mod soak;
mod streams;
mod table;
mod tally;
mod template;
mod users;
mod wait;
mod watch;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "loadtest",
    about = "Measures a running server over HTTP: Tidegate, or what it is compared with",
    after_help = "Exit status: 0, 1 if a limit was missed or nothing could be measured, 2 if it was asked for what can't be."
)]
struct Cli {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    /// A few messages right after each other to clients far away, over SSE, WebSocket and long polling.
    Burst(burst::Options),
    /// More and more clients, step by step, until too much fails.
    Ramp(ramp::Options),
    /// Few events over a long time: disconnects, reconnects, memory.
    Soak(soak::Options),
    /// Everybody comes back at once, with a cursor and something to catch up.
    Reconnect(reconnect::Options),
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
    /// A cluster of its own under load, and everything that can go wrong goes wrong: every event accounted for.
    Chaos(chaos::Options),
    /// The same scenario against Tidegate, Nchan and Pushpin, one after the other, side by side.
    Compare(compare::Options),
    /// Be the floor of a fan-out: a server that does nothing but one write(2) a delivery (--profile loop).
    Baseline(baseline::Options),
    /// Lay results side by side: medians, ratios, and what was to be reached.
    Table(table::Options),
    /// Be a system that a script measures.
    #[command(hide = true)]
    Start(local::start::Options),
    /// Be another process of a scenario with --processes.
    #[command(hide = true)]
    Share,
}

fn main() -> ExitCode {
    match run(Cli::parse().scenario) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            if error.is::<failure::Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

fn run(scenario: Scenario) -> Result<ExitCode> {
    let done = |()| ExitCode::SUCCESS;
    match scenario {
        Scenario::Burst(options) => burst::run(&options),
        Scenario::Ramp(options) => ramp::run(&options),
        Scenario::Soak(options) => soak::run(&options),
        Scenario::Reconnect(options) => reconnect::run(&options),
        Scenario::Idle(options) => idle::run(&options),
        Scenario::Connect(options) => connect::run(&options),
        Scenario::Fanout(options) => fanout::run(&options),
        Scenario::Flood(options) => flood::run(&options),
        Scenario::Users(options) => users::run(&options),
        Scenario::Publish(options) => publish::run(&options),
        Scenario::Chaos(options) => chaos::run(&options),
        Scenario::Compare(options) => compare::run(&options),
        Scenario::Baseline(options) => baseline::run(&options).map(done),
        Scenario::Table(options) => table::run(&options).map(done),
        Scenario::Start(options) => local::start::run(&options).map(done),
        Scenario::Share => streams::remote::run().map(done),
    }
}
