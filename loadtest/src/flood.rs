use anyhow::Result;

use crate::delivery::{self, Load};
use crate::streams::{Place, Reading};
use crate::target::Target;

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// Streams, spread over the nodes.
    #[arg(long, default_value_t = 1_000)]
    connections: usize,
    /// Events, all together.
    #[arg(long, default_value_t = 3_000)]
    events: u32,
    /// Keep-alive connections that publish, each its share of the events.
    #[arg(long, default_value_t = 32)]
    publishers: u32,
    /// Bytes of data in an event.
    #[arg(long, default_value_t = 128)]
    size: usize,
    #[command(flatten)]
    reading: Reading,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let addresses = options.target.addresses()?;
    let topic = format!("flood-{}", std::process::id());
    let places = (0..options.connections).map(|number| Place {
        address: addresses[number % addresses.len()],
        topic: topic.clone(),
        sources: 0..options.publishers,
    });
    let load = Load {
        sources: options.publishers,
        topics: vec![topic.clone()],
        rounds: options.events.div_ceil(options.publishers.max(1)),
        publishers: options.publishers,
        rate: 0,
        size: options.size,
    };
    delivery::run(&options.target, "flood", &load, places.collect(), options.reading)
}
