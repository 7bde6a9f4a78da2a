//! `tidegate health`: for container health checks, where no curl is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::ConfigFile;
use super::output::print;
use crate::client::unanswered;

/// Below the 3 s that the container's health check allows.
const TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Args, Debug)]
pub(crate) struct Health {
    /// The gateway [default: this machine's, at the configured admin address]
    #[arg(long, value_name = "URL")]
    url: Option<reqwest::Url>,
    #[command(flatten)]
    file: ConfigFile,
}

pub(crate) async fn run(args: &Health) -> anyhow::Result<ExitCode> {
    let base = match &args.url {
        Some(url) => url.to_string(),
        None => {
            format!("http://{}", reachable(crate::config::load(&args.file.sources())?.config.admin_listen))
        }
    };
    let url: reqwest::Url = format!("{}/readyz", base.trim_end_matches('/')).parse()?;
    let client = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()?;
    let answered = client.get(url.clone()).send().await;
    let answer = answered.map_err(|error| anyhow::anyhow!(unanswered(&url, &error)))?;
    let status = answer.status();
    let text = answer.text().await.unwrap_or_default();
    print(format_args!("{status} {}", text.trim()))?;
    Ok(if status.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A gateway that listens on every address is asked on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
