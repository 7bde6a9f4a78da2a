use bytes::Bytes;

use crate::cursor::{Cursor, Epoch, MAX_OFFSET, Offset, Position};
use crate::data::Data;
use crate::event::EventName;
use crate::topic::Topic;

/// What travels between nodes, and what a topic's stream stores.
///
/// Two lines and the data, all UTF-8:
/// ```text
/// 1 k3x9a 4711 4702        version, epoch, offset, previous offset of the topic (`-`: not stored). Written by the store
/// j 1760000000000 chat     kind, milliseconds, name. Written by the publishing node
/// {"text":"hi"}            data: the rest, whatever bytes it has
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Where the partition's counter stood: for a stored event, its own number.
    pub position: Position,
    /// As in [`crate::Mark::prev`].
    pub prev: Option<Offset>,
    /// What is said.
    pub message: Message,
}

/// The kinds of message between nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// An event for the channel's topic.
    Event {
        /// SSE event name.
        name: Option<EventName>,
        /// Payload.
        data: Data,
        /// Milliseconds since 1970.
        at: u64,
    },
    /// On a user's own topic: the user became a member of `topic`.
    Joined {
        /// The topic that the user's streams receive from now on.
        topic: Topic,
        /// Where the topic's partition stood then: nothing after it may be missed.
        from: Cursor,
    },
    /// On a user's own topic: the user is no longer a member.
    Left {
        /// The topic that the user's streams no longer receive.
        topic: Topic,
    },
    /// On a user's own topic: close the user's streams.
    Disconnect,
    /// The topic's stored events have been deleted: nobody is to show them any more.
    Forgotten,
    /// On a node's own topic: the node listening to itself.
    Probe {
        /// Tells one round trip from another.
        nonce: u64,
    },
}

impl Message {
    /// The publishing node's part of the envelope.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Event { name, data, at } => {
                let kind = if matches!(data, Data::Text(_)) { 's' } else { 'j' };
                let name = name.as_ref().map_or("", |name| name.as_str());
                let mut out = format!("{kind} {at} {name}\n").into_bytes();
                out.extend_from_slice(data.as_bytes());
                out
            }
            Self::Joined { topic, from } => format!("+ 0 {from}\n{topic}").into_bytes(),
            Self::Left { topic } => format!("- 0 \n{topic}").into_bytes(),
            Self::Disconnect => b"x 0 \n".to_vec(),
            Self::Forgotten => b"f 0 \n".to_vec(),
            Self::Probe { nonce } => format!("p {nonce} \n").into_bytes(),
        }
    }

    fn parse(bytes: &Bytes) -> Option<Self> {
        let (head, rest) = line(bytes)?;
        let mut words = head.splitn(3, ' ');
        let (kind, number, name) = (words.next()?, words.next()?.parse().ok()?, words.next()?);
        let name_given = || if name.is_empty() { Some(None) } else { EventName::parse(name).ok().map(Some) };
        let data = bytes.slice(rest..);
        let text = std::str::from_utf8(&data).ok()?;
        match kind {
            "s" => Some(Self::Event { name: name_given()?, data: Data::Text(data), at: number }),
            "j" => Some(Self::Event { name: name_given()?, data: Data::Json(data), at: number }),
            "+" => {
                let from = if name.is_empty() { Cursor::default() } else { Cursor::parse(name).ok()? };
                Some(Self::Joined { topic: Topic::parse(text).ok()?, from })
            }
            "-" => Some(Self::Left { topic: Topic::parse(text).ok()? }),
            "x" => Some(Self::Disconnect),
            "f" => Some(Self::Forgotten),
            "p" => Some(Self::Probe { nonce: number }),
            _ => None,
        }
    }
}

impl Envelope {
    /// Reads an envelope. Shares `bytes` with the message's data.
    pub fn parse(bytes: &Bytes) -> Result<Self, EnvelopeError> {
        Self::read(bytes).ok_or(EnvelopeError)
    }

    /// Writes the whole envelope around a message already encoded: what the store's script does.
    pub fn encode(position: Position, prev: Option<Offset>, message: &[u8]) -> Vec<u8> {
        let prev = prev.map_or_else(|| "-".into(), |prev| prev.to_string());
        let mut out = format!("1 {} {} {prev}\n", position.epoch.as_str(), position.offset).into_bytes();
        out.extend_from_slice(message);
        out
    }

    fn read(bytes: &Bytes) -> Option<Self> {
        let (head, rest) = line(bytes)?;
        let mut words = head.split(' ');
        if words.next()? != "1" {
            return None;
        }
        let epoch = Epoch::parse(words.next()?.as_bytes())?;
        let offset = words.next()?.parse().ok().filter(|offset| *offset <= MAX_OFFSET)?;
        let prev = match words.next()? {
            "-" => None,
            text => Some(text.parse().ok().filter(|prev| *prev <= MAX_OFFSET)?),
        };
        if words.next().is_some() {
            return None;
        }
        let message = Message::parse(&bytes.slice(rest..))?;
        Some(Self { position: Position { epoch, offset }, prev, message })
    }
}

/// The first line, and where the next begins.
fn line(bytes: &Bytes) -> Option<(&str, usize)> {
    let end = bytes.iter().position(|b| *b == b'\n')?;
    Some((std::str::from_utf8(&bytes[..end]).ok()?, end + 1))
}

/// Bytes that no gateway of this version has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an envelope of this gateway (version 1); is something else publishing on its channels?")]
pub struct EnvelopeError;
