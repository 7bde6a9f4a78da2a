//! What came is no request that could be given to a route: a head that is too large, or no HTTP.
//!
//! The routes answer it all the same, so that it is a problem like any other, and pages of other
//! origins may read it.

use std::io;
use std::time::SystemTime;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Version, header};
use http_body_util::{BodyExt as _, Empty};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::{ConnectionInfo, Response, Routes, body};

/// Marks a request that stands for one that no route can be given, with the status to answer: in
/// the request's extensions.
#[derive(Clone, Copy)]
pub struct Unreadable(pub StatusCode);

/// Writes the routes' answer. `read`: what came in its place, as far as it was read.
pub(crate) async fn answer<S: AsyncWrite + Unpin>(
    socket: &mut S,
    status: StatusCode,
    read: &[u8],
    info: ConnectionInfo,
    routes: &Routes,
) -> io::Result<()> {
    let mut request = Request::new(body(Empty::new()));
    request.headers_mut().extend(origin(read).map(|origin| (header::ORIGIN, origin)));
    request.extensions_mut().insert(info);
    request.extensions_mut().insert(Unreadable(status));
    let mut response = routes.answer(request).await;
    if response.status() != status {
        // Routes that do not know the mark.
        response = Response::new(body(Empty::new()));
    }
    let (parts, text) = response.into_parts();
    let text = text.collect().await.map_err(io::Error::other)?.to_bytes();
    let mut out = format!("HTTP/1.1 {status}\r\n").into_bytes();
    for (name, value) in &finished(parts.headers, text.len()) {
        out.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&text);
    socket.write_all(&out).await?;
    socket.flush().await
}

fn finished(mut headers: HeaderMap, length: usize) -> HeaderMap {
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(header::CONTENT_LENGTH, length.into());
    if let Ok(now) = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now())) {
        headers.insert(header::DATE, now);
    }
    headers
}

/// Marks a request whose head is too large. The libraries let up to twice as much in, more or less:
/// what they refuse by themselves gets a status and nothing else on HTTP/2 and HTTP/3.
pub(crate) fn mark(request: &mut Parts, limit: usize) {
    // On HTTP/1 the bytes between names and values; else as RFC 9113, section 6.5.2, counts.
    let more = if request.version < Version::HTTP_2 { 4 } else { 32 };
    let fields = request.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + more);
    let target = request.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if fields.sum::<usize>() + target > limit {
        request.extensions.insert(Unreadable(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
    }
}

/// The origin of the page that sent it, if that part was read. Only what may read the answer hangs
/// on it.
fn origin(read: &[u8]) -> Option<HeaderValue> {
    read.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at(colon);
        // The last line may not be there whole.
        let value = value[1..].strip_suffix(b"\r")?.trim_ascii();
        name.eq_ignore_ascii_case(b"origin").then(|| HeaderValue::from_bytes(value).ok())?
    })
}
