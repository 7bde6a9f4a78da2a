//! As much HTTP/2 as it takes to open streams: a few frames written by hand cost a client nothing that the server would miss.

use anyhow::{Result, bail, ensure};
use memchr::memmem;

const HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// `:status: 200` in HPACK's static table.
const STATUS_200: u8 = 0x88;

/// All that a client says to open a stream of each path.
pub(crate) fn requests(host: &str, tls: bool, paths: impl IntoIterator<Item = String>) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    frame(SETTINGS, 0, 0, &[], &mut bytes);
    for (number, path) in (0u32..).zip(paths) {
        // Static table: 2 is `:method: GET`, 6 and 7 are the schemes, 1 names `:authority`, 4 `:path`, 19 `accept`.
        let mut block = vec![0x82, if tls { 0x87 } else { 0x86 }];
        for (name, value) in [(&[1][..], host), (&[4], &path), (&[15, 4], "text/event-stream")] {
            block.extend_from_slice(name);
            // Longer lengths take more than one byte, and nothing here has one.
            block.push(value.len().min(126) as u8);
            block.extend_from_slice(&value.as_bytes()[..value.len().min(126)]);
        }
        frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &block, &mut bytes);
    }
    bytes
}

/// What the server says until all streams are open.
pub(crate) struct Opening {
    waiting: usize,
}

impl Opening {
    pub(crate) fn of(streams: usize) -> Self {
        Self { waiting: streams }
    }

    /// Takes whole frames from `bytes`, writes what has to be answered to `answer`, and says whether all streams are open.
    pub(crate) fn hear(&mut self, bytes: &mut Vec<u8>, answer: &mut Vec<u8>) -> Result<bool> {
        while bytes.len() >= HEAD {
            let end =
                HEAD + usize::from(bytes[0]) * 65_536 + usize::from(bytes[1]) * 256 + usize::from(bytes[2]);
            let (kind, flags) = (bytes[3], bytes[4]);
            let Some(payload) = bytes.get(HEAD..end) else { break };
            match kind {
                SETTINGS if flags & ACK == 0 => frame(SETTINGS, ACK, 0, &[], answer),
                PING if flags & ACK == 0 => frame(PING, ACK, 0, payload, answer),
                HEADERS => ensure!(payload.first() == Some(&STATUS_200), "a stream was refused"),
                DATA if memmem::find(payload, b"tidegate:ready").is_some() => {
                    self.waiting = self.waiting.saturating_sub(1);
                }
                RST_STREAM | GOAWAY => {
                    bail!("a stream was closed before it was open (frame {kind}: {payload:?})")
                }
                _ => {}
            }
            bytes.drain(..end);
        }
        Ok(self.waiting == 0)
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8], bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn said(frames: &[(u8, u8, u32, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (kind, flags, stream, payload) in frames {
            frame(*kind, *flags, *stream, payload, &mut bytes);
        }
        bytes
    }

    #[test]
    fn a_request_is_a_preface_settings_and_headers_on_odd_streams() {
        let bytes = requests("127.0.0.1:80", false, ["/a".to_owned(), "/b".to_owned()]);
        let mut expected = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
        for (stream, path) in [(1, b'a'), (3, b'b')] {
            expected.extend_from_slice(&[0, 0, 40, 1, 5, 0, 0, 0, stream, 0x82, 0x86, 1, 12]);
            expected.extend_from_slice(b"127.0.0.1:80\x04\x02/");
            expected.push(path);
            expected.extend_from_slice(b"\x0f\x04\x11text/event-stream");
        }
        assert_eq!(bytes, expected);
    }

    #[test]
    fn streams_are_open_when_each_has_said_so_wherever_the_reads_cut() {
        let ready: &[u8] = b"retry: 1\nevent: tidegate:ready\n";
        let bytes = said(&[
            (SETTINGS, 0, 0, &[0, 3, 0, 0, 1, 0]),
            (SETTINGS, ACK, 0, &[]),
            (HEADERS, END_HEADERS, 1, &[STATUS_200, 0x61]),
            (HEADERS, END_HEADERS, 3, &[STATUS_200]),
            (DATA, 0, 3, ready),
            (PING, 0, 0, b"12345678"),
            (DATA, 0, 1, ready),
        ]);
        for cut in 0..bytes.len() {
            let (mut opening, mut heard, mut answer) = (Opening::of(2), bytes[..cut].to_vec(), Vec::new());
            assert!(!opening.hear(&mut heard, &mut answer).unwrap(), "cut at {cut}");
            heard.extend_from_slice(&bytes[cut..]);
            assert!(opening.hear(&mut heard, &mut answer).unwrap(), "cut at {cut}");
            assert_eq!(answer, said(&[(SETTINGS, ACK, 0, &[]), (PING, ACK, 0, b"12345678")]));
        }
    }

    #[test]
    fn a_stream_that_does_not_open_is_an_error() {
        for refusal in
            [(HEADERS, END_HEADERS, 1, &[0x8d][..]), (RST_STREAM, 0, 1, &[0; 4]), (GOAWAY, 0, 0, &[0; 8])]
        {
            assert!(Opening::of(1).hear(&mut said(&[refusal]), &mut Vec::new()).is_err());
        }
    }
}
