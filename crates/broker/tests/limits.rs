//! The in-process broker at its limits.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tidegate_broker::{
    Broker, Deliveries, Delivery, Error, Local, LocalOptions, Metrics, Publication, Read, ResetReason,
    Retention, Span,
};
use tidegate_protocol::{Data, Topic};

/// Full deliveries refuse a publication, and a refused one leaves no trace: no number, no history, no key.
#[tokio::test]
async fn a_full_queue_is_an_error_and_nothing_is_stored() {
    let (local, mut deliveries, _) = start(LocalOptions { queue_bytes: 1000, ..LocalOptions::default() });
    let topic = Topic::user("ann").unwrap();
    local.subscribe(vec![topic.clone()]).await.unwrap();
    let mut stored = 0;
    let refused = loop {
        match publish(&local, &topic, Some(stored.to_string())).await {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::Busy(_)), "{refused:?}");
    let room = Topic::parse("room:1").unwrap();
    assert!(matches!(local.set_membership(&topic, &room, true).await, Err(Error::Busy(_))));
    assert!(local.memberships(&topic).await.unwrap().is_empty());
    assert!(matches!(local.disconnect(&topic).await, Err(Error::Busy(_))));
    assert_eq!(local.disconnects(std::slice::from_ref(&topic)).await.unwrap(), [0]);
    let page = history(&local, &topic, Span::Last { limit: 1000 }).await;
    assert_eq!((page.events.len(), page.head.offset), (stored, stored as u64));

    let mut batch = VecDeque::new();
    assert!(deliveries.next(&mut batch).await);
    assert_eq!(batch.len(), stored);
    publish(&local, &topic, Some(stored.to_string())).await.unwrap();
    batch.clear();
    assert!(deliveries.next(&mut batch).await);
    assert_eq!(batch.len(), 1, "the refused one's key was not taken");
}

/// Used-up memory costs the quietest topic its oldest events first, and says so.
#[tokio::test]
async fn memory_is_bounded() {
    let (local, _deliveries, _) = start(LocalOptions { max_bytes: 64 << 10, ..LocalOptions::default() });
    let (quiet, loud) = (Topic::parse("quiet").unwrap(), Topic::parse("loud").unwrap());
    let start = local.subscribe(vec![quiet.clone()]).await.unwrap();
    let (_, position) = start.iter().next().unwrap();
    publish(&local, &quiet, None).await.unwrap();
    for _ in 0..1000 {
        publish(&local, &loud, None).await.unwrap();
    }
    let page = history(&local, &quiet, Span::After { position, limit: 10 }).await;
    assert_eq!((page.events.len(), page.reset), (0, Some(ResetReason::Expired)));
    let page = history(&local, &loud, Span::After { position, limit: 1000 }).await;
    assert_eq!(page.reset, Some(ResetReason::Trimmed));
    assert!((100..400).contains(&page.events.len()), "{}", page.events.len());
}

/// Keys and memberships are promises: when they take too much, new ones are refused and old ones kept.
#[tokio::test]
async fn keys_and_memberships_are_refused_rather_than_dropped() {
    let (local, _deliveries, _) = start(LocalOptions { max_bytes: 64 << 10, ..LocalOptions::default() });
    let topic = Topic::parse("room:1").unwrap();
    let mut taken = 0;
    while publish(&local, &topic, Some(taken.to_string())).await.is_ok() {
        taken += 1;
    }
    assert!((50..200).contains(&taken), "{taken}");
    publish(&local, &topic, Some("0".into())).await.expect("a known key has its receipt");
    publish(&local, &topic, None).await.expect("without a key there is room");

    let mut users = 0;
    loop {
        let user = Topic::user(&users.to_string()).unwrap();
        match local.set_membership(&user, &topic, true).await {
            Ok(changed) => assert!(changed),
            Err(error) => break assert!(matches!(error, Error::Busy(_)), "{error:?}"),
        }
        users += 1;
    }
    assert!((50..400).contains(&users), "{users}");
    let first = Topic::user("0").unwrap();
    assert!(local.set_membership(&first, &topic, false).await.expect("leaving needs no room"));
}

/// However many users are disconnected, known or made up: memory is bounded, nothing is refused,
/// and no disconnect is hidden.
#[tokio::test]
async fn disconnects_are_never_refused_and_never_hidden() {
    let (local, _deliveries, _) = start(LocalOptions { max_bytes: 64 << 10, ..LocalOptions::default() });
    let (ann, ben) = (Topic::user("ann").unwrap(), Topic::user("ben").unwrap());
    let number = async |user: &Topic| local.disconnects(std::slice::from_ref(user)).await.unwrap()[0];
    let never = number(&ben).await;
    local.disconnect(&ann).await.unwrap();
    local.disconnect(&ben).await.unwrap();
    let first = number(&ann).await;
    for n in 0..1_000 {
        local.disconnect(&Topic::user(&n.to_string()).unwrap()).await.unwrap();
    }
    assert!(number(&ben).await > never, "forgotten, and not taken for one that never was disconnected");
    let forgotten = number(&ann).await;
    assert!(forgotten >= first);
    local.disconnect(&ann).await.unwrap();
    assert!(number(&ann).await > forgotten);
    let room = Topic::parse("room:1").unwrap();
    assert!(local.set_membership(&ben, &room, true).await.unwrap(), "memberships have room of their own");
}

/// A quiet node's place moves on with events that it does not hear.
#[tokio::test]
async fn places_are_told_without_events() {
    let (local, mut deliveries, _) = start(LocalOptions::default());
    let (heard, unheard) = (Topic::parse("heard").unwrap(), Topic::parse("unheard").unwrap());
    publish(&local, &unheard, None).await.unwrap();
    local.subscribe(vec![heard]).await.unwrap();
    for _ in 0..1000 {
        publish(&local, &unheard, None).await.unwrap();
    }
    let mut batch = VecDeque::new();
    assert!(deliveries.next(&mut batch).await);
    assert!(matches!(batch[0], Delivery::Seen(_, position) if position.offset == 2), "{batch:?}");
    assert!(batch.len() < 100, "{} places wait where one would do", batch.len());
}

/// The deliveries end with the broker, and its metrics are kept.
#[tokio::test]
async fn ends_and_counts() {
    let (local, mut deliveries, metrics) = start(LocalOptions::default());
    publish(&local, &Topic::parse("a").unwrap(), None).await.unwrap();
    assert_eq!(metrics.probe_up.get(), 1);
    assert_eq!(metrics.publish_seconds.get_sample_count(), 1);
    drop(local);
    assert!(!deliveries.next(&mut VecDeque::new()).await);
}

fn start(options: LocalOptions) -> (Arc<Local>, Deliveries, Metrics) {
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    let (local, deliveries) = Local::new(options, metrics.clone());
    (local, deliveries, metrics)
}

async fn publish(local: &Local, topic: &Topic, key: Option<String>) -> Result<(), Error> {
    let hour = Duration::from_secs(3600);
    let publication = Publication {
        topic: topic.clone(),
        name: None,
        data: Data::Text("0123456789".into()),
        at: 0,
        retention: Retention { size: 1000, ttl: hour, record_ttl: hour, key_ttl: hour },
        key,
    };
    local.publish(vec![publication]).await.remove(0).map(|_| ())
}

async fn history(local: &Local, topic: &Topic, span: Span) -> tidegate_broker::Page {
    local.history(vec![Read { topic: topic.clone(), span }]).await.unwrap().remove(0)
}
