//! As much of Redis' protocol as it takes to ask what it has executed, and to give it an order.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::failure::Usage;

pub(crate) struct Redis(BufReader<TcpStream>);

/// Calls by command, in all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Commands(pub(crate) BTreeMap<String, u64>);

impl Redis {
    /// redis://[[USER]:PASSWORD@]HOST:PORT
    pub(crate) fn connect(url: &str) -> Result<Self> {
        let usage = || Usage::new(format!("--redis {url}: give redis://[:PASSWORD@]HOST:PORT"));
        let rest = url.strip_prefix("redis://").ok_or_else(usage)?;
        let rest = rest.split('/').next().unwrap_or_default();
        let (login, host) = rest.rsplit_once('@').map_or((None, rest), |(login, host)| (Some(login), host));
        let socket = TcpStream::connect(host).with_context(|| format!("no Redis at {host}"))?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut redis = Self(BufReader::new(socket));
        if let Some((user, password)) = login.and_then(|login| login.split_once(':')) {
            let words: &[&str] =
                if user.is_empty() { &["AUTH", password] } else { &["AUTH", user, password] };
            redis.ask(words)?;
        }
        Ok(redis)
    }

    pub(crate) fn commands(&mut self) -> Result<Commands> {
        Ok(Commands::parse(&self.ask(&["INFO", "commandstats"])?))
    }

    pub(crate) fn ask(&mut self, words: &[&str]) -> Result<String> {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.0.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let (kind, rest) = line.trim_end().split_at_checked(1).context("Redis has hung up")?;
        match kind {
            "+" | ":" => Ok(rest.to_owned()),
            "$" => {
                let length: usize = rest.parse()?;
                ensure!(length < 16 << 20, "an answer of {length} bytes");
                let mut text = vec![0; length + 2];
                self.0.read_exact(&mut text)?;
                Ok(String::from_utf8_lossy(&text).into_owned())
            }
            _ => bail!("Redis says {}", line.trim_end()),
        }
    }
}

impl Commands {
    fn parse(info: &str) -> Self {
        let line = |line: &str| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            Some((name.to_owned(), rest.split(',').next()?.trim().parse().ok()?))
        };
        Self(info.lines().filter_map(line).collect())
    }

    /// The asking itself apart.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let more =
            self.0.iter().map(|(name, now)| (name.clone(), now - before.0.get(name).unwrap_or(&0).min(now)));
        Self(more.filter(|(name, more)| *more > 0 && name != "info").collect())
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_executed_is_the_difference() {
        let before = Commands::parse(
            "# Commandstats\r\ncmdstat_info:calls=1,usec=9\r\ncmdstat_xrange:calls=5,usec=1\r\n",
        );
        let after = Commands::parse(
            "cmdstat_info:calls=2,usec=9\r\ncmdstat_xrange:calls=8,usec=1\r\ncmdstat_client|info:calls=1,usec=1\r\n",
        );
        let executed = after.since(&before);
        assert_eq!(executed.0, BTreeMap::from([("client|info".to_owned(), 1), ("xrange".to_owned(), 3)]));
        assert_eq!(executed.total(), 4);
    }
}
