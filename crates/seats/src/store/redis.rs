//! For many nodes: four small scripts in a Redis.
//!
//! | key (prefix `tg`) | holds |
//! |---|---|
//! | `tg:{seats}:s:SCHEDULE` | hash: the seats that were changed; seat → version, space, the [`Change`] |
//! | `tg:{seats}:h:SCHEDULE USER` | sorted set: seats that the user holds, by when that ends |
//! | `tg:{seats}:o:SCHEDULE` | list: changes to be announced, oldest first; as in the hash |
//! | `tg:{seats}:version` | the count of changes |
//! | `tg:{seats}:due` | sorted set: `SCHEDULE SEAT` of everything held, by when that ends |
//! | `tg:{seats}:waiting` | set: schedules whose outbox is not empty |
//! | `tg:{seats}:schedules` | sorted set: schedules with a held or reserved seat, by when they are forgotten |
//!
//! `{seats}` is a hash tag: one script may touch all of them. Schedules and users have no white space in their names.

use async_trait::async_trait;
use redis::{FromRedisValue, RedisError, Script, ScriptInvocation};
use tidegate_broker_redis::{Connection, Pool};

use super::{Chores, Error, OUTBOX, Store, Version};
use crate::Options;
use crate::model::{Change, Millis, Seat, Sight, Status};
use crate::place::{Place, Schedule};

/// Redis refuses an expiry that does not fit into its clock. 35,000 years.
const FOREVER: u64 = 1 << 50;

/// Seats in a Redis that all nodes share.
pub struct Redis {
    pool: Pool,
    prefix: String,
    keep: u64,
    schedules: usize,
    look: Script,
    write: Script,
    next: Script,
    chores: Script,
}

impl Redis {
    /// A store over the broker's own connections; `prefix` begins every key.
    pub fn new(pool: Pool, prefix: &str, options: &Options) -> Self {
        Self {
            pool,
            prefix: format!("{prefix}:{{seats}}"),
            keep: u64::try_from(options.keep.as_millis()).unwrap_or(u64::MAX).clamp(1, FOREVER),
            schedules: options.schedules,
            look: Script::new(include_str!("scripts/look.lua")),
            write: Script::new(include_str!("scripts/write.lua")),
            next: Script::new(include_str!("scripts/next.lua")),
            chores: Script::new(include_str!("scripts/chores.lua")),
        }
    }

    fn key(&self, name: impl std::fmt::Display) -> String {
        format!("{}:{name}", self.prefix)
    }

    fn seats(&self, schedule: &Schedule) -> String {
        self.key(format_args!("s:{schedule}"))
    }

    fn holds(&self, schedule: &Schedule, user: &str) -> String {
        self.key(format_args!("h:{schedule} {user}"))
    }

    fn outbox(&self, schedule: &Schedule) -> String {
        self.key(format_args!("o:{schedule}"))
    }

    async fn run<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, Error> {
        let mut connection = self.pool.get().await.map_err(|error| Error::Unavailable(error.to_string()))?;
        call.invoke_async(&mut connection).await.map_err(|error| failed(connection, &error))
    }
}

#[async_trait]
impl Store for Redis {
    async fn changed(&self, schedule: &Schedule) -> Result<(Vec<Seat>, Millis), Error> {
        let mut connection = self.pool.get().await.map_err(|error| Error::Unavailable(error.to_string()))?;
        let mut both = redis::pipe();
        both.cmd("TIME").cmd("HVALS").arg(self.seats(schedule));
        let answer = both.query_async(&mut connection).await;
        let ((seconds, micros), texts): ((u64, u64), Vec<String>) =
            answer.map_err(|error| failed(connection, &error))?;
        let seats = texts.iter().map(|text| Ok(written(text)?.1.seat));
        Ok((seats.collect::<Result<_, _>>()?, seconds * 1000 + micros / 1000))
    }

    async fn look(&self, place: &Place, user: &str) -> Result<Sight, Error> {
        let Place { schedule, number } = place;
        let mut call = self.look.key(self.seats(schedule));
        call.key(self.holds(schedule, user)).arg(number);
        let (now, seat, holds): (Millis, Option<String>, u32) = self.run(&call).await?;
        let (version, status) = match seat {
            Some(text) => written(&text).map(|(version, change)| (version, change.seat.status))?,
            None => (0, Status::Available),
        };
        Ok(Sight { status, version, holds, now })
    }

    async fn write(
        &self,
        place: &Place,
        user: &str,
        sight: &Sight,
        change: &Change,
    ) -> Result<Option<Version>, Error> {
        let Place { schedule, number } = place;
        let (status, until) = match &change.seat.status {
            Status::Available => ("AVAILABLE", 0),
            Status::Held { until, .. } => ("HELD", *until),
            Status::Reserved { .. } => ("RESERVED", 0),
        };
        let text = serde_json::to_string(change).map_err(|error| Error::Unavailable(error.to_string()))?;
        let mut call = self.write.key(self.seats(schedule));
        call.key(self.holds(schedule, user)).key(self.outbox(schedule));
        call.key(self.key("version")).key(self.key("due")).key(self.key("waiting"));
        call.key(self.key("schedules"));
        call.arg(number).arg(sight.version).arg(sight.holds).arg(sight.now);
        call.arg(schedule.to_string()).arg(text).arg(status).arg(until).arg(self.keep).arg(OUTBOX);
        call.arg(self.schedules);
        match self.run::<Option<i64>>(&call).await? {
            Some(-1) => Err(Error::Outbox),
            Some(-2) => Err(Error::Schedules),
            version => Ok(version.and_then(|version| Version::try_from(version).ok())),
        }
    }

    async fn next(
        &self,
        schedule: &Schedule,
        announced: Version,
    ) -> Result<Option<(Version, String)>, Error> {
        let mut call = self.next.key(self.outbox(schedule));
        call.key(self.key("waiting")).arg(schedule.to_string()).arg(announced);
        let head: Option<String> = self.run(&call).await?;
        head.map(|head| split(&head).map(|(version, change)| (version, change.to_owned()))).transpose()
    }

    async fn chores(&self, most: usize) -> Result<Chores, Error> {
        let mut call = self.chores.key(self.key("due"));
        call.key(self.key("waiting")).arg(most);
        let (due, waiting): (Vec<String>, Vec<String>) = self.run(&call).await?;
        let place = |text: &String| {
            let (schedule, number) = text.split_once(' ')?;
            Some(Place { schedule: Schedule::parse(schedule).ok()?, number: number.parse().ok()? })
        };
        Ok(Chores {
            due: due.iter().filter_map(place).collect(),
            waiting: waiting.iter().filter_map(|id| Schedule::parse(id).ok()).collect(),
        })
    }
}

fn written(text: &str) -> Result<(Version, Change), Error> {
    let (version, change) = split(text)?;
    Ok((version, serde_json::from_str(change).map_err(|error| Error::Unavailable(error.to_string()))?))
}

fn split(text: &str) -> Result<(Version, &str), Error> {
    let parts = text.split_once(' ').and_then(|(version, change)| Some((version.parse().ok()?, change)));
    parts.ok_or_else(|| Error::Unavailable("a seat's key holds something else".into()))
}

/// Late answers may still be on their way: not a connection for others.
fn failed(connection: Connection, error: &RedisError) -> Error {
    drop(Connection::take(connection));
    Error::Unavailable(error.to_string())
}
