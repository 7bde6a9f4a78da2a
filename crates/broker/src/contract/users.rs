//! Memberships, disconnects, and what nodes are told of them.

use std::sync::Arc;

use tidegate_protocol::{Partition, Position, Topic};

use super::cluster::{Cluster, said, text, topic, within};
use super::tap::Word;
use super::{Fixture, MEMBERSHIPS};
use crate::{Control, Error, Span};

/// Added, listed on every node, removed. The answer tells whether anything changed.
pub async fn memberships_are_a_set(fixture: &impl Fixture) {
    let cluster = Cluster::start(fixture).await;
    let (ann, ben) = (user("ann"), user("ben🌊"));
    let (one, two) = (topic("room:1"), topic("방:2"));
    let only_two = std::slice::from_ref(&two);
    let set = async |node: usize, user: &Topic, topic: &Topic, member: bool| {
        within("membership", cluster.broker(node).set_membership(user, topic, member)).await.unwrap()
    };
    let list = async |node: usize, user: &Topic| {
        let mut topics = within("memberships", cluster.broker(node).memberships(user)).await.unwrap();
        topics.sort();
        topics
    };
    assert!(list(0, &ann).await.is_empty());
    assert!(!set(0, &ann, &one, false).await, "she was none");
    assert!(set(0, &ann, &one, true).await);
    assert!(!set(1, &ann, &one, true).await, "she is one already");
    assert!(set(1, &ann, &two, true).await);
    assert!(set(1, &ben, &two, true).await);
    for node in 0..2 {
        assert_eq!(list(node, &ann).await, [one.clone(), two.clone()]);
        assert_eq!(list(node, &ben).await, only_two);
    }
    let users = [ben.clone(), user("nobody"), ann.clone()];
    let mut lists = within("memberships", cluster.broker(0).memberships_of(&users)).await.unwrap();
    lists[2].sort();
    assert_eq!(lists, [vec![two.clone()], vec![], vec![one.clone(), two.clone()]]);
    assert!(set(1, &ann, &one, false).await);
    assert!(!set(0, &ann, &one, false).await);
    assert_eq!(list(0, &ann).await, only_two);
    assert!(set(0, &ann, &two, false).await);
    assert!(list(1, &ann).await.is_empty());
    assert_eq!(list(1, &ben).await, only_two);
}

/// Every node with the user's topic is told, changed or not, with the place from which nothing may be missed.
pub async fn nodes_are_told_of_memberships(fixture: &impl Fixture) {
    let (ann, ben, room) = (user("ann"), user("ben"), topic("room:1"));
    let mut cluster = Cluster::subscribed(fixture, std::slice::from_ref(&ann)).await;
    cluster.publish(0, text(&room, "old")).await;
    let head = cluster.read(0, &room, Span::Last { limit: 1 }).await.head;
    // Nobody here has streams of Ben: no word of him may arrive between those of Ann.
    for (user, member) in
        [(&ben, true), (&ann, true), (&ann, true), (&ben, false), (&ann, false), (&ann, false)]
    {
        within("membership", cluster.broker(1).set_membership(user, &room, member)).await.unwrap();
    }
    cluster.publish(0, text(&room, "new")).await;
    for node in 0..cluster.len() {
        let mut joined = None;
        for _ in 0..2 {
            let (_, control) = control(&mut cluster, node, &ann).await;
            let Control::Joined { topic, from } = control else { panic!("joined first, not {control:?}") };
            assert_eq!((&topic, from.map(|from| from.epoch)), (&room, Some(head.epoch)));
            // What a node says of a user may take numbers, too.
            let offset = |at: Option<Position>| at.map(|at| at.offset);
            assert!(offset(from) >= offset(joined.or(Some(head))), "{from:?} after {joined:?}");
            joined = joined.or(from);
        }
        for _ in 0..2 {
            let (_, control) = control(&mut cluster, node, &ann).await;
            assert_eq!(control, Control::Left { topic: room.clone() });
        }
        let page = cluster.after(node, &room, joined.unwrap()).await;
        assert_eq!((page.reset, said(&page.events)), (None, vec!["new"]));
    }
}

/// On the user's own topic, events and words about the user arrive in the order of their making.
pub async fn words_about_a_user_keep_their_place(fixture: &impl Fixture) {
    let (ann, room) = (user("ann"), topic("room:1"));
    let mut cluster = Cluster::subscribed(fixture, std::slice::from_ref(&ann)).await;
    for round in 0..20 {
        let place = cluster.store(round, text(&ann, "hello")).await;
        within("join", cluster.broker(round).set_membership(&ann, &room, true)).await.unwrap();
        within("disconnect", cluster.broker(round + 1).disconnect(&ann)).await.unwrap();
        for node in 0..cluster.len() {
            assert_eq!(cluster.tap(node).event().await.mark.position(), place);
            let (seen, joined) = control(&mut cluster, node, &ann).await;
            assert!(matches!(joined, Control::Joined { .. }), "{joined:?}");
            assert!(seen.1.epoch == place.epoch && seen.1.offset >= place.offset);
            let (later, last) = control(&mut cluster, node, &ann).await;
            assert!(later.1.epoch == place.epoch && later.1.offset >= seen.1.offset);
            assert_eq!(last, Control::Disconnect);
        }
    }
}

/// All nodes with the user's topic are told and counted, and the user's own number grows.
pub async fn nodes_are_told_to_disconnect(fixture: &impl Fixture) {
    let (ann, ben) = (user("ann"), user("ben"));
    let mut cluster = Cluster::subscribed(fixture, std::slice::from_ref(&ann)).await;
    let users = [ann.clone(), ben.clone()];
    let mut last = within("disconnects", cluster.broker(0).disconnects(&users)).await.unwrap();
    for n in 0..3 {
        let told = within("disconnect", cluster.broker(n).disconnect(&ann)).await.unwrap();
        assert_eq!(told as usize, cluster.len());
        for node in 0..cluster.len() {
            assert_eq!(control(&mut cluster, node, &ann).await.1, Control::Disconnect);
            let now = within("disconnects", cluster.broker(node).disconnects(&users)).await.unwrap();
            assert!(now[0] > last[0] && now[1] == last[1], "{now:?} after {last:?}");
        }
        last = within("disconnects", cluster.broker(n).disconnects(&users)).await.unwrap();
    }
    // Nobody has streams of Ben, and his number grows all the same.
    assert_eq!(within("disconnect", cluster.broker(0).disconnect(&ben)).await.unwrap(), 0);
    let now = within("disconnects", cluster.broker(1).disconnects(&users)).await.unwrap();
    assert!(now[0] == last[0] && now[1] > last[1], "{now:?} after {last:?}");
}

/// Whoever adds at the same time: as many are taken as a user may have, and nobody is told of the
/// others.
pub async fn memberships_are_bounded(fixture: &impl Fixture) {
    let (ann, ben, room) = (user("ann"), user("ben"), topic("room:0"));
    let mut cluster = Cluster::subscribed(fixture, std::slice::from_ref(&ann)).await;
    let rooms: Vec<Topic> = (0..2 * MEMBERSHIPS).map(|n| topic(&format!("room:{n}"))).collect();
    let adding = rooms.iter().enumerate().map(|(n, room)| {
        let broker = Arc::clone(cluster.broker(n));
        let (ann, room) = (ann.clone(), room.clone());
        tokio::spawn(async move { broker.set_membership(&ann, &room, true).await })
    });
    let mut added = 0;
    for adding in adding.collect::<Vec<_>>() {
        match within("membership", adding).await.unwrap() {
            Ok(changed) => added += usize::from(changed),
            Err(error) => assert!(matches!(error, Error::Memberships(MEMBERSHIPS)), "{error:?}"),
        }
    }
    let members = within("memberships", cluster.broker(0).memberships(&ann)).await.unwrap();
    assert_eq!((added, members.len()), (MEMBERSHIPS, MEMBERSHIPS));
    for node in 0..cluster.len() {
        for _ in 0..MEMBERSHIPS {
            let (_, joined) = control(&mut cluster, node, &ann).await;
            assert!(
                matches!(&joined, Control::Joined { topic, .. } if members.contains(topic)),
                "{joined:?}"
            );
        }
    }
    // A member already, others, and one for one.
    let set = async |user: &Topic, topic: &Topic, member| {
        within("membership", cluster.broker(1).set_membership(user, topic, member)).await
    };
    let fresh = topic("room:fresh");
    assert!(!set(&ann, &members[0], true).await.unwrap());
    assert!(set(&ben, &room, true).await.unwrap());
    assert!(matches!(set(&ann, &fresh, true).await, Err(Error::Memberships(_))));
    assert!(set(&ann, &members[0], false).await.unwrap());
    assert!(set(&ann, &fresh, true).await.unwrap());
}

/// A number that was lost begins again above all that the user had, or a disconnect would be taken
/// for an old one. Nobody's can be lost here on purpose, but those of new users begin in the same
/// way.
pub async fn numbers_begin_above_all_before(fixture: &impl Fixture) {
    let cluster = Cluster::start(fixture).await;
    let ann = user("ann");
    for node in 0..3 {
        within("disconnect", cluster.broker(node).disconnect(&ann)).await.unwrap();
    }
    let number = async |user: &Topic| {
        let numbers = cluster.broker(0).disconnects(std::slice::from_ref(user));
        within("disconnects", numbers).await.unwrap()[0]
    };
    let before = number(&ann).await;
    for n in 0..1_000 {
        let new = user(&format!("new{n}"));
        within("disconnect", cluster.broker(n).disconnect(&new)).await.unwrap();
        if number(&new).await > before {
            return;
        }
    }
    panic!("no new user's number is above {before}");
}

async fn control(cluster: &mut Cluster, node: usize, of: &Topic) -> ((Partition, Position), Control) {
    match cluster.tap(node).word().await {
        Word::Control { user, seen, control } => {
            assert_eq!(user, *of);
            (seen, control)
        }
        other => panic!("a word about {of} was awaited, not {other:?}"),
    }
}

fn user(id: &str) -> Topic {
    Topic::user(id).unwrap()
}
