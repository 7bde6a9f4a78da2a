use std::process::ExitCode;

use anyhow::Result;

use crate::options::Common;
use crate::report::{Latency, round};
use crate::session::Session;
use crate::streams::{Place, Streams};
use crate::{process, wait};

/// 8,000 clients, 64 at once (--parallel), held for --seconds (0). The percentiles are those of opening.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Topics that they are spread over.
    #[arg(long, default_value_t = 100)]
    topics: usize,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let common = &options.common;
    let connections = common.connections.unwrap_or(8_000);
    let mut session = Session::begin(common, "connect", connections)?;
    let prefix = session.topic();
    let places = (0..connections).map(|number| Place {
        server: number,
        topic: format!("{prefix}-{}", number % options.topics.max(1)),
        sources: 0..0,
    });
    let manner = common.manner(common.via()?)?;
    let cpu = process::cpu(&common.pids)?;
    session.shared.phase("connecting");
    let mut streams = Streams::start(&session.shared, &manner, common.processes)?;
    let seconds = streams.open(places)?.as_secs_f64();
    let cpu = process::cpu(&common.pids)? - cpu;
    streams.all_open()?;
    session.shared.phase("held");
    wait::pause(common.duration(0));
    streams.finish()?;
    let count = connections as f64;
    session.latency(Latency::of(&session.shared.measured().opening));
    session.figure("connections", connections);
    session.figure("parallel", common.parallel());
    session.figure("opened_per_second", round(count / seconds));
    if !common.pids.is_empty() {
        session.figure("server_cpu_us_per_stream", round(cpu * 1e6 / count));
    }
    session.finish(0)
}
