use std::process::ExitCode;

use anyhow::Result;

use crate::delivery::{self, Load};
use crate::options::Common;
use crate::session::Session;
use crate::streams::Place;

/// One topic, 1,000 clients, 3,000 events as fast as they are answered, or at --rate. It ends with the last of them.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Events, all together; with --seconds and --rate, so many as go into that time.
    #[arg(long, default_value_t = 3_000)]
    events: u32,
    /// Keep-alive connections that publish, each its share of the events.
    #[arg(long, default_value_t = 32)]
    publishers: u32,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let common = &options.common;
    let connections = common.connections.unwrap_or(1_000);
    let session = Session::begin(common, "flood", connections)?;
    let topic = session.topic();
    let sources = 0..options.publishers;
    let places = (0..connections)
        .map(|number| Place { server: number, topic: topic.clone(), sources: sources.clone() })
        .collect();
    let load = Load {
        sources: options.publishers,
        topics: vec![topic],
        base: 0,
        rounds: 0..common.events(options.events).div_ceil(options.publishers.max(1)),
        publishers: options.publishers,
        rate: common.rate.unwrap_or(0.0),
        size: common.size,
    };
    delivery::run(session, &load, places)
}
