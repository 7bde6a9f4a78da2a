//! A client that receives, in a thread of its own, and comes back by itself from where it was.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail, ensure};
use parking_lot::Mutex;
use serde::Deserialize;
use socket2::{Domain, SockRef, Socket, Type};

use super::ledger::{Reset, Seen};
use crate::payload::{Payload, WARM_UP};
use crate::profile::{Via, Words};
use crate::server::Server;
use crate::shared::{Count, Shared, Slot, micros};
use crate::streams::ear::{Ear, Listener, Searches};
use crate::wait;

/// How often it looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(200);

/// No answer to a request for so long: it asks elsewhere. Polls are answered after 25 s.
const PATIENCE: Duration = Duration::from_secs(40);

/// Until the server has said another.
const RETRY: Duration = Duration::from_secs(1);

/// Who it is and what it wants.
pub(super) struct Client {
    pub(super) name: String,
    pub(super) via: Via,
    /// Where it connects: to the next one when one does not let it in.
    pub(super) places: Vec<SocketAddr>,
    /// What it asks for, and whose events it is to get with it: of its own topic, too.
    pub(super) topics: Vec<Heard>,
    pub(super) token: String,
    /// It hangs up after so long without a word, as the JavaScript client does.
    pub(super) watchdog: Option<Duration>,
    /// It is one of those that don't read while that is asked of them.
    pub(super) stalls: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) topic: String,
    pub(super) source: u32,
    /// It comes without being asked for.
    pub(super) own: bool,
}

/// What all clients of a run share.
#[derive(Clone)]
pub(super) struct Stage {
    pub(super) shared: Arc<Shared>,
    pub(super) slot: Arc<Slot>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) stalled: Arc<AtomicBool>,
}

impl Stage {
    pub(super) fn now(&self) -> u64 {
        micros(self.shared.start.elapsed())
    }

    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Client {
    pub(super) fn seen(&self) -> Seen {
        Seen { arrivals: vec![Vec::new(); self.topics.len()], ..Seen::default() }
    }

    /// Until it is stopped.
    pub(super) fn run(&self, stage: &Stage, seen: &Mutex<Seen>) {
        let mut known = Known { cursor: String::new(), retry: RETRY, joined: false };
        let mut place = 0;
        while !stage.stopped() {
            stage.shared.add(Count::Attempts, 1);
            let mut open = false;
            let address = self.places[place % self.places.len()];
            let Err(why) = self.listen(address, stage, seen, &mut known, &mut open) else { continue };
            if stage.stopped() {
                return;
            }
            let count = if open { Count::Ended } else { Count::Failed };
            stage.shared.add(count, 1);
            let why = format!("{}: {why:#}", if open { "ended" } else { "not opened" });
            stage.shared.error(&why, 1);
            if !open {
                place += 1;
            }
            let mut seen = seen.lock();
            let now = stage.now();
            seen.hits.push(now);
            seen.story.push((now, format!("{why}; back in {:?} from {:?}", known.retry, known.cursor)));
            drop(seen);
            let back = Instant::now() + known.retry;
            while Instant::now() < back && !stage.stopped() {
                wait::pause(LOOK.min(back.saturating_duration_since(Instant::now())));
            }
        }
    }

    /// One connection, until it ends; why it did.
    fn listen(
        &self,
        address: SocketAddr,
        stage: &Stage,
        seen: &Mutex<Seen>,
        known: &mut Known,
        open: &mut bool,
    ) -> Result<()> {
        let mut socket = self.connect(address).map_err(|error| plain(&error))?;
        let server = Server { address, host: address.to_string(), prefix: String::new(), secure: false };
        let mut words = Words::of(&"tidegate".parse()?);
        words.headers = format!("authorization: Bearer {}\r\n", self.token);
        let asked = self.topics.iter().filter(|heard| !heard.own).map(|heard| heard.topic.as_str());
        let topics = asked.collect::<Vec<_>>().join("&topic=");
        let ask = |cursor: &str| words.receive(&server, self.via, &topics, cursor);
        socket.write_all(&ask(&known.cursor)).map_err(|error| plain(&error))?;
        let (mut ear, searches) = (Ear::new(self.via, true), Searches::new());
        let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
        let mut heard = Instant::now();
        while !stage.stopped() {
            if self.stalls && stage.stalled.load(Ordering::Relaxed) {
                wait::pause(LOOK / 2);
                heard = Instant::now();
                continue;
            }
            let count = match socket.read(&mut buffer) {
                Ok(count) => count,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    let patience = self.watchdog.filter(|_| *open).unwrap_or(PATIENCE);
                    if heard.elapsed() > patience && self.via != Via::Poll || heard.elapsed() > PATIENCE {
                        stage.shared.add(Count::Silent, 1);
                        bail!("silent");
                    }
                    continue;
                }
                Err(error) => return Err(plain(&error)),
            };
            ensure!(count > 0, "by the server");
            heard = Instant::now();
            let fresh = bytes.len();
            bytes.extend_from_slice(&buffer[..count]);
            let (turn, closing) = {
                let seen = &mut *seen.lock();
                let mut hearing = Hearing { client: self, stage, known, seen, opened: false, closing: None };
                let turn = ear.hear(&mut bytes, fresh, &searches, &mut hearing);
                let (opened, closing) = (hearing.opened, hearing.closing);
                if opened && !*open {
                    *open = true;
                    self.opened(stage, known, seen);
                }
                (turn.map_err(|fault| anyhow!("{fault}"))?, closing)
            };
            bytes.copy_within(turn.rest.clone(), 0);
            bytes.truncate(turn.rest.len());
            socket.write_all(&turn.answer).map_err(|error| plain(&error))?;
            if turn.again {
                socket.write_all(&ask(&known.cursor)).map_err(|error| plain(&error))?;
            }
            if let Some(reason) = closing {
                // Its last word; the end of the connection follows.
                bail!("by the server, {reason}");
            }
            ensure!(!turn.ended, "by the server");
        }
        Ok(())
    }

    fn opened(&self, stage: &Stage, known: &mut Known, seen: &mut Seen) {
        stage.shared.add(Count::Opened, 1);
        stage.shared.add(if known.joined { Count::Reconnected } else { Count::Joined }, 1);
        if known.joined {
            seen.returns.push(stage.now());
        }
        known.joined = true;
        seen.story.push((stage.now(), "open".to_owned()));
    }

    fn connect(&self, address: SocketAddr) -> std::io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if self.stalls {
            // What the kernel holds for one who does not read must not be more than the server would.
            socket.set_recv_buffer_size(4096)?;
        }
        socket.connect_timeout(&address.into(), Duration::from_secs(2))?;
        let stream: TcpStream = socket.into();
        SockRef::from(&stream).set_tcp_nodelay(true)?;
        stream.set_read_timeout(Some(LOOK))?;
        stream.set_write_timeout(Some(Duration::from_secs(5)))?;
        Ok(stream)
    }
}

/// The kind alone: what differs from one to the next would be another line in the report.
fn plain(error: &std::io::Error) -> anyhow::Error {
    anyhow::Error::msg(error.kind().to_string())
}

/// What a client keeps from one connection to the next.
struct Known {
    cursor: String,
    retry: Duration,
    joined: bool,
}

struct Hearing<'a> {
    client: &'a Client,
    stage: &'a Stage,
    known: &'a mut Known,
    seen: &'a mut Seen,
    opened: bool,
    closing: Option<String>,
}

impl Listener for Hearing<'_> {
    fn opened(&mut self) {
        self.opened = true;
    }

    fn event(&mut self, data: &[u8]) {
        let Some(payload) = Payload::find(data) else {
            if data == WARM_UP.as_bytes() {
                self.stage.shared.add(Count::Warm, 1);
            }
            return;
        };
        let now = self.stage.now();
        let heard = self.client.topics.iter().position(|heard| heard.source == payload.source);
        let Some(place) = heard else {
            self.seen.stray += 1;
            self.stage.shared.add(Count::Stray, 1);
            return;
        };
        self.seen.saw(place, payload.source, payload.number, now);
        self.stage.shared.add(Count::Received, 1);
        let _ = self.stage.slot.lock().delivery.record(now.saturating_sub(payload.sent).max(1));
    }

    fn cursor(&mut self, id: &str) {
        self.known.cursor.clear();
        self.known.cursor.push_str(id);
    }

    fn retry(&mut self, millis: u64) {
        self.known.retry = Duration::from_millis(millis);
    }

    fn closing(&mut self, reason: &str) {
        self.closing = Some(reason.to_owned());
    }

    fn reset(&mut self, data: &[u8]) {
        #[derive(Default, Deserialize)]
        struct Said {
            topics: Option<Vec<String>>,
            #[serde(default)]
            reason: String,
        }
        let Said { topics, reason } = serde_json::from_slice(data).unwrap_or_default();
        let at = self.stage.now();
        self.seen.story.push((at, format!("reset: {}", String::from_utf8_lossy(data))));
        self.seen.resets.push(Reset { at, topics, reason });
        self.stage.shared.add(Count::Resets, 1);
    }
}
