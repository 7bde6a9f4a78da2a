use std::process::ExitCode;

use anyhow::Result;

use crate::delivery::{self, Load};
use crate::options::Common;
use crate::session::Session;
use crate::streams::Place;

/// 10,000 users (--connections) with a topic and a stream each, 50,000 events as fast as they are answered, or at --rate.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Events, all together; with --seconds and --rate, so many as go into that time.
    #[arg(long, default_value_t = 50_000)]
    events: u32,
    /// Keep-alive connections that publish.
    #[arg(long, default_value_t = 32)]
    publishers: u32,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let common = &options.common;
    let users = common.connections.unwrap_or(10_000);
    let session = Session::begin(common, "users", users)?;
    let prefix = session.topic();
    let topics: Vec<String> = (0..users).map(|user| format!("{prefix}-{user}")).collect();
    let places = (0u32..).zip(&topics).map(|(user, topic)| Place {
        server: user as usize,
        topic: topic.clone(),
        sources: user..user + 1,
    });
    let places = places.collect();
    let load = Load {
        sources: users as u32,
        topics,
        base: 0,
        rounds: 0..common.events(options.events).div_ceil(users.max(1) as u32),
        publishers: options.publishers,
        rate: common.rate.unwrap_or(0.0),
        size: common.size,
    };
    delivery::run(session, &load, places)
}
