//! One connection's TLS, apart from its socket. It keeps no buffer that has nothing in it: an idle
//! stream has none.

use std::io;

use bytes::{Buf as _, BytesMut};
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus, WriteTraffic,
};
use rustls::{ServerConfig, server::ServerConnectionData};
use std::sync::Arc;
use tokio::net::TcpStream;

/// The header of a record: its type, a version, and the length of what follows.
const HEADER: usize = 5;

/// Room that is made for a read of unknown length: a request's head, or an alert.
const READ: usize = 4 << 10;

/// What a record adds to its content, rounded up.
const OVERHEAD: usize = 64;

/// The most that may wait to become a whole message: the largest handshake message that rustls
/// takes, in its records.
const INCOMING: usize = 80 << 10;

pub(crate) struct Session {
    connection: UnbufferedServerConnection,
    /// Records that have not arrived whole.
    incoming: Vec<u8>,
    /// What those before them said, until it is taken.
    received: BytesMut,
    /// Records that the socket has yet to take.
    outgoing: BytesMut,
    /// The client has ended its side.
    ended: bool,
}

/// What to do when all that arrived has been looked at.
enum Then<'a> {
    Nothing,
    Send(&'a [u8]),
    Close,
}

impl Session {
    pub(crate) fn new(config: Arc<ServerConfig>) -> io::Result<Self> {
        let connection = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
        Ok(Self {
            connection,
            incoming: Vec::new(),
            received: BytesMut::new(),
            outgoing: BytesMut::new(),
            ended: false,
        })
    }

    /// The handshake is done, as far as this side is concerned.
    pub(crate) fn established(&self) -> bool {
        !self.connection.is_handshaking()
    }

    /// The protocol that both sides chose.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        self.connection.alpn_protocol()
    }

    /// The client sends nothing more.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// What the client sent and has not been taken.
    pub(crate) fn received(&mut self) -> &mut BytesMut {
        &mut self.received
    }

    /// Gives the buffer of what was taken back.
    pub(crate) fn release(&mut self) {
        if self.received.is_empty() {
            self.received = BytesMut::new();
        }
    }

    /// Reads once, and does what TLS asks for. [`io::ErrorKind::WouldBlock`]: nothing has arrived.
    pub(crate) fn read(&mut self, socket: &TcpStream) -> io::Result<()> {
        let record = match self.incoming.get(3..HEADER) {
            Some(length) => HEADER + usize::from(length[0]) * 256 + usize::from(length[1]),
            None => 0,
        };
        self.incoming.reserve(record.saturating_sub(self.incoming.len()).max(READ));
        let read = socket.try_read_buf(&mut self.incoming);
        let result = match read {
            Ok(0) => {
                self.ended = true;
                Ok(())
            }
            Ok(_) => self.process(&Then::Nothing),
            Err(error) => Err(error),
        };
        if self.incoming.is_empty() {
            self.incoming = Vec::new();
        }
        if self.incoming.len() > INCOMING {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a TLS message without an end"));
        }
        result
    }

    /// Puts `plain` behind what waits for the socket.
    pub(crate) fn send(&mut self, plain: &[u8]) -> io::Result<()> {
        self.process(&Then::Send(plain))
    }

    /// Says that nothing more will be sent.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        self.process(&Then::Close)
    }

    /// Writes what waits. False: the socket did not take all of it.
    pub(crate) fn flush(&mut self, socket: &TcpStream) -> io::Result<bool> {
        while !self.outgoing.is_empty() {
            match socket.try_write(&self.outgoing) {
                Ok(written) => self.outgoing.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.outgoing = BytesMut::new();
        Ok(true)
    }

    fn process(&mut self, then: &Then<'_>) -> io::Result<()> {
        loop {
            let UnbufferedStatus { mut discard, state } =
                self.connection.process_tls_records(&mut self.incoming);
            let mut done = Ok(false);
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(invalid)?;
                        discard += record.discard;
                        self.received.extend_from_slice(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    put(&mut self.outgoing, OVERHEAD, |room| data.encode(room).map_err(Room::from))?;
                }
                // In the order in which they were made, they go out before anything that follows.
                Ok(ConnectionState::TransmitTlsData(sent)) => sent.done(),
                Ok(ConnectionState::PeerClosed) => self.ended = true,
                Ok(ConnectionState::WriteTraffic(traffic)) => {
                    done = write(traffic, then, &mut self.outgoing).map(|()| true);
                }
                Ok(_) => {
                    let nothing = matches!(then, Then::Nothing);
                    done = if nothing { Ok(true) } else { Err(io::ErrorKind::NotConnected.into()) };
                }
                Err(error) => done = Err(invalid(error)),
            }
            self.incoming.drain(..discard);
            match done {
                Ok(false) => {}
                Ok(true) => return Ok(()),
                Err(error) => {
                    self.alert();
                    return Err(error);
                }
            }
        }
    }

    /// After an error: the client is told which.
    fn alert(&mut self) {
        while self.connection.wants_write() {
            let status = self.connection.process_tls_records(&mut self.incoming);
            let Ok(ConnectionState::EncodeTlsData(mut data)) = status.state else { return };
            if put(&mut self.outgoing, OVERHEAD, |room| data.encode(room).map_err(Room::from)).is_err() {
                return;
            }
        }
    }
}

fn write(
    mut traffic: WriteTraffic<'_, ServerConnectionData>,
    then: &Then<'_>,
    outgoing: &mut BytesMut,
) -> io::Result<()> {
    match then {
        Then::Nothing => Ok(()),
        Then::Send(plain) => {
            let records = plain.len() / (16 << 10) + 1;
            let room = plain.len() + records * OVERHEAD;
            put(outgoing, room, |room| traffic.encrypt(plain, room).map_err(Room::from))
        }
        Then::Close => put(outgoing, OVERHEAD, |room| traffic.queue_close_notify(room).map_err(Room::from)),
    }
}

/// Why something was not written: it needs this much room, or can't be.
enum Room {
    Needed(usize),
    None,
}

/// Appends what `write` gives, with as much room as it turns out to need.
fn put(
    outgoing: &mut BytesMut,
    mut room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Room>,
) -> io::Result<()> {
    let start = outgoing.len();
    loop {
        outgoing.resize(start + room, 0);
        match write(&mut outgoing[start..]) {
            Ok(written) => {
                outgoing.truncate(start + written);
                return Ok(());
            }
            Err(Room::Needed(more)) if more > room => room = more,
            Err(_) => {
                outgoing.truncate(start);
                return Err(io::Error::other("TLS can't write any more with these keys"));
            }
        }
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl From<EncodeError> for Room {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::InsufficientSize(InsufficientSizeError { required_size }) => {
                Self::Needed(required_size)
            }
            EncodeError::AlreadyEncoded => Self::None,
        }
    }
}

impl From<EncryptError> for Room {
    fn from(error: EncryptError) -> Self {
        match error {
            EncryptError::InsufficientSize(InsufficientSizeError { required_size }) => {
                Self::Needed(required_size)
            }
            EncryptError::EncryptExhausted => Self::None,
        }
    }
}
