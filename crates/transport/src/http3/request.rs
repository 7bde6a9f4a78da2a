//! One request on a QUIC stream: its head, the route, the answer.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use h3::error::{Code, StreamError};
use h3::server::{RequestResolver, RequestStream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body::Body as _;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::Shared;
use super::body::Incoming;
use super::quic::{self, Handle};
use super::stream::{self, FRAME_HEADER};
use crate::request::{Body, ConnectionInfo, Response, Unreadable, body, mark};
use crate::takeover::{OpenStream, Owner, Takeover};
use crate::unread::{Arrival, RequestBody};

/// Bytes that a request's frames may take beside its body, and a body whose route reads it to see
/// that it is too long.
const SLACK: usize = 1 << 20;

/// Headers that say something about an HTTP/1.1 connection: RFC 9114, section 4.2, forbids them.
const OF_CONNECTIONS: [HeaderName; 5] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

pub(super) struct Request {
    shared: Arc<Shared>,
    handle: Arc<Handle>,
    info: ConnectionInfo,
    requests: TaskTracker,
}

/// An answer whose head is with QUIC.
struct Begun {
    body: Body,
    takeover: Arc<Takeover>,
    /// What the route has left of the request's body. Dropped, it tells the client that the rest is
    /// not wanted, which must not be before the answer: the client may take it for a failure.
    rest: Option<Box<Incoming>>,
}

/// What has become of a request.
enum Answered {
    /// All of the answer is with QUIC.
    Whole,
    /// It is a stream.
    Stream(OpenStream),
    /// It can't be answered, or not to its end.
    Broken(Code),
}

impl Request {
    /// `requests`: the connection's, for the stream's task.
    pub(super) fn new(
        shared: Arc<Shared>,
        handle: Arc<Handle>,
        info: ConnectionInfo,
        requests: TaskTracker,
    ) -> Self {
        Self { shared, handle, info, requests }
    }

    pub(super) async fn run(self, resolver: RequestResolver<quic::Connection, Bytes>) {
        let mut stopped = pin!(self.handle.stopped());
        let mut rest = None;
        let answered = async {
            // Boxed: while a poll waits for its answer, nothing of this is needed any more.
            match Box::pin(self.begin(resolver)).await {
                Ok(begun) => {
                    rest = begun.rest;
                    self.write(begun.body, &begun.takeover).await
                }
                Err(answered) => answered,
            }
        };
        let answered = tokio::select! {
            answered = answered => answered,
            // The client has left: the route's work is dropped.
            () = stopped.as_mut() => Answered::Broken(Code::H3_REQUEST_CANCELLED),
        };
        let deadline = self.shared.options.write_deadline;
        match answered {
            Answered::Whole => {
                self.handle.finish();
                drop(rest);
                // The connection may be closed only when the client has it all.
                let _ = timeout(deadline, stopped).await;
            }
            // A task of its own, a fraction of this one's size.
            Answered::Stream(open) => {
                drop(self.requests.spawn(stream::run(Arc::clone(&self.handle), open, deadline)));
            }
            Answered::Broken(code) => self.handle.reset(code),
        }
    }

    /// Answers up to the end of the head. Gives the rest of the answer, or why there is none to
    /// come.
    async fn begin(&self, resolver: RequestResolver<quic::Connection, Bytes>) -> Result<Begun, Answered> {
        let options = &self.shared.options;
        let (request, stream) = match timeout(options.header_timeout, resolver.resolve_request()).await {
            Ok(Ok(resolved)) => resolved,
            // The library has answered 431.
            Ok(Err(StreamError::HeaderTooBig { .. })) => return Err(Answered::Whole),
            Ok(Err(StreamError::StreamError { code, .. })) => return Err(Answered::Broken(code)),
            Ok(Err(error)) => {
                tracing::debug!(%error, "request");
                return Err(Answered::Broken(Code::H3_REQUEST_CANCELLED));
            }
            Err(_) => return Err(Answered::Broken(Code::H3_REQUEST_INCOMPLETE)),
        };
        self.handle.allow(options.body_bytes.saturating_add(SLACK));
        let (mut send, receive) = stream.split();
        let takeover = Arc::new(Takeover::default());
        let (response, arrival) = self.route(request, receive, &takeover).await;
        let rest = arrival.take_rest().map(|(rest, _)| Box::new(rest));
        let rest = rest.and_then(|mut rest| (!rest.is_over()).then_some(rest));
        let (mut parts, body) = response.into_parts();
        finish_head(&mut parts.headers);
        let sent = send.send_response(http::Response::from_parts(parts, ()));
        match timeout(options.write_deadline, sent).await {
            Ok(Ok(())) => Ok(Begun { body, takeover, rest }),
            Ok(Err(error)) => {
                tracing::debug!(%error, "response");
                Err(Answered::Broken(Code::H3_INTERNAL_ERROR))
            }
            Err(_) => Err(Answered::Broken(Code::H3_REQUEST_CANCELLED)),
        }
    }

    async fn route(
        &self,
        request: http::Request<()>,
        receive: RequestStream<quic::RecvStream, Bytes>,
        takeover: &Arc<Takeover>,
    ) -> (Response, Arc<Arrival<Incoming>>) {
        let (mut parts, ()) = request.into_parts();
        let (incoming, arrival) = RequestBody::new(Incoming::new(receive, &parts.headers), &parts.headers);
        parts.extensions.insert(self.info.clone().with_takeover(takeover));
        mark(&mut parts, self.shared.options.header_bytes);
        if parts.method == Method::CONNECT {
            // WebSocket over HTTP/3 (RFC 9220) would begin like this.
            parts.extensions.insert(Unreadable(StatusCode::NOT_IMPLEMENTED));
        }
        let request = http::Request::from_parts(parts, body(incoming));
        (self.shared.routes.answer(request).await, arrival)
    }

    /// Writes the body, or finds that it is a stream.
    async fn write(&self, mut body: Body, takeover: &Takeover) -> Answered {
        loop {
            let next = poll_fn(|cx| match Pin::new(&mut body).poll_frame(cx) {
                Poll::Ready(frame) => Poll::Ready(Ok(frame)),
                Poll::Pending => match takeover.take() {
                    Some(Owner::Stream(open)) => Poll::Ready(Err(open)),
                    // Polls and WebSockets stay where they are.
                    Some(Owner::Poll(_) | Owner::WebSocket(_)) | None => Poll::Pending,
                },
            });
            let frame = match next.await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(_))) => return Answered::Broken(Code::H3_INTERNAL_ERROR),
                Ok(None) => return Answered::Whole,
                Err(open) => return Answered::Stream(open),
            };
            let Ok(data) = frame.into_data() else { continue };
            match timeout(self.shared.options.write_deadline, self.send(data)).await {
                Ok(Ok(())) => {}
                _ => return Answered::Broken(Code::H3_REQUEST_CANCELLED),
            }
        }
    }

    async fn send(&self, data: Bytes) -> io::Result<()> {
        let mut header = BytesMut::with_capacity(FRAME_HEADER);
        stream::put_header(&mut header, data.len());
        let mut parts = [header.freeze(), data];
        let mut left = &mut parts[..];
        while !left.is_empty() {
            let written = poll_fn(|cx| pin!(self.handle.send().write_chunks(left)).poll(cx)).await?;
            left = &mut left[written.chunks..];
        }
        Ok(())
    }
}

/// What an HTTP library sees to on other versions.
fn finish_head(headers: &mut HeaderMap) {
    for name in OF_CONNECTIONS {
        headers.remove(name);
    }
    if let Ok(now) = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now())) {
        headers.entry(header::DATE).or_insert(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A waiting poll costs this, as a stream costs its own, smaller one.
    #[test]
    fn a_task_that_waits_for_its_body_is_small() {
        fn size<F>(_: impl Fn(Request, RequestResolver<quic::Connection, Bytes>) -> F) -> usize {
            size_of::<F>()
        }
        let bytes = size(Request::run);
        assert!(bytes <= 1_664, "{bytes} bytes");
    }
}
