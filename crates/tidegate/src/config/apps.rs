//! The built-in applications.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::values::{HeartbeatStyle, Toggle};

/// Which of them are served.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Apps {
    /// The chat. `"auto"`: on in open mode, off where keys decide.
    pub(crate) chat: Toggle,
    /// The seat reservation example. `"auto"`: as for the chat.
    pub(crate) seats: Toggle,
}

impl Apps {
    /// Whether there is one for the page to show.
    pub(crate) fn any(&self, open: bool) -> bool {
        self.chat.or(open) || self.seats.or(open)
    }
}

/// The chat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Chat {
    /// Messages that a room keeps.
    pub(crate) history_size: u32,
    /// How long a room keeps its messages after the last one.
    #[serde(with = "humantime_serde")]
    pub(crate) history_ttl: Duration,
    /// Messages that a room's stream begins with.
    pub(crate) replay: u32,
    /// Participants of one room.
    pub(crate) participants: usize,
    /// Rooms that a user may be put into by others.
    pub(crate) rooms: usize,
    /// Rooms that one user may have made.
    pub(crate) rooms_made: usize,
    /// Rooms of all users.
    pub(crate) rooms_total: usize,
    /// A room that is not used for so long is forgotten.
    #[serde(with = "humantime_serde")]
    pub(crate) room_ttl: Duration,
    /// Users that are listed and may have a profile.
    pub(crate) users: usize,
    /// A user who has not called for so long is forgotten.
    #[serde(with = "humantime_serde")]
    pub(crate) user_ttl: Duration,
    /// The event that a user's own stream begins with; empty: none.
    pub(crate) connect_event: String,
    /// Its data.
    pub(crate) connect_data: String,
    /// What a heartbeat of a user's own stream looks like.
    pub(crate) user_heartbeat_style: HeartbeatStyle,
    /// Between two heartbeats of a user's own stream.
    #[serde(with = "humantime_serde")]
    pub(crate) user_heartbeat: Duration,
    /// What a heartbeat of a room's stream looks like.
    pub(crate) room_heartbeat_style: HeartbeatStyle,
    /// Between two heartbeats of a room's stream.
    #[serde(with = "humantime_serde")]
    pub(crate) room_heartbeat: Duration,
    /// Age at which a user's own stream is closed. 0: never.
    #[serde(with = "humantime_serde")]
    pub(crate) user_timeout: Duration,
    /// Age at which a room's stream is closed. 0: never.
    #[serde(with = "humantime_serde")]
    pub(crate) room_timeout: Duration,
    /// A long poll waits at most so long.
    #[serde(with = "humantime_serde")]
    pub(crate) poll_timeout: Duration,
}

/// The seat reservation example.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Seats {
    /// Seats of a schedule.
    pub(crate) seats: u32,
    /// How long a seat is held.
    #[serde(with = "humantime_serde")]
    pub(crate) hold: Duration,
    /// Seats of one schedule that a user may hold at once.
    pub(crate) user_holds: u32,
    /// How long a schedule is remembered after its last change.
    #[serde(with = "humantime_serde")]
    pub(crate) keep: Duration,
    /// How often each node looks for holds that are over.
    #[serde(with = "humantime_serde")]
    pub(crate) sweep: Duration,
    /// Between two heartbeats of a stream.
    #[serde(with = "humantime_serde")]
    pub(crate) heartbeat: Duration,
    /// Age at which a stream is closed. 0: never.
    #[serde(with = "humantime_serde")]
    pub(crate) timeout: Duration,
    /// Schedules that may have held or reserved seats at a time.
    pub(crate) schedules: usize,
    /// Whether everybody is shown who holds a seat.
    pub(crate) show_holders: bool,
}

impl Default for Chat {
    fn default() -> Self {
        Self {
            history_size: 10_000,
            history_ttl: Duration::from_secs(30 * 86_400),
            replay: 50,
            participants: 1_000,
            rooms: 1_000,
            rooms_made: 200,
            rooms_total: 100_000,
            room_ttl: Duration::from_secs(365 * 86_400),
            users: 1_000,
            user_ttl: Duration::from_secs(365 * 86_400),
            connect_event: "ping".into(),
            connect_data: "connect success".into(),
            user_heartbeat_style: HeartbeatStyle::event("heartbeat"),
            user_heartbeat: Duration::from_secs(15),
            room_heartbeat_style: HeartbeatStyle::event("hb"),
            room_heartbeat: Duration::from_secs(10),
            user_timeout: Duration::ZERO,
            room_timeout: Duration::ZERO,
            poll_timeout: Duration::from_secs(30),
        }
    }
}

impl Default for Seats {
    fn default() -> Self {
        Self {
            seats: 50,
            hold: Duration::from_secs(300),
            user_holds: 10,
            keep: Duration::from_secs(400 * 86_400),
            sweep: Duration::from_secs(1),
            heartbeat: Duration::from_secs(30),
            timeout: Duration::ZERO,
            schedules: 10_000,
            show_holders: false,
        }
    }
}
