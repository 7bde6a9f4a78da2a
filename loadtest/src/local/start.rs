//! One of the compared systems for a script that measures it: scripts/bench.sh.

use std::path::PathBuf;

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};
use tidegate_children::Home;

use super::peers::{self, Setup};
use crate::failure::Usage;

/// Starts a system, prints the flags that tell a scenario about it, and ends it when it is told to
/// end itself (SIGTERM).
#[derive(clap::Args)]
pub(crate) struct Options {
    /// tidegate, nchan, pushpin or loop; redis: an empty one, for two nodes.
    system: String,
    /// The Redis of tidegate or nchan.
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    /// A setting of tidegate: TLS__DEV=true; several times for several.
    #[arg(long, value_name = "NAME=VALUE")]
    setting: Vec<String>,
    /// The gateway; none: the one beside this program.
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    // Before anything is started: an end that comes early is not lost. Children don't inherit it.
    let end = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
    end.thread_block()?;
    crate::process::raise_open_files()?;
    let home = Home::new("loadtest")?;
    if options.system == "redis" {
        let redis = super::redis(&home, &[])?;
        println!("--redis {}", super::redis_url(&redis));
        end.wait()?;
        return Ok(());
    }
    let setting = |text: &String| {
        let (name, value) = text.split_once('=').context(Usage::new("--setting NAME=VALUE"))?;
        Ok((name.to_owned(), value.to_owned()))
    };
    let setup = Setup {
        binary: options.binary.as_deref(),
        redis: options.redis.as_deref(),
        settings: options.setting.iter().map(setting).collect::<Result<_>>()?,
    };
    let peer = peers::start(&home, &options.system, &setup)?;
    println!("--profile {} {}", options.system, peer.flags().join(" "));
    end.wait()?;
    Ok(())
}
