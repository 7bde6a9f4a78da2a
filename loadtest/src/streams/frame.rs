//! A WebSocket's frames, as a server sends them: unmasked, and here never in parts.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::ear::{self, Fault, Listener};
use super::poll;

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A message of the gateway.
#[derive(Deserialize)]
struct Message<'a> {
    id: Option<&'a str>,
    event: Option<&'a str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// Takes whole frames: how many bytes they had, what is to be answered, and whether the server closes.
pub(super) fn hear(bytes: &mut [u8], to: &mut impl Listener) -> Result<(usize, Vec<u8>, bool), Fault> {
    let (mut at, mut answer) = (0, Vec::new());
    while let Some((code, head, length)) = header(&bytes[at..]) {
        let Some(payload) = bytes.get(at + head..at + head + length) else { break };
        at += head + length;
        match code {
            TEXT => message(payload, to)?,
            PING => {
                // Masked with zeros, which any mask may be.
                answer.extend_from_slice(&[0x80 | PONG, 0x80 | (length.min(125) as u8), 0, 0, 0, 0]);
                answer.extend_from_slice(payload);
            }
            CLOSE => return Ok((at, answer, true)),
            _ => {}
        }
    }
    Ok((at, answer, false))
}

/// Code, and lengths of head and payload.
fn header(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let code = bytes.first()? & 0x0f;
    let (head, length) = match bytes.get(1)? & 0x7f {
        126 => (4, u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?) as usize),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        short => (2, short as usize),
    };
    Some((code, head, length))
}

fn message(payload: &[u8], to: &mut impl Listener) -> Result<(), Fault> {
    let message: Message<'_> = serde_json::from_slice(payload).map_err(|_| Fault::Malformed)?;
    if let Some(id) = message.id {
        to.cursor(id);
    }
    let data = message.data.map_or("", RawValue::get);
    match message.event {
        Some("tidegate:ready") => to.opened(),
        Some("tidegate:closing") => to.closing(ear::reason(data.as_bytes())),
        Some("tidegate:reset") => to.reset(data.as_bytes()),
        _ => to.event(poll::text(data)),
    }
    Ok(())
}
