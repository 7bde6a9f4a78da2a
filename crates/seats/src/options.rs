use std::time::Duration;

use tidegate_broker::Retention;

use crate::model::Rules;

/// Who wants a seat for longer reserves it.
const YEAR: Duration = Duration::from_secs(366 * 86_400);

/// Settings.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many seats a schedule has. The list has them all, in one answer: thousands, not millions.
    pub seats: u32,
    /// How long a seat is held before it is available again. Long enough to pay; a year at most.
    pub hold: Duration,
    /// How many seats of one schedule a user may hold at once: a family fits, a buyer of the whole house does not.
    pub user_holds: u32,
    /// How long a schedule is remembered after its last change. Longer than anybody sells ahead.
    pub keep: Duration,
    /// How often each node looks for holds that are over, and for changes that a dead node has not announced.
    pub sweep: Duration,
    /// A stream on which nothing happens gets a heartbeat this often.
    pub heartbeat: Duration,
    /// A stream ends after this, and its client comes back. `None`: never.
    pub timeout: Option<Duration>,
    /// Schedules that have seats which are held or reserved. All of them are kept in memory, here
    /// or in Redis: with 50 seats each, 10,000 schedules are some 75 MB.
    pub schedules: usize,
    /// Whether everybody is shown who holds a seat. Otherwise only the holder is.
    pub show_holders: bool,
    /// How long changes can be read again by clients that come back.
    pub retention: Retention,
}

impl Default for Options {
    fn default() -> Self {
        let (minute, day) = (Duration::from_secs(60), Duration::from_secs(86_400));
        Self {
            seats: 50,
            hold: 5 * minute,
            user_holds: 10,
            keep: 400 * day,
            sweep: Duration::from_secs(1),
            heartbeat: Duration::from_secs(30),
            timeout: None,
            schedules: 10_000,
            show_holders: false,
            retention: Retention { size: 1000, ttl: 60 * minute, record_ttl: 30 * day, key_ttl: 10 * minute },
        }
    }
}

impl Options {
    pub(crate) fn rules(&self) -> Rules {
        Rules { hold: self.hold.min(YEAR), user_holds: self.user_holds }
    }
}
