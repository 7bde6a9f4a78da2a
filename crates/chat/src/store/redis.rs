//! The store in Redis: a script for whatever must be one step.
//!
//! What is in Redis (prefix `tg`):
//!
//! | key | holds |
//! |---|---|
//! | `tg:chat:room:ROOM` | hash: `name`, `direct`, `relation`, `created`, `by`, `pair`; `epoch` of its offsets; the `last` message and its `last_offset` |
//! | `tg:chat:people:ROOM` | sorted set: its participants, in the order in which they came |
//! | `tg:chat:marks:ROOM` | hash: the offset up to which each participant has read |
//! | `tg:chat:messages:ROOM`, `tg:chat:words:ROOM` | sorted sets: message id by offset; of those that count as unread, and of the others. Trimmed and expiring like the topic's stream |
//! | `tg:chat:rooms:USER`, `tg:chat:made:USER` | sets: rooms that the user takes part in, and has made |
//! | `tg:chat:index` | sorted set: all rooms, by when they are forgotten if they are not used |
//! | `tg:chat:pair:USER USER` | the direct room of two users, who are in the order of their ids |
//! | `tg:chat:users`, `tg:chat:seen` | hash: what is known of each user, as JSON; empty: nothing. Sorted set: when each was last seen |
//!
//! The scripts make the names of some keys themselves: as for the broker, one primary. The messages are events of the topic `$chat:ROOM`.

mod answers;

use std::time::Duration;

use ::redis::{Cmd, Pipeline, Value};
use async_trait::async_trait;
use tidegate_broker_redis::{Connection, Pool};
use tidegate_protocol::Position;

use super::{Created, Error, Noted, Reader, Seat, Store};
use crate::model::{Message, Room, UserProfile, View};
use crate::options::{Bounds, Options};
use answers::unexpected;

/// A script behind what all have in common.
macro_rules! script {
    ($name:literal) => {
        concat!(include_str!("scripts/head.lua"), include_str!(concat!("scripts/", $name, ".lua")))
    };
}

/// Rooms in one round trip: Redis serves others in between, and a pipeline's answers wait in memory for the last one.
const PIPELINE: usize = 64;

/// A cluster's store. Cheap to make: the connections are the pool's.
pub struct Redis {
    pool: Pool,
    base: String,
    bounds: Bounds,
    size: u32,
    ttl: Duration,
}

impl Redis {
    /// A store behind `pool`, among keys that begin with `{prefix}:chat`.
    pub fn new(pool: Pool, prefix: &str, options: &Options) -> Self {
        let Options { messages, bounds, .. } = *options;
        Self { pool, base: format!("{prefix}:chat"), bounds, size: messages.size, ttl: messages.ttl }
    }

    fn key(&self, kind: &str, name: &str) -> String {
        format!("{}:{kind}:{name}", self.base)
    }

    /// A call of a script, with its text: there is nothing that Redis could have forgotten.
    fn script(&self, code: &str, arguments: &[&str]) -> Cmd {
        let mut command = ::redis::cmd("EVAL");
        command.arg(code).arg(1).arg(&self.base).arg(arguments);
        command
    }

    /// How long rooms and users live without being used, in milliseconds. Redis refuses an expiry
    /// that does not fit into its clock.
    fn ages(&self) -> [String; 2] {
        let millis = |ttl: Duration| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).clamp(1, 1 << 50);
        [self.bounds.room_ttl, self.bounds.user_ttl].map(|ttl| millis(ttl).to_string())
    }

    async fn one(&self, command: Cmd) -> Result<Value, Error> {
        self.run(std::iter::once(command)).await?.pop().ok_or_else(|| unexpected("an answer"))
    }

    async fn call(&self, code: &str, arguments: &[&str]) -> Result<Value, Error> {
        self.one(self.script(code, arguments)).await
    }

    /// Runs commands in one round trip; the first refusal fails them all.
    async fn run(&self, commands: impl Iterator<Item = Cmd>) -> Result<Vec<Value>, Error> {
        let mut pipeline = Pipeline::new();
        for command in commands {
            pipeline.add_command(command);
        }
        let unavailable = |words: String| Error::Unavailable(words);
        let mut connection = self.pool.get().await.map_err(|error| unavailable(error.to_string()))?;
        match pipeline.query_async::<Vec<Value>>(&mut connection).await {
            Ok(answers) => Ok(answers),
            Err(error) => {
                if error.is_io_error() || error.is_timeout() || error.is_unrecoverable_error() {
                    // Late answers may still be on their way: not a connection for others.
                    drop(Connection::take(connection));
                }
                Err(unavailable(error.to_string()))
            }
        }
    }

    async fn views(&self, rooms: &[String], user: &str) -> Result<Vec<View>, Error> {
        let mut views = Vec::with_capacity(rooms.len());
        for chunk in rooms.chunks(PIPELINE) {
            let calls = chunk.iter().map(|room| self.script(script!("view"), &[room, user]));
            for (room, answer) in chunk.iter().zip(self.run(calls).await?) {
                views.extend(answers::view(room, answer)?);
            }
        }
        Ok(views)
    }
}

#[async_trait]
impl Store for Redis {
    async fn create(&self, room: &Room) -> Result<Created, Error> {
        if room.participants.len() > self.bounds.participants {
            return Err(Error::RoomFull);
        }
        let mut pair: Vec<&str> = room.participants.iter().map(String::as_str).collect();
        pair.sort_unstable();
        // Ids hold no white space: no two pairs share a key.
        let pair = if room.direct { pair.join(" ") } else { String::new() };
        let Bounds { rooms_per_user, rooms_made, rooms, users, .. } = self.bounds;
        let [each, made, all, users] =
            [rooms_per_user, rooms_made, rooms, users / 2].map(|bound| bound.to_string());
        let [room_ttl, user_ttl] = self.ages();
        let (maker, count) =
            (room.created_by.as_deref().unwrap_or_default(), room.participants.len().to_string());
        let mut arguments =
            vec![&*room.id, &pair, maker, &each, &made, &all, &room_ttl, &users, &user_ttl, &count];
        arguments.extend(room.participants.iter().map(String::as_str));
        let direct = if room.direct { "1" } else { "0" };
        arguments.extend(["name", &room.name, "direct", direct, "relation", &room.relation_type]);
        arguments.extend(["created", &room.created_at]);
        if let Some(by) = &room.created_by {
            arguments.extend(["by", by]);
        }
        answers::created(self.call(script!("create"), &arguments).await?)
    }

    async fn room(&self, room: &str, user: Option<&str>) -> Result<Option<View>, Error> {
        let answer = self.call(script!("view"), &[room, user.unwrap_or_default()]).await?;
        answers::view(room, answer)
    }

    async fn rooms(&self, user: &str) -> Result<Vec<View>, Error> {
        let mut views = self.views(&self.rooms_of(user).await?, user).await?;
        views.sort_by(|a, b| b.active_at().cmp(a.active_at()));
        Ok(views)
    }

    async fn rooms_of(&self, user: &str) -> Result<Vec<String>, Error> {
        answers::texts(self.call(script!("rooms"), &[user]).await?)
    }

    async fn seat(&self, room: &str, user: &str) -> Result<Option<Seat>, Error> {
        let command = |name, key| {
            let mut command = ::redis::cmd(name);
            command.arg(self.key(key, room));
            command
        };
        let mut place = command("ZSCORE", "people");
        place.arg(user);
        let commands = [command("EXISTS", "room"), place, command("ZCARD", "people")];
        match self.run(commands.into_iter()).await?.as_slice() {
            [Value::Int(0), ..] => Ok(None),
            [_, place, count] => {
                let participants = usize::try_from(answers::number(count)?).unwrap_or_default();
                Ok(Some(Seat { taken: *place != Value::Nil, participants }))
            }
            _ => Err(unexpected("three answers")),
        }
    }

    async fn add(&self, room: &str, user: &str) -> Result<Option<bool>, Error> {
        let Bounds { participants, rooms_per_user, users, .. } = self.bounds;
        let [people, rooms, users] = [participants, rooms_per_user, users / 2].map(|bound| bound.to_string());
        let [room_ttl, user_ttl] = self.ages();
        let arguments = [room, user, &people, &rooms, &users, &user_ttl, &room_ttl];
        let answer = self.call(script!("add"), &arguments).await?;
        match answers::number(&answer)? {
            -3 => Err(Error::UserFull(user.into())),
            -2 => Err(Error::RoomFull),
            -1 => Ok(None),
            changed => Ok(Some(changed > 0)),
        }
    }

    async fn remove(&self, room: &str, user: &str) -> Result<Option<bool>, Error> {
        let changed = answers::number(&self.call(script!("remove"), &[room, user]).await?)?;
        Ok((changed >= 0).then_some(changed > 0))
    }

    async fn delete(&self, room: &str) -> Result<Option<Vec<Reader>>, Error> {
        match self.call(script!("delete"), &[room]).await? {
            Value::Nil => Ok(None),
            readers => answers::readers(readers).map(Some),
        }
    }

    async fn note(&self, place: Position, message: &Message) -> Result<Option<Noted>, Error> {
        let json = serde_json::to_string(message).map_err(|_| unexpected("a message"))?;
        let kind = if message.counts() { "messages" } else { "words" };
        let (offset, size, ttl) =
            (place.offset.to_string(), self.size.to_string(), self.ttl.as_millis().to_string());
        let place = [place.epoch.as_str(), &offset];
        let [room_ttl, _] = self.ages();
        let about = [message.id.as_str(), &message.sender_id, kind, &json, &size, &ttl, &room_ttl];
        let arguments = [&[message.room_id.as_str()], &place[..], &about[..]].concat();
        answers::noted(self.call(script!("note"), &arguments).await?)
    }

    async fn readers(&self, room: &str) -> Result<Option<Vec<Reader>>, Error> {
        match self.call(script!("readers"), &[room]).await? {
            Value::Nil => Ok(None),
            readers => answers::readers(readers).map(Some),
        }
    }

    async fn place(&self, room: &str, message: &str) -> Result<Option<Position>, Error> {
        answers::place(self.call(script!("place"), &[room, message]).await?)
    }

    async fn read(&self, room: &str, user: &str, place: Option<Position>) -> Result<Option<u64>, Error> {
        let epoch = place.as_ref().map_or("", |place| place.epoch.as_str());
        let offset = place.map_or(0, |place| place.offset).to_string();
        match self.call(script!("read"), &[room, user, epoch, &offset, &self.ages()[0]]).await? {
            Value::Nil => Ok(None),
            count => answers::number(&count).map(|count| u64::try_from(count).ok()),
        }
    }

    async fn unread(&self, user: &str) -> Result<bool, Error> {
        Ok(answers::number(&self.call(script!("unread"), &[user]).await?)? > 0)
    }

    async fn meet(&self, user: &str) -> Result<(), Error> {
        self.call(script!("profile"), &[user, "", &self.bounds.users.to_string(), &self.ages()[1]])
            .await
            .map(drop)
    }

    async fn users(&self) -> Result<Vec<UserProfile>, Error> {
        let mut command = ::redis::cmd("HGETALL");
        command.arg(format!("{}:users", self.base));
        answers::users(self.one(command).await?)
    }

    async fn profiles(&self, users: &[String]) -> Result<Vec<UserProfile>, Error> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = ::redis::cmd("HMGET");
        command.arg(format!("{}:users", self.base)).arg(users);
        answers::profiles(users, self.one(command).await?)
    }

    async fn set_profile(&self, profile: &UserProfile) -> Result<(), Error> {
        let json = serde_json::to_string(profile).map_err(|_| unexpected("a profile"))?;
        let arguments = [&*profile.id, &json, &self.bounds.users.to_string(), &self.ages()[1]];
        let done = self.call(script!("profile"), &arguments).await?;
        if answers::number(&done)? > 0 { Ok(()) } else { Err(Error::UsersFull) }
    }
}
