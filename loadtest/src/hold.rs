//! Connections that are opened and left alone: what of them is kept is the socket.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use memchr::{memchr, memmem};

use crate::frames::{self, Opening};
use crate::line::{self, Tls};
use crate::profile::Via;
use crate::server::Server;

/// No server is this slow with an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is opened on every connection: Tidegate's words alone, for nobody else has all of these.
pub(crate) struct Plan {
    pub(crate) via: Via,
    pub(crate) servers: Vec<Server>,
    pub(crate) tls: Tls,
    /// Of every request but those over HTTP/2, each with its line end.
    pub(crate) headers: String,
    pub(crate) topics: usize,
    /// On one connection; more than one over HTTP/2 alone.
    pub(crate) streams: usize,
}

impl Plan {
    /// Opens so many connections, `parallel` at once.
    pub(crate) fn open(&self, connections: usize, parallel: usize) -> Result<Vec<TcpStream>> {
        let cursor = if self.via == Via::Poll { self.cursor()? } else { String::new() };
        let next = AtomicUsize::new(0);
        let open = || {
            let numbers = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
            numbers
                .take_while(|number| *number < connections)
                .map(|number| self.one(number, &cursor))
                .collect()
        };
        std::thread::scope(|scope| {
            let openers: Vec<_> = (0..parallel.max(1)).map(|_| scope.spawn(open)).collect();
            let mut sockets = Vec::with_capacity(connections);
            for opener in openers {
                let Ok(opened) = opener.join() else { bail!("an opener has panicked") };
                let opened: Result<Vec<TcpStream>> = opened;
                sockets.extend(opened?);
            }
            Ok(sockets)
        })
    }

    /// How many of them the server has closed or answered.
    pub(crate) fn ended(&self, sockets: Vec<TcpStream>) -> Result<usize> {
        let mut ended = 0;
        for mut socket in sockets {
            socket.set_nonblocking(true)?;
            let mut buffer = [0; 4096];
            ended += loop {
                match socket.read(&mut buffer) {
                    // Heartbeats. A poll has none.
                    Ok(count) if count > 0 && self.via != Via::Poll => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break 0,
                    _ => break 1,
                }
            };
        }
        Ok(ended)
    }

    fn one(&self, number: usize, cursor: &str) -> Result<TcpStream> {
        let host = &self.servers[number % self.servers.len()];
        let topic = |stream| format!("idle-{}", (number * self.streams + stream) % self.topics.max(1));
        let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                       sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        match self.via {
            Via::H2 => {
                let paths = (0..self.streams).map(|stream| format!("/v1/events?topic={}", topic(stream)));
                let mut opening = Opening::of(self.streams);
                let request = frames::requests(&host.host, self.tls.is_some(), paths);
                self.ask(host, &request, |heard, answer| opening.hear(heard, answer))
            }
            // One that waits says nothing beyond its head.
            Via::Poll => self.ask(
                host,
                &get(host, &format!("/v1/poll?topic={}&timeout=600&since={cursor}", topic(0)), &self.headers),
                |heard, _| opened(heard, "200", b"\r\n\r\n"),
            ),
            Via::Ws | Via::Sse => self.ask(
                host,
                &get(host, &format!("/v1/ws?topic={}", topic(0)), &(upgrade.to_owned() + &self.headers)),
                |heard, _| opened(heard, "101", b"tidegate:ready"),
            ),
        }
    }

    /// Where the topics stand: a cursor is good for all of them.
    fn cursor(&self) -> Result<String> {
        let mut found = None;
        self.ask(
            &self.servers[0],
            &get(&self.servers[0], "/v1/poll?topic=idle-0", &self.headers),
            |heard, _| {
                found = cursor(heard);
                Ok(found.is_some())
            },
        )?;
        found.context("an answer without a cursor")
    }

    fn ask(
        &self,
        host: &Server,
        request: &[u8],
        hear: impl FnMut(&mut Vec<u8>, &mut Vec<u8>) -> Result<bool>,
    ) -> Result<TcpStream> {
        let mut socket = TcpStream::connect_timeout(&host.address, PATIENCE)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        match &self.tls {
            Some(tls) => {
                let mut tls = line::session(tls, host)?;
                talk(&mut rustls::Stream::new(&mut tls, &mut socket), request, hear)?;
            }
            None => talk(&mut socket, request, hear)?,
        }
        Ok(socket)
    }
}

/// Says the request, and listens until `hear` has heard enough of what it is given; it may take some of it away, and answer.
fn talk(
    line: &mut (impl Read + Write),
    request: &[u8],
    mut hear: impl FnMut(&mut Vec<u8>, &mut Vec<u8>) -> Result<bool>,
) -> Result<()> {
    line.write_all(request)?;
    let (mut heard, mut answer, mut buffer) = (Vec::new(), Vec::new(), [0; 4096]);
    loop {
        let count = line.read(&mut buffer).context("no answer")?;
        ensure!(count > 0, "closed before it was open: {}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&buffer[..count]);
        let enough = hear(&mut heard, &mut answer)?;
        line.write_all(&answer)?;
        answer.clear();
        if enough {
            return Ok(());
        }
    }
}

fn get(host: &Server, path: &str, headers: &str) -> Vec<u8> {
    format!("GET {}{path} HTTP/1.1\r\nhost: {}\r\n{headers}\r\n", host.prefix, host.host).into_bytes()
}

/// Whether this is the answer that was hoped for, up to its mark.
fn opened(heard: &[u8], status: &str, mark: &[u8]) -> Result<bool> {
    let head = format!("HTTP/1.1 {status} ");
    let length = heard.len().min(head.len());
    ensure!(heard[..length] == head.as_bytes()[..length], "refused: {}", String::from_utf8_lossy(heard));
    Ok(memmem::find(heard, mark).is_some())
}

/// None: it is not all there.
fn cursor(heard: &[u8]) -> Option<String> {
    const MARK: &[u8] = b"{\"cursor\":\"";
    let rest = &heard[memmem::find(heard, MARK)? + MARK.len()..];
    Some(String::from_utf8_lossy(&rest[..memchr(b'"', rest)?]).into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn an_answer_is_open_at_its_mark_and_refused_by_its_status() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nevent: tidegate:ready\n";
        for cut in 0..answer.len() {
            assert_eq!(opened(&answer[..cut], "200", b"tidegate:ready\n").ok(), Some(false), "cut at {cut}");
        }
        assert!(opened(answer, "200", b"tidegate:ready\n").unwrap());
        assert!(opened(answer, "101", b"tidegate:ready\n").is_err());
    }

    #[test]
    fn a_cursor_is_read_once_it_is_whole() {
        let answer = b"HTTP/1.1 200 OK\r\n\r\n{\"cursor\":\"0k3x9a-1f\",\"events\":[],\"reset\":false}";
        assert_eq!(cursor(answer).as_deref(), Some("0k3x9a-1f"));
        assert_eq!(cursor(&answer[..36]), None);
        assert_eq!(cursor(b"HTTP/1.1 404 Not Found\r\n\r\n{}"), None);
    }
}
