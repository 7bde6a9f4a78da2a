//! Names: which texts may be ids, and which topics belong to them.

use tidegate_protocol::Topic;
use tidegate_server::Problem;

/// The event's name on a room's topic.
pub(crate) const CHAT: &str = "chat";

/// Before the room's id in its topic.
const ROOM: &str = "$chat:";

/// The longest user id, in bytes: with a room's id it still makes a topic.
const USER_BYTES: usize = 200;

/// The topic that a room's messages are events of.
pub(crate) fn room(id: &str) -> Result<Topic, Problem> {
    let wrong = |detail: String| Problem::invalid("roomId", detail);
    if id.is_empty() || id.len() > 36 {
        return Err(wrong("A room's id has 1 to 36 bytes.".into()));
    }
    Topic::parse(&format!("{ROOM}{id}")).map_err(|error| wrong(format!("{id:?}: {error}.")))
}

/// The room whose topic this is, if it is one.
pub(crate) fn room_of(topic: &Topic) -> Option<&str> {
    topic.as_str().strip_prefix(ROOM)
}

/// A user's own topic.
pub(crate) fn user(field: &str, id: &str) -> Result<Topic, Problem> {
    if id.len() > USER_BYTES {
        let detail = format!("A user's id has at most {USER_BYTES} bytes here, this one has {}.", id.len());
        return Err(Problem::invalid(field, detail));
    }
    Topic::user(id).map_err(|error| Problem::invalid(field, format!("{id:?}: {error}.")))
}
