use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use prometheus::IntCounterVec;
use tidegate_hub::{Chunk, CloseReason, ControlEvent, SubscriberHandle};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::close::Close;
use super::codec::{Codec, Received};
use super::goodbye::{goodbye, poll_write};
use super::messages::{Messages, Reply};
use super::pace::{Pace, Verdict};
use crate::{Options, StreamPermit};

/// Bytes that are made ready for one write. What waits beyond them waits in the outbox, where it is
/// counted.
const WRITE_BYTES: usize = 64 << 10;

/// Pings that may stay without a sign of life. Every client's library answers them; one that does
/// not is gone, and a proxy has not noticed.
const PINGS: u8 = 3;

/// A WebSocket that was opened, on its way to its task.
pub struct Session {
    subscription: SubscriberHandle,
    messages: Box<dyn Messages>,
    /// Counts it among the streams while it lives.
    _permit: StreamPermit,
    /// The most bytes that a message may have.
    message_bytes: usize,
    /// Messages a second.
    message_rate: u32,
    /// Other frames a second.
    frame_rate: u32,
    closed: IntCounterVec,
}

impl Session {
    /// Takes messages of up to `message_bytes`, as fast as the options allow. The session counts in
    /// `closed` why it had to close.
    pub fn new(
        subscription: SubscriberHandle,
        messages: impl Messages + 'static,
        permit: StreamPermit,
        message_bytes: usize,
        options: &Options,
        closed: IntCounterVec,
    ) -> Box<Self> {
        let Options { ws_messages: message_rate, ws_frames: frame_rate, .. } = *options;
        let messages = Box::new(messages);
        Box::new(Self {
            subscription,
            messages,
            _permit: permit,
            message_bytes,
            message_rate,
            frame_rate,
            closed,
        })
    }
}

/// Runs a WebSocket until it ends. `early`: what was read of the socket with the handshake.
/// `permit` is dropped with the connection.
///
/// What an idle one costs is this future and what it points to: nothing is in it twice, and nothing
/// that only its end needs.
pub(crate) fn run<S>(
    socket: S,
    early: Bytes,
    session: Box<Session>,
    permit: impl Send,
) -> impl Future<Output = ()> + Send
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut connection = Connection::new(socket, session);
    connection.codec.receive(&early);
    drop(early);
    async move {
        let ended = poll_fn(|cx| connection.poll(cx)).await;
        Box::pin(connection.end(ended)).await;
        drop(permit);
    }
}

struct Connection<S> {
    socket: S,
    codec: Codec,
    session: Box<Session>,
    /// The rate of its messages.
    pace: Pace,
    /// The rate of its other frames: fragments, pings, pongs.
    frames: Pace,
    /// What the client waits for. Nothing more is read until it is there.
    work: Option<Work>,
    /// Pings since its last sign of life.
    pings: u8,
}

enum Work {
    /// The hub confirms on the stream when topics have come or gone.
    Topics,
    Answer(Pin<Box<dyn Future<Output = Bytes> + Send>>),
}

enum Ended {
    /// The client is there no more.
    Gone,
    Close(Close),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    fn new(socket: S, session: Box<Session>) -> Self {
        let codec = Codec::new(session.message_bytes);
        let now = Instant::now();
        let (pace, frames) = (Pace::new(session.message_rate, now), Pace::new(session.frame_rate, now));
        Self { socket, codec, session, pace, frames, work: None, pings: 0 }
    }

    /// One round after the other: writes what waits, takes what is new, and hears what the client
    /// says, until there is nothing to do.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        loop {
            match poll_write(&mut self.socket, &mut self.codec, cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(self.failed(&error)),
                Poll::Pending => {
                    ready!(self.session.subscription.watch().poll_cut(cx));
                    return Poll::Ready(self.ended());
                }
            }
            if let Some(Work::Answer(answering)) = &mut self.work
                && let Poll::Ready(answer) = answering.as_mut().poll(cx)
            {
                self.work = None;
                self.codec.outgoing.text(answer);
            }
            let ended = self.take(cx);
            // One message a round, and all that is said is in the socket before the next: so no
            // client's answers pile up. Of one that is ending only what waits still goes out: what
            // let it speak may be over.
            let hears = self.work.is_none() && self.session.subscription.close_reason().is_none();
            let heard = if hears { self.hear(cx) } else { Poll::Pending };
            match (ended, heard) {
                (Some(ended), _) | (_, Poll::Ready(Err(ended))) => return Poll::Ready(ended),
                (None, Poll::Pending) if self.codec.outgoing.len() == 0 => return Poll::Pending,
                _ => {}
            }
        }
    }

    /// Takes what the hub has for the client.
    fn take(&mut self, cx: &mut Context<'_>) -> Option<Ended> {
        while self.codec.outgoing.len() < WRITE_BYTES {
            match self.session.subscription.poll_next(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => return Some(self.ended()),
                Poll::Ready(Some(chunk)) => {
                    let beat = chunk.control == Some(ControlEvent::Heartbeat);
                    self.put(chunk);
                    if beat {
                        // Objects are for the page's eyes; this one is answered by the library,
                        // without the page.
                        self.codec.outgoing.ping();
                        self.pings += 1;
                        if self.pings > PINGS {
                            return Some(Ended::Close(Close::SILENT));
                        }
                    }
                }
            }
        }
        None
    }

    fn put(&mut self, chunk: Chunk) {
        let mut bytes = chunk.bytes;
        if chunk.control == Some(ControlEvent::Topics)
            && self.work.take_if(|work| matches!(work, Work::Topics)).is_some()
        {
            bytes = self.session.messages.confirm(bytes);
        }
        self.codec.outgoing.text(bytes);
    }

    /// Hears one message, or reads. Ready: there may be more.
    fn hear(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        // Before they are taken apart: a message may have any number of fragments, and the library
        // reads all that there are at once.
        if too_many(&mut self.codec, &mut self.frames) {
            return Poll::Ready(Err(Ended::Close(Close::FRAMES)));
        }
        match self.codec.next() {
            Err(close) => return Poll::Ready(Err(Ended::Close(close))),
            Ok(Some(received)) => return Poll::Ready(self.heard(received)),
            Ok(None) => {}
        }
        let mut room = [0; 4 << 10];
        let mut buffer = ReadBuf::new(&mut room);
        match ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer)) {
            Ok(()) if !buffer.filled().is_empty() => {
                self.pings = 0;
                self.codec.receive(buffer.filled());
                Poll::Ready(Ok(()))
            }
            Ok(()) => Poll::Ready(Err(Ended::Gone)),
            Err(error) => Poll::Ready(Err(self.failed(&error))),
        }
    }

    /// How to end when the socket has failed. The kernel counts the write deadline as well.
    fn failed(&self, error: &io::Error) -> Ended {
        if error.kind() == io::ErrorKind::TimedOut {
            self.session.subscription.give_up();
        }
        Ended::Gone
    }

    fn heard(&mut self, received: Received) -> Result<(), Ended> {
        let text = match received {
            Received::Text(text) => text,
            Received::Life => return Ok(()),
            // The answer is on its way out.
            Received::Close => return Err(Ended::Close(CloseReason::Client.into())),
        };
        match self.pace.take(Instant::now()) {
            Verdict::Go => {
                self.answer(&text);
                Ok(())
            }
            Verdict::Refuse => {
                let answer = self.session.messages.too_fast(self.session.message_rate);
                self.codec.outgoing.text(answer);
                Ok(())
            }
            Verdict::Close => Err(Ended::Close(Close::RATE)),
        }
    }

    /// Begins with what the client wants.
    fn answer(&mut self, text: &str) {
        let Session { subscription, messages, .. } = &mut *self.session;
        self.work = match messages.answer(text, subscription) {
            Reply::Answer(answer) => {
                self.codec.outgoing.text(answer);
                return;
            }
            Reply::Later(answer) => Some(Work::Answer(answer)),
            Reply::Subscribe(topics) => {
                subscription.subscribe(topics);
                Some(Work::Topics)
            }
            Reply::Unsubscribe(topics) => {
                subscription.unsubscribe(topics);
                Some(Work::Topics)
            }
        };
    }

    /// It leaves every map before its goodbye: the next client need not wait for one that does not
    /// answer.
    async fn end(self, ended: Ended) {
        let Self { socket, mut codec, session, work, .. } = self;
        if let Ended::Close(close) = ended {
            if Close::OWN.contains(&close) {
                session.closed.with_label_values(&[close.reason()]).inc();
                // Read nothing more: parsing is the work that it was closed for.
                codec.fail();
            }
            drop((session, work));
            goodbye(socket, codec, close).await;
        }
    }

    /// How to end when the stream has.
    fn ended(&self) -> Ended {
        match self.session.subscription.close_reason() {
            // Its socket takes nothing: no goodbye either.
            None | Some(CloseReason::Client | CloseReason::WriteDeadline) => Ended::Gone,
            Some(leave) => Ended::Close(leave.into()),
        }
    }
}

/// Whether more frames have come than may.
fn too_many(codec: &mut Codec, pace: &mut Pace) -> bool {
    let frames = codec.more_frames();
    frames > 0 && pace.take_all(frames, Instant::now()) != Verdict::Go
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::permit::ConnectionPermit;
    use crate::socket::Socket;

    /// What an idle one costs, apart from its session and half a kilobyte for reading.
    #[test]
    fn the_task_is_small() {
        fn size<F>(_: impl Fn(Socket, Bytes, Box<Session>, ConnectionPermit) -> F) -> usize {
            size_of::<F>()
        }
        let bytes = size(run::<Socket>);
        assert!(bytes <= 704, "{bytes} bytes");
    }
}
