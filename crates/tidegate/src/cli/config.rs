//! `tidegate config`

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Serve;
use super::output::{print, say};
use crate::config::{Loaded, SAMPLE, load};

#[derive(Args, Debug)]
pub(crate) struct Config {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print a file with every setting, its default and its meaning
    Default,
    /// Say everything that is wrong with the configuration; exit code 1 if there is anything
    Check(Serve),
    /// Print what is in force and where it came from, without secrets
    Print(Serve),
}

pub(crate) fn run(args: &Config) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::Default => print(SAMPLE.trim_end())?,
        Action::Check(serve) => {
            loaded(serve)?;
            print("the configuration can be used")?;
        }
        Action::Print(serve) => print(loaded(serve)?.print().trim_end())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn loaded(serve: &Serve) -> anyhow::Result<Loaded> {
    let loaded = load(&serve.sources())?;
    if let Some(warning) = loaded.warning() {
        say(format_args!("tidegate: {warning}"));
    }
    Ok(loaded)
}
