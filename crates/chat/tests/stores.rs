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
    let node = || {
        let redis = tidegate_broker_redis::Options { url: server.url(), ..Default::default() };
        let pool = tidegate_broker_redis::Pool::open(&redis).unwrap();
        Arc::new(Redis::new(pool, "tg", options))
    };
    (node(), node(), server)
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
    let message = |room: &str| tidegate_chat::Message {
        id: "0199c0de-0000-7000-8000-000000000000".into(),
        room_id: room.into(),
        sender_id: "ann".into(),
        content: "hi".into(),
        message_type: tidegate_chat::MessageType::Message,
        created_at: "2025-05-24T23:40:40.438Z".into(),
    };
    let room = tidegate_chat::Room {
        id: "r".into(),
        name: String::new(),
        participants: vec!["ann".into(), "ben".into()],
        created_at: "2025-05-24T23:40:40.438Z".into(),
        created_by: Some("ann".into()),
        direct: true,
        relation_type: "DIRECT".into(),
    };
    let epoch = tidegate_protocol::Epoch::from_random(1);
    store.create(&room).await.unwrap();
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
