use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use memchr::memmem;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::line::{Line, Tls};
use crate::payload::{Payload, Scanner, WARM_UP};
use crate::profile::Profile;
use crate::streams::{Place, Seen, Shared};
use crate::tally::{Counts, Order, latencies};

/// The token of the waker that ends a reader.
pub(crate) const WAKE: Token = Token(usize::MAX);

/// A read takes at most so much: under a storm a stream's turn must end.
const BUFFER: usize = 256 * 1024;

/// One thread's streams. It must cost less than what it measures: one read(2) for each time a socket becomes readable, and
/// nothing allocated for an event.
pub(crate) struct Reader {
    profile: Profile,
    tls: Tls,
    poll: Poll,
    /// Not yet asked for, last one first.
    places: Vec<Place>,
    window: usize,
    opening: usize,
    streams: Vec<Stream>,
    shared: Arc<Shared>,
    scanner: Scanner,
    buffer: Vec<u8>,
    latency: Histogram<u64>,
    counts: Counts,
    last: Duration,
    closed: usize,
}

struct Stream {
    /// None: closed.
    line: Option<Line>,
    /// Not yet sent. Sockets are writable at once, so it goes in one piece.
    request: Vec<u8>,
    open: bool,
    warm: bool,
    /// The beginning of a line whose end has not come.
    rest: Vec<u8>,
    order: Order,
}

impl Reader {
    pub(crate) fn new(
        profile: Profile,
        tls: Tls,
        poll: Poll,
        mut places: Vec<Place>,
        window: usize,
        shared: Arc<Shared>,
    ) -> Self {
        places.reverse();
        Self {
            profile,
            tls,
            poll,
            streams: Vec::with_capacity(places.len()),
            places,
            window,
            opening: 0,
            shared,
            scanner: Scanner::new(),
            buffer: vec![0; BUFFER],
            latency: latencies(),
            counts: Counts::default(),
            last: Duration::ZERO,
            closed: 0,
        }
    }

    /// Opens the streams and reads them until it is stopped.
    pub(crate) fn run(mut self) -> Result<Seen> {
        let mut events = Events::with_capacity(1024);
        while !self.shared.stop.load(Ordering::Relaxed) {
            self.open()?;
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            let before = self.counts.received;
            for event in &events {
                if event.token() != WAKE {
                    self.ready(event.token().0)?;
                }
            }
            self.shared.received.fetch_add(self.counts.received - before, Ordering::Relaxed);
        }
        Ok(Seen { latency: self.latency, counts: self.counts, last: self.last, closed: self.closed })
    }

    fn open(&mut self) -> Result<()> {
        while self.opening < self.window {
            let Some(place) = self.places.pop() else { break };
            let mut socket = TcpStream::connect(place.address)?;
            let token = Token(self.streams.len());
            self.poll.registry().register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
            self.opening += 1;
            self.streams.push(Stream {
                line: Some(Line::new(socket, place.address, &self.tls)?),
                request: self.profile.subscribe(place.address, &place.topic),
                open: false,
                warm: false,
                rest: Vec::new(),
                order: Order::of(place.sources),
            });
        }
        Ok(())
    }

    fn ready(&mut self, number: usize) -> Result<()> {
        let stream = &mut self.streams[number];
        let Some(line) = &mut stream.line else { return Ok(()) };
        if !stream.request.is_empty() {
            match line.write(&stream.request) {
                Ok(count) if count == stream.request.len() => stream.request = Vec::new(),
                Ok(_) => bail!("a fresh socket took half a request"),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return Ok(());
                }
                Err(error) => return Err(error).context("a stream can't be opened"),
            }
        }
        loop {
            let kept = stream.rest.len();
            self.buffer[..kept].copy_from_slice(&stream.rest);
            let count = match line.read(&mut self.buffer[kept..]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Ok(count) if count > 0 => count,
                ended => {
                    if !stream.open {
                        bail!("a stream was closed before it was open ({ended:?})");
                    }
                    stream.line = None;
                    self.closed += 1;
                    self.shared.closed.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
            };
            let bytes = &self.buffer[..kept + count];
            if !stream.open {
                if bytes.len() >= 12 && !bytes.starts_with(b"HTTP/1.1 200") {
                    bail!("a stream was refused: {}", String::from_utf8_lossy(bytes));
                }
                if memmem::find(bytes, self.profile.opened()).is_none() {
                    stream.rest = bytes.to_vec();
                    continue;
                }
                stream.open = true;
                self.opening -= 1;
                self.shared.opened.fetch_add(1, Ordering::Relaxed);
            }
            let now = self.shared.start.elapsed();
            let micros = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
            let done = self.scanner.scan(bytes, |data| match Payload::parse(data) {
                Some(payload) => {
                    stream.order.saw(payload, &mut self.counts);
                    let _ = self.latency.record(micros.saturating_sub(payload.sent).max(1));
                    self.last = now;
                }
                None if !stream.warm && data == WARM_UP.as_bytes() => {
                    stream.warm = true;
                    self.shared.warm.fetch_add(1, Ordering::Relaxed);
                }
                None => {}
            });
            stream.rest.clear();
            stream.rest.extend_from_slice(&bytes[done..]);
            // A read that did not fill the buffer emptied the socket; what comes later is told anew.
            if kept + count < BUFFER {
                return Ok(());
            }
        }
    }
}
