//! What users hear on their own topics, whatever page they are on.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};
use tidegate_broker::{Broker, Publication, Retention};
use tidegate_protocol::{Data, EventName, Topic};

use crate::model::{Message, UserProfile, View, now, shortened};
use crate::options::Options;

/// Characters of a message that a list of rooms shows. It goes to every participant.
const PREVIEW: usize = 200;

/// Publications in one exchange with the broker: a pipeline of any length would hold up everybody else's.
const CHUNK: usize = 500;

/// News for users, to be sent together.
pub(crate) struct Notices {
    batch: Vec<Publication>,
    retention: Retention,
    at: u64,
    /// What it is about, if the same may be told again: it is stored once.
    about: Option<String>,
}

/// `chat-room-update`: the line of a room in a list of rooms.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RoomUpdate<'a> {
    chat_room_id: &'a str,
    partner_nickname: &'a str,
    partner_profile_image: Option<&'a str>,
    last_message: Option<String>,
    last_message_time: &'a str,
    relation_type: &'a str,
    is_read: bool,
}

/// Whom a participant sees in a room.
pub(crate) enum Partners {
    /// In a room of two: the other.
    Each(Vec<UserProfile>),
    /// The room itself, by its name.
    Room(String),
}

impl Partners {
    /// The line of a room in `user`'s list.
    pub(crate) fn update<'a>(
        &'a self,
        room: &'a str,
        relation: &'a str,
        user: &str,
        last: Option<&Message>,
        time: &'a str,
        is_read: bool,
    ) -> RoomUpdate<'a> {
        let (nickname, image) = match self {
            Self::Room(name) => (name.as_str(), None),
            Self::Each(users) => users
                .iter()
                .find(|other| other.id != user)
                .map_or(("", None), |other| (&*other.nickname, other.profile_image.as_deref())),
        };
        RoomUpdate {
            chat_room_id: room,
            partner_nickname: nickname,
            partner_profile_image: image,
            last_message: last.map(|message| shortened(&message.content, PREVIEW)),
            last_message_time: time,
            relation_type: relation,
            is_read,
        }
    }

    /// The line of a room as `user` sees it.
    pub(crate) fn line<'a>(&'a self, view: &'a View, user: &str) -> RoomUpdate<'a> {
        let (room, last) = (&view.room, view.last_message.as_ref());
        self.update(&room.id, &room.relation_type, user, last, view.active_at(), view.unread_count == 0)
    }
}

impl Notices {
    pub(crate) fn new(options: &Options, about: Option<String>) -> Self {
        Self { batch: Vec::new(), retention: options.notices, at: now(), about }
    }

    pub(crate) fn update(&mut self, user: &str, update: &RoomUpdate<'_>) {
        self.push(user, "chat-room-update", &json!(update));
    }

    /// Something is unread somewhere.
    pub(crate) fn unread(&mut self, user: &str) {
        self.push(user, "nav-new-message", &json!({}));
    }

    /// Nothing is unread anywhere.
    pub(crate) fn all_read(&mut self, user: &str) {
        self.push(user, "nav-no-any-new-message", &json!({}));
    }

    /// A room is no longer in the user's list.
    pub(crate) fn removed(&mut self, user: &str, room: &str) {
        self.push(user, "chat-room-removed", &json!({ "chatRoomId": room }));
    }

    /// Tells them. What fails is logged: it is news, and what it is about has happened.
    pub(crate) async fn send(self, broker: &Arc<dyn Broker>) {
        let mut rest = self.batch.into_iter().peekable();
        while rest.peek().is_some() {
            let chunk = rest.by_ref().take(CHUNK).collect();
            let failed = broker.publish(chunk).await.into_iter().find_map(Result::err);
            if let Some(error) = failed {
                return tracing::warn!(%error, "not everybody was told");
            }
        }
    }

    fn push(&mut self, user: &str, event: &str, data: &Value) {
        // Ids of users are checked where they come in.
        let (Ok(topic), Ok(name)) = (Topic::user(user), EventName::parse(event)) else { return };
        self.batch.push(Publication {
            topic,
            name: Some(name),
            data: Data::Json(data.to_string().into()),
            at: self.at,
            retention: self.retention,
            key: self.about.as_ref().map(|about| format!("chat {about} {event}")),
        });
    }
}
