//! Reading: pages of messages, places, and how far somebody has read.

use std::sync::Arc;

use serde::Serialize;
use tidegate_broker::{Page, Read, ResetReason, Span};
use tidegate_protocol::{Cursor, Event, Position, Topic};
use tidegate_server::{Caller, Problem};

use super::{Chat, outsider, whole};
use crate::model::{Message, View, moment};
use crate::notify::Notices;
use crate::topics::{self, CHAT};

/// Events in one step of a search.
const STEP: u32 = 500;

/// How far clocks of nodes may be apart, in milliseconds: a search goes back so much further.
const SKEW: u64 = 60_000;

/// How often at most a reader is told how it stands: whoever sends says it too.
const TELLINGS: usize = 3;

/// A page of messages.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Messages {
    /// Oldest first.
    messages: Vec<Message>,
    /// There are further ones in the direction of reading.
    has_more: bool,
}

/// Which page.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Want {
    Newest,
    Before(Position),
    After(Position),
}

impl Chat {
    /// A page of a room's messages.
    pub(crate) async fn page(&self, topic: &Topic, want: Want, limit: u32) -> Result<Messages, Problem> {
        let span = match want {
            Want::Newest => Span::Last { limit },
            Want::Before(position) => Span::Before { offset: position.offset, limit },
            Want::After(position) => Span::After { position, limit },
        };
        let page = self.history(topic, span).await?;
        let unknown = |field| {
            Err(Problem::invalid(
                field,
                "This id is from before the store lost its data, or is not from here.",
            ))
        };
        match want {
            Want::Before(position) if position.epoch != page.head.epoch => return unknown("before"),
            Want::After(_) if matches!(page.reset, Some(ResetReason::Epoch | ResetReason::Unknown)) => {
                return unknown("after");
            }
            _ => {}
        }
        let messages = page.events.iter().filter_map(|event| message(event)).collect();
        Ok(Messages { messages, has_more: page.more })
    }

    /// The place that a client names: by a message's id or by an event's. `None`: it is neither, or none of this room.
    pub(crate) async fn place(
        &self,
        room: &str,
        topic: &Topic,
        id: &str,
    ) -> Result<Option<Position>, Problem> {
        let Some(at) = moment(id) else {
            let partition = topic.partition(self.broker().partitions());
            return Ok(Cursor::parse(id).ok().and_then(|cursor| cursor.get(partition)));
        };
        match self.store.place(room, id).await? {
            // Sent, and not noted: its node died in between.
            None => self.search(topic, id, at).await,
            place => Ok(place),
        }
    }

    /// Looks for a message in the history itself, from the newest back to the moment of its id.
    async fn search(&self, topic: &Topic, id: &str, at: u64) -> Result<Option<Position>, Problem> {
        let mut span = Span::Last { limit: STEP };
        loop {
            let page = self.history(topic, span).await?;
            let found =
                page.events.iter().rev().find(|event| message(event).is_some_and(|message| message.id == id));
            if let Some(event) = found {
                return Ok(Some(event.mark.position()));
            }
            match page.events.first() {
                Some(first) if page.more && first.at + SKEW >= at => {
                    span = Span::Before { offset: first.mark.offset, limit: STEP };
                }
                _ => return Ok(None),
            }
        }
    }

    /// Marks everything in the room as read, and tells all the user's devices. Gives what is unread all the same: it came just now.
    pub(crate) async fn read(
        self: &Arc<Self>,
        caller: &Caller,
        room: &str,
        user: &str,
    ) -> Result<u64, Problem> {
        // The user's other devices are told.
        self.app.allow(&caller.identity, 1)?;
        let (chat, room, user) = (Arc::clone(self), room.to_owned(), user.to_owned());
        whole(async move { chat.mark(&room, &user).await }).await
    }

    async fn mark(&self, room: &str, user: &str) -> Result<u64, Problem> {
        let topic = topics::room(room)?;
        // The history knows of messages that are just being noted, and that the user may have seen already.
        let page = self.history(&topic, Span::Last { limit: 1 }).await?;
        let newest = page.events.last().map(|event| event.mark.position());
        let unread = self.store.read(room, user, newest).await?.ok_or_else(outsider)?;
        self.tell_read(room, user).await?;
        Ok(unread)
    }

    /// Says how it stands with the room and with all rooms, and again if that changed while it was being said: else the last word could be an old one.
    async fn tell_read(&self, room: &str, user: &str) -> Result<(), Problem> {
        let mut told: Option<(View, bool)> = None;
        for _ in 0..TELLINGS {
            let Some(view) = self.store.room(room, Some(user)).await? else { return Ok(()) };
            let now = (view, self.store.unread(user).await?);
            if told.as_ref() == Some(&now) {
                break;
            }
            let (view, unread) = &now;
            let partners = self.partners(view.room.direct, &view.room.name, &view.room.participants).await?;
            let mut notices = Notices::new(&self.options, None);
            notices.update(user, &partners.line(view, user));
            match (unread, &told) {
                (false, _) => notices.all_read(user),
                (true, Some((_, false))) => notices.unread(user),
                (true, _) => {}
            }
            notices.send(self.broker()).await;
            told = Some(now);
        }
        Ok(())
    }

    pub(super) async fn history(&self, topic: &Topic, span: Span) -> Result<Page, Problem> {
        Ok(self.app.hub().history(Read { topic: topic.clone(), span }).await?)
    }
}

/// The message that an event is. Whatever else may be in the stream is none of ours.
pub(super) fn message(event: &Event) -> Option<Message> {
    event.name.as_ref().filter(|name| name.as_str() == CHAT)?;
    let message: Message = serde_json::from_slice(event.data.as_bytes()).ok()?;
    (topics::room_of(&event.topic) == Some(&*message.room_id)).then_some(message)
}
