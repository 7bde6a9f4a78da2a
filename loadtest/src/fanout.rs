use std::process::ExitCode;

use anyhow::Result;

use crate::delivery::{self, Load};
use crate::options::Common;
use crate::session::Session;
use crate::streams::Place;

/// One topic, 1,000 clients, 50 events a second for 10 seconds.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let common = &options.common;
    let connections = common.connections.unwrap_or(1_000);
    let rate = common.rate.unwrap_or(50.0);
    let session = Session::begin(common, "fanout", connections)?;
    let topic = session.topic();
    let places = (0..connections)
        .map(|number| Place { server: number, topic: topic.clone(), sources: 0..1 })
        .collect();
    let load = Load {
        sources: 1,
        topics: vec![topic],
        base: 0,
        rounds: 0..(rate * common.duration(10).as_secs_f64()).round() as u32,
        publishers: 1,
        rate,
        size: common.size,
    };
    delivery::run(session, &load, places)
}
