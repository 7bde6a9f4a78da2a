//! The part of HTTP/1.1 that a client's answers consist of.

use memchr::memchr;

use super::ear::Fault;

/// What an answer's head says.
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) body: Body,
}

impl Head {
    /// `head` ends before its empty line.
    pub(crate) fn parse(head: &[u8]) -> Result<Self, Fault> {
        let text = std::str::from_utf8(head).map_err(|_| Fault::Malformed)?;
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok());
        let status = status.ok_or(Fault::Malformed)?;
        let mut body = Body::UntilClose;
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                body = Body::Length(value.parse().map_err(|_| Fault::Malformed)?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked")
            {
                body = Body::Chunked(Chunk::Size(0));
            }
        }
        // No content, and nothing that says so.
        let body = if status == 204 { Body::Length(0) } else { body };
        Ok(Self { status, body })
    }
}

/// How an answer's body is cut out of the connection's bytes.
#[derive(Debug)]
pub(crate) enum Body {
    /// So many bytes are still to come.
    Length(usize),
    Chunked(Chunk),
    UntilClose,
}

#[derive(Debug)]
pub(crate) enum Chunk {
    /// In the digits of a size.
    Size(usize),
    /// In what a size's line has besides.
    Extension(usize),
    /// So many bytes are still to come.
    Data(usize),
    /// In the line end after the data.
    End,
    /// After the last chunk.
    Trailer,
}

impl Body {
    /// Takes the encoding off, in place; how many bytes are left.
    pub(crate) fn decode(&mut self, bytes: &mut [u8]) -> Result<usize, Fault> {
        match self {
            Self::UntilClose => Ok(bytes.len()),
            Self::Length(left) => {
                let count = bytes.len().min(*left);
                *left -= count;
                Ok(count)
            }
            Self::Chunked(chunk) => unchunk(chunk, bytes),
        }
    }

    /// No more of it will come.
    pub(crate) fn finished(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunk::Trailer))
    }
}

fn unchunk(state: &mut Chunk, bytes: &mut [u8]) -> Result<usize, Fault> {
    let (mut at, mut kept) = (0, 0);
    while at < bytes.len() {
        match state {
            Chunk::Size(size) => {
                match bytes[at] {
                    b'\n' => *state = if *size == 0 { Chunk::Trailer } else { Chunk::Data(*size) },
                    b';' | b'\r' | b' ' => *state = Chunk::Extension(*size),
                    digit => {
                        let digit = char::from(digit).to_digit(16).ok_or(Fault::Malformed)?;
                        *size = size.checked_mul(16).ok_or(Fault::Malformed)? + digit as usize;
                    }
                }
                at += 1;
            }
            Chunk::Extension(size) => {
                let Some(end) = memchr(b'\n', &bytes[at..]) else { break };
                *state = if *size == 0 { Chunk::Trailer } else { Chunk::Data(*size) };
                at += end + 1;
            }
            Chunk::Data(left) => {
                let count = (bytes.len() - at).min(*left);
                bytes.copy_within(at..at + count, kept);
                (at, kept) = (at + count, kept + count);
                *left -= count;
                if *left == 0 {
                    *state = Chunk::End;
                }
            }
            Chunk::End => {
                if bytes[at] == b'\n' {
                    *state = Chunk::Size(0);
                }
                at += 1;
            }
            Chunk::Trailer => break,
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn chunks_are_taken_off_wherever_the_reads_cut() {
        let coded = b"5\r\nhello\r\n1;x=y\r\n \r\nb\r\nwonderful 1\r\n0\r\n\r\n";
        for cut in 0..coded.len() {
            let mut body = Body::Chunked(Chunk::Size(0));
            let mut plain = Vec::new();
            for part in [&coded[..cut], &coded[cut..]] {
                let mut part = part.to_vec();
                let count = body.decode(&mut part).unwrap();
                plain.extend_from_slice(&part[..count]);
            }
            assert_eq!(plain, b"hello wonderful 1", "cut at {cut}");
            assert!(body.finished());
        }
    }

    #[test]
    fn a_head_says_status_and_length() {
        let head = Head::parse(b"HTTP/1.1 200 OK\r\nContent-Length: 7").unwrap();
        assert_eq!(head.status, 200);
        assert!(matches!(head.body, Body::Length(7)));
        let head = Head::parse(b"HTTP/1.1 503 Service Unavailable\r\ntransfer-encoding: chunked").unwrap();
        assert_eq!(head.status, 503);
        assert!(matches!(head.body, Body::Chunked(_)));
        assert!(matches!(Head::parse(b"HTTP/1.0 200 OK").unwrap().body, Body::UntilClose));
        assert!(Head::parse(b"HTTP/1.1 204 No Content").unwrap().body.finished());
        for other in [&b"SSH-2.0"[..], b"HTTP/1.1", b"HTTP/1.1 2x0", b"\xff"] {
            assert!(Head::parse(other).is_err());
        }
        assert!(Body::Chunked(Chunk::Size(0)).decode(&mut b"zz".to_vec()).is_err());
    }
}
