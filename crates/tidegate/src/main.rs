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

use std::process::ExitCode;

use clap::Parser as _;

/// Many short-lived small allocations from several threads: mimalloc gives them back, and needs less than the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before anything that could make a TLS configuration. It fails only if there is a provider already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match run(cli::Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tidegate: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(cli: cli::Cli) -> anyhow::Result<ExitCode> {
    match cli.command() {
        cli::Command::Serve(args) => {
            let loaded = config::load(&args.sources())?;
            telemetry::init(&loaded.config.log);
            if let Some(warning) = loaded.warning() {
                tracing::warn!("{warning}");
            }
            serve::run(loaded.config).await?;
            Ok(ExitCode::SUCCESS)
        }
        cli::Command::Config(args) => cli::config::run(&args),
        cli::Command::Token(args) => cli::token::run(&args),
        cli::Command::Publish(args) => cli::publish::run(&args).await,
        cli::Command::Subscribe(args) => cli::subscribe::run(args).await,
        cli::Command::Health(args) => cli::health::run(&args).await,
        cli::Command::Doctor(args) => cli::doctor::run(args).await,
    }
}
