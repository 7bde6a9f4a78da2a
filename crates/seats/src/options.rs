use std::time::Duration;

use tidegate_broker::Retention;

use crate::model::Rules;

/// Settings.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many seats a schedule has.
    pub seats: u32,
    /// How long a seat is held before it is available again. Long enough to pay.
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
    /// How long changes can be read again by clients that come back.
    pub retention: Retention,
}

impl Default for Options {
    fn default() -> Self {
        let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(86_400));
        Self {
            seats: 50,
            hold: Duration::from_secs(300),
            user_holds: 10,
            keep: 400 * day,
            sweep: Duration::from_secs(1),
            heartbeat: Duration::from_secs(30),
            timeout: None,
            retention: Retention { size: 1000, ttl: hour, record_ttl: 30 * day, key_ttl: hour },
        }
    }
}

impl Options {
    pub(crate) fn rules(&self) -> Rules {
        Rules { hold: self.hold, user_holds: self.user_holds }
    }
}
