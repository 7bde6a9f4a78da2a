//! The transport's end of a stream. It stands above the parts, for it asks things of most of them.

use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use tidegate_protocol::Topic;

use crate::catch_up::CatchUp;
use crate::change::Change;
use crate::close_reason::CloseReason;
use crate::join::Join;
use crate::subscriber::{Batch, Chunk, Flushed, Sink, Subscriber};
use crate::users::Streams as _;

/// A transport's hold of its stream. Dropping it takes the stream out of every map.
pub struct SubscriberHandle {
    subscriber: Arc<Subscriber>,
    /// Weak: streams that are still open do not keep a hub that was stopped.
    hub: Weak<CatchUp>,
}

impl SubscriberHandle {
    /// Makes a subscriber that receives nothing yet.
    pub(crate) fn new(hub: &Arc<CatchUp>, join: &Join) -> Self {
        Self { subscriber: hub.subscribers().admit(join), hub: Arc::downgrade(hub) }
    }

    pub(crate) fn subscriber(&self) -> &Arc<Subscriber> {
        &self.subscriber
    }

    /// The next bytes to write, which are counted as sent; `None` when the stream has ended.
    ///
    /// After `None`, [`SubscriberHandle::is_cut`] tells whether the connection must be cut rather
    /// than ended in good order.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Chunk>> {
        /// Joined writes: as much as a socket's buffer usually takes.
        const WRITE_BYTES: usize = 64 << 10;
        let chunk = ready!(self.subscriber.poll_next(cx, WRITE_BYTES));
        self.count(chunk.as_slice());
        Poll::Ready(chunk)
    }

    /// Whether the stream was cut: its client did not read.
    pub fn is_cut(&self) -> bool {
        self.subscriber.is_cut()
    }

    /// Why the stream has ended, if it has.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.subscriber.close_reason()
    }

    /// Receives these as well, beginning with the next event. `tidegate:subscribed` follows on the
    /// stream when it is so.
    pub fn subscribe(&self, topics: Vec<Topic>) {
        if let Some(hub) = self.hub.upgrade() {
            hub.change(&self.subscriber, Change::Subscribe(topics));
        }
    }

    /// Receives these no longer, memberships among them until they change; `tidegate:unsubscribed`
    /// follows on the stream.
    pub fn unsubscribe(&self, topics: Vec<Topic>) {
        if let Some(hub) = self.hub.upgrade() {
            hub.change(&self.subscriber, Change::Unsubscribe(topics));
        }
    }

    /// How many topics its client asked for, the user's own among them: memberships don't count.
    pub fn topics(&self) -> usize {
        self.subscriber.requested()
    }

    /// Everything that waits, for a client that asks from time to time. With `wait`, only when
    /// there is something: an event, a reset or the end. What it returns is counted as sent.
    pub fn poll_batch(&mut self, cx: &mut Context<'_>, wait: bool) -> Poll<Batch> {
        let seen = |cursor: &_| self.hub.upgrade()?.seen().refresh(cursor);
        let batch = ready!(self.subscriber.poll_batch(cx, wait, seen));
        self.count(&batch.events);
        Poll::Ready(batch)
    }

    /// Counts events as sent.
    fn count(&self, chunks: &[Chunk]) {
        let Some(hub) = self.hub.upgrade() else { return };
        for chunk in chunks {
            hub.subscribers().metrics().sent(chunk.events, chunk.at);
        }
    }

    /// From now on the hub writes to `sink` itself.
    pub fn attach(self, sink: Box<dyn Sink>) -> SinkHandle {
        self.subscriber.attach_sink(sink);
        SinkHandle(self)
    }

    /// Cuts the stream: its socket took nothing for longer than allowed, and the transport heard of
    /// it first.
    pub fn give_up(&self) {
        self.subscriber.give_up();
    }

    /// Watches for the cut. Does not keep the stream open.
    pub fn watch(&self) -> Watch {
        Watch(Arc::clone(&self.subscriber))
    }

    /// The stream's name, unique on this node.
    pub fn id(&self) -> u64 {
        self.subscriber.id
    }
}

impl Drop for SubscriberHandle {
    fn drop(&mut self) {
        match self.hub.upgrade() {
            Some(hub) => hub.subscribers().depart(&self.subscriber),
            None => self.subscriber.abandon(),
        }
    }
}

/// A transport's hold of a stream that the hub writes to a [`Sink`] itself. Dropping it takes the
/// stream out of every map.
pub struct SinkHandle(SubscriberHandle);

impl SinkHandle {
    /// Writes what waits. The task of `cx` is woken when it should flush again, but not when the
    /// socket takes more after [`Flushed::Blocked`]: that is for the sink's owner to see.
    pub fn flush(&mut self, cx: &mut Context<'_>) -> Flushed {
        let Some(hub) = self.0.hub.upgrade() else { return Flushed::Cut };
        let subscribers = hub.subscribers();
        self.0.subscriber.poll_flush(cx, subscribers.metrics(), subscribers.clock().now())
    }

    /// As [`SubscriberHandle::give_up`].
    pub fn give_up(&self) {
        self.0.give_up();
    }
}

/// Tells when a stream is cut, to a transport whose library asks for bytes only while the client
/// takes some.
#[derive(Clone)]
pub struct Watch(Arc<Subscriber>);

impl Watch {
    /// Ready when the stream was cut. To be polled by the task that polls the handle: there is one
    /// waker for both.
    pub fn poll_cut(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_cut(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_two_pointers() {
        assert_eq!(size_of::<SubscriberHandle>(), 16);
    }
}
