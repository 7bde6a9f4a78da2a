//! Where messages are, and who has read how far.

use tidegate_protocol::Position;

use super::{Nodes, at, epoch, made, message, said, unread};
use crate::MessageType;
use crate::store::Store;

async fn place(store: &dyn Store, room: &str, id: &str) -> Option<Position> {
    store.place(room, id).await.unwrap()
}

/// Of every kind. Each room has its own.
pub async fn messages_have_places([a, b]: Nodes<'_>) {
    let (room, other) = (made(a, &["ann", "ben"]).await, made(a, &["ann"]).await);
    let big = (1 << 53) - 1;
    let first = said(a, &room, "ann", 7).await;
    let second = said(b, &room, "ann", big).await;
    let word = message(&room, "ben", MessageType::Join);
    a.note(at(9), &word).await.unwrap();
    for (message, offset) in [(&first, 7), (&second, big), (&word, 9)] {
        assert_eq!(place(b, &room, &message.id).await, Some(at(offset)));
        assert_eq!(place(b, &other, &message.id).await, None);
    }
    assert_eq!(place(a, &room, "unheard of").await, None);
}

/// For everybody but its sender, who has read all before it by answering. Comings and goings don't count.
pub async fn unread_until_read([a, b]: Nodes<'_>) {
    let room = made(a, &["ann", "ben", "zoe"]).await;
    said(a, &room, "ann", 3).await;
    said(b, &room, "ann", 5).await;
    assert_eq!((unread(b, &room, "ann").await, unread(b, &room, "ben").await), (0, 2));
    assert_eq!(unread(b, &room, "eve").await, 0, "who takes no part");
    assert!(b.unread("ben").await.unwrap() && !b.unread("ann").await.unwrap());

    let noted = a.note(at(8), &message(&room, "ben", MessageType::Message)).await.unwrap().unwrap();
    assert!(noted.caught_up, "ben had something unread");
    assert_eq!((&*noted.name, noted.direct, &*noted.relation_type), ("방 1", false, "SIGNAL"));
    let flags: Vec<_> = noted.readers.iter().map(|reader| (&*reader.user, reader.unread)).collect();
    assert_eq!(flags, [("ann", true), ("ben", false), ("zoe", true)]);
    assert_eq!(unread(b, &room, "ben").await, 0);
    assert_eq!(b.readers(&room).await.unwrap(), Some(noted.readers));
    assert_eq!(b.readers("nowhere").await.unwrap(), None);

    assert_eq!(b.read(&room, "zoe", None).await.unwrap(), Some(0));
    assert_eq!(b.read(&room, "ann", Some(at(6))).await.unwrap(), Some(0), "the newest is further");
    let noted = a.note(at(9), &message(&room, "zoe", MessageType::Leave)).await.unwrap().unwrap();
    assert!(!noted.caught_up && noted.readers.iter().all(|reader| !reader.unread));
    assert!(!a.unread("ann").await.unwrap());
    assert_eq!(a.read(&room, "eve", None).await.unwrap(), None);
    assert_eq!(a.read("nowhere", "ann", None).await.unwrap(), None);
    // What is unread in one room stays so when another is read.
    let other = made(a, &["ann", "ben"]).await;
    said(a, &other, "ben", 11).await;
    said(a, &room, "ben", 12).await;
    b.read(&room, "ann", None).await.unwrap();
    assert!(b.unread("ann").await.unwrap());
    b.read(&other, "ann", None).await.unwrap();
    assert!(!b.unread("ann").await.unwrap());
}

/// Also who went and comes back.
pub async fn who_comes_has_read_all([a, b]: Nodes<'_>) {
    let room = made(a, &["ann", "ben"]).await;
    said(a, &room, "ann", 3).await;
    b.add(&room, "zoe").await.unwrap();
    b.remove(&room, "ben").await.unwrap();
    said(a, &room, "ann", 4).await;
    b.add(&room, "ben").await.unwrap();
    assert_eq!((unread(b, &room, "zoe").await, unread(b, &room, "ben").await), (1, 0));
    said(a, &room, "ann", 5).await;
    assert_eq!((unread(b, &room, "zoe").await, unread(b, &room, "ben").await), (2, 1));
}

/// Nor does a note that comes late count twice, or set a mark back.
pub async fn noted_twice_changes_nothing([a, b]: Nodes<'_>) {
    let room = made(a, &["ann", "ben"]).await;
    let first = said(a, &room, "ann", 3).await;
    let second = said(a, &room, "ann", 4).await;
    b.note(at(3), &first).await.unwrap();
    assert_eq!(unread(a, &room, "ben").await, 2);
    let view = a.room(&room, None).await.unwrap().unwrap();
    assert_eq!(view.last_message, Some(second));
    a.read(&room, "ben", None).await.unwrap();
    b.note(at(3), &first).await.unwrap();
    assert_eq!((unread(a, &room, "ann").await, unread(a, &room, "ben").await), (0, 0));
}

/// Somebody read what the sender's node has not noted yet: it is not unread when it is.
pub async fn a_mark_may_be_ahead_of_the_notes([a, b]: Nodes<'_>) {
    let room = made(a, &["ann", "ben"]).await;
    assert_eq!(b.read(&room, "ben", Some(at(5))).await.unwrap(), Some(0));
    let noted = a.note(at(5), &message(&room, "ann", MessageType::Message)).await.unwrap().unwrap();
    assert!(noted.readers.iter().all(|reader| !reader.unread));
    said(a, &room, "ann", 6).await;
    assert_eq!(unread(b, &room, "ben").await, 1);
}

/// Those of the oldest go, and are not unread any more.
pub async fn places_are_trimmed([a, b]: Nodes<'_>) {
    let room = made(a, &["ann", "ben"]).await;
    let mut ids = Vec::new();
    for offset in 1..=5 {
        ids.push(said(a, &room, "ann", offset).await.id);
    }
    assert_eq!(unread(b, &room, "ben").await, 3);
    assert_eq!(place(b, &room, &ids[1]).await, None);
    assert_eq!(place(b, &room, &ids[2]).await, Some(at(3)));
}

/// With the history that they are places in.
pub async fn places_expire([a, b]: Nodes<'_>) {
    let room = made(a, &["ann", "ben"]).await;
    let first = said(a, &room, "ann", 1).await;
    while place(b, &room, &first.id).await.is_some() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(unread(b, &room, "ben").await, 0);
    assert!(!b.unread("ben").await.unwrap());
    let view = b.room(&room, None).await.unwrap().unwrap();
    assert_eq!(view.last_message, Some(first), "it outlives its place");
    assert_eq!(b.read(&room, "ben", None).await.unwrap(), Some(0));
    said(a, &room, "ann", 2).await;
    assert_eq!(unread(b, &room, "ben").await, 1);
}

/// What was numbered by the former one is worth nothing: offsets begin again from 1.
pub async fn another_epoch_begins_anew([a, b]: Nodes<'_>) {
    let room = made(a, &["ann", "ben"]).await;
    let old = said(a, &room, "ann", 1000).await;
    b.read(&room, "ben", None).await.unwrap();
    let new = message(&room, "ann", MessageType::Message);
    let there = Position { epoch: epoch(2), offset: 1 };
    b.note(there, &new).await.unwrap();
    assert_eq!((unread(a, &room, "ben").await, unread(a, &room, "ann").await), (1, 0));
    assert_eq!(place(a, &room, &old.id).await, None);
    assert_eq!(place(a, &room, &new.id).await, Some(there));
    assert_eq!(a.room(&room, None).await.unwrap().unwrap().last_message, Some(new.clone()));
    let third = Position { epoch: epoch(3), offset: 1 };
    assert_eq!(a.read(&room, "ben", Some(third)).await.unwrap(), Some(0));
    assert_eq!(place(a, &room, &new.id).await, None);
}
