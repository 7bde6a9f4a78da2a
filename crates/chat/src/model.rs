//! What the application speaks of, as it goes over the wire.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A room, as it was made, and who takes part in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Room {
    /// A UUIDv7.
    pub id: String,
    /// What its participants call it; empty for a room of two.
    pub name: String,
    /// In the order in which they came.
    pub participants: Vec<String>,
    /// ISO 8601, UTC, with milliseconds.
    pub created_at: String,
    /// `None`: a backend, which is no user.
    pub created_by: Option<String>,
    /// The one room of these two users.
    pub direct: bool,
    /// The clients' own word for what binds its participants: `DIRECT`, `GROUP`, or what was given.
    pub relation_type: String,
}

/// A room as one user sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// The room.
    #[serde(flatten)]
    pub room: Room,
    /// Its beginning, if it is long. It outlives the history that it was in.
    pub last_message: Option<Message>,
    /// Messages that the user has not read; 0 for who takes no part.
    pub unread_count: u64,
}

impl View {
    /// When something last happened in the room.
    pub fn active_at(&self) -> &str {
        self.last_message.as_ref().map_or(&self.room.created_at, |message| &message.created_at)
    }
}

/// A message: the data of a `chat` event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// A UUIDv7 of the moment of `created_at`.
    pub id: String,
    /// Where.
    pub room_id: String,
    /// Who. Of a `JOIN` or `LEAVE` that the gateway writes: who came or went.
    pub sender_id: String,
    /// What.
    pub content: String,
    /// What kind.
    pub message_type: MessageType,
    /// ISO 8601, UTC, with milliseconds.
    pub created_at: String,
}

/// Characters of a room's last message that are remembered with the room: a list has up to a thousand of them.
const LISTED: usize = 1_000;

/// What kind of message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum MessageType {
    /// Somebody says something: it counts as unread until it is read.
    #[default]
    Message,
    /// Somebody came.
    Join,
    /// Somebody went.
    Leave,
}

/// What is known of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserProfile {
    /// As in the credential.
    pub id: String,
    /// What others see; the id, until the user says otherwise.
    pub nickname: String,
    /// A URL, as the user gave it.
    pub profile_image: Option<String>,
}

impl UserProfile {
    /// Somebody of whom nothing is known but the id.
    pub fn bare(id: &str) -> Self {
        Self { id: id.into(), nickname: id.into(), profile_image: None }
    }
}

impl Message {
    /// A message of this moment, and the moment: milliseconds since 1970.
    pub(crate) fn now(room: &str, sender: &str, kind: MessageType, content: String) -> (Self, u64) {
        let at = now();
        let message = Self {
            id: new_id(at),
            room_id: room.into(),
            sender_id: sender.into(),
            content,
            message_type: kind,
            created_at: iso(at),
        };
        (message, at)
    }

    /// As a list of rooms has it, of which each is to stay small.
    pub(crate) fn in_list(&self) -> Self {
        Self { content: shortened(&self.content, LISTED), ..self.clone() }
    }

    /// Whether it is unread for whom it is new.
    pub(crate) fn counts(&self) -> bool {
        self.message_type == MessageType::Message
    }
}

/// The beginning of a text.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into(),
    }
}

/// Milliseconds since 1970.
pub(crate) fn now() -> u64 {
    let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(age.as_millis()).unwrap_or_default()
}

/// ISO 8601, UTC, with milliseconds: as text in the order of time.
pub(crate) fn iso(at: u64) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(at)).to_string()
}

/// An id of this moment. Ids of later moments sort behind it.
pub(crate) fn new_id(at: u64) -> String {
    let nanos = u32::try_from(at % 1000).unwrap_or_default() * 1_000_000;
    Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, at / 1000, nanos)).to_string()
}

/// The moment of an id that this application has given out; `None`: it has not.
pub(crate) fn moment(id: &str) -> Option<u64> {
    let uuid = Uuid::try_parse(id).ok().filter(|_| id.len() == 36)?;
    let (seconds, nanos) = uuid.get_timestamp()?.to_unix();
    (uuid.get_version_num() == 7).then(|| seconds * 1000 + u64::from(nanos / 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_knows_its_moment() {
        let at = 1_760_000_000_123;
        assert_eq!(moment(&new_id(at)), Some(at));
        assert_eq!(iso(at), "2025-10-09T08:53:20.123Z");
        for strange in ["", "1", "0k3x9a-1f", "67e55044-10b1-426f-9247-bb680e5fe0c8"] {
            assert_eq!(moment(strange), None, "{strange}");
        }
    }

    #[test]
    fn a_long_text_is_shown_in_part() {
        assert_eq!(shortened("안녕", 2), "안녕");
        assert_eq!(shortened("안녕!", 2), "안녕…");
    }

    #[test]
    fn messages_look_as_documented() {
        let (message, at) = Message::now("r", "alice", MessageType::default(), "hi".into());
        let json = serde_json::to_value(&message).unwrap();
        let names: Vec<_> = json.as_object().unwrap().keys().collect();
        assert_eq!(names, ["id", "roomId", "senderId", "content", "messageType", "createdAt"]);
        assert_eq!(json["messageType"], "MESSAGE");
        assert_eq!(json["createdAt"], iso(at));
    }
}
