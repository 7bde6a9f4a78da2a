//! Sending: the broker stores and sends a message in one step; then the store learns its place, and then everybody is told that there is news.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;
use tidegate_broker::{Publication, Span};
use tidegate_protocol::{Data, EventName, Position, Topic};
use tidegate_server::{Caller, Problem};

use super::{Chat, no_room, reading, whole};
use crate::model::{Message, MessageType};
use crate::notify::{Notices, Partners};
use crate::store::{Noted, Reader};
use crate::topics::{self, CHAT};

/// A message as a client writes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct MessageWish {
    content: String,
    message_type: Option<MessageType>,
    /// Clients that send whole messages send these too. Who sends where is known.
    #[serde(rename = "senderId")]
    _sender_id: Option<IgnoredAny>,
    #[serde(rename = "roomId")]
    _room_id: Option<IgnoredAny>,
}

/// A message on its way.
pub(crate) struct Sent {
    message: Message,
    /// When it was taken: milliseconds since 1970.
    at: u64,
    /// Sending again with the same one gives the first message again.
    key: Option<String>,
}

impl Sent {
    /// A message of the gateway's own about somebody.
    pub(super) fn word(room: &str, user: &str, kind: MessageType, content: String) -> Self {
        let (message, at) = Message::now(room, user, kind, content);
        Self { message, at, key: None }
    }
}

impl Chat {
    /// The message that a caller wants to send, if it may be sent.
    pub(crate) fn compose(
        &self,
        caller: &Caller,
        room: &str,
        wish: MessageWish,
        key: Option<&str>,
    ) -> Result<Sent, Problem> {
        let sender = caller.user()?;
        let kind = wish.message_type.unwrap_or_default();
        if kind == MessageType::Message && wish.content.trim().is_empty() {
            return Err(Problem::invalid("content", "A message says something."));
        }
        let (message, at) = Message::now(room, sender, kind, wish.content);
        let (most, bytes) = (self.app.event_bytes(), json(&message)?.len());
        if bytes > most {
            let detail = format!("A message has at most {most} bytes as JSON, this one has {bytes}.");
            return Err(Problem::too_large(Some("content".into()), detail));
        }
        // Ids hold no white space: no two senders share a key.
        Ok(Sent { message, at, key: key.map(|key| format!("{sender} {key}")) })
    }

    /// Sends it to a room of that many participants. Gives the message as it is stored: with a key,
    /// maybe that of an earlier time.
    pub(crate) async fn send(
        self: &Arc<Self>,
        caller: &Caller,
        sent: Sent,
        participants: usize,
    ) -> Result<Message, Problem> {
        // Each of them gets a notification.
        self.app.allow_fan_out(&caller.identity, participants)?;
        let chat = Arc::clone(self);
        whole(async move { chat.deliver(sent).await }).await
    }

    pub(super) async fn deliver(&self, Sent { message, at, key }: Sent) -> Result<Message, Problem> {
        let topic = topics::room(&message.room_id)?;
        let publication = Publication {
            topic: topic.clone(),
            name: EventName::parse(CHAT).ok(),
            data: Data::Json(json(&message)?.into()),
            at,
            retention: self.options.messages,
            key: key.clone(),
        };
        let result = self.broker().publish(vec![publication]).await.pop().ok_or_else(Problem::internal)?;
        let receipt = result.map_err(|error| {
            tracing::warn!(%error, "a message was not sent");
            Problem::not_published(&error)
        })?;
        // There is always a history: the settings see to it.
        let (_, place) = receipt.mark.ok_or_else(Problem::internal)?;
        let message = if key.is_some() { self.at(&topic, place).await? } else { message };
        match self.store.note(place, &message.in_list()).await {
            Ok(Some(noted)) => {
                self.announce(&noted, &message, key.is_some()).await;
                Ok(message)
            }
            Ok(None) => {
                // The room went in the meantime, and must leave nothing.
                self.broker().forget(&topic).await?;
                Err(no_room())
            }
            // Whoever sends with a key can make it whole by sending again. For others it would be there twice.
            Err(error) if key.is_some() => Err(error.into()),
            Err(error) => {
                tracing::warn!(%error, "a message was sent, and its place could not be noted");
                Ok(message)
            }
        }
    }

    /// The message at a place.
    async fn at(&self, topic: &Topic, place: Position) -> Result<Message, Problem> {
        let before = Position { offset: place.offset.saturating_sub(1), ..place };
        let page = self.history(topic, Span::After { position: before, limit: 1 }).await?;
        let event = page.events.first().filter(|event| event.mark.offset == place.offset);
        event.and_then(|event| reading::message(event)).ok_or_else(|| {
            Problem::conflict(
                "This key was used for a message that history holds no longer. Use another one.",
            )
        })
    }

    /// Tells everybody in the room that there is news. The message itself is stored and sent: nothing that fails here may say otherwise.
    async fn announce(&self, noted: &Noted, message: &Message, keyed: bool) {
        let mut notices = Notices::new(&self.options, keyed.then(|| message.id.clone()));
        let users: Vec<_> = noted.readers.iter().map(|reader| reader.user.clone()).collect();
        let partners = match self.partners(noted.direct, &noted.name, &users).await {
            Ok(partners) => partners,
            Err(problem) => return tracing::warn!(?problem, "nobody was told of a message"),
        };
        for reader in &noted.readers {
            let update = partners.update(
                &message.room_id,
                &noted.relation_type,
                &reader.user,
                Some(message),
                &message.created_at,
                !reader.unread,
            );
            notices.update(&reader.user, &update);
            if reader.unread && message.counts() {
                notices.unread(&reader.user);
            }
        }
        if noted.caught_up && matches!(self.store.unread(&message.sender_id).await, Ok(false)) {
            notices.all_read(&message.sender_id);
        }
        notices.send(self.broker()).await;
        if message.counts()
            && let Err(problem) = self.correct(noted, &message.room_id, &partners).await
        {
            tracing::warn!(?problem, "who had read a message meanwhile was told otherwise");
        }
    }

    /// Who read the message while everybody was being told of it has heard last that it is unread: says that it is not. Who reads it
    /// from now on says so later than that.
    async fn correct(&self, noted: &Noted, room: &str, partners: &Partners) -> Result<(), Problem> {
        let Some(now) = self.store.readers(room).await? else { return Ok(()) };
        let read: HashSet<&str> =
            now.iter().filter(|reader| !reader.unread).map(|reader| reader.user.as_str()).collect();
        let told = noted.readers.iter().filter(|reader| reader.unread);
        let mut notices = Notices::new(&self.options, None);
        for Reader { user, .. } in told.filter(|reader| read.contains(reader.user.as_str())) {
            if let Some(view) = self.store.room(room, Some(user)).await? {
                notices.update(user, &partners.line(&view, user));
            }
            if !self.store.unread(user).await? {
                notices.all_read(user);
            }
        }
        notices.send(self.broker()).await;
        Ok(())
    }

    /// Whom each participant sees in the room.
    pub(super) async fn partners(
        &self,
        direct: bool,
        name: &str,
        users: &[String],
    ) -> Result<Partners, Problem> {
        Ok(match direct {
            true => Partners::Each(self.store.profiles(users).await?),
            false => Partners::Room(name.into()),
        })
    }
}

fn json(message: &Message) -> Result<String, Problem> {
    serde_json::to_string(message).map_err(|_| Problem::internal())
}
