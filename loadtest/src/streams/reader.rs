use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{Error, ErrorKind};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::Result;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde::{Deserialize, Serialize};

use super::client::{Client, Hearing, Place, State};
use super::ear::Searches;
use super::manner::Manner;
use crate::line::{Line, Tls};
use crate::server::Server;
use crate::shared::{Count, Measured, Shared, Slot, micros};
use crate::tally::Counts;

/// The token of the waker that tells a reader of a command.
pub(crate) const WAKE: Token = Token(usize::MAX);

/// A read takes at most so much: under a storm a client's turn must end.
const BUFFER: usize = 256 * 1024;

/// No server is this slow with an answer.
const PATIENCE: Duration = Duration::from_secs(30);

const SWEEP: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Command {
    /// More clients.
    Open(Vec<Place>),
    /// All hang up.
    Leave,
    /// All come back with their cursors, spread over this time, and so many connect at once.
    Return {
        spread: Duration,
        parallel: usize,
    },
    Stop,
}

/// One thread's clients. It must cost less than what it measures: one read(2) for each time a socket becomes readable, and
/// nothing allocated for an event.
pub(crate) struct Reader {
    pub(crate) manner: Arc<Manner>,
    pub(crate) servers: Arc<[Server]>,
    pub(crate) tls: Tls,
    pub(crate) poll: Poll,
    pub(crate) commands: Receiver<Command>,
    pub(crate) shared: Arc<Shared>,
    clients: Vec<Client>,
    /// To connect as soon as fewer are opening.
    waiting: VecDeque<usize>,
    /// To connect later.
    later: BinaryHeap<Reverse<(Instant, usize)>>,
    opening: usize,
    /// How many may be opening.
    window: usize,
    buffer: Vec<u8>,
    searches: Searches,
}

/// What a round of events came to.
struct Round<'a> {
    measured: &'a mut Measured,
    counts: Counts,
    any: bool,
}

impl Reader {
    pub(crate) fn new(
        manner: Arc<Manner>,
        servers: Arc<[Server]>,
        tls: Tls,
        poll: Poll,
        commands: Receiver<Command>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            window: manner.parallel.div_ceil(manner.readers),
            manner,
            servers,
            tls,
            poll,
            commands,
            shared,
            clients: Vec::new(),
            waiting: VecDeque::new(),
            later: BinaryHeap::new(),
            opening: 0,
            buffer: vec![0; BUFFER],
            searches: Searches::new(),
        }
    }

    /// Does what it is told, and reads, until it is stopped.
    pub(crate) fn run(mut self) -> Result<()> {
        let slot: Arc<Slot> = self.shared.slot();
        let mut events = Events::with_capacity(1024);
        let mut swept = Instant::now();
        while self.obey() {
            let now = Instant::now();
            while let Some(Reverse((_, number))) = self.later.peek().filter(|next| next.0.0 <= now).copied() {
                self.later.pop();
                self.waiting.push_back(number);
            }
            self.connect();
            if now.duration_since(swept) >= SWEEP {
                self.sweep(now);
                swept = now;
            }
            let next = self.later.peek().map_or(SWEEP, |next| next.0.0.saturating_duration_since(now));
            match self.poll.poll(&mut events, Some(next.min(SWEEP))) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            let mut measured = slot.lock();
            let mut round = Round { measured: &mut measured, counts: Counts::default(), any: false };
            for event in events.iter().filter(|event| event.token() != WAKE) {
                self.ready(event.token().0, &mut round);
            }
            if round.any {
                self.shared.came(self.shared.start.elapsed());
            }
            // Last: who waits for so many events may look at everything else then.
            self.shared.add_tally(round.counts);
        }
        Ok(())
    }

    /// False: it is to stop.
    fn obey(&mut self) -> bool {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Open(places) => {
                    for place in places {
                        self.waiting.push_back(self.clients.len());
                        self.clients.push(Client::new(place, &self.manner));
                    }
                }
                Command::Leave => self.leave(),
                Command::Return { spread, parallel } => {
                    self.window = parallel.div_ceil(self.manner.readers);
                    self.come_back(spread);
                }
                Command::Stop => {
                    self.leave();
                    return false;
                }
            }
        }
        true
    }

    fn leave(&mut self) {
        self.waiting.clear();
        self.later.clear();
        self.opening = 0;
        for client in &mut self.clients {
            if client.state == State::Open {
                self.shared.add(Count::Left, 1);
            }
            if client.state != State::Gone {
                client.state = State::Away;
            }
            client.line = None;
        }
    }

    fn come_back(&mut self, spread: Duration) {
        let now = Instant::now();
        let count = u32::try_from(self.clients.len()).unwrap_or(u32::MAX).max(1);
        for (number, client) in (0u32..).zip(&self.clients) {
            if client.state == State::Away {
                self.later.push(Reverse((now + spread * number / count, number as usize)));
            }
        }
    }

    fn connect(&mut self) {
        while self.opening < self.window {
            let Some(number) = self.waiting.pop_front() else { break };
            if self.clients[number].state != State::Away {
                continue;
            }
            self.shared.add(Count::Attempts, 1);
            self.clients[number].state = State::Opening;
            self.opening += 1;
            if let Err(error) = self.dial(number) {
                self.end(number, &said(&error));
            }
        }
    }

    fn dial(&mut self, number: usize) -> std::io::Result<()> {
        let client = &mut self.clients[number];
        let server = &self.servers[client.place.server % self.servers.len()];
        let mut socket = TcpStream::connect(server.address)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut socket, Token(number), interest)?;
        client.begin(Line::new(socket, server, &self.tls)?, &self.manner, server);
        Ok(())
    }

    /// Those that have heard nothing for too long.
    fn sweep(&mut self, now: Instant) {
        for number in 0..self.clients.len() {
            let client = &self.clients[number];
            let quiet = now.saturating_duration_since(client.heard);
            match (client.state, self.manner.silence) {
                (State::Opening, _) if quiet > PATIENCE => self.end(number, "no answer in 30 s"),
                (State::Open, Some(silence)) if quiet > silence => {
                    self.shared.add(Count::Silent, 1);
                    self.end(number, "silent");
                }
                _ => {}
            }
        }
    }

    fn ready(&mut self, number: usize, round: &mut Round<'_>) {
        match self.hear(number, round) {
            Ok(()) => {}
            Err(why) => self.end(number, &why),
        }
    }

    /// Reads what there is. What ends the connection is an error.
    fn hear(&mut self, number: usize, round: &mut Round<'_>) -> Result<(), String> {
        loop {
            let client = &mut self.clients[number];
            client.write().map_err(|error| said(&error))?;
            let Some(line) = &mut client.line else { return Ok(()) };
            let kept = client.rest.len();
            if kept >= BUFFER {
                return Err("an event is larger than 256 KiB".to_owned());
            }
            self.buffer[..kept].copy_from_slice(&client.rest);
            let count = match line.read(&mut self.buffer[kept..]) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return Ok(());
                }
                Err(error) => return Err(said(&error)),
                Ok(0) => return Err(ended(client)),
                Ok(count) => count,
            };
            client.heard = Instant::now();
            let mut arrivals = self.manner.log.then(|| self.shared.arrivals.lock());
            let mut hearing = Hearing {
                known: &mut client.known,
                shared: &self.shared,
                counts: &mut round.counts,
                measured: round.measured,
                arrivals: arrivals.as_deref_mut(),
                now: micros(self.shared.start.elapsed()),
                any: false,
            };
            let bytes = &mut self.buffer[..kept + count];
            let turn = client.ear.hear(bytes, kept, &self.searches, &mut hearing);
            round.any |= hearing.any;
            drop(arrivals);
            let turn = turn.map_err(|fault| fault.to_string())?;
            client.rest.clear();
            client.rest.extend_from_slice(&self.buffer[turn.rest]);
            client.request.extend_from_slice(&turn.answer);
            if client.known.opened && client.state == State::Opening {
                self.opened(number, round);
            }
            let client = &mut self.clients[number];
            if turn.again {
                client.ask(&self.manner, &self.servers[client.place.server % self.servers.len()]);
            }
            client.write().map_err(|error| said(&error))?;
            if turn.ended {
                return Err(ended(client));
            }
            // A read that did not fill the buffer emptied the socket; what comes later is told anew.
            if kept + count < BUFFER {
                return Ok(());
            }
        }
    }

    fn opened(&mut self, number: usize, round: &mut Round<'_>) {
        let client = &mut self.clients[number];
        client.state = State::Open;
        self.opening = self.opening.saturating_sub(1);
        let _ = round.measured.opening.record(micros(client.began.elapsed()).max(1));
        self.shared.add(Count::Opened, 1);
        if client.known.joined {
            self.shared.add(Count::Reconnected, 1);
        } else {
            client.known.joined = true;
            self.shared.add(Count::Joined, 1);
        }
    }

    /// A connection has ended or never came to be; perhaps there will be another.
    fn end(&mut self, number: usize, why: &str) {
        let client = &mut self.clients[number];
        client.line = None;
        match client.state {
            State::Opening => {
                self.opening = self.opening.saturating_sub(1);
                self.shared.add(Count::Failed, 1);
                self.shared.error(&format!("not opened: {why}"), 1);
            }
            State::Open => {
                self.shared.add(Count::Ended, 1);
                self.shared.error(&format!("ended: {why}"), 1);
            }
            State::Away | State::Gone => return,
        }
        client.request.clear();
        if self.manner.reconnect {
            client.state = State::Away;
            self.later.push(Reverse((Instant::now() + client.retry(), number)));
        } else {
            if !client.known.joined {
                self.shared.add(Count::Lost, 1);
            }
            client.state = State::Gone;
        }
    }
}

/// Why the server's side has ended: its own word, if it gave one.
fn ended(client: &Client) -> String {
    match client.known.closing.as_deref() {
        Some(reason) => format!("by the server, {reason}"),
        None => "by the server".to_owned(),
    }
}

/// The kind alone: what differs from one to the next would be another line in the report.
fn said(error: &Error) -> String {
    error.kind().to_string()
}
