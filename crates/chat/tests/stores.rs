//! Both stores against the promises of every store.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use tidegate_chat::Options;
use tidegate_chat::store::{Memory, Redis, Store};
use tidegate_testkit::RedisServer;

type Nodes<T> = (Arc<dyn Store>, Arc<dyn Store>, T);

async fn memory(options: &Options) -> Nodes<()> {
    let store: Arc<dyn Store> = Arc::new(Memory::new(options));
    (Arc::clone(&store), store, ())
}

async fn redis(options: &Options) -> Nodes<RedisServer> {
    let server = RedisServer::start().await;
    (node(&server, options), node(&server, options), server)
}

fn node(server: &RedisServer, options: &Options) -> Arc<dyn Store> {
    let redis = tidegate_broker_redis::Options { url: server.url(), ..Default::default() };
    let pool = tidegate_broker_redis::Pool::open(&redis).unwrap();
    Arc::new(Redis::new(pool, "tg", options))
}

mod in_process {
    tidegate_chat::store::contract::suite!(super::memory);
}

mod in_redis {
    tidegate_chat::store::contract::suite!(super::redis);
}

/// A key without a time to live would stay when its room is forgotten.
#[tokio::test]
async fn nothing_of_a_room_stays_in_redis_for_good() {
    let (store, _, server) = redis(&Options::default()).await;
    let epoch = tidegate_protocol::Epoch::from_random(1);
    store.create(&direct("r", "ann", "ben")).await.unwrap();
    for offset in 1..4 {
        let place = tidegate_protocol::Position { epoch, offset };
        store.note(place, &message("r")).await.unwrap();
        store.read("r", "ben", Some(place)).await.unwrap();
        // Without marks their key is gone; the next one makes it again.
        store.remove("r", "ben").await.unwrap();
        store.remove("r", "ann").await.unwrap();
        store.add("r", "zoe").await.unwrap();
        store.read("r", "zoe", None).await.unwrap();
        store.add("r", "ben").await.unwrap();
    }
    let lives = "local left = {} for _, key in ipairs(redis.call('KEYS', 'tg:chat:*')) do \
        if redis.call('TTL', key) == -1 then left[#left + 1] = key end end table.sort(left) return left";
    let left = format!("{:?}", server.cli(&["EVAL", lives, "0"]).await);
    for bounded in ["tg:chat:index", "tg:chat:seen", "tg:chat:users"] {
        assert!(left.contains(bounded), "{left}");
    }
    assert_eq!(left.matches("tg:chat:").count(), 3, "{left}");
}

/// As after a restart with a shorter `chat.room_ttl`: lists name rooms with more time, too.
#[tokio::test]
async fn a_room_with_less_time_takes_no_other_from_a_list() {
    let mut options = Options::default();
    let (long, _, server) = redis(&options).await;
    options.bounds.room_ttl = std::time::Duration::from_secs(1);
    options.bounds.rooms_made = 1;
    let short = node(&server, &options);
    long.create(&direct("long", "ann", "ben")).await.unwrap();
    short.create(&direct("short", "zoe", "ben")).await.unwrap();
    let epoch = tidegate_protocol::Epoch::from_random(1);
    let place = tidegate_protocol::Position { epoch, offset: 1 };
    short.note(place, &message("short")).await.unwrap();
    assert!(short.unread("ben").await.unwrap());
    while short.seat("short", "ben").await.unwrap().is_some() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(!short.unread("ben").await.unwrap(), "its messages are still there, and the room is not");
    assert_eq!(short.rooms_of("ben").await.unwrap(), ["long"]);
}

/// Written by an earlier version, a room is not yet among those of its maker.
#[tokio::test]
async fn a_room_of_an_earlier_version_counts_for_its_maker_once_it_is_used() {
    let mut options = Options::default();
    options.bounds.rooms_made = 1;
    let (store, _, server) = redis(&options).await;
    store.create(&direct("old", "ann", "ben")).await.unwrap();
    server.cli(&["DEL", "tg:chat:made:ann", "tg:chat:index"]).await;
    server.cli(&["HDEL", "tg:chat:room:old", "touched"]).await;
    store.read("old", "ben", None).await.unwrap();
    let refused = store.create(&direct("new", "ann", "zoe")).await;
    assert_eq!(refused, Err(tidegate_chat::store::Error::MakerFull("ann".into())));
}

fn message(room: &str) -> tidegate_chat::Message {
    tidegate_chat::Message {
        id: "0199c0de-0000-7000-8000-000000000000".into(),
        room_id: room.into(),
        sender_id: "ann".into(),
        content: "hi".into(),
        message_type: tidegate_chat::MessageType::Message,
        created_at: "2025-05-24T23:40:40.438Z".into(),
    }
}

/// A room of two, made by the first.
fn direct(id: &str, maker: &str, other: &str) -> tidegate_chat::Room {
    tidegate_chat::Room {
        id: id.into(),
        name: String::new(),
        participants: vec![maker.into(), other.into()],
        created_at: "2025-05-24T23:40:40.438Z".into(),
        created_by: Some(maker.into()),
        direct: true,
        relation_type: "DIRECT".into(),
    }
}
