use std::fmt;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use memchr::memmem;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::line::{Line, Tls};
use crate::server::Server;
use crate::shared::{Count, Shared};
use crate::streams::body::{Body, Head};
use crate::wait;

/// No server is this slow with an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Before a publish is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// So long a publish is tried again and again.
const GIVE_UP: Duration = Duration::from_secs(60);

/// Publishers: keep-alive connections, each with one request under way, all in one thread.
pub(crate) struct Pump {
    poll: Poll,
    publishers: Vec<Publisher>,
    servers: Vec<Server>,
    tls: Tls,
    failing: Failing,
}

/// What becomes of a publish that is not taken.
enum Failing {
    /// The run ends with it.
    Error,
    /// It is counted, and that was it; a connection that ends is still an error.
    Count(Arc<Shared>),
    /// It is counted and sent again.
    Again(Arc<Shared>),
}

/// A whole answer, but no 2xx.
#[derive(Debug)]
struct Refused {
    status: u16,
    answer: String,
}

struct Publisher {
    server: Server,
    line: Line,
    request: Vec<u8>,
    written: usize,
    answer: Vec<u8>,
    /// The server ends the connection with this answer.
    closes: bool,
}

impl Pump {
    /// Connected to the servers in turn.
    pub(crate) fn connect(servers: &[Server], count: usize, tls: &Tls) -> Result<Self> {
        let poll = Poll::new()?;
        let mut publishers = Vec::with_capacity(count);
        for number in 0..count {
            let server = servers[number % servers.len()].clone();
            publishers.push(Publisher {
                line: dial(&poll, &server, number, tls, PATIENCE)?,
                server,
                request: Vec::new(),
                written: 0,
                answer: Vec::new(),
                closes: false,
            });
        }
        Ok(Self { poll, publishers, servers: servers.to_vec(), tls: tls.clone(), failing: Failing::Error })
    }

    /// From now on a publish that fails is counted and sent again, to the next server, until it is taken: give it a key.
    pub(crate) fn persist(&mut self, shared: &Arc<Shared>) {
        self.failing = Failing::Again(Arc::clone(shared));
    }

    /// From now on a publish that is answered with an error is counted, and is none.
    pub(crate) fn tolerate(&mut self, shared: &Arc<Shared>) {
        self.failing = Failing::Count(Arc::clone(shared));
    }

    /// Sends what `next` writes for each publisher, one request after another, until it says false for all of them.
    /// Returns how many requests were taken.
    pub(crate) fn run(&mut self, mut next: impl FnMut(usize, &Server, &mut Vec<u8>) -> bool) -> Result<u64> {
        let mut answered = 0;
        let mut busy = 0;
        for number in 0..self.publishers.len() {
            busy += usize::from(self.begin(number, &mut next)?);
        }
        let mut events = Events::with_capacity(256);
        while busy > 0 {
            self.poll.poll(&mut events, Some(PATIENCE))?;
            if events.is_empty() {
                ensure!(matches!(self.failing, Failing::Again(_)), "no answer to a publish for {PATIENCE:?}");
                for number in 0..self.publishers.len() {
                    if !self.publishers[number].request.is_empty() {
                        self.again(number, &anyhow!("no answer in 30 s"))?;
                    }
                }
            }
            for event in &events {
                let number = event.token().0;
                let publisher = &mut self.publishers[number];
                match (publisher.go_on(), &self.failing) {
                    (Ok(false), _) => continue,
                    (Ok(true), _) => answered += 1,
                    (Err(error), Failing::Count(shared)) if error.is::<Refused>() => {
                        shared.add(Count::Refused, 1);
                        shared.error(&format!("publish: {}", first_line(&error)), 1);
                        publisher.answer.clear();
                    }
                    (Err(error), _) => {
                        self.again(number, &error)?;
                        continue;
                    }
                }
                let publisher = &mut self.publishers[number];
                if std::mem::take(&mut publisher.closes) {
                    publisher.line = dial(&self.poll, &publisher.server, number, &self.tls, PATIENCE)?;
                }
                busy -= usize::from(!self.begin(number, &mut next)?);
            }
        }
        Ok(answered)
    }

    /// A publisher's next request; false: it has none.
    fn begin(
        &mut self,
        number: usize,
        next: &mut impl FnMut(usize, &Server, &mut Vec<u8>) -> bool,
    ) -> Result<bool> {
        let publisher = &mut self.publishers[number];
        publisher.request.clear();
        publisher.written = 0;
        let more = next(number, &publisher.server, &mut publisher.request);
        if let Err(error) = publisher.write() {
            self.again(number, &error)?;
        }
        Ok(more)
    }

    /// Sends a publisher's request once more, over a new connection.
    fn again(&mut self, number: usize, why: &Error) -> Result<()> {
        let Failing::Again(shared) = &self.failing else { bail!("{why:#}") };
        let publisher = &mut self.publishers[number];
        let deadline = Instant::now() + GIVE_UP;
        let mut why = first_line(why);
        loop {
            shared.add(Count::Retried, 1);
            shared.error(&format!("publish: {why}"), 1);
            ensure!(Instant::now() < deadline, "no publish was taken for {GIVE_UP:?}: {why}");
            wait::pause(PAUSE);
            let at = self.servers.iter().position(|server| server.address == publisher.server.address);
            publisher.server = self.servers[(at.unwrap_or(0) + 1) % self.servers.len()].clone();
            match dial(&self.poll, &publisher.server, number, &self.tls, Duration::from_secs(1)) {
                Ok(line) => publisher.line = line,
                Err(error) => {
                    why = first_line(&error);
                    continue;
                }
            }
            publisher.written = 0;
            publisher.answer.clear();
            match publisher.write() {
                Ok(()) => return Ok(()),
                Err(error) => why = error.to_string(),
            }
        }
    }
}

/// Answers differ in the rest: they would be a line each in the report.
fn first_line(error: &Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}\n{}", self.status, self.answer)
    }
}

impl std::error::Error for Refused {}

/// Whether a whole answer's head says so.
fn closes(answer: &[u8]) -> bool {
    let head = &answer[..memmem::find(answer, b"\r\n\r\n").unwrap_or_default()];
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    head.lines().any(|line| line.strip_prefix("connection:").is_some_and(|value| value.trim() == "close"))
}

fn dial(poll: &Poll, server: &Server, number: usize, tls: &Tls, patience: Duration) -> Result<Line> {
    let socket = std::net::TcpStream::connect_timeout(&server.address, patience)
        .with_context(|| format!("{server} does not answer"))?;
    socket.set_nodelay(true)?;
    socket.set_nonblocking(true)?;
    let mut socket = TcpStream::from_std(socket);
    poll.registry().register(&mut socket, Token(number), Interest::READABLE | Interest::WRITABLE)?;
    Ok(Line::new(socket, server, tls)?)
}

impl Publisher {
    fn write(&mut self) -> Result<()> {
        while self.written < self.request.len() {
            match self.line.write(&self.request[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Whether the answer has come.
    fn go_on(&mut self) -> Result<bool> {
        self.write()?;
        Ok(!self.request.is_empty() && self.answered()?)
    }

    /// Whether the whole answer is here; then it is forgotten.
    fn answered(&mut self) -> Result<bool> {
        let mut buffer = [0; 4096];
        loop {
            match self.line.read(&mut buffer) {
                Ok(0) => bail!("the server closed a publisher's connection"),
                Ok(count) => self.answer.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
            if self.complete()? {
                self.closes = closes(&self.answer);
                self.answer.clear();
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn complete(&self) -> Result<bool> {
        let Some(end) = memmem::find(&self.answer, b"\r\n\r\n") else { return Ok(false) };
        let mut head = Head::parse(&self.answer[..end]).map_err(|fault| anyhow!("{fault}"))?;
        ensure!(!matches!(head.body, Body::UntilClose), "an answer without a length");
        let mut body = self.answer[end + 4..].to_vec();
        head.body.decode(&mut body).map_err(|fault| anyhow!("{fault}"))?;
        let whole = head.body.finished();
        if whole && !(200..300).contains(&head.status) {
            let answer = String::from_utf8_lossy(&self.answer).into_owned();
            return Err(Refused { status: head.status, answer }.into());
        }
        Ok(whole)
    }
}
