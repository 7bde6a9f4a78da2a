use anyhow::Result;

use crate::delivery::{self, Load};
use crate::streams::{Place, Reading};
use crate::target::Target;

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// Users, each with a topic and a stream of their own, spread over the nodes.
    #[arg(long, default_value_t = 10_000)]
    users: u32,
    /// Events, all together.
    #[arg(long, default_value_t = 50_000)]
    events: u32,
    /// Keep-alive connections that publish.
    #[arg(long, default_value_t = 32)]
    publishers: u32,
    /// Events a second, all together; 0: as fast as they are answered.
    #[arg(long, default_value_t = 0)]
    rate: u32,
    /// Bytes of data in an event.
    #[arg(long, default_value_t = 128)]
    size: usize,
    #[command(flatten)]
    reading: Reading,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let addresses = options.target.addresses()?;
    let topics: Vec<String> =
        (0..options.users).map(|user| format!("user-{}-{user}", std::process::id())).collect();
    let places = (0..options.users).map(|user| Place {
        address: addresses[user as usize % addresses.len()],
        topic: topics[user as usize].clone(),
        sources: user..user + 1,
    });
    let places = places.collect();
    let load = Load {
        sources: options.users,
        topics,
        rounds: options.events.div_ceil(options.users.max(1)),
        publishers: options.publishers,
        rate: options.rate,
        size: options.size,
    };
    delivery::run(&options.target, "users", &load, places, options.reading)
}
