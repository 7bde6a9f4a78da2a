//! The gateway's own words.

use serde_json::Value;

use super::Seen;

/// What the word of this name says.
pub(super) fn said(name: &str, data: &Value) -> Seen {
    let reason = data["reason"].as_str().unwrap_or_default().to_owned();
    match name {
        "tidegate:reset" => Seen::Reset { topics: strings(&data["topics"]), reason },
        "tidegate:closing" => Seen::Closing(reason),
        _ => panic!("{name} in the midst of a stream: {data}"),
    }
}

pub(super) fn strings(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}
