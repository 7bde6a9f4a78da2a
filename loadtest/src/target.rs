use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::profile::Profile;
use crate::result;

/// What every scenario takes.
#[derive(clap::Args, Clone)]
pub(crate) struct Target {
    /// What kind of server it is.
    #[arg(long, value_enum, default_value = "tidegate")]
    pub(crate) profile: Profile,
    /// The server, http://HOST:PORT; several times for several nodes, over which streams are spread.
    #[arg(long = "url", required = true)]
    urls: Vec<String>,
    /// Where events are published, if not at --url.
    #[arg(long = "publish-url")]
    publish_urls: Vec<String>,
    /// A process of the server: its CPU time and memory (PSS) and those of its children are measured; several times for
    /// several.
    #[arg(long = "pid")]
    pub(crate) pids: Vec<u32>,
    /// Also write the result as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

impl Target {
    pub(crate) fn addresses(&self) -> Result<Vec<SocketAddr>> {
        self.urls.iter().map(address).collect()
    }

    pub(crate) fn publish_addresses(&self) -> Result<Vec<SocketAddr>> {
        if self.publish_urls.is_empty() {
            self.addresses()
        } else {
            self.publish_urls.iter().map(address).collect()
        }
    }

    /// Prints a result and writes it as JSON if asked to.
    pub(crate) fn finish(&self, scenario: &str, figures: &serde_json::Value) -> Result<()> {
        result::finish(self.json.as_deref(), scenario, figures)
    }
}

fn address(url: &String) -> Result<SocketAddr> {
    let host = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
    host.parse().with_context(|| format!("--url {url}: give http://ADDRESS:PORT with a numeric address"))
}
