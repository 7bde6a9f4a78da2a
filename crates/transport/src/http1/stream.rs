//! An event stream on a detached HTTP/1 socket: its socket, its framing, and a task as small as it
//! gets.
//!
//! hyper keeps about 20 kB for a connection whose response never ends. Once the head has been sent,
//! nothing of that is needed: the socket is taken back, the hub writes to it directly, and this
//! task only waits for the client to leave or the socket to drain.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tidegate_hub::{Flushed, SinkHandle, SubscriberHandle};

use crate::socket::{Client, DetachedSocket, Framing};

/// Runs the stream until it ends or its client leaves. `permits` are dropped with the connection.
///
/// What an idle stream costs is for the most part this future: it is made so that nothing is in it
/// twice, hence no `async fn`.
pub(crate) fn run<S: DetachedSocket>(
    socket: Arc<S>,
    framing: Framing,
    subscription: SubscriberHandle,
    permits: impl Send,
) -> impl Future<Output = ()> + Send {
    let mut subscription = subscription.attach(Arc::clone(&socket).writer(framing));
    async move {
        if poll_fn(|cx| poll(&*socket, &mut subscription, cx)).await == Ended::InOrder {
            let _ = socket.end(framing.last());
        }
        drop(subscription);
        drop((socket, permits));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    InOrder,
    Cut,
}

fn poll(socket: &impl DetachedSocket, subscription: &mut SinkHandle, cx: &mut Context<'_>) -> Poll<Ended> {
    match socket.client(cx) {
        Client::Waits => {}
        Client::Closed | Client::Gone => return Poll::Ready(Ended::Cut),
        Client::TimedOut => {
            subscription.give_up();
            return Poll::Ready(Ended::Cut);
        }
    }
    loop {
        match subscription.flush(cx) {
            Flushed::All => return Poll::Pending,
            Flushed::Blocked => match ready!(socket.poll_writable(cx)) {
                Ok(()) => {}
                Err(_) => return Poll::Ready(Ended::Cut),
            },
            Flushed::Ended => return Poll::Ready(Ended::InOrder),
            Flushed::Cut => return Poll::Ready(Ended::Cut),
        }
    }
}
