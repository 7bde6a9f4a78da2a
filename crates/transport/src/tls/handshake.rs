//! How a connection to a listener with TLS begins.

use std::io;

use prometheus::IntCounterVec;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::session::Session;
use super::{Certificates, Stream};
use crate::Options;
use crate::unread::linger;

/// The first byte of every TLS connection: a handshake record.
const HANDSHAKE: u8 = 0x16;

const CLEARTEXT: &str = "This port speaks TLS: use https://.\n";

/// Begins connections with a handshake, and counts what became of each.
pub(crate) struct Acceptor {
    certificates: Certificates,
    handshakes: IntCounterVec,
}

impl Acceptor {
    pub(crate) fn new(certificates: Certificates, handshakes: IntCounterVec) -> Self {
        Self { certificates, handshakes }
    }

    /// Shakes hands. None: the client does not speak TLS, and has been told.
    pub(crate) async fn shake_hands(
        &self,
        socket: TcpStream,
        options: &Options,
    ) -> io::Result<Option<Box<Stream>>> {
        let limit = options.header_timeout;
        let count = |result| self.handshakes.with_label_values(&[result]).inc();
        match timeout(limit, accept(socket, &self.certificates)).await {
            Ok(Ok(Accepted::Tls(stream))) => {
                count("ok");
                Ok(Some(stream))
            }
            Ok(Ok(Accepted::Cleartext(socket))) => {
                count("cleartext");
                timeout(limit, turn_away(socket, options.body_bytes)).await??;
                Ok(None)
            }
            Ok(Err(error)) => {
                count("failed");
                Err(error)
            }
            Err(elapsed) => {
                count("timeout");
                Err(elapsed.into())
            }
        }
    }
}

/// What became of a connection that should begin with a handshake.
enum Accepted {
    Tls(Box<Stream>),
    /// Its client speaks something else: see [`turn_away`].
    Cleartext(TcpStream),
}

/// Shakes hands.
async fn accept(socket: TcpStream, certificates: &Certificates) -> io::Result<Accepted> {
    let mut first = [0; 1];
    if socket.peek(&mut first).await? == 1 && first[0] != HANDSHAKE {
        return Ok(Accepted::Cleartext(socket));
    }
    let mut session = Session::new(certificates.tcp())?;
    loop {
        while !session.flush(&socket)? {
            socket.writable().await?;
        }
        if session.established() {
            return Ok(Accepted::Tls(Box::new(Stream::new(socket, session))));
        }
        if session.ended() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        socket.readable().await?;
        match session.read(&socket) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                // The alert that says why.
                socket.writable().await?;
                session.flush(&socket)?;
                return Err(error);
            }
            Ok(()) => {}
        }
    }
}

/// Answers HTTP that is not encrypted.
async fn turn_away(mut socket: TcpStream, limit: usize) -> io::Result<()> {
    let length = CLEARTEXT.len();
    let head = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    socket.write_all(format!("{head}{CLEARTEXT}").as_bytes()).await?;
    socket.shutdown().await?;
    linger(socket, true, limit).await;
    Ok(())
}
