//! One stream of an HTTP/2 connection as a wire: RFC 8441.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use reqwest::header::HeaderMap;
use reqwest::{Method, Url};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinHandle;

use super::{Refused, Wire};

/// Both directions of the stream.
#[derive(Debug)]
pub(super) struct Stream {
    send: SendStream<Bytes>,
    receive: RecvStream,
    /// What came and was not read.
    rest: Bytes,
}

/// Asks for a WebSocket with an extended CONNECT.
pub(super) async fn connect(
    wire: Box<dyn Wire>,
    url: &Url,
    headers: &HeaderMap,
    window: Option<u32>,
) -> Result<(HeaderMap, Stream, JoinHandle<()>), Refused> {
    let mut builder = h2::client::Builder::new();
    if let Some(bytes) = window {
        builder.initial_window_size(bytes);
    }
    let (client, connection) = builder.handshake(wire).await.map_err(broken)?;
    let driver = tokio::spawn(async move {
        let _ = connection.await;
    });
    let mut client = client.ready().await.map_err(broken)?;
    // The server's settings say whether it may be asked; they come first thing, but not before the first request need be sent.
    while !client.is_extended_connect_protocol_enabled() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let mut request = ::http::Request::builder().method(Method::CONNECT).uri(url.as_str());
    request = request.header("sec-websocket-version", "13").extension(Protocol::from_static("websocket"));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(()).expect("a request");
    let (response, send) = client.send_request(request, false).map_err(broken)?;
    let (head, mut receive) = response.await.map_err(broken)?.into_parts();
    if !head.status.is_success() {
        let mut body = Vec::new();
        while let Some(Ok(bytes)) = receive.data().await {
            body.extend_from_slice(&bytes);
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        return Err(Refused::Answered(head.status, head.headers, body));
    }
    Ok((head.headers, Stream { send, receive, rest: Bytes::new() }, driver))
}

fn broken(error: h2::Error) -> Refused {
    Refused::Io(io::Error::other(error))
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(self.receive.poll_data(cx)) {
                Some(Ok(bytes)) => self.rest = bytes,
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest[..length]);
        self.rest.advance(length);
        let _ = self.receive.flow_control().release_capacity(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.send.reserve_capacity(bytes.len());
        while self.send.capacity() == 0 {
            match ready!(self.send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let length = bytes.len().min(self.send.capacity());
        let sent = self.send.send_data(Bytes::copy_from_slice(&bytes[..length]), false);
        Poll::Ready(sent.map(|()| length).map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.send.send_data(Bytes::new(), true).map_err(io::Error::other))
    }
}
