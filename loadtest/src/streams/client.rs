use std::io::{ErrorKind, Result};
use std::ops::Range;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::ear::{Ear, Listener};
use super::manner::Manner;
use crate::line::Line;
use crate::payload::{Payload, WARM_UP};
use crate::server::Server;
use crate::shared::{Arrival, Count, Measured, Shared};
use crate::tally::{Counts, Order};

/// One client to open.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Which of the URLs.
    pub(crate) server: usize,
    pub(crate) topic: String,
    /// Whose events it is to receive.
    pub(crate) sources: Range<u32>,
}

pub(super) struct Client {
    pub(super) place: Place,
    pub(super) state: State,
    /// There is one while it is opening or open.
    pub(super) line: Option<Line>,
    pub(super) ear: Ear,
    /// Not yet written.
    pub(super) request: Vec<u8>,
    /// The beginning of something whose end has not come.
    pub(super) rest: Vec<u8>,
    /// When it was last asked for or heard of.
    pub(super) heard: Instant,
    pub(super) began: Instant,
    pub(super) known: Known,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not connected; perhaps later.
    Away,
    Opening,
    Open,
    /// Failed, and does not try again.
    Gone,
}

/// What a client keeps from one connection to the next.
pub(super) struct Known {
    cursor: String,
    retry: Duration,
    pub(super) joined: bool,
    warm: bool,
    order: Order,
    /// Said by the server, not yet acted on.
    pub(super) opened: bool,
    pub(super) closing: Option<String>,
}

/// A browser's own, where the server has not said otherwise.
const RETRY: Duration = Duration::from_secs(3);

impl Client {
    pub(super) fn new(place: Place, manner: &Manner) -> Self {
        let order = Order::of(place.sources.clone());
        Self {
            place,
            state: State::Away,
            line: None,
            ear: Ear::new(manner.via, manner.words.greets()),
            request: Vec::new(),
            rest: Vec::new(),
            heard: Instant::now(),
            began: Instant::now(),
            known: Known {
                cursor: String::new(),
                retry: RETRY,
                joined: false,
                warm: false,
                order,
                opened: false,
                closing: None,
            },
        }
    }

    /// Asks over a fresh connection.
    pub(super) fn begin(&mut self, line: Line, manner: &Manner, server: &Server) {
        self.line = Some(line);
        self.ear = Ear::new(manner.via, manner.words.greets());
        self.rest = Vec::new();
        self.state = State::Opening;
        self.began = Instant::now();
        self.heard = self.began;
        self.known.opened = false;
        self.known.closing = None;
        self.request.clear();
        self.ask(manner, server);
    }

    /// For a stream, or the next poll.
    pub(super) fn ask(&mut self, manner: &Manner, server: &Server) {
        let known = &self.known;
        let request = manner.words.receive(server, manner.via, &self.place.topic, &known.cursor);
        self.request.extend_from_slice(&request);
    }

    /// Writes what the socket takes.
    pub(super) fn write(&mut self) -> Result<()> {
        let Some(line) = &mut self.line else { return Ok(()) };
        while !self.request.is_empty() {
            match line.write(&self.request) {
                Ok(count) if count == self.request.len() => self.request = Vec::new(),
                Ok(count) => drop(self.request.drain(..count)),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// How long it waits before it comes back.
    pub(super) fn retry(&self) -> Duration {
        self.known.retry
    }
}

/// One read's words, on their way into what a client knows and what all count.
pub(super) struct Hearing<'a> {
    pub(super) known: &'a mut Known,
    pub(super) shared: &'a Shared,
    pub(super) counts: &'a mut Counts,
    pub(super) measured: &'a mut Measured,
    /// Where to write down what comes when.
    pub(super) arrivals: Option<&'a mut Vec<Arrival>>,
    /// Microseconds since the start.
    pub(super) now: u64,
    pub(super) any: bool,
}

impl Listener for Hearing<'_> {
    fn opened(&mut self) {
        self.known.opened = true;
    }

    fn event(&mut self, data: &[u8]) {
        match Payload::find(data) {
            Some(payload) => {
                self.known.order.saw(payload, self.counts);
                let _ = self.measured.delivery.record(self.now.saturating_sub(payload.sent).max(1));
                self.any = true;
                if let Some(arrivals) = &mut self.arrivals {
                    arrivals.push(Arrival { number: payload.number, at: self.now });
                }
            }
            None if !self.known.warm && data == WARM_UP.as_bytes() => {
                self.known.warm = true;
                self.shared.add(Count::Warm, 1);
            }
            None => {}
        }
    }

    fn cursor(&mut self, id: &str) {
        self.known.cursor.clear();
        self.known.cursor.push_str(id);
    }

    fn retry(&mut self, millis: u64) {
        self.known.retry = Duration::from_millis(millis);
    }

    fn closing(&mut self, reason: &str) {
        self.known.closing = Some(reason.to_owned());
    }

    fn reset(&mut self, _: &[u8]) {
        self.shared.add(Count::Resets, 1);
    }
}
