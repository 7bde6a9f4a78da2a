//! Accounts for every event: it came once and in its order, or a reset came in its place. After a
//! reset events may come again, up to what the client has had: gateways of the version before begin
//! at 0 then.

use serde_json::Value;
use tidegate_testkit::{Event, EventSource};

/// What `Publisher` has sent to these topics in turns is looked for in what clients got.
pub(super) const TOPICS: &[&str] = &["a:1", "b:2", "c:3"];
pub(super) const QUERY: &str = "/v1/events?topic=a:1&topic=b:2&topic=c:3";

/// Waits until the client has the last event of each topic, of `count` in all, and accounts for
/// those before. Gives the number of resets.
pub(super) async fn account(name: &str, client: &EventSource, count: usize) -> usize {
    let last: Vec<String> = (count - TOPICS.len()..count).map(|number| number.to_string()).collect();
    client
        .wait_for(|events| last.iter().all(|last| events.iter().rev().any(|event| event.data == *last)))
        .await;
    check(name, &client.events())
}

fn check(name: &str, events: &[Event]) -> usize {
    let mut next: Vec<usize> = (0..TOPICS.len()).collect();
    let mut excused = vec![false; TOPICS.len()];
    let (mut highest, mut resets) = (vec![0; TOPICS.len()], 0);
    for event in events {
        if event.event == "tidegate:reset" {
            let told: Value = serde_json::from_str(&event.data).unwrap();
            resets += 1;
            for topic in told["topics"].as_array().unwrap() {
                excused[TOPICS.iter().position(|known| topic == known).unwrap()] = true;
            }
        } else if !event.event.starts_with("tidegate:") {
            let number: usize = event.data.parse().unwrap();
            let topic = number % TOPICS.len();
            let fits = number == next[topic] || excused[topic];
            assert!(fits, "{name}: {number} instead of {} in {}: {events:#?}", next[topic], TOPICS[topic]);
            next[topic] = number + TOPICS.len();
            excused[topic] &= number < highest[topic];
            highest[topic] = highest[topic].max(number);
        }
    }
    resets
}
