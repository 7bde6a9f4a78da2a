//! What events and the gateway's own words look like.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Event, Seen};

/// An event as JSON.
#[derive(Deserialize)]
struct Object {
    id: Option<String>,
    topic: Option<String>,
    event: Option<String>,
    data: Box<RawValue>,
}

impl Event {
    /// Data other than a text stays as it was written.
    pub(super) fn from_json(text: &str) -> Event {
        let object: Object = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
        let data = serde_json::from_str(object.data.get()).unwrap_or_else(|_| object.data.get().to_owned());
        Event { id: object.id, topic: object.topic, name: object.event, data }
    }
}

/// What the word of this name says. `id` and `retry` are what came with it.
pub(super) fn said(name: &str, data: &Value, id: Option<&str>, retry: Option<Duration>) -> Seen {
    let reason = data["reason"].as_str().unwrap_or_default().to_owned();
    match name {
        "tidegate:reset" => Seen::Reset { topics: strings(&data["topics"]), reason },
        "tidegate:closing" => {
            assert_eq!(id, None, "a client comes back with the place that it has");
            Seen::Closing { reason, retry: retry.expect("a client is told when to come back") }
        }
        _ => panic!("{name} in the midst of a stream: {data}"),
    }
}

pub(super) fn strings(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}
