//! `tidegate subscribe`: events on standard output, everything else on standard error.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use sse_stream::Sse;

use super::Gateway;
use super::output::{Unwritten, print, say};
use crate::client::{Subscription, Update, Wish};

#[derive(Args, Debug)]
pub(crate) struct Subscribe {
    #[command(flatten)]
    gateway: Gateway,
    /// Topic; may be repeated. None: what the token's user gets anyway
    #[arg(long = "topic", value_name = "TOPIC")]
    pub(super) topics: Vec<String>,
    /// Start after the event with this id
    #[arg(long, value_name = "ID")]
    last_event_id: Option<String>,
    /// Start with the last N events (without --last-event-id)
    #[arg(long, value_name = "N")]
    replay: Option<u32>,
    /// Print each event as a line of JSON: id, event and data, all texts
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Subscribe) -> anyhow::Result<ExitCode> {
    let wish = Wish { topics: args.topics, last_id: args.last_event_id, replay: args.replay };
    let mut subscription = Subscription::new(args.gateway, wish)?;
    loop {
        match subscription.next().await? {
            Update::Open => match subscription.last_id() {
                Some(id) => say(format_args!("connected, after {id}")),
                None => say("connected"),
            },
            Update::Lost { why, wait } => {
                say(format_args!("{why}; next try in {:.1} s", wait.as_secs_f64()));
            }
            Update::Over => {
                say("the gateway says that there is nothing to come");
                return Ok(ExitCode::SUCCESS);
            }
            Update::Block(block) => show(&block, subscription.last_id(), args.json)?,
        }
    }
}

fn show(block: &Sse, id: Option<&str>, as_json: bool) -> Result<(), Unwritten> {
    let Some(data) = &block.data else { return Ok(()) };
    let event = block.event.as_deref().filter(|event| !event.is_empty());
    if let Some(word) = event.and_then(|event| event.strip_prefix("tidegate:")) {
        say(said(word, data));
        return Ok(());
    }
    match event {
        _ if as_json => print(json!({"id": id, "event": event, "data": data})),
        Some(event) => print(format_args!("{event}: {data}")),
        None => print(data),
    }
}

/// The gateway's own events, for a person.
fn said(word: &str, data: &str) -> String {
    let value: Value = serde_json::from_str(data).unwrap_or_default();
    let reason = value["reason"].as_str().unwrap_or("no reason given");
    match word {
        "ready" => {
            let topics: Vec<&str> =
                value["topics"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            format!("ready: {} from node {}", topics.join(", "), value["node"].as_str().unwrap_or("?"))
        }
        "reset" => format!("reset ({reason}): events of {} were missed", value["topics"]),
        "closing" => format!("closing ({reason})"),
        word => format!("{word}: {data}"),
    }
}

#[cfg(test)]
mod tests {
    use super::said;

    #[test]
    fn the_gateways_words_are_explained() {
        assert_eq!(
            said("ready", r#"{"connection":"c","node":"n1","user":null,"topics":["a","b"]}"#),
            "ready: a, b from node n1"
        );
        assert_eq!(said("closing", r#"{"reason":"drain"}"#), "closing (drain)");
        assert_eq!(
            said("reset", r#"{"topics":["a"],"reason":"trimmed"}"#),
            r#"reset (trimmed): events of ["a"] were missed"#
        );
    }
}
