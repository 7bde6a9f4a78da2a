//! Rooms: making, listing and forgetting them.

use std::sync::Arc;

use futures_util::future::{join_all, try_join_all};
use http::StatusCode;
use serde::Deserialize;
use tidegate_protocol::Topic;
use tidegate_server::{Caller, Problem};

use super::{Chat, no_room, outsider, whole};
use crate::model::{Room, View, iso, new_id, now};
use crate::notify::Notices;
use crate::topics;

/// Exchanges with the broker at a time: a large room must not hold up everybody else's.
const AT_ONCE: usize = 32;

/// A room as a client wishes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RoomWish {
    name: String,
    #[serde(default)]
    participants: Vec<String>,
    relation_type: Option<String>,
}

impl Chat {
    /// Makes a room, of which the caller is the first participant.
    pub(crate) async fn create(self: &Arc<Self>, caller: &Caller, wish: RoomWish) -> Result<View, Problem> {
        // A backend makes rooms for others.
        let creator = if caller.is_admin() { caller.identity.user.as_deref() } else { Some(caller.user()?) };
        let mut participants: Vec<String> = creator.into_iter().map(Into::into).collect();
        for (n, user) in wish.participants.into_iter().enumerate() {
            topics::user(&format!("participants[{n}]"), &user)?;
            // One too many is enough to refuse them all: the search for doubles must not grow with what fits into a request.
            if participants.len() <= self.options.bounds.participants && !participants.contains(&user) {
                participants.push(user);
            }
        }
        if let Some(creator) = creator {
            topics::user("userId", creator)?;
        }
        let most = self.options.bounds.participants;
        if participants.is_empty() || participants.len() > most {
            let detail = format!("A room has 1 to {most} participants.");
            return Err(Problem::invalid("participants", detail));
        }
        self.check_name("name", &wish.name)?;
        let room = self.room(wish.name, participants, creator, false, wish.relation_type)?;
        // Each participant is told.
        self.app.allow_fan_out(&caller.identity, room.participants.len())?;
        let chat = Arc::clone(self);
        whole(async move { chat.open(room).await.map(|(view, _)| view) }).await
    }

    /// The room of the caller and one other. True if it is new.
    pub(crate) async fn create_direct(
        self: &Arc<Self>,
        caller: &Caller,
        other: &str,
        relation: Option<&str>,
    ) -> Result<(View, bool), Problem> {
        let user = self.meet(caller).await?;
        topics::user("userId", other)?;
        if user == other {
            return Err(Problem::invalid("userId", "A room of two needs another."));
        }
        let pair = vec![user.into(), other.into()];
        let room = self.room(String::new(), pair, Some(user), true, relation.map(Into::into))?;
        self.app.allow_fan_out(&caller.identity, 2)?;
        let (chat, user) = (Arc::clone(self), user.to_owned());
        whole(async move {
            let (view, new) = chat.open(room).await?;
            if new {
                return Ok((view, true));
            }
            let there = chat.store.room(&view.room.id, Some(&user)).await?;
            there.map(|view| (view, false)).ok_or_else(no_room)
        })
        .await
    }

    fn room(
        &self,
        name: String,
        participants: Vec<String>,
        creator: Option<&str>,
        direct: bool,
        relation: Option<String>,
    ) -> Result<Room, Problem> {
        if let Some(relation) = &relation {
            self.check_name("relationType", relation)?;
        }
        let at = now();
        Ok(Room {
            id: new_id(at),
            name,
            participants,
            created_at: iso(at),
            created_by: creator.map(Into::into),
            direct,
            relation_type: relation.unwrap_or_else(|| if direct { "DIRECT" } else { "GROUP" }.into()),
        })
    }

    /// Stores a room, gives it to its participants and tells them. Of a pair that has one, mends that one's memberships.
    async fn open(&self, mut room: Room) -> Result<(View, bool), Problem> {
        let created = self.store.create(&room).await.map_err(|error| self.refused(error))?;
        room.id = created.room;
        let topic = topics::room(&room.id)?;
        if let Err(problem) = self.settle_all(&room.id, &topic, &room.participants).await {
            // Somebody has too many memberships: who could not receive a room does not take part in
            // it.
            if created.new && problem.status() == StatusCode::CONFLICT {
                self.close(&room.id).await?;
            }
            return Err(problem);
        }
        let view = View { room, last_message: None, unread_count: 0 };
        if created.new {
            self.show(&view).await?;
        }
        Ok((view, created.new))
    }

    /// Puts a room into the lists of its participants, in which there is nothing yet.
    async fn show(&self, view: &View) -> Result<(), Problem> {
        let room = &view.room;
        let partners = self.partners(room.direct, &room.name, &room.participants).await?;
        let mut notices = Notices::new(&self.options, None);
        for user in &room.participants {
            notices.update(user, &partners.line(view, user));
        }
        notices.send(self.broker()).await;
        Ok(())
    }

    /// The user's rooms, the one in which something happened last first.
    pub(crate) async fn rooms(&self, user: &str) -> Result<Vec<View>, Problem> {
        let rooms = self.store.rooms(user).await?;
        self.mend(user, rooms.iter().map(|view| view.room.id.as_str()).collect()).await?;
        Ok(rooms)
    }

    /// A room as `user` sees it.
    pub(crate) async fn view(&self, room: &str, user: Option<&str>) -> Result<View, Problem> {
        self.store.room(room, user).await?.ok_or_else(no_room)
    }

    /// Forgets a room, if the caller may have that.
    pub(crate) async fn delete(self: &Arc<Self>, caller: &Caller, room: &str) -> Result<(), Problem> {
        let by = self.admit(caller, room).await?;
        let view = self.view(room, None).await?;
        let own =
            by.user.is_some_and(|user| view.room.direct || view.room.created_by.as_deref() == Some(user));
        if !own && !caller.is_admin() {
            let detail = "A room can be deleted by who made it, and a room of two by either.";
            return Err(Problem::forbidden(Some("roomId"), detail));
        }
        self.app.allow_fan_out(&caller.identity, by.participants)?;
        let (chat, room) = (Arc::clone(self), room.to_owned());
        whole(async move { chat.close(&room).await }).await
    }

    /// Forgets a room: first that there is one, so that nobody begins anything in it, then what others hold of it.
    pub(super) async fn close(&self, room: &str) -> Result<(), Problem> {
        let topic = topics::room(room)?;
        let readers = self.store.delete(room).await?.ok_or_else(no_room)?;
        let users: Vec<String> = readers.iter().map(|reader| reader.user.clone()).collect();
        self.settle_all(room, &topic, &users).await?;
        self.broker().forget(&topic).await?;
        let mut notices = Notices::new(&self.options, None);
        for reader in &readers {
            notices.removed(&reader.user, room);
        }
        let had_news: Vec<&str> =
            readers.iter().filter(|reader| reader.unread).map(|reader| reader.user.as_str()).collect();
        for chunk in had_news.chunks(AT_ONCE) {
            let unread = join_all(chunk.iter().map(|user| self.store.unread(user))).await;
            for (user, _) in chunk.iter().zip(unread).filter(|(_, unread)| matches!(unread, Ok(false))) {
                notices.all_read(user);
            }
        }
        notices.send(self.broker()).await;
        Ok(())
    }

    async fn settle_all(&self, room: &str, topic: &Topic, users: &[String]) -> Result<(), Problem> {
        for chunk in users.chunks(AT_ONCE) {
            try_join_all(chunk.iter().map(|user| self.settle(room, topic, user))).await?;
        }
        Ok(())
    }

    /// Refuses what is no name.
    pub(super) fn check_name(&self, field: &str, text: &str) -> Result<(), Problem> {
        let most = self.options.bounds.name;
        if text.trim().is_empty() || text.chars().count() > most || text.chars().any(char::is_control) {
            let detail = format!("{field} has 1 to {most} characters, none of them a control character.");
            return Err(Problem::invalid(field, detail));
        }
        Ok(())
    }

    /// The room of two, if it is one, has those two and nobody else.
    pub(super) async fn group(&self, room: &str) -> Result<View, Problem> {
        let view = self.view(room, None).await?;
        if view.room.direct {
            return Err(Problem::conflict(
                "A room of two keeps its two. Make another room, or delete this one.",
            ));
        }
        Ok(view)
    }

    /// What a participant may see of a room, or an administrator.
    pub(crate) async fn seen(&self, caller: &Caller, room: &str) -> Result<View, Problem> {
        let by = self.admit(caller, room).await?;
        self.view(room, by.user).await
    }

    /// The user, who takes part in the room, and how many do.
    pub(crate) async fn participant<'a>(
        &self,
        caller: &'a Caller,
        room: &str,
    ) -> Result<(&'a str, usize), Problem> {
        caller.user()?;
        let by = self.admit(caller, room).await?;
        Ok((by.user.ok_or_else(outsider)?, by.participants))
    }
}
