use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use memchr::memmem;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::line::{Line, Tls};

/// No server is this slow with an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Publishers: keep-alive connections, each with one request under way, all in one thread.
pub(crate) struct Pump {
    poll: Poll,
    publishers: Vec<Publisher>,
}

struct Publisher {
    address: SocketAddr,
    line: Line,
    request: Vec<u8>,
    written: usize,
    answer: Vec<u8>,
}

impl Pump {
    /// Connected to the addresses in turn.
    pub(crate) fn connect(addresses: &[SocketAddr], count: usize, tls: &Tls) -> Result<Self> {
        let poll = Poll::new()?;
        let mut publishers = Vec::with_capacity(count);
        for number in 0..count {
            let address = addresses[number % addresses.len()];
            let socket = std::net::TcpStream::connect_timeout(&address, PATIENCE)
                .with_context(|| format!("{address} does not answer"))?;
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
            let mut socket = TcpStream::from_std(socket);
            poll.registry().register(&mut socket, Token(number), Interest::READABLE | Interest::WRITABLE)?;
            publishers.push(Publisher {
                address,
                line: Line::new(socket, address, tls)?,
                request: Vec::new(),
                written: 0,
                answer: Vec::new(),
            });
        }
        Ok(Self { poll, publishers })
    }

    /// Sends what `next` writes for each publisher, one request after another, until it says false for all of them.
    /// Returns how many requests were answered; an answer other than 2xx is an error.
    pub(crate) fn run(
        &mut self,
        mut next: impl FnMut(usize, SocketAddr, &mut Vec<u8>) -> bool,
    ) -> Result<u64> {
        let mut answered = 0;
        let mut busy = 0;
        for (number, publisher) in self.publishers.iter_mut().enumerate() {
            busy += usize::from(publisher.begin(number, &mut next)?);
        }
        let mut events = Events::with_capacity(256);
        while busy > 0 {
            self.poll.poll(&mut events, Some(PATIENCE))?;
            if events.is_empty() {
                bail!("no answer to a publish for {PATIENCE:?}");
            }
            for event in &events {
                let number = event.token().0;
                let publisher = &mut self.publishers[number];
                publisher.write()?;
                if publisher.request.is_empty() || !publisher.answered()? {
                    continue;
                }
                answered += 1;
                busy -= usize::from(!publisher.begin(number, &mut next)?);
            }
        }
        Ok(answered)
    }
}

impl Publisher {
    fn begin(
        &mut self,
        number: usize,
        next: &mut impl FnMut(usize, SocketAddr, &mut Vec<u8>) -> bool,
    ) -> Result<bool> {
        self.request.clear();
        self.written = 0;
        let more = next(number, self.address, &mut self.request);
        self.write()?;
        Ok(more)
    }

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
                self.answer.clear();
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn complete(&self) -> Result<bool> {
        let Some(head) = memmem::find(&self.answer, b"\r\n\r\n") else { return Ok(false) };
        let length = content_length(&self.answer[..head]).context("an answer without content-length")?;
        let whole = self.answer.len() >= head + 4 + length;
        if whole && !self.answer.starts_with(b"HTTP/1.1 2") {
            bail!("refused: {}", String::from_utf8_lossy(&self.answer));
        }
        Ok(whole)
    }
}

fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    let line = head
        .split(|byte| *byte == b'\n')
        .find(|line| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)))?;
    std::str::from_utf8(&line[NAME.len()..]).ok()?.trim().parse().ok()
}
