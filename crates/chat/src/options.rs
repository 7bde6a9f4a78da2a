use std::time::Duration;

use tidegate_broker::Retention;
use tidegate_hub::{Greeting, Heartbeat};
use tidegate_protocol::EventName;

/// Settings.
#[derive(Clone, Debug)]
pub struct Options {
    /// What a room keeps of its messages: at least one.
    pub messages: Retention,
    /// What a user's own topic keeps: as the namespace `user` is configured.
    pub notices: Retention,
    /// Messages that a room's stream begins with, if its client says nothing else.
    pub replay: u32,
    /// What a user's own stream begins with: what the first clients of such streams waited for.
    pub greeting: Option<Greeting>,
    /// What a heartbeat of a room's stream looks like.
    pub room_heartbeat_style: Heartbeat,
    /// Between two heartbeats of a room's stream.
    pub room_heartbeat: Duration,
    /// What a heartbeat of a user's own stream looks like.
    pub user_heartbeat_style: Heartbeat,
    /// Between two heartbeats of a user's own stream.
    pub user_heartbeat: Duration,
    /// How long a room's stream may live; 0: as long as any. Each end costs a reconnect.
    pub room_timeout: Duration,
    /// How long a user's own stream may live; 0: as long as any. Each end costs a reconnect.
    pub user_timeout: Duration,
    /// How long a long poll waits at most, and if it does not say.
    pub poll_timeout: Duration,
    /// Bounds on what is kept.
    pub bounds: Bounds,
}

/// Bounds on what is kept.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Participants of one room. Each gets notifications of every message.
    pub participants: usize,
    /// Rooms that a user may be put into by others. The list of rooms has them all, and those that
    /// the user made.
    pub rooms_per_user: usize,
    /// Rooms that one user may have made: a fraction of what others' lists take, so that none can
    /// fill them alone.
    pub rooms_made: usize,
    /// Rooms of all users. An in-process store holds at most 10,000.
    pub rooms: usize,
    /// A room that is not used for so long is forgotten.
    pub room_ttl: Duration,
    /// Users that are listed. A larger community has a directory of its own.
    pub users: usize,
    /// A user who has not called for so long is forgotten.
    pub user_ttl: Duration,
    /// Characters of a room's name, of a nickname and of a relation type.
    pub name: usize,
}

impl Default for Options {
    fn default() -> Self {
        let month = Duration::from_secs(30 * 86_400);
        let key_ttl = Duration::from_secs(600);
        let name = |text| EventName::parse(text).ok();
        Self {
            // At a hundred messages a day, a quarter of a year.
            messages: Retention { size: 10_000, ttl: month, record_ttl: 2 * month, key_ttl },
            notices: Retention { size: 1_000, ttl: Duration::from_secs(3_600), record_ttl: month, key_ttl },
            replay: 50,
            greeting: name("ping").map(|event| Greeting { event, data: "connect success".into() }),
            room_heartbeat_style: Heartbeat::Event { name: name("hb"), data: String::new() },
            user_heartbeat_style: Heartbeat::Event { name: name("heartbeat"), data: "heartbeat".into() },
            room_heartbeat: Duration::from_secs(10),
            user_heartbeat: Duration::from_secs(15),
            room_timeout: Duration::ZERO,
            user_timeout: Duration::ZERO,
            poll_timeout: Duration::from_secs(30),
            bounds: Bounds::default(),
        }
    }
}

impl Default for Bounds {
    fn default() -> Self {
        let year = Duration::from_secs(365 * 86_400);
        Self {
            participants: 1_000,
            rooms_per_user: 1_000,
            rooms_made: 200,
            rooms: 100_000,
            room_ttl: year,
            users: 1_000,
            user_ttl: year,
            name: 100,
        }
    }
}
