//! The chat and the seats where keys decide: nobody is somebody else, and nobody gets at a room by another way.

use reqwest::Method;
use serde_json::{Value, json};
use tidegate_testkit::http::{Answer, publish_as, send};
use tidegate_testkit::{Gateway, RedisServer, Sse, WebSocket};

use crate::world::{API_KEY, everything, handshake, keyed, user};

async fn as_user(gateway: &Gateway, name: &str, method: Method, path: &str, body: Option<Value>) -> Answer {
    send(method, &gateway.url(path), Some(&user(name)), body.as_ref()).await
}

/// A room of alice and bob.
async fn room(gateway: &Gateway) -> String {
    let wish = json!({"name": "theirs", "participants": ["bob"]});
    let answer = as_user(gateway, "alice", Method::POST, "/api/chat/rooms", Some(wish)).await;
    answer.body["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn nobody_is_somebody_else_by_saying_so() {
    let gateway = keyed(&[], &[]).await;
    let room = room(&gateway).await;
    for path in [
        format!("/api/chat/rooms/{room}?userId=alice"),
        format!("/api/chat/rooms/{room}/messages?userId=alice"),
        format!("/api/chat/rooms/{room}/subscribe?userId=alice"),
        format!("/api/chat/stream?roomId={room}&userId=alice"),
        format!("/long-polling/chat-rooms/{room}/messages?userId=alice&timeout=0"),
    ] {
        assert_eq!(as_user(&gateway, "mallory", Method::GET, &path, None).await.status, 403, "{path}");
        assert_eq!(send(Method::GET, &gateway.url(&path), None, None).await.status, 401, "{path}");
    }
    // What a message says of its sender does not count.
    let forged = json!({"content": "hi", "senderId": "alice", "roomId": "another"});
    let path = format!("/api/chat/rooms/{room}/messages?userId=alice");
    assert_eq!(as_user(&gateway, "mallory", Method::POST, &path, Some(forged.clone())).await.status, 403);
    let sent = as_user(&gateway, "bob", Method::POST, &path, Some(forged)).await;
    assert_eq!((&sent.body["senderId"], &sent.body["roomId"]), (&json!("bob"), &json!(room)));
    let mine = as_user(&gateway, "mallory", Method::GET, "/api/chat/rooms?userId=alice", None).await;
    assert_eq!(mine.body, json!([]), "mallory's own, of which there are none");
    assert_eq!(
        as_user(&gateway, "mallory", Method::PUT, "/api/chat/users/alice", Some(json!({"nickname": "x"})))
            .await
            .status,
        403
    );
    for (who, path) in
        [("mallory", "participants/mallory"), ("mallory", "participants/bob"), ("bob", "participants/alice")]
    {
        let method = if path.ends_with("mallory") { Method::POST } else { Method::DELETE };
        let path = format!("/api/chat/rooms/{room}/{path}");
        assert_eq!(as_user(&gateway, who, method, &path, None).await.status, 403, "{who} {path}");
    }
    assert_eq!(
        as_user(&gateway, "mallory", Method::DELETE, &format!("/api/chat/rooms/{room}"), None).await.status,
        403
    );
    assert_eq!(
        as_user(&gateway, "mallory", Method::POST, &format!("/api/chat/rooms/{room}/read?userId=bob"), None)
            .await
            .status,
        403
    );
    let hold = as_user(&gateway, "alice", Method::POST, "/api/schedules/1/seats/1/hold", None).await;
    assert_eq!(hold.status, 200);
    for act in ["hold", "release", "reserve"] {
        let path = format!("/api/schedules/1/seats/1/{act}?userId=alice");
        assert_eq!(as_user(&gateway, "mallory", Method::POST, &path, None).await.status, 409, "{act}");
    }
}

#[tokio::test]
async fn a_room_has_no_other_door() {
    let gateway = keyed(&[], &[]).await;
    let room = room(&gateway).await;
    let topic = format!("$chat:{room}");
    // The widest grants there are, and a backend's key.
    let mallory = everything("mallory");
    for token in [mallory.as_str(), API_KEY] {
        for path in [
            format!("/v1/events?topic={topic}"),
            format!("/v1/poll?topic={topic}&timeout=0"),
            format!("/v1/topics/{topic}/events"),
            format!("/v1/ws?topic={topic}"),
        ] {
            let status = if path.starts_with("/v1/ws") {
                handshake(WebSocket::builder(&gateway.url(&path).replace("http", "ws")).bearer(token)).await
            } else {
                send(Method::GET, &gateway.url(&path), Some(token), None).await.status.as_u16()
            };
            assert_eq!(status, 403, "{path}");
        }
        for event in [json!({"topic": topic, "data": 1}), json!({"topics": ["a", topic], "data": 1})] {
            assert_eq!(publish_as(&gateway.base(), token, &event).await.0, 403);
        }
        for (method, path) in [
            (Method::PUT, format!("/v1/users/mallory/topics/{topic}")),
            (Method::DELETE, format!("/v1/users/bob/topics/{topic}")),
            (Method::DELETE, format!("/v1/topics/{topic}/events")),
        ] {
            assert_eq!(send(method, &gateway.url(&path), Some(token), None).await.status, 403, "{path}");
        }
    }
    let url = gateway.url("/v1/ws?topic=a").replace("http", "ws");
    let mut socket = WebSocket::builder(&url).bearer(&mallory).open().await;
    socket.next_named("tidegate:ready").await;
    for message in [json!({"subscribe": [topic]}), json!({"publish": {"topic": topic, "data": 1}})] {
        socket.send(&message).await;
        let error = socket.next_object_named("tidegate:error").await;
        assert_eq!(error["data"]["status"], 403, "{error}");
    }
    // Ids that are near, and ids with a topic's separators in them.
    for guess in [
        "1",
        "$chat",
        &format!("{room}:"),
        &format!("{room}%3abob"),
        "%24chat-seat",
        &format!("%24chat:{room}"),
        &room.to_uppercase(),
        &"0".repeat(36),
    ] {
        let answer = as_user(&gateway, "bob", Method::GET, &format!("/api/chat/rooms/{guess}"), None).await;
        assert!(matches!(answer.status.as_u16(), 400 | 404), "{guess}: {}", answer.status);
    }
}

#[tokio::test]
async fn what_is_written_stays_text() {
    let gateway = keyed(&[], &[]).await;
    let room = room(&gateway).await;
    let script = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\u{2028}\u{202e}\0";
    let path = format!("/api/chat/rooms/{room}/messages");
    let mut stream = Sse::builder(&gateway.url(&format!("/api/chat/rooms/{room}/subscribe")))
        .bearer(&user("bob"))
        .open()
        .await;
    as_user(&gateway, "alice", Method::POST, &path, Some(json!({"content": script}))).await;
    let live: Value = serde_json::from_str(&stream.next_named("chat").await.data).unwrap();
    assert_eq!(live["content"], script);
    let list = as_user(&gateway, "bob", Method::GET, &path, None).await;
    assert_eq!(list.body["messages"][0]["content"], script);
    for answer in [list, as_user(&gateway, "bob", Method::GET, "/api/chat/rooms/%3Cscript%3E", None).await] {
        let kind = answer.headers["content-type"].to_str().unwrap();
        assert!(kind.contains("json"), "a browser would show {kind} as a page");
    }
}

/// A user may be called anything, also what the gateway calls bob's place in a room.
#[tokio::test]
async fn no_user_is_named_into_anothers_stream() {
    let redis = RedisServer::start().await;
    let gateway = keyed(&["--redis", &redis.url()], &[]).await;
    let theirs = room(&gateway).await;
    let wish = json!({"name": "a trap", "participants": [format!("$chat-seat:{theirs}:bob")]});
    let trap = as_user(&gateway, "mallory", Method::POST, "/api/chat/rooms", Some(wish)).await;
    assert_eq!(trap.status, 201);
    let path = format!("/api/chat/rooms/{theirs}/subscribe?replay=0");
    let mut bob = Sse::builder(&gateway.url(&path)).bearer(&user("bob")).open().await;
    assert_eq!(bob.status, 200);
    bob.next_named("tidegate:ready").await;
    let say = async |name: &str, room: &str, text: &str| {
        let path = format!("/api/chat/rooms/{room}/messages");
        assert_eq!(
            as_user(&gateway, name, Method::POST, &path, Some(json!({"content": text}))).await.status,
            201
        );
    };
    say("mallory", trap.body["id"].as_str().unwrap(), "from elsewhere").await;
    say("alice", &theirs, "from here").await;
    let first = bob.next_named("chat").await;
    assert!(first.data.contains("from here"), "{}", first.data);
}

#[tokio::test]
async fn who_is_too_fast_waits() {
    let limits = [("TIDEGATE_LIMITS__PUBLISH_RATE", "1"), ("TIDEGATE_LIMITS__PUBLISH_BURST", "3")];
    let gateway = keyed(&[], &limits).await;
    let room = room(&gateway).await;
    let message = format!("/api/chat/rooms/{room}/messages");
    let events = |n: usize, name: &'static str| {
        let (path, body) = match name {
            "seats" => (format!("/api/schedules/1/seats/{}/hold", n + 1), None),
            "messages" => (message.clone(), Some(json!({"content": "x"}))),
            "rooms" => ("/api/chat/rooms".into(), Some(json!({"name": "r", "participants": ["x"]}))),
            _ => ("/api/chat/users/x/rooms".into(), None),
        };
        (path, body)
    };
    // Each with a user of its own, who has all of it still.
    for name in ["seats", "messages", "rooms", "pairs"] {
        let user = if name == "messages" { "bob" } else { name };
        let (mut taken, mut late) = (0, None);
        for n in 0..20 {
            let (path, body) = events(n, name);
            let answer = as_user(&gateway, user, Method::POST, &path, body).await;
            match answer.status.as_u16() {
                200 | 201 => taken += 1,
                429 => late = Some(answer),
                other => panic!("{name}: {other}: {}", answer.body),
            }
        }
        let late = late.unwrap_or_else(|| panic!("{name}: nobody was too fast"));
        assert!(late.headers.contains_key("retry-after") && taken < 15, "{name}: {taken}");
    }
    // What was refused is not there.
    let seats = as_user(&gateway, "seats", Method::GET, "/api/schedules/1/seats", None).await;
    let held = seats.body.as_array().unwrap().iter().filter(|seat| seat["status"] != "AVAILABLE").count();
    assert!((1..15).contains(&held), "{held} seats are held");
}
