//! What a seat is, and what becomes of it when somebody asks for something: no store, no network, no clock.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970, by the store's clock.
pub type Millis = u64;

/// A seat as its holder is shown it:
/// `{"scheduleSeatId":"7","status":"HELD","heldBy":"alice","heldUntil":"2026-01-15T14:35:00.000Z"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// Its number within the schedule, from 1.
    #[serde(rename = "scheduleSeatId", with = "text")]
    pub number: u32,
    /// Whose it is.
    #[serde(flatten)]
    pub status: Status,
}

/// Whose a seat is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "UPPERCASE")]
pub enum Status {
    /// Nobody's.
    Available,
    /// Somebody's, for a while.
    Held {
        /// The user. Empty, and left out of JSON: not shown.
        #[serde(rename = "heldBy", default, skip_serializing_if = "String::is_empty")]
        by: String,
        /// The first moment at which it is nobody's again.
        #[serde(rename = "heldUntil", with = "iso")]
        until: Millis,
    },
    /// Somebody's, for good.
    Reserved {
        /// The user. Empty, and left out of JSON: not shown.
        #[serde(rename = "heldBy", default, skip_serializing_if = "String::is_empty")]
        by: String,
    },
}

impl Seat {
    /// The seat as `viewer` may see it: only holders are shown who holds it. An empty `viewer` is
    /// none of them.
    #[must_use]
    pub fn seen_by(mut self, viewer: &str) -> Self {
        match &mut self.status {
            Status::Held { by, .. } | Status::Reserved { by } if by != viewer => by.clear(),
            _ => {}
        }
        self
    }
}

impl Status {
    /// What it is at `now`. A hold ends by itself: nobody has to do or store anything for that.
    pub fn at(&self, now: Millis) -> Self {
        match self {
            Self::Held { until, .. } if *until <= now => Self::Available,
            other => other.clone(),
        }
    }
}

/// What may be done to a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Make it one's own for a while, or for a while longer.
    Hold,
    /// Give it back.
    Release,
    /// Make it one's own for good.
    Reserve,
    /// Nothing but to write down what time has done.
    Settle,
}

/// Everything that a decision depends on, as it was at one moment.
#[derive(Clone, Debug)]
pub struct Sight {
    /// As it was last written.
    pub status: Status,
    /// When it was last written, by the store's count of changes; 0: never.
    pub version: u64,
    /// How many seats of the schedule the user holds.
    pub holds: u32,
    /// The moment.
    pub now: Millis,
}

/// What a schedule's seats allow.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How long a seat is held.
    pub hold: Duration,
    /// How many seats of a schedule one user may hold at once.
    pub user_holds: u32,
}

/// What the seat is from now on, or why not.
pub fn decide(act: Act, user: &str, sight: &Sight, rules: &Rules) -> Result<Status, Reason> {
    use Status::{Available, Held, Reserved};
    let held = |by: String| Held { by, until: sight.now + rules.hold.as_millis() as Millis };
    match (act, sight.status.at(sight.now)) {
        (Act::Settle, status) => Ok(status),
        (Act::Hold, Available) if sight.holds >= rules.user_holds => Err(Reason::Enough(sight.holds)),
        (Act::Hold, Available) => Ok(held(user.into())),
        (Act::Hold, Held { by, .. }) if by == user => Ok(held(by)),
        (Act::Release, Available) => Ok(Available),
        (Act::Release, Held { by, .. }) if by == user => Ok(Available),
        (Act::Reserve, Available) => Err(Reason::NotHeld),
        (Act::Reserve, Held { by, .. } | Reserved { by }) if by == user => Ok(Reserved { by }),
        (_, Held { .. } | Reserved { .. }) => Err(Reason::Taken),
    }
}

/// Why a user does not get what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is somebody's, or reserved: see its status.
    Taken,
    /// Only what one holds can be reserved.
    NotHeld,
    /// The user holds so many seats of the schedule, as many as one may.
    Enough(u32),
}

/// A refusal, with the seat as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The seat that the user does not get.
    pub seat: Seat,
    /// Why.
    pub reason: Reason,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.seat.number;
        match (self.reason, &self.seat.status) {
            (Reason::Enough(holds), _) => {
                write!(f, "You hold {holds} seats here, as many as one may: reserve or release one first.")
            }
            (_, Status::Available) => write!(f, "Nobody holds seat {number}: hold it first."),
            (_, Status::Held { by, until }) => {
                write!(f, "Seat {number} is held{} until {}.", holder(by), iso::format(*until))
            }
            (_, Status::Reserved { by }) => write!(f, "Seat {number} is reserved{}, for good.", holder(by)),
        }
    }
}

/// " by alice", where that is shown.
fn holder(by: &str) -> String {
    if by.is_empty() { String::new() } else { format!(" by {by}") }
}

/// A seat as it became: the data of `seatStatusChange`, and (with its holder) what a store keeps of
/// the seat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What it is from now on.
    #[serde(flatten)]
    pub seat: Seat,
    /// Since when.
    #[serde(with = "iso")]
    pub timestamp: Millis,
}

/// Numbers as texts: ids are strings in every answer.
mod text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(number: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Moments as texts: ISO 8601 in UTC, which every language can read.
mod iso {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::{Duration, Millis, UNIX_EPOCH, millis};

    pub(super) fn format(at: Millis) -> impl std::fmt::Display {
        humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(at))
    }

    pub(super) fn serialize<S: Serializer>(at: &Millis, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format(*at))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Millis, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_rfc3339(&text).map(millis).map_err(D::Error::custom)
    }
}

/// A moment as a number.
pub(crate) fn millis(at: SystemTime) -> Millis {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as Millis
}

#[cfg(test)]
mod tests {
    use super::Status::{Available, Held, Reserved};
    use super::*;

    const RULES: Rules = Rules { hold: Duration::from_millis(100), user_holds: 2 };

    fn held(by: &str, until: Millis) -> Status {
        Held { by: by.into(), until }
    }

    fn reserved(by: &str) -> Status {
        Reserved { by: by.into() }
    }

    /// What `act` of `ann` makes of a seat at 1000.
    fn ann(act: Act, status: Status) -> Result<Status, Reason> {
        decide(act, "ann", &Sight { status, version: 1, holds: 1, now: 1000 }, &RULES)
    }

    #[test]
    fn one_table_of_rules() {
        use Act::{Hold, Release, Reserve, Settle};
        let (mine, over) = (held("ann", 1001), held("ann", 1000));
        let (bobs, bobs_over) = (held("bob", 1001), held("bob", 1000));
        for (act, status, becomes) in [
            (Hold, Available, Ok(held("ann", 1100))),
            (Hold, mine.clone(), Ok(held("ann", 1100))),
            (Hold, over.clone(), Ok(held("ann", 1100))),
            (Hold, bobs.clone(), Err(Reason::Taken)),
            (Hold, bobs_over.clone(), Ok(held("ann", 1100))),
            (Hold, reserved("bob"), Err(Reason::Taken)),
            (Hold, reserved("ann"), Err(Reason::Taken)),
            (Release, Available, Ok(Available)),
            (Release, mine.clone(), Ok(Available)),
            (Release, over.clone(), Ok(Available)),
            (Release, bobs.clone(), Err(Reason::Taken)),
            (Release, bobs_over.clone(), Ok(Available)),
            (Release, reserved("ann"), Err(Reason::Taken)),
            (Reserve, Available, Err(Reason::NotHeld)),
            (Reserve, mine, Ok(reserved("ann"))),
            (Reserve, over.clone(), Err(Reason::NotHeld)),
            (Reserve, bobs.clone(), Err(Reason::Taken)),
            (Reserve, bobs_over, Err(Reason::NotHeld)),
            (Reserve, reserved("ann"), Ok(reserved("ann"))),
            (Reserve, reserved("bob"), Err(Reason::Taken)),
            (Settle, over, Ok(Available)),
            (Settle, bobs.clone(), Ok(bobs)),
            (Settle, reserved("bob"), Ok(reserved("bob"))),
        ] {
            assert_eq!(ann(act, status.clone()), becomes, "{act:?} of {status:?}");
        }
    }

    #[test]
    fn nobody_holds_more_than_one_may_but_may_renew() {
        let sight = |status| Sight { status, version: 1, holds: 2, now: 1000 };
        assert_eq!(decide(Act::Hold, "ann", &sight(Available), &RULES), Err(Reason::Enough(2)));
        assert!(decide(Act::Hold, "ann", &sight(held("ann", 1001)), &RULES).is_ok());
    }

    #[test]
    fn only_holders_are_shown_who_holds_a_seat() {
        for (status, hidden) in [
            (
                held("ann", 1000),
                r#"{"scheduleSeatId":"7","status":"HELD","heldUntil":"1970-01-01T00:00:01.000Z"}"#,
            ),
            (reserved("ann"), r#"{"scheduleSeatId":"7","status":"RESERVED"}"#),
        ] {
            let seat = Seat { number: 7, status };
            assert_eq!(seat.clone().seen_by("ann"), seat);
            for other in ["bob", "", "an", "annie"] {
                let refusal = Refusal { seat: seat.clone().seen_by(other), reason: Reason::Taken };
                assert_eq!(serde_json::to_string(&refusal.seat).expect("plain data"), hidden);
                assert!(!refusal.to_string().contains("ann"), "{refusal}");
            }
        }
        let free = Seat { number: 7, status: Available };
        assert_eq!(free.clone().seen_by(""), free);
    }

    #[test]
    fn a_change_is_written_as_the_page_reads_it_and_read_again() {
        let seat = Seat { number: 7, status: held("ann", 1_768_487_700_000) };
        let change = Change { seat, timestamp: 1_768_487_400_000 };
        let text = serde_json::to_string(&change).expect("plain data");
        assert_eq!(
            text,
            r#"{"scheduleSeatId":"7","status":"HELD","heldBy":"ann","heldUntil":"2026-01-15T14:35:00.000Z","timestamp":"2026-01-15T14:30:00.000Z"}"#
        );
        assert_eq!(serde_json::from_str::<Change>(&text).expect("what was written"), change);
        let free = Change { seat: Seat { number: 7, status: Available }, timestamp: 0 };
        assert_eq!(
            serde_json::to_string(&free).expect("plain data"),
            r#"{"scheduleSeatId":"7","status":"AVAILABLE","timestamp":"1970-01-01T00:00:00.000Z"}"#
        );
    }
}
