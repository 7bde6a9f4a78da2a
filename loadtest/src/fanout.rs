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
    /// Events a second.
    #[arg(long, default_value_t = 50)]
    rate: u32,
    /// How long events are sent.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Bytes of data in an event.
    #[arg(long, default_value_t = 128)]
    size: usize,
    #[command(flatten)]
    reading: Reading,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let addresses = options.target.addresses()?;
    let topic = format!("fanout-{}", std::process::id());
    let places = (0..options.connections).map(|number| Place {
        address: addresses[number % addresses.len()],
        topic: topic.clone(),
        sources: 0..1,
    });
    let load = Load {
        sources: 1,
        topics: vec![topic.clone()],
        rounds: options.rate * options.seconds,
        publishers: 1,
        rate: options.rate,
        size: options.size,
    };
    delivery::run(&options.target, "fanout", &load, places.collect(), options.reading)
}
