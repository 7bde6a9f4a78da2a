//! Tidegate: a one-way gate for events. Whatever is POSTed to any node reaches every stream of every node, in order, once.

mod apps;
mod cli;
mod client;
mod config;
mod gateway;
mod lifecycle;
mod listeners;
mod open_files;
mod serve;
mod telemetry;
mod tls;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use clap::Parser as _;
use futures_util::FutureExt as _;
use tidegate_tasks::Tasks;

use crate::cli::output::{Unwritten, say};
use crate::telemetry::Telemetry;

/// Many short-lived small allocations from several threads: mimalloc gives them back, and needs less than the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before anything that could make a TLS configuration. It fails only if there is a provider already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = cli::Cli::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    let code = runtime.block_on(run(cli)).unwrap_or_else(|error| failed(&error));
    // A resolver that waits for a server, or a command for its input, would hold the end.
    runtime.shutdown_background();
    code
}

fn failed(error: &anyhow::Error) -> ExitCode {
    if error.downcast_ref::<Unwritten>().is_some_and(Unwritten::is_end) {
        return ExitCode::SUCCESS;
    }
    say(format_args!("tidegate: {error:#}"));
    ExitCode::FAILURE
}

async fn run(cli: cli::Cli) -> anyhow::Result<ExitCode> {
    match cli.command() {
        cli::Command::Serve(args) => serve(&args).await,
        cli::Command::Config(args) => cli::config::run(&args),
        cli::Command::Token(args) => cli::token::run(&args),
        cli::Command::Publish(args) => cli::publish::run(&args).await,
        cli::Command::Subscribe(args) => cli::subscribe::run(args).await,
        cli::Command::Health(args) => cli::health::run(&args).await,
        cli::Command::Doctor(args) => cli::doctor::run(args).await,
    }
}

/// From here on all that is said goes through the log, the last word, too.
async fn serve(args: &cli::Serve) -> anyhow::Result<ExitCode> {
    let loaded = config::load(&args.sources())?;
    let tasks = Tasks::default();
    let telemetry = Telemetry::start(&loaded.config.log, &tasks)?;
    if let Some(warning) = loaded.warning() {
        tracing::warn!("{warning}");
    }
    #[cfg(debug_assertions)]
    let victim = args.kill_task.as_deref();
    #[cfg(not(debug_assertions))]
    let victim = None;
    // A panic of this task ends the process as well, and its line is not to be lost.
    let served = AssertUnwindSafe(serve::run(loaded.config, &telemetry, &tasks, victim)).catch_unwind();
    let panicked = |_| Err(anyhow::anyhow!("the main task panicked"));
    Ok(match served.await.unwrap_or_else(panicked) {
        Ok(()) => {
            telemetry.finish();
            ExitCode::SUCCESS
        }
        Err(error) => {
            telemetry.last_word(&error);
            ExitCode::FAILURE
        }
    })
}
