use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::failure::Usage;
use crate::line::{self, Tls};
use crate::profile::{Profile, Via, Words};
use crate::report::limits::Limits;
use crate::server::Server;
use crate::streams::manner::Manner;
use crate::template::Template;

/// What every scenario takes. Where a number has no default here, the scenario has its own.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Common {
    /// The server, http(s)://HOST:PORT, with https:// for TLS with any certificate; several times for several nodes, over
    /// which clients and publishers are spread.
    #[arg(long = "url", required = true, value_name = "URL")]
    pub(crate) urls: Vec<String>,
    /// Where events are published, if not at --url.
    #[arg(long = "publish-url", value_name = "URL")]
    publish_urls: Vec<String>,
    /// What kind of server it is: tidegate, nchan, pushpin, centrifugo, mercure, loop, other, or a file that says it.
    #[arg(long, default_value = "tidegate", value_name = "NAME|FILE")]
    pub(crate) profile: Profile,
    /// A header of every request, such as 'Authorization: Bearer …'; several times for several.
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// A header of every publish.
    #[arg(long = "publish-header", value_name = "NAME: VALUE")]
    publish_headers: Vec<String>,
    /// The path of a stream, with {topic} in it, instead of the profile's.
    #[arg(long, value_name = "PATH")]
    subscribe: Option<String>,
    /// The path of a publish, with {topic} in it, instead of the profile's.
    #[arg(long, value_name = "PATH")]
    publish: Option<String>,
    /// The content type of a publish.
    #[arg(long, value_name = "TYPE")]
    publish_type: Option<String>,
    /// The body of a publish, with {topic} and {data} in it.
    #[arg(long, value_name = "TEXT")]
    publish_body: Option<String>,

    /// Clients.
    #[arg(long, value_name = "N")]
    pub(crate) connections: Option<usize>,
    /// How long, in seconds.
    #[arg(long, value_name = "S")]
    pub(crate) seconds: Option<u64>,
    /// Events a second, all together; 0: as fast as they are answered.
    #[arg(long, value_name = "R", value_parser = crate::options::rate)]
    pub(crate) rate: Option<f64>,
    /// Bytes of data in an event.
    #[arg(long, value_name = "BYTES", default_value_t = 128)]
    pub(crate) size: usize,
    /// How the clients receive; `burst` takes it several times, `idle` alone knows h2.
    #[arg(long, value_enum)]
    pub(crate) via: Vec<Via>,

    /// A process of the server: its CPU time and memory (PSS) and those of its children are measured; several times for
    /// several.
    #[arg(long = "pid", value_name = "PID")]
    pub(crate) pids: Vec<u32>,
    /// Write the result as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the result as a page with plots, one file that needs nothing else.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,

    /// Processes that share the clients: one has files for some 20,000 of them.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) processes: usize,
    /// Threads of a process that read. What they use is taken from a server on the same machine.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) readers: usize,
    /// Clients that connect at once, over all readers of a process; 64 where the scenario has no other number.
    #[arg(long, value_name = "N")]
    pub(crate) parallel: Option<usize>,
    #[command(flatten)]
    pub(crate) limits: Limits,
}

impl Common {
    pub(crate) fn servers(&self) -> Result<Vec<Server>> {
        let all: Vec<Server> = self.urls.iter().map(|url| Server::parse(url)).collect::<Result<_>>()?;
        one_kind(&all)?;
        Ok(all)
    }

    pub(crate) fn publish_servers(&self) -> Result<Vec<Server>> {
        let urls = if self.publish_urls.is_empty() { &self.urls } else { &self.publish_urls };
        let all: Vec<Server> = urls.iter().map(|url| Server::parse(url)).collect::<Result<_>>()?;
        one_kind(&all)?;
        Ok(all)
    }

    pub(crate) fn words(&self) -> Result<Words> {
        let mut words = Words::of(&self.profile);
        for (flag, place) in [
            (&self.subscribe, &mut words.subscribe),
            (&self.publish, &mut words.publish),
            (&self.publish_body, &mut words.body),
        ] {
            if let Some(text) = flag {
                *place = Template::new(text);
            }
        }
        if let Some(kind) = &self.publish_type {
            words.kind.clone_from(kind);
        }
        words.headers = lines(&self.headers)?;
        words.publish_headers = lines(&self.publish_headers)?;
        Ok(words)
    }

    /// How clients behave that receive in this way.
    pub(crate) fn manner(&self, via: Via) -> Result<Manner> {
        ensure!(
            self.readers > 0 && self.parallel != Some(0) && self.processes > 0,
            Usage::new("--readers, --parallel and --processes must be at least 1")
        );
        ensure!(via != Via::H2, Usage::new("--via h2 is for idle"));
        let plain = self.profile.is_tidegate() || via == Via::Sse;
        ensure!(plain, Usage::new("--via ws and --via poll are for --profile tidegate"));
        Ok(Manner {
            urls: self.urls.clone(),
            words: self.words()?,
            via,
            readers: self.readers,
            parallel: self.parallel(),
            reconnect: false,
            silence: None,
            log: false,
        })
    }

    pub(crate) fn parallel(&self) -> usize {
        self.parallel.unwrap_or(64)
    }

    /// The one way in which clients receive.
    pub(crate) fn via(&self) -> Result<Via> {
        ensure!(self.via.len() < 2, Usage::new("this scenario takes --via once"));
        Ok(self.via.first().copied().unwrap_or(Via::Sse))
    }

    /// So many as go into the time that is asked for, if one is.
    pub(crate) fn events(&self, otherwise: u32) -> u32 {
        match (self.seconds, self.rate) {
            (Some(seconds), Some(rate)) if rate > 0.0 => (seconds as f64 * rate).round() as u32,
            _ => otherwise,
        }
    }

    pub(crate) fn duration(&self, otherwise: u64) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(otherwise))
    }
}

/// What the servers' URLs say, with this protocol on it.
pub(crate) fn tls(servers: &[Server], alpn: &[u8]) -> Result<Tls> {
    Ok(if servers.iter().any(|server| server.secure) { Some(line::client(alpn)?) } else { None })
}

fn one_kind(servers: &[Server]) -> Result<()> {
    let secure = servers.iter().filter(|server| server.secure).count();
    ensure!(secure == 0 || secure == servers.len(), Usage::new("give either http:// or https:// URLs"));
    Ok(())
}

fn lines(headers: &[String]) -> Result<String> {
    let mut text = String::new();
    for header in headers {
        let whole = header.contains(':') && !header.contains(['\r', '\n']);
        ensure!(whole, Usage::new(format!("--header {header:?}: give 'NAME: VALUE'")));
        text.push_str(header);
        text.push_str("\r\n");
    }
    Ok(text)
}

/// A number of events a second that a clock can keep: 0 where a scenario has a meaning for it.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    if rate == 0.0 || (1e-5..=1e9).contains(&rate) {
        return Ok(rate);
    }
    Err(format!("{text} is not 0, nor from 0.00001 to 1,000,000,000"))
}

/// A number of seconds.
pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    if (0.0..=1e6).contains(&seconds) {
        Ok(seconds)
    } else {
        Err(format!("{text} is not from 0 to 1,000,000"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        common: Common,
    }

    fn common(flags: &[&str]) -> Common {
        Flags::parse_from([&["loadtest"], flags].concat()).common
    }

    #[test]
    fn urls_are_all_of_one_kind() {
        let mixed = common(&["--url", "https://127.0.0.1:1", "--url", "http://127.0.0.1:2"]);
        assert!(mixed.servers().unwrap_err().downcast_ref::<Usage>().is_some());
        let secure = common(&["--url", "https://127.0.0.1:1"]).servers().unwrap();
        assert_eq!(tls(&secure, b"h2").unwrap().unwrap().alpn_protocols, [b"h2"]);
        let plain = common(&["--url", "127.0.0.1:1", "--publish-url", "127.0.0.1:2"]);
        assert_eq!(plain.publish_servers().unwrap()[0].address.port(), 2);
        assert!(tls(&plain.servers().unwrap(), b"h2").unwrap().is_none());
    }

    #[test]
    fn flags_change_a_profiles_words() {
        let flags = ["--url", "127.0.0.1:1", "--profile", "nchan", "--subscribe", "/in/{topic}"];
        let words = common(&[&flags[..], &["--header", "a: b"]].concat()).words().unwrap();
        assert_eq!(words.subscribe, Template::new("/in/{topic}"));
        assert_eq!(words.publish, Template::new("/pub/{topic}"));
        assert_eq!(words.headers, "a: b\r\n");
        assert!(common(&["--url", "127.0.0.1:1", "--header", "a"]).words().is_err());
    }

    #[test]
    fn other_systems_have_streams_alone() {
        let nchan = common(&["--url", "127.0.0.1:1", "--profile", "nchan"]);
        assert!(nchan.manner(Via::Sse).is_ok());
        assert!(nchan.manner(Via::Poll).is_err());
    }

    #[test]
    fn what_no_clock_can_keep_is_no_rate() {
        for text in ["inf", "nan", "-1", "1e-300", "x"] {
            assert!(rate(text).is_err() && (text == "1e-300" || seconds(text).is_err()), "{text}");
        }
        assert_eq!((rate("0.01667"), seconds("0")), (Ok(0.01667), Ok(0.0)));
    }
}
