//! A backend: numbered events, each with a key, each again and again until it is taken.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use memchr::memmem;

use super::client::Stage;
use super::cluster::API_KEY;
use super::ledger::Ledger;
use crate::payload::{Payload, WARM_UP};
use crate::shared::Count;
use crate::wait;

/// An answer that takes longer does not come: the same again, with the same key.
const PATIENCE: Duration = Duration::from_secs(3);

/// Before it tries again.
const PAUSE: Duration = Duration::from_millis(100);

/// So long nothing may be taken.
const GIVE_UP: Duration = Duration::from_secs(60);

/// Data of an event for clients that don't read: two seconds of them are more than kernels and outboxes hold.
pub(super) const LARGE: usize = 32 * 1024;

pub(super) struct Publisher {
    pub(super) front: SocketAddr,
    /// Those whose events it publishes in turn, and what names where they go: `"topic":"a"`.
    pub(super) sources: Vec<(u32, String)>,
    pub(super) pause: Duration,
    pub(super) size: usize,
    pub(super) run: String,
    pub(super) ledger: Arc<Ledger>,
    pub(super) enough: Arc<AtomicBool>,
    /// It publishes only while some clients don't read.
    pub(super) floods: bool,
}

impl Publisher {
    /// One event for each source that says only that it is there.
    pub(super) fn warm_up(&self, stage: &Stage) -> Result<()> {
        let mut line = None;
        for (source, to) in &self.sources {
            self.publish(
                stage,
                &mut line,
                &self.request(to, WARM_UP, &format!("{}-first-{source}", self.run)),
            )?;
        }
        Ok(())
    }

    /// Until it is enough.
    pub(super) fn run(&self, stage: &Stage) -> Result<()> {
        let (mut line, mut data) = (None, String::new());
        let mut due = Instant::now();
        for (source, to) in self.sources.iter().cycle() {
            if self.enough.load(Ordering::Relaxed) {
                break;
            }
            if self.floods && !stage.stalled.load(Ordering::Relaxed) {
                wait::pause(PAUSE);
                continue;
            }
            wait::pause(due.saturating_duration_since(Instant::now()));
            // What could not be published in time is not hurried after.
            due = due.max(Instant::now()) + self.pause;
            let sent = stage.now();
            let number = self.ledger.begin(*source, sent);
            Payload { source: *source, number, sent }.write(self.size, &mut data);
            let request = self.request(to, &data, &format!("{}-{source}-{number}", self.run));
            self.publish(stage, &mut line, &request)?;
            self.ledger.taken(*source, number, stage.now());
            stage.shared.add(Count::Sent, 1);
        }
        Ok(())
    }

    fn request(&self, to: &str, data: &str, key: &str) -> String {
        let body = format!("{{{to},\"data\":\"{data}\"}}");
        format!(
            "POST /v1/publish HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {API_KEY}\r\nidempotency-key: {key}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.front,
            body.len()
        )
    }

    /// Returns when it was taken.
    fn publish(&self, stage: &Stage, line: &mut Option<TcpStream>, request: &str) -> Result<()> {
        let deadline = Instant::now() + GIVE_UP;
        loop {
            let answered = self.attempt(line, request);
            let why = match answered {
                Ok(200) => return Ok(()),
                Ok(status @ (429 | 500..)) => format!("status {status}"),
                Ok(status) => bail!("a publish was answered with status {status}"),
                Err(error) => {
                    *line = None;
                    error
                        .downcast_ref::<std::io::Error>()
                        .map_or(error.to_string(), |error| error.kind().to_string())
                }
            };
            stage.shared.add(Count::Retried, 1);
            stage.shared.error(&format!("publish: {why}"), 1);
            ensure!(Instant::now() < deadline, "nothing was taken for {GIVE_UP:?}: {why}");
            wait::pause(PAUSE);
        }
    }

    /// The status.
    fn attempt(&self, line: &mut Option<TcpStream>, request: &str) -> Result<u16> {
        let socket = match line {
            Some(socket) => socket,
            None => {
                let socket = TcpStream::connect_timeout(&self.front, PATIENCE)?;
                socket.set_nodelay(true)?;
                socket.set_read_timeout(Some(PATIENCE))?;
                line.insert(socket)
            }
        };
        socket.write_all(request.as_bytes())?;
        let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            let count = socket.read(&mut buffer)?;
            ensure!(count > 0, "closed instead of an answer");
            answer.extend_from_slice(&buffer[..count]);
            let Some(head) = memmem::find(&answer, b"\r\n\r\n") else { continue };
            let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
            let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
            let length = field("content-length:").and_then(|length| length.trim().parse::<usize>().ok());
            let Some(length) = length else { bail!("an answer without content-length") };
            if answer.len() >= head + 4 + length {
                let last = field("connection:").is_some_and(|value| value.trim() == "close");
                let status = text.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
                if last {
                    *line = None;
                }
                return Ok(status);
            }
        }
    }
}
