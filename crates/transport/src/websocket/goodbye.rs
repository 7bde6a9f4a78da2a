//! How a WebSocket is closed.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::close::Close;
use super::codec::{Codec, Received};

/// How long a client may take to answer the goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// Bytes of a client that are read after the goodbye: more than two kernels hold of what was on its
/// way.
const GOODBYE_BYTES: usize = 16 << 20;

/// Says goodbye behind what waits, and waits for the client's: a socket that is closed with
/// something unread in it would be reset, and the goodbye lost.
pub(super) async fn goodbye<S: AsyncRead + AsyncWrite + Unpin>(socket: S, codec: Codec, close: Close) {
    let _ = timeout(GOODBYE, exchange(socket, codec, close)).await;
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: S,
    mut codec: Codec,
    close: Close,
) -> io::Result<()> {
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

/// Writes what waits.
pub(super) fn poll_write<S: AsyncWrite + Unpin>(
    socket: &mut S,
    codec: &mut Codec,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while codec.outgoing.len() > 0 {
        let written = ready!(Pin::new(&mut *socket).poll_write_vectored(cx, &codec.outgoing.parts()))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        codec.outgoing.advance(written);
    }
    Pin::new(socket).poll_flush(cx)
}
