use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use crate::poll::Poll;
use crate::socket::{Client, DetachedSocket, Framing, Socket};

/// Waits for the answer and writes it. Gives the socket back, unless the client is gone, or did not
/// read, or said more than it was asked for: no client has reason to send the next request before
/// it knows where to go on. A client that closes its side is answered at once: it may still read,
/// and hears from where to go on.
pub(super) async fn run<S: DetachedSocket>(
    socket: Arc<S>,
    mut poll: Poll,
    write_deadline: Duration,
) -> Option<Socket> {
    let body = poll_fn(|cx| match socket.client(cx) {
        Client::Waits => poll.poll_answer(cx, true),
        Client::Closed => poll.poll_answer(cx, false),
        Client::Gone | Client::TimedOut => task::Poll::Ready(None),
    });
    let body = body.await?;
    drop(poll);
    let chunk = [format!("{:x}\r\n", body.len()).into(), body, Bytes::from_static(b"\r\n0\r\n\r\n")];
    let mut writer = Arc::clone(&socket).writer(Framing::Close);
    let written = async {
        let mut whole = writer.send(&chunk)?;
        while !whole {
            // For each piece: a client that is only slow gets all of it, as it would from hyper.
            timeout(write_deadline, poll_fn(|cx| socket.poll_writable(cx))).await??;
            whole = writer.resume()?;
        }
        io::Result::Ok(())
    };
    written.await.ok()?;
    drop(writer);
    Arc::into_inner(socket).map(DetachedSocket::into_socket)
}
