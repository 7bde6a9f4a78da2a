//! An answer to a long poll.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::ear::{Fault, Listener};

#[derive(Deserialize)]
struct Answer<'a> {
    cursor: &'a str,
    #[serde(borrow)]
    events: Vec<Event<'a>>,
    reset: bool,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
}

pub(super) fn hear(body: &[u8], to: &mut impl Listener) -> Result<(), Fault> {
    let answer: Answer<'_> = serde_json::from_slice(body).map_err(|_| Fault::Malformed)?;
    to.opened();
    if answer.reset {
        to.reset(b"");
    }
    for event in answer.events {
        to.event(text(event.data.get()));
    }
    to.cursor(answer.cursor);
    Ok(())
}

/// A JSON string's text, if it is one without escapes: the tester's own are.
pub(super) fn text(json: &str) -> &[u8] {
    json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(json).as_bytes()
}
