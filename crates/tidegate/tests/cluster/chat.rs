//! The chat, while nodes die.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use tidegate_testkit::{EventSource, http};

use crate::cluster::Cluster;

/// Sends with a key, to the next node when one does not answer: the message is there once, whatever the dead one still did.
async fn say(bases: &[String], room: &str, n: usize) -> Value {
    let key = format!("message {n}");
    for base in bases.iter().cycle().skip(n).take(20) {
        let url = format!("{base}/api/chat/rooms/{room}/messages?userId=alice");
        let request = http::client().request(Method::POST, url).header("idempotency-key", &key);
        if let Ok(answer) = request.json(&json!({ "content": n.to_string() })).send().await
            && answer.status() == 201
        {
            return answer.json().await.unwrap();
        }
    }
    panic!("no node took message {n}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_goes_on_without_the_nodes_that_die() {
    let cluster = Cluster::start(3).await;
    let bases = cluster.bases();
    let path = |base: &str, path: &str| format!("{base}{path}");
    let made = http::post(&path(&bases[0], "/api/chat/users/bob/rooms?userId=alice"), &json!({})).await;
    let room = made.body["id"].as_str().unwrap();
    let stream = format!("/api/chat/rooms/{room}/subscribe?userId=bob");
    let watch = |route: &str| {
        let urls: Vec<String> = [1, 2].iter().map(|node| path(&bases[*node], route)).collect();
        EventSource::builder(&urls).open()
    };
    let (chat, news) = (watch(&stream), watch("/api/sse/subscribe?userId=bob"));
    for source in [&chat, &news] {
        source.wait_for(|events| events.iter().any(|event| event.event == "tidegate:ready")).await;
    }
    let mut sent = Vec::new();
    for n in 0..60 {
        match n {
            20 => drop(cluster.nodes[1].kill().await),
            40 => drop(cluster.nodes[0].kill().await),
            _ => {}
        }
        sent.push(say(&bases, room, n).await);
    }
    let ids: BTreeSet<_> = sent.iter().map(|message| message["id"].to_string()).collect();
    assert_eq!(ids.len(), 60);
    for source in [&chat, &news] {
        let chats = |events: &[tidegate_testkit::Event]| -> Vec<Value> {
            let chats = events.iter().filter(|event| event.event == "chat");
            chats.map(|event| serde_json::from_str(&event.data).unwrap()).collect()
        };
        let mut heard = Vec::new();
        source
            .wait_for(|events| {
                heard = chats(events);
                heard.len() >= 60
            })
            .await;
        assert_eq!(heard, sent, "every message once, in the order in which they were sent");
    }
    let left = &bases[2];
    let view = http::get(&path(left, &format!("/api/chat/rooms/{room}?userId=bob"))).await.body;
    assert_eq!((&view["unreadCount"], &view["lastMessage"]), (&json!(60), &sent[59]));
    let read = http::post(&path(left, &format!("/api/chat/rooms/{room}/read?userId=bob")), &json!({})).await;
    assert_eq!(read.body["unreadCount"], 0);
    news.wait_for(|events| events.last().is_some_and(|event| event.event == "nav-no-any-new-message")).await;
}
