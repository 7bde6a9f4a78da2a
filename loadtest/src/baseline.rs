//! The floor under every fan-out: a bare epoll loop, one thread, one write(2) a delivery, hardly any HTTP.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use anyhow::Result;
use memchr::memmem;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where to listen. GET / opens a stream, POST / publishes its body to all of them.
    #[arg(long)]
    listen: SocketAddr,
}

const LISTENER: Token = Token(usize::MAX);
const STREAM: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
const TAKEN: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

pub(crate) fn run(options: &Options) -> Result<()> {
    let mut server =
        Server { poll: Poll::new()?, connections: Vec::new(), free: Vec::new(), streams: Vec::new() };
    let mut listener = TcpListener::bind(options.listen)?;
    server.poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    loop {
        match server.poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            match event.token() {
                LISTENER => server.accept(&listener)?,
                Token(number) => server.ready(number),
            }
        }
    }
}

struct Server {
    poll: Poll,
    /// By token; None: free.
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// Tokens of those that are streams.
    streams: Vec<usize>,
}

struct Connection {
    socket: TcpStream,
    request: Vec<u8>,
    /// What a full socket did not take, in order. Allocates nothing while that does not happen.
    waiting: Vec<u8>,
}

impl Server {
    fn accept(&mut self, listener: &TcpListener) -> Result<()> {
        loop {
            let mut socket = match listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            socket.set_nodelay(true)?;
            let number = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut socket, Token(number), interest)?;
            self.connections[number] = Some(Connection { socket, request: Vec::new(), waiting: Vec::new() });
        }
    }

    fn ready(&mut self, number: usize) {
        let Some(connection) = &mut self.connections[number] else { return };
        let mut open = connection.flush();
        while open {
            match read(connection) {
                Some(0) => break,
                Some(_) => {}
                None => open = false,
            }
        }
        let mut published = Vec::new();
        while let Some(request) = connection.next_request() {
            match request {
                Request::Subscribe => {
                    connection.write(STREAM);
                    self.streams.push(number);
                }
                Request::Publish(data) => {
                    connection.write(TAKEN);
                    published.push(data);
                }
            }
        }
        if !open {
            self.connections[number] = None;
            self.free.push(number);
            self.streams.retain(|stream| *stream != number);
        }
        for data in published {
            let event = [b"data: ", &data[..], b"\n\n"].concat();
            for stream in &self.streams {
                if let Some(connection) = &mut self.connections[*stream] {
                    connection.write(&event);
                }
            }
        }
    }
}

enum Request {
    Subscribe,
    Publish(Vec<u8>),
}

impl Connection {
    /// A complete request, taken off what was read.
    fn next_request(&mut self) -> Option<Request> {
        let head = memmem::find(&self.request, b"\r\n\r\n")? + 4;
        if self.request.starts_with(b"GET ") {
            self.request = Vec::new();
            return Some(Request::Subscribe);
        }
        const LENGTH: &[u8] = b"content-length: ";
        let at = memmem::find(&self.request[..head], LENGTH)? + LENGTH.len();
        let digits = self.request[at..].iter().take_while(|byte| byte.is_ascii_digit());
        let length = digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
        let data = self.request.get(head..head + length)?.to_vec();
        self.request.drain(..head + length);
        Some(Request::Publish(data))
    }

    fn write(&mut self, bytes: &[u8]) {
        let taken = if self.waiting.is_empty() { self.socket.write(bytes).unwrap_or(0) } else { 0 };
        self.waiting.extend_from_slice(&bytes[taken..]);
    }

    /// False: the client has gone.
    fn flush(&mut self) -> bool {
        while !self.waiting.is_empty() {
            match self.socket.write(&self.waiting) {
                Ok(taken) => drop(self.waiting.drain(..taken)),
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        true
    }
}

/// How much came; None: the client has gone.
fn read(connection: &mut Connection) -> Option<usize> {
    let mut buffer = [0; 4096];
    match connection.socket.read(&mut buffer) {
        Ok(0) => None,
        Ok(count) => {
            connection.request.extend_from_slice(&buffer[..count]);
            Some(count)
        }
        Err(error) => (error.kind() == ErrorKind::WouldBlock).then_some(0),
    }
}
