//! The bytes below a stream: HTTP/1.x by hand, since a test has to see how a connection ends and to leave bytes
//! unread, HTTP/2 by reqwest, and HTTP/3 by quinn and h3.

use std::fmt::Debug;
use std::io;

use bytes::{Buf, Bytes, BytesMut};
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::End;

/// The body of a response, read only when asked.
#[derive(Debug)]
pub(super) enum Body {
    Http1(Http1),
    Http2(reqwest::Response),
    Http3(Box<crate::Response>),
}

impl Body {
    /// The next bytes, or the end. Cancelling it loses nothing.
    pub(super) async fn read(&mut self) -> Result<Bytes, End> {
        match self {
            Body::Http1(connection) => connection.read().await,
            Body::Http2(response) => match response.chunk().await {
                Ok(Some(bytes)) => Ok(bytes),
                Ok(None) => Err(End::Clean),
                Err(e) => Err(End::Reset(format!("{e:?}"))),
            },
            Body::Http3(response) => response.read().await,
        }
    }
}

/// What HTTP/1.x runs over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Debug + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Debug + Send + Sync + Unpin> Stream for T {}

#[derive(Debug)]
pub(super) struct Http1 {
    stream: Box<dyn Stream>,
    buffer: BytesMut,
    framing: Framing,
}

#[derive(Debug, Clone, Copy)]
enum Framing {
    /// Bytes left of the chunk, its closing CRLF included; 0: a size line comes next.
    Chunked(usize),
    Length(usize),
    UntilClose,
    Done,
}

impl Http1 {
    /// Reads the response's head from a stream on which the request was written.
    pub(super) async fn response(mut stream: Box<dyn Stream>) -> io::Result<(StatusCode, HeaderMap, Http1)> {
        let mut buffer = BytesMut::with_capacity(4096);
        let (status, headers) = loop {
            if let Some(end) = find(&buffer, b"\r\n\r\n") {
                let head = buffer.split_to(end + 4);
                let (status, headers) = parse_head(&head).ok_or_else(|| invalid("malformed head", &head))?;
                if !status.is_informational() {
                    break (status, headers);
                }
            } else if stream.read_buf(&mut buffer).await? == 0 {
                return Err(invalid("closed before a response", &buffer));
            }
        };
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let framing = if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            Framing::Done
        } else if text("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            Framing::Chunked(0)
        } else if let Some(length) = text("content-length").and_then(|length| length.parse().ok()) {
            Framing::Length(length)
        } else {
            Framing::UntilClose
        };
        Ok((status, headers, Http1 { stream, buffer, framing }))
    }

    async fn read(&mut self) -> Result<Bytes, End> {
        loop {
            if let Some(bytes) = self.decode()? {
                return Ok(bytes);
            }
            self.buffer.reserve(4096);
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) if matches!(self.framing, Framing::UntilClose) => return Err(End::Clean),
                Ok(0) => return Err(End::Truncated),
                Ok(_) => {}
                // TLS without its own end.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Err(End::Truncated),
                Err(e) => return Err(End::Reset(e.to_string())),
            }
        }
    }

    /// What the buffer holds of the body; none if more has to be read first.
    fn decode(&mut self) -> Result<Option<Bytes>, End> {
        loop {
            match self.framing {
                Framing::Done | Framing::Length(0) => return Err(End::Clean),
                _ if self.buffer.is_empty() => return Ok(None),
                Framing::UntilClose => return Ok(Some(self.buffer.split().freeze())),
                Framing::Length(left) => {
                    let bytes = self.buffer.split_to(left.min(self.buffer.len()));
                    self.framing = Framing::Length(left - bytes.len());
                    return Ok(Some(bytes.freeze()));
                }
                Framing::Chunked(0) => {
                    let Some(end) = find(&self.buffer, b"\r\n") else { return Ok(None) };
                    let line = self.buffer.split_to(end + 2);
                    let size =
                        chunk_size(&line).ok_or_else(|| End::Reset(format!("no chunk size: {line:?}")))?;
                    self.framing = if size == 0 { Framing::Done } else { Framing::Chunked(size + 2) };
                }
                Framing::Chunked(left) => {
                    let taken = left.min(self.buffer.len());
                    let data = taken.min(left.saturating_sub(2));
                    let bytes = self.buffer.split_to(data).freeze();
                    self.buffer.advance(taken - data);
                    self.framing = Framing::Chunked(left - taken);
                    if !bytes.is_empty() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }
}

fn chunk_size(line: &[u8]) -> Option<usize> {
    let line = std::str::from_utf8(line).ok()?;
    usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()
}

fn parse_head(head: &[u8]) -> Option<(StatusCode, HeaderMap)> {
    let mut lines = std::str::from_utf8(head).ok()?.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let mut headers = HeaderMap::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':')?;
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_str(value.trim()).ok()?);
    }
    Some((status, headers))
}

fn find(buffer: &[u8], wanted: &[u8]) -> Option<usize> {
    buffer.windows(wanted.len()).position(|window| window == wanted)
}

fn invalid(what: &str, bytes: &[u8]) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what}: {:?}", String::from_utf8_lossy(bytes)))
}
