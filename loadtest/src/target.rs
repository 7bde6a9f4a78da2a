use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::line::{self, Tls};
use crate::profile::Profile;
use crate::result;

const TLS: &str = "https://";

/// What every scenario takes.
#[derive(clap::Args, Clone)]
pub(crate) struct Target {
    /// What kind of server it is.
    #[arg(long, value_enum, default_value = "tidegate")]
    pub(crate) profile: Profile,
    /// The server, http://HOST:PORT, or https:// for TLS with any certificate; several times for several nodes, over which
    /// streams are spread.
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

    /// What its URLs say, with this protocol on it.
    pub(crate) fn tls(&self, alpn: &[u8]) -> Result<Tls> {
        let secure = |url: &String| url.starts_with(TLS);
        let any = self.urls.iter().any(secure);
        let same = self.urls.iter().chain(&self.publish_urls).all(|url| secure(url) == any);
        ensure!(same, "give either http:// or https:// URLs");
        Ok(if any { Some(line::client(alpn)?) } else { None })
    }

    /// Prints a result and writes it as JSON if asked to.
    pub(crate) fn finish(&self, scenario: &str, figures: &serde_json::Value) -> Result<()> {
        result::finish(self.json.as_deref(), scenario, figures)
    }
}

fn address(url: &String) -> Result<SocketAddr> {
    let host = url.strip_prefix(TLS).or(url.strip_prefix("http://")).unwrap_or(url).trim_end_matches('/');
    host.parse().with_context(|| format!("--url {url}: give http(s)://ADDRESS:PORT with a numeric address"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn target(urls: &[&str], publish_urls: &[&str]) -> Target {
        let owned = |urls: &[&str]| urls.iter().map(|url| (*url).to_owned()).collect();
        let (urls, publish_urls) = (owned(urls), owned(publish_urls));
        Target { profile: Profile::Tidegate, urls, publish_urls, pids: Vec::new(), json: None }
    }

    #[test]
    fn a_url_says_where_and_whether_it_is_tls() {
        let plain = target(&["http://127.0.0.1:80/", "[::1]:80"], &[]);
        assert_eq!(plain.addresses().unwrap(), ["127.0.0.1:80", "[::1]:80"].map(|it| it.parse().unwrap()));
        assert!(plain.tls(b"http/1.1").unwrap().is_none());
        let secure = target(&["https://127.0.0.1:80"], &["https://127.0.0.1:81"]);
        assert_eq!(secure.publish_addresses().unwrap(), ["127.0.0.1:81".parse().unwrap()]);
        assert_eq!(secure.tls(b"h2").unwrap().unwrap().alpn_protocols, [b"h2"]);
    }

    #[test]
    fn what_is_no_address_or_half_tls_is_refused() {
        assert!(target(&["http://localhost:80"], &[]).addresses().is_err());
        assert!(target(&["https://127.0.0.1:80"], &["http://127.0.0.1:81"]).tls(b"h2").is_err());
    }
}
