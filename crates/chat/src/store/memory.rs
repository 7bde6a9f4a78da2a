//! The in-process store.

mod inner;
mod kept;

use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tidegate_protocol::Position;

use super::{Created, Error, Noted, Reader, Seat, Store};
use crate::model::{Message, Room, UserProfile, View};
use crate::options::Options;
use inner::Inner;
use kept::Kept;

/// Places of messages in all rooms together, shared among them evenly: 32 bytes each. A message whose place is not remembered is looked for in
/// the history, and a user who has not read for so long has fewer unread messages than were sent.
const PLACES: usize = 1_000_000;

/// One node's store, within the process. What it holds is gone with it.
pub struct Memory {
    /// Messages whose place is remembered, of each room.
    size: usize,
    /// How long after the last one.
    ttl: Duration,
    inner: Mutex<Inner>,
}

impl Memory {
    /// An empty store.
    pub fn new(options: &Options) -> Self {
        let size = usize::try_from(options.messages.size).unwrap_or(usize::MAX);
        Self { size, ttl: options.messages.ttl, inner: Mutex::new(Inner::new(options.bounds)) }
    }

    /// What `look` finds in a room without what has expired; `None`: there is no such room.
    fn room<T>(&self, room: &str, look: impl FnOnce(&mut Kept) -> T) -> Option<T> {
        self.inner.lock().room(room).map(|kept| look(kept.fresh(self.ttl)))
    }
}

#[async_trait]
impl Store for Memory {
    async fn create(&self, room: &Room) -> Result<Created, Error> {
        self.inner.lock().create(room)
    }

    async fn room(&self, room: &str, user: Option<&str>) -> Result<Option<View>, Error> {
        Ok(self.room(room, |kept| kept.view(user)))
    }

    async fn rooms(&self, user: &str) -> Result<Vec<View>, Error> {
        let mut inner = self.inner.lock();
        let mut views = Vec::new();
        for id in inner.rooms_of(user) {
            views.extend(inner.room(&id).map(|kept| kept.fresh(self.ttl).view(Some(user))));
        }
        views.sort_by(|a, b| b.active_at().cmp(a.active_at()));
        Ok(views)
    }

    async fn rooms_of(&self, user: &str) -> Result<Vec<String>, Error> {
        Ok(self.inner.lock().rooms_of(user))
    }

    async fn seat(&self, room: &str, user: &str) -> Result<Option<Seat>, Error> {
        Ok(self
            .room(room, |kept| Seat { taken: kept.marks.contains_key(user), participants: kept.marks.len() }))
    }

    async fn add(&self, room: &str, user: &str) -> Result<Option<bool>, Error> {
        self.inner.lock().add(room, user)
    }

    async fn remove(&self, room: &str, user: &str) -> Result<Option<bool>, Error> {
        let mut inner = self.inner.lock();
        let Some(kept) = inner.room(room) else { return Ok(None) };
        let changed = kept.remove(user);
        inner.unseat(room, user);
        Ok(Some(changed))
    }

    async fn delete(&self, room: &str) -> Result<Option<Vec<Reader>>, Error> {
        let mut inner = self.inner.lock();
        if inner.room(room).is_none() {
            return Ok(None);
        }
        Ok(inner.forget(room).map(|mut kept| kept.fresh(self.ttl).readers()))
    }

    async fn note(&self, place: Position, message: &Message) -> Result<Option<Noted>, Error> {
        let mut inner = self.inner.lock();
        let size = self.size.min(PLACES / inner.rooms.len().max(1));
        let kept = inner.room(&message.room_id);
        Ok(kept.map(|kept| kept.fresh(self.ttl).touch().note(place, message, size)))
    }

    async fn readers(&self, room: &str) -> Result<Option<Vec<Reader>>, Error> {
        Ok(self.room(room, |kept| kept.readers()))
    }

    async fn place(&self, room: &str, message: &str) -> Result<Option<Position>, Error> {
        Ok(self.room(room, |kept| kept.place(message)).flatten())
    }

    async fn read(&self, room: &str, user: &str, place: Option<Position>) -> Result<Option<u64>, Error> {
        Ok(self.room(room, |kept| kept.read(user, place)).flatten())
    }

    async fn unread(&self, user: &str) -> Result<bool, Error> {
        let mut inner = self.inner.lock();
        let mut ids = inner.rooms_of(user).into_iter();
        Ok(ids.any(|id| inner.room(&id).is_some_and(|kept| kept.fresh(self.ttl).unread(user) > 0)))
    }

    async fn meet(&self, user: &str) -> Result<(), Error> {
        let mut inner = self.inner.lock();
        let most = inner.bounds.users;
        inner.meet(user, most);
        Ok(())
    }

    async fn users(&self) -> Result<Vec<UserProfile>, Error> {
        Ok(self.inner.lock().users.values().map(|(profile, _)| profile.clone()).collect())
    }

    async fn profiles(&self, users: &[String]) -> Result<Vec<UserProfile>, Error> {
        let inner = self.inner.lock();
        let known = |id: &String| inner.users.get(id).map(|(profile, _)| profile.clone());
        Ok(users.iter().map(|id| known(id).unwrap_or_else(|| UserProfile::bare(id))).collect())
    }

    async fn set_profile(&self, profile: &UserProfile) -> Result<(), Error> {
        let mut inner = self.inner.lock();
        let most = inner.bounds.users;
        let known = inner.meet(&profile.id, most).ok_or(Error::UsersFull)?;
        known.clone_from(profile);
        Ok(())
    }
}
