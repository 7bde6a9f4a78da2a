use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};

use anyhow::Result;

use crate::failure::Usage;

const TLS: &str = "https://";

/// Where requests go: a URL, with its name looked up.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// As the URL says it, for the Host header.
    pub(crate) host: String,
    /// What stands before every path, without a slash at its end.
    pub(crate) prefix: String,
    pub(crate) secure: bool,
}

impl Server {
    pub(crate) fn parse(url: &str) -> Result<Self> {
        let secure = url.starts_with(TLS);
        let rest = url.strip_prefix(TLS).or(url.strip_prefix("http://")).unwrap_or(url);
        let (host, prefix) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let with_port = |port: u16| format!("{host}:{port}");
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let named = if has_port { host.to_owned() } else { with_port(if secure { 443 } else { 80 }) };
        let address = named.to_socket_addrs().ok().and_then(|mut all| all.next()).ok_or_else(|| {
            Usage::new(format!("--url {url}: give http(s)://HOST:PORT of a host that is known"))
        })?;
        Ok(Self { address, host: host.to_owned(), prefix: prefix.trim_end_matches('/').to_owned(), secure })
    }

    /// The host without its port: whom a certificate would be for.
    pub(crate) fn name(&self) -> &str {
        let host = self.host.rsplit_once(':').map_or(self.host.as_str(), |(name, _)| name);
        host.trim_start_matches('[').trim_end_matches(']')
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", if self.secure { TLS } else { "http://" }, self.host, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_url_says_where_under_which_name_and_whether_it_is_tls() {
        let plain = Server::parse("http://127.0.0.1:8080/").unwrap();
        assert_eq!((plain.address.to_string().as_str(), plain.secure), ("127.0.0.1:8080", false));
        assert_eq!((plain.name(), plain.prefix.as_str()), ("127.0.0.1", ""));
        let short = Server::parse("[::1]:80").unwrap();
        assert_eq!((short.address.to_string().as_str(), short.name()), ("[::1]:80", "::1"));
        let secure = Server::parse("https://localhost/gate/way/").unwrap();
        assert_eq!((secure.address.port(), secure.secure, secure.name()), (443, true, "localhost"));
        assert_eq!(secure.to_string(), "https://localhost/gate/way");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for url in ["http://", "http://127.0.0.1:99999", "127.0.0.1:x"] {
            assert!(Server::parse(url).is_err(), "{url}");
        }
    }
}
