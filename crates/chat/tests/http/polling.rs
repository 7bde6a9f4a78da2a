//! Long polling.

use serde_json::{Value, json};
use tidegate_testkit::http::Answer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{World, contents, refused};

#[tokio::test]
async fn nothing_is_lost_between_polls() {
    let world = World::open().await;
    let (alice, bob) = world.people();
    let room = alice.room("ours", &["bob"]).await;
    let path = format!("/long-polling/chat-rooms/{room}/messages");
    let first = alice.say(&room, "0").await;
    let cursor = |answer: &Answer| answer.headers["tidegate-cursor"].to_str().unwrap().to_owned();
    let mut after = first["id"].as_str().unwrap().to_owned();
    let mut got = Vec::new();
    let sending = async {
        for n in 1..=30 {
            alice.say(&room, &n.to_string()).await;
        }
    };
    let polling = async {
        while got.len() < 30 {
            let answer = bob.get(&format!("{path}?after={after}")).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            got.extend(contents(&answer.body).into_iter().map(ToOwned::to_owned));
            // By either of the two ids.
            let last = answer.body.as_array().unwrap().last().unwrap();
            after = if got.len() % 2 == 0 { cursor(&answer) } else { last["id"].as_str().unwrap().into() };
        }
    };
    tokio::join!(sending, polling);
    let expected: Vec<_> = (1..=30).map(|n| n.to_string()).collect();
    assert_eq!(got, expected);
}

#[tokio::test]
async fn a_poll_waits_for_the_next_message() {
    let world = World::open().await;
    let (alice, bob) = world.people();
    let room = alice.room("ours", &["bob"]).await;
    let path = format!("/long-polling/chat-rooms/{room}/messages");
    alice.say(&room, "before").await;
    let mut poll = std::pin::pin!(bob.get(&path));
    // Until the poll is there, which only it could tell, what is said is not for it.
    let answer = loop {
        tokio::select! {
            answer = &mut poll => break answer,
            _ = alice.say(&room, "now") => {}
        }
    };
    assert_eq!(contents(&answer.body)[0], "now");
    let empty = bob.get(&format!("{path}?timeout=0")).await;
    assert_eq!((empty.status.as_u16(), &empty.body), (200, &json!([])));
    let after = empty.headers["tidegate-cursor"].to_str().unwrap();
    let said = alice.say(&room, "later").await;
    assert_eq!(bob.get(&format!("{path}?after={after}")).await.body, Value::Array(vec![said]));
    for unknown in ["x", "0199c0de-0000-7000-8000-000000000000"] {
        refused(&bob.get(&format!("{path}?after={unknown}")).await, 400, Some("after"));
    }
    refused(&bob.get(&format!("{path}?timeout=x")).await, 400, Some("timeout"));
}

#[tokio::test]
async fn who_is_removed_waits_no_longer() {
    let world = World::open().await;
    let (alice, bob) = world.people();
    let room = alice.room("ours", &["bob"]).await;
    let path = format!("/long-polling/chat-rooms/{room}/messages");
    let poll = bob.get(&path);
    let remove = async {
        tidegate_testkit::eventually("the poll waits", async || (world.b.live() > 0).then_some(())).await;
        alice.delete(&format!("/api/chat/rooms/{room}/participants/bob")).await
    };
    let (answer, removed) = tokio::join!(poll, remove);
    assert_eq!(removed.status, 204);
    refused(&answer, 403, Some("roomId"));
}

/// Proxies pass on like this that a client has left.
#[tokio::test]
async fn a_poll_ends_when_its_client_closes_its_side() {
    let world = World::open().await;
    let (alice, bob) = world.people();
    let room = alice.room("ours", &["bob"]).await;
    let url = bob.url(&format!("/long-polling/chat-rooms/{room}/messages?timeout=60"));
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut socket = TcpStream::connect(host).await.unwrap();
    socket.write_all(format!("GET /{path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await.unwrap();
    tidegate_testkit::eventually("the poll waits", async || (world.b.live() > 0).then_some(())).await;
    socket.shutdown().await.unwrap();
    let mut answer = String::new();
    let reading = tokio::time::timeout(tidegate_testkit::DEADLINE, socket.read_to_string(&mut answer));
    reading.await.expect("it is answered").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("[]"), "{answer}");
    assert_eq!(world.b.live(), 0);
}
