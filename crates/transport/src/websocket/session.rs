use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_hub::{Chunk, Leave, Word};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::Session;
use super::close::Close;
use super::codec::{Codec, Received};
use super::message::{self, Message, Reference, Request};
use super::pace::{Pace, Verdict};
use crate::problem::Problem;
use crate::receive;
use crate::routes::publish;

/// Bytes that are made ready for one write. What waits beyond them waits in the outbox, where it is counted.
const MOST: usize = 64 << 10;

/// What a message may have besides one event's data: topics, names, keys, white space.
const ENVELOPE: usize = 16 << 10;

/// Pings that may stay without a sign of life. Every client's library answers them; one that does not is gone, and a proxy has not noticed.
const PINGS: u8 = 3;

/// How long a client may take to answer the goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// Bytes of a client that are read after the goodbye: more than two kernels hold of what was on its
/// way.
const GOODBYE_BYTES: usize = 16 << 20;

/// Runs a WebSocket until it ends. `early`: what was read of the socket with the handshake. `held` is dropped with the
/// connection.
///
/// What an idle one costs is this future and what it points to: nothing is in it twice, and nothing that only its end needs.
pub(crate) fn run<S>(
    socket: S,
    early: Bytes,
    session: Box<Session>,
    held: impl Send,
) -> impl Future<Output = ()> + Send
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut connection = Connection::new(socket, session);
    connection.codec.receive(&early);
    // Even empty it keeps hyper's read buffer alive.
    drop(early);
    async move {
        let ended = poll_fn(|cx| connection.poll(cx)).await;
        Box::pin(connection.leave(ended)).await;
        drop(held);
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
    /// The hub says on the stream when topics have come or gone.
    Topics(Option<Reference>),
    Publish(Pin<Box<dyn Future<Output = Bytes> + Send>>),
}

enum Ended {
    /// The client is there no more.
    Gone,
    Close(Close),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    fn new(socket: S, session: Box<Session>) -> Self {
        let limits = &session.app.options.limits;
        let codec = Codec::new(limits.event_bytes + ENVELOPE);
        let now = Instant::now();
        let (pace, frames) = (Pace::new(limits.ws_messages, now), Pace::new(limits.ws_frames, now));
        Self { socket, codec, session, pace, frames, work: None, pings: 0 }
    }

    /// One round after the other: writes what waits, takes what is new, and hears what the client says, until there is nothing to do.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        loop {
            match poll_write(&mut self.socket, &mut self.codec, cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Ended::Gone),
                Poll::Pending => {
                    ready!(self.session.subscription.watch().poll_cut(cx));
                    return Poll::Ready(self.ended());
                }
            }
            if let Some(Work::Publish(publishing)) = &mut self.work
                && let Poll::Ready(answer) = publishing.as_mut().poll(cx)
            {
                self.work = None;
                self.codec.outgoing.text(answer);
            }
            let ended = self.take(cx);
            // One message a round, and all that is said is in the socket before the next: so no client's answers pile up.
            // Of one that is ending only what waits still goes out: what let it speak may be over.
            let hears = self.work.is_none() && self.session.subscription.left().is_none();
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
        while self.codec.outgoing.len() < MOST {
            match self.session.subscription.poll_next(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => return Some(self.ended()),
                Poll::Ready(Some(chunk)) => {
                    let beat = chunk.word == Some(Word::Heartbeat);
                    self.put(chunk);
                    if beat {
                        // Objects are for the page's eyes; this one is answered by the library, without the page.
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
        self.session.app.hub.metrics().sent(chunk.events, chunk.at);
        let mut bytes = chunk.bytes;
        if chunk.word == Some(Word::Topics)
            && let Some(Work::Topics(reference)) = self.work.take()
        {
            bytes = message::refer(bytes, reference.as_ref());
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
            _ => Poll::Ready(Err(Ended::Gone)),
        }
    }

    fn heard(&mut self, received: Received) -> Result<(), Ended> {
        let text = match received {
            Received::Text(text) => text,
            Received::Life => return Ok(()),
            // The answer is on its way out.
            Received::Close => return Err(Ended::Close(Leave::Client.into())),
        };
        match self.pace.take(Instant::now()) {
            Verdict::Go => {
                let Message { reference, request } = Message::parse(&text);
                drop(text);
                if let Err(problem) = request.and_then(|request| self.begin(request, reference.clone())) {
                    self.refuse(&problem, reference.as_ref());
                }
                Ok(())
            }
            Verdict::Refuse => {
                let rate = self.session.app.options.limits.ws_messages;
                self.refuse(&Problem::too_many_messages(rate), None);
                Ok(())
            }
            Verdict::Close => Err(Ended::Close(Close::RATE)),
        }
    }

    fn refuse(&mut self, problem: &Problem, reference: Option<&Reference>) {
        self.session.app.metrics.ws_refused.with_label_values(&[problem.code()]).inc();
        self.codec.outgoing.text(message::error(problem, reference));
    }

    /// Begins with what the client wants, if it may have it.
    fn begin(&mut self, request: Request, reference: Option<Reference>) -> Result<(), Problem> {
        let Session { app, who, subscription, .. } = &*self.session;
        app.metrics.ws_messages.with_label_values(&[request.kind()]).inc();
        self.work = Some(match request {
            Request::Subscribe(names) => {
                let topics = receive::more_topics(app, who, &names, subscription.topics())?;
                subscription.subscribe(topics);
                Work::Topics(reference)
            }
            Request::Unsubscribe(names) => {
                subscription.unsubscribe(receive::fewer_topics(app, &names)?);
                Work::Topics(reference)
            }
            Request::Publish(event) => {
                let (app, who) = (app.clone(), who.clone());
                Work::Publish(Box::pin(async move {
                    let published = async {
                        let body = publish::Body::json(event.get().as_bytes(), app.options.limits.batch)?;
                        publish::publish(&app, &who, None, body).await
                    };
                    match published.await.map_err(|problem: Problem| problem.under("publish")) {
                        Ok(receipts) => message::answer("tidegate:published", receipts, reference.as_ref()),
                        Err(problem) => {
                            app.metrics.ws_refused.with_label_values(&[problem.code()]).inc();
                            message::error(&problem, reference.as_ref())
                        }
                    }
                }))
            }
        });
        Ok(())
    }

    /// It leaves every map before its goodbye: whoever waits for its place need not wait for a client that does not answer.
    async fn leave(self, ended: Ended) {
        let Self { socket, mut codec, session, work, .. } = self;
        if let Ended::Close(close) = ended {
            if Close::OWN.contains(&close) {
                session.app.metrics.ws_closed.with_label_values(&[close.reason()]).inc();
                // Read nothing more: parsing is the work that it was closed for.
                codec.fail();
            }
            drop((session, work));
            let _ = tokio::time::timeout(GOODBYE, goodbye(socket, codec, close)).await;
        }
    }

    /// How to end when the stream has.
    fn ended(&self) -> Ended {
        match self.session.subscription.left() {
            // Its socket takes nothing: no goodbye either.
            None | Some(Leave::Client | Leave::WriteDeadline) => Ended::Gone,
            Some(leave) => Ended::Close(leave.into()),
        }
    }
}

/// Writes what waits.
fn poll_write<S: AsyncWrite + Unpin>(
    socket: &mut S,
    codec: &mut Codec,
    cx: &mut Context<'_>,
) -> Poll<std::io::Result<()>> {
    while codec.outgoing.len() > 0 {
        let written = ready!(Pin::new(&mut *socket).poll_write_vectored(cx, &codec.outgoing.parts()))?;
        if written == 0 {
            return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
        }
        codec.outgoing.advance(written);
    }
    Pin::new(socket).poll_flush(cx)
}

/// Whether more frames have come than may.
fn too_many(codec: &mut Codec, pace: &mut Pace) -> bool {
    let frames = codec.more_frames();
    frames > 0 && pace.take_all(frames, Instant::now()) != Verdict::Go
}

/// Says goodbye behind what waits, and waits for the client's: a socket that is closed with something unread in it would be reset, and the
/// goodbye lost.
async fn goodbye<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: S,
    mut codec: Codec,
    close: Close,
) -> std::io::Result<()> {
    use tokio::io::AsyncReadExt;

    codec.close(close);
    poll_fn(|cx| poll_write(&mut socket, &mut codec, cx)).await?;
    let mut room = [0; 4 << 10];
    let mut rest = socket.take(GOODBYE_BYTES as u64);
    while !codec.failed() {
        match codec.next() {
            Ok(None) => match rest.read(&mut room).await? {
                0 => break,
                length => codec.receive(&room[..length]),
            },
            // What it said before it heard the goodbye.
            Ok(Some(Received::Text(_) | Received::Life)) | Err(_) => {}
            Ok(Some(Received::Close)) => break,
        }
    }
    rest.get_mut().shutdown().await?;
    while codec.failed() && rest.read(&mut room).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Socket;
    use crate::serve::Open;

    /// What an idle one costs, apart from its session and half a kilobyte for reading.
    #[test]
    fn the_task_is_small() {
        fn size<F>(_: impl Fn(Socket, Bytes, Box<Session>, Open) -> F) -> usize {
            size_of::<F>()
        }
        let bytes = size(run::<Socket>);
        assert!(bytes <= 704, "{bytes} bytes");
    }
}
