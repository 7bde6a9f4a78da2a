//! Both versions, and a Redis that restarts or falls back; and what is left when one of them goes.

use std::time::Duration;

use reqwest::StatusCode;
use tidegate_testkit::{EventSource, Publisher};

use super::account::{QUERY, TOPICS, account};
use super::{FOUR_PARTITIONS, Mixed, data, history, publish_kept};

/// Streams end after a second or so, and clients come back.
const SHORT: (&str, &str) = ("TIDEGATE_STREAM__MAX_AGE", "1s");

/// One that stays on each version, and one that changes between them.
struct Clients(Vec<(&'static str, EventSource)>);

impl Clients {
    async fn open(mixed: &Mixed) -> Self {
        let (old, new) = (mixed.old.url(QUERY), mixed.new.url(QUERY));
        let urls = [("old", vec![&old]), ("new", vec![&new]), ("both", vec![&old, &new])];
        let open =
            |urls: &[&String]| EventSource::builder(urls).stubborn().deadline(Duration::from_secs(30)).open();
        let clients = Self(urls.map(|(name, urls)| (name, open(&urls))).into());
        for (_, client) in &clients.0 {
            client.wait_opened(1).await;
        }
        clients
    }

    /// Waits until the one that changes has come to both versions again.
    async fn move_on(&self) {
        let (_, changes) = &self.0[2];
        let came = changes.connections().iter().filter(|one| one.status == Some(StatusCode::OK)).count();
        changes.wait_opened(came + 2).await;
    }

    async fn account(&self, count: usize) {
        for (name, client) in &self.0 {
            account(name, client, count).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the gateway of the version before: make test-upgrade"]
async fn redis_restarts_with_its_data_under_load() {
    restarts(Mixed::with(true, &[SHORT]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the gateway of the version before: make test-upgrade"]
async fn redis_restarts_with_its_data_in_four_partitions_under_load() {
    restarts(Mixed::with(true, &[SHORT, FOUR_PARTITIONS]).await).await;
}

async fn restarts(mut mixed: Mixed) {
    let clients = Clients::open(&mixed).await;
    let publisher = Publisher::start(mixed.bases(), TOPICS, Duration::from_millis(2));
    for _ in 0..3 {
        clients.move_on().await;
        mixed.restart_redis().await;
        publisher.more(60).await;
    }
    clients.move_on().await;
    clients.account(publisher.finish().await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the gateway of the version before: make test-upgrade"]
async fn redis_falls_back_to_older_data_under_load() {
    fall_back(Mixed::with(false, &[SHORT]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the gateway of the version before: make test-upgrade"]
async fn redis_falls_back_to_older_data_in_four_partitions_under_load() {
    fall_back(Mixed::with(false, &[SHORT, FOUR_PARTITIONS]).await).await;
}

async fn fall_back(mut mixed: Mixed) {
    let clients = Clients::open(&mixed).await;
    let publisher = Publisher::start(mixed.bases(), TOPICS, Duration::from_millis(2));
    for _ in 0..3 {
        clients.move_on().await;
        mixed.redis.cli(&["SAVE"]).await;
        publisher.more(60).await;
        mixed.restart_redis().await;
    }
    clients.move_on().await;
    clients.account(publisher.finish().await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the gateway of the version before: make test-upgrade"]
async fn redis_comes_back_empty_under_load() {
    let mut mixed = Mixed::with(false, &[SHORT]).await;
    let clients = Clients::open(&mixed).await;
    let publisher = Publisher::start(mixed.bases(), TOPICS, Duration::from_millis(2));
    clients.move_on().await;
    mixed.redis.restart_empty().await;
    mixed.ready().await;
    clients.move_on().await;
    clients.account(publisher.finish().await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the gateway of the version before: make test-upgrade"]
async fn when_the_old_ones_are_gone_a_restart_of_redis_resets_once_more_and_then_never() {
    let mut mixed = Mixed::with(true, &[]).await;
    let client = EventSource::builder(&[mixed.new.url(QUERY)]).stubborn().open();
    client.wait_opened(1).await;
    let publisher = Publisher::start(mixed.bases(), TOPICS, Duration::from_millis(2));
    publisher.more(60).await;
    mixed.old.terminate();
    assert!(mixed.old.wait().await.success(), "{}", mixed.old.log());
    for _ in 0..3 {
        publisher.more(30).await;
        mixed.redis.restart().await;
        mixed.new.ready().await;
    }
    publisher.more(30).await;
    let resets = account("new", &client, publisher.finish().await).await;
    assert_eq!(resets, 1, "the epoch in which an old gateway wrote ends with a reset, no later one");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the gateway of the version before: make test-upgrade"]
async fn the_old_one_goes_on_alone_after_a_downgrade_and_the_new_one_comes_back() {
    let mut mixed = Mixed::with(true, &[SHORT]).await;
    let clients = Clients::open(&mixed).await;
    let publisher = Publisher::start(mixed.bases(), TOPICS, Duration::from_millis(2));
    publisher.more(60).await;
    mixed.restart_redis().await;
    clients.move_on().await;
    mixed.new.terminate();
    assert!(mixed.new.wait().await.success(), "{}", mixed.new.log());
    publisher.more(60).await;
    mixed.redis.restart().await;
    mixed.old.ready().await;
    publisher.more(60).await;
    account("old", &clients.0[0].1, publisher.sent()).await;
    mixed.new.restart().await;
    clients.move_on().await;
    clients.account(publisher.finish().await).await;
}

/// A clean restart of Redis begins another epoch, and the old gateway drops what a topic has kept
/// of the one before. The reader is in the middle of that: its place has the new epoch's name.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the gateway of the version before: make test-upgrade"]
async fn a_reader_is_told_that_the_old_one_dropped_what_it_was_to_read() {
    let mut mixed = Mixed::with(true, &[]).await;
    publish_kept(&mixed.old, "room:1", 0).await;
    // The epoch in which the old one wrote.
    mixed.restart_redis().await;
    let first = publish_kept(&mixed.new, "room:1", 1).await;
    for n in 2..5 {
        publish_kept(&mixed.new, "room:1", n).await;
    }
    mixed.restart_redis().await;
    let page = |id: &str| format!("/v1/topics/room:1/events?limit=1&since={id}");
    let read = history(&mixed.new, &page(&first)).await;
    assert_eq!((data(&read), &read["reset"]), (vec![2.into()], &serde_json::Value::Null));
    publish_kept(&mixed.old, "room:1", 5).await;
    let read = history(&mixed.new, &page(read["cursor"].as_str().unwrap())).await;
    assert_eq!(read["reset"], "epoch", "{read}");
}
