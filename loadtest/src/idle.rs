use std::process::ExitCode;

use anyhow::{Result, ensure};

use crate::failure::Usage;
use crate::hold::Plan;
use crate::options::{self, Common};
use crate::profile::Via;
use crate::report::round;
use crate::session::Session;
use crate::shared::Count;
use crate::streams::{Place, Streams};
use crate::{process, wait};

/// 10,000 clients that are left alone for 5 seconds. --via h2, poll and ws are for Tidegate alone, which must let polls
/// wait for ten minutes.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Topics that they are spread over.
    #[arg(long, default_value_t = 100)]
    topics: usize,
    /// Streams on each connection, with --via h2.
    #[arg(long, default_value_t = 1)]
    streams_per_connection: usize,
    /// What a connection may cost the server, in kB.
    #[arg(long, value_name = "KB", help_heading = "Limits")]
    max_kb_per_connection: Option<f64>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let common = &options.common;
    let connections = common.connections.unwrap_or(10_000);
    let pids = &common.pids;
    ensure!(
        !pids.is_empty(),
        Usage::new("idle needs --pid: it is the memory of the server's processes that is measured")
    );
    let (via, streams) = (common.via()?, options.streams_per_connection);
    ensure!(
        streams == 1 || via == Via::H2,
        Usage::new("only HTTP/2 has more than one stream on a connection")
    );
    let mut session = Session::begin(common, "idle", connections)?;
    let before = process::pss(pids)?;
    let settled = |session: &Session<'_>| {
        session.shared.phase("left alone");
        wait::pause(common.duration(5));
        process::pss(pids)
    };
    session.shared.phase("connecting");
    let (after, closed) = match via {
        Via::Sse => {
            let streams = open(&session, options, connections)?;
            let after = settled(&session)?;
            let closed = session.shared.get(Count::Ended);
            streams.finish()?;
            (after, closed as usize)
        }
        via => {
            ensure!(
                common.profile.is_tidegate() && common.processes == 1,
                Usage::new("--via is for Tidegate and one process")
            );
            let servers = common.servers()?;
            let alpn: &[u8] = if via == Via::H2 { b"h2" } else { b"http/1.1" };
            let tls = options::tls(&servers, alpn)?;
            let headers = common.words()?.headers;
            let plan = Plan { via, servers, tls, headers, topics: options.topics, streams };
            let sockets = plan.open(connections, common.parallel())?;
            session.shared.add(Count::Opened, connections as u64);
            (settled(&session)?, plan.ended(sockets)?)
        }
    };
    ensure!(closed == 0, "{closed} idle connections were closed");
    let grown = after.saturating_sub(before) as f64;
    let each = round(grown / connections.max(1) as f64);
    session.figure("connections", connections);
    session.figure("streams_per_connection", streams);
    session.figure("pss_before_kb", before);
    session.figure("pss_after_kb", after);
    session.figure("kb_per_connection", each);
    session.figure("kb_per_stream", round(grown / (connections * streams).max(1) as f64));
    session.limit("kB a connection", options.max_kb_per_connection, Some(each));
    session.finish(0)
}

fn open(session: &Session<'_>, options: &Options, connections: usize) -> Result<Streams> {
    let prefix = session.topic();
    let places = (0..connections).map(|number| Place {
        server: number,
        topic: format!("{prefix}-{}", number % options.topics.max(1)),
        sources: 0..0,
    });
    let manner = options.common.manner(Via::Sse)?;
    let mut streams = Streams::start(&session.shared, &manner, options.common.processes)?;
    streams.open(places)?;
    streams.all_open()?;
    Ok(streams)
}
