//! Rooms, who takes part in them, and users.

use futures_util::future::join_all;

use super::{Nodes, made, room, said, takes_part};
use crate::UserProfile;
use crate::store::{Error, Seat};

/// Every node sees it, and each participant has it.
pub async fn a_room_is_what_it_was_made([a, b]: Nodes<'_>) {
    let mut wish = room(&["zoe", "ann", "ben🌊"], false);
    let created = a.create(&wish).await.unwrap();
    assert_eq!((&*created.room, created.new), (&*wish.id, true));
    let view = b.room(&wish.id, None).await.unwrap().unwrap();
    assert_eq!((&view.room, view.last_message, view.unread_count), (&wish, None, 0));
    for user in ["zoe", "ann", "ben🌊"] {
        assert_eq!(b.rooms_of(user).await.unwrap(), [wish.id.clone()]);
        assert_eq!(takes_part(b, &wish.id, user).await, Some(true));
    }
    assert_eq!(b.seat(&wish.id, "eve").await.unwrap(), Some(Seat { taken: false, participants: 3 }));
    assert_eq!(b.seat("nowhere", "ann").await.unwrap(), None);
    assert!(b.room("nowhere", Some("ann")).await.unwrap().is_none());
    assert!(b.rooms("eve").await.unwrap().is_empty());

    (wish.id, wish.created_by) = ("of-a-backend".into(), None);
    a.create(&wish).await.unwrap();
    assert_eq!(b.room("of-a-backend", None).await.unwrap().unwrap().room, wish);
}

/// In either order, on either node. Other pairs have others.
pub async fn a_pair_has_one_room([a, b]: Nodes<'_>) {
    let first = a.create(&room(&["ann", "ben"], true)).await.unwrap();
    assert!(first.new);
    for wish in [room(&["ann", "ben"], true), room(&["ben", "ann"], true)] {
        let again = b.create(&wish).await.unwrap();
        assert_eq!((&again.room, again.new), (&first.room, false));
    }
    for other in [room(&["ann", "zoe"], true), room(&["ann", "ben"], false)] {
        assert!(b.create(&other).await.unwrap().new);
    }
    assert_eq!(a.rooms_of("ben").await.unwrap().len(), 2);
}

/// Many at once, on two nodes: one is made.
pub async fn a_pair_that_asks_at_once_has_one_room(nodes: Nodes<'_>) {
    let wishes = (0..40).map(|n| {
        let pair = if n % 3 == 0 { ["ann", "ben"] } else { ["ben", "ann"] };
        async move { nodes[n % 2].create(&room(&pair, true)).await.unwrap() }
    });
    let made = join_all(wishes).await;
    assert_eq!(made.iter().filter(|created| created.new).count(), 1);
    assert!(made.iter().all(|created| created.room == made[0].room));
    assert_eq!(nodes[0].rooms_of("ann").await.unwrap(), [made[0].room.clone()]);
}

/// A set, in the order in which they came.
pub async fn participants_come_and_go([a, b]: Nodes<'_>) {
    let room = made(a, &["zoe", "ann"]).await;
    assert_eq!(b.add(&room, "ben").await.unwrap(), Some(true));
    assert_eq!(a.add(&room, "ben").await.unwrap(), Some(false));
    assert_eq!(a.remove(&room, "zoe").await.unwrap(), Some(true));
    assert_eq!(b.remove(&room, "zoe").await.unwrap(), Some(false));
    assert_eq!(a.add(&room, "zoe").await.unwrap(), Some(true));
    let view = b.room(&room, None).await.unwrap().unwrap();
    assert_eq!(view.room.participants, ["ann", "ben", "zoe"]);
    a.remove(&room, "ann").await.unwrap();
    assert_eq!(takes_part(b, &room, "ann").await, Some(false));
    assert!(b.rooms_of("ann").await.unwrap().is_empty());
    for nowhere in [a.add("nowhere", "ann").await, a.remove("nowhere", "ann").await] {
        assert_eq!(nowhere.unwrap(), None);
    }
}

/// The newest message decides, and without one when the room was made.
pub async fn rooms_are_listed_by_what_happened_last([a, b]: Nodes<'_>) {
    let (one, two) = (made(a, &["ann", "ben"]).await, made(a, &["ann", "zoe"]).await);
    made(a, &["ben", "zoe"]).await;
    let said_first = said(a, &one, "ben", 1).await;
    let views = b.rooms("ann").await.unwrap();
    let ids: Vec<_> = views.iter().map(|view| &view.room.id).collect();
    assert_eq!(ids, [&one, &two]);
    assert_eq!((&views[0].last_message, views[0].unread_count), (&Some(said_first), 1));
    assert_eq!((&views[1].last_message, views[1].unread_count), (&None, 0));
    // The order of moments is the order of places here.
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    let newest = said(b, &two, "zoe", 3).await;
    let mut late = super::message(&two, "zoe", crate::MessageType::Message);
    late.content = "noted late".into();
    b.note(super::at(2), &late).await.unwrap();
    let views = a.rooms("ann").await.unwrap();
    assert_eq!((&views[0].room.id, &views[0].last_message), (&two, &Some(newest)));
    assert_eq!(views[0].unread_count, 2);
}

/// Its pair may have another afterwards.
pub async fn a_room_is_forgotten_whole([a, b]: Nodes<'_>) {
    let first = a.create(&room(&["ann", "ben"], true)).await.unwrap().room;
    let message = said(a, &first, "ann", 1).await;
    let readers = b.delete(&first).await.unwrap().unwrap();
    let readers: Vec<_> = readers.iter().map(|reader| (&*reader.user, reader.unread)).collect();
    assert_eq!(readers, [("ann", false), ("ben", true)]);
    assert_eq!(a.delete(&first).await.unwrap(), None);
    assert!(a.room(&first, Some("ann")).await.unwrap().is_none());
    assert!(a.rooms_of("ann").await.unwrap().is_empty());
    assert!(!a.unread("ben").await.unwrap());
    assert_eq!(a.place(&first, &message.id).await.unwrap(), None);
    assert_eq!(a.note(super::at(2), &message).await.unwrap(), None);
    assert_eq!(a.read(&first, "ann", None).await.unwrap(), None);
    assert!(b.create(&room(&["ben", "ann"], true)).await.unwrap().new);
}

/// Whoever took part, and whoever was met.
pub async fn users_are_remembered([a, b]: Nodes<'_>) {
    let room = made(a, &["zoe", "ann"]).await;
    a.add(&room, "ben").await.unwrap();
    b.meet("eve").await.unwrap();
    let ann = UserProfile {
        id: "ann".into(),
        nickname: "앤 \"A\"".into(),
        profile_image: Some("https://example.com/1.jpg".into()),
    };
    b.set_profile(&ann).await.unwrap();
    b.meet("ann").await.unwrap();
    let bare = UserProfile::bare;
    assert_eq!(a.users().await.unwrap(), [ann.clone(), bare("ben"), bare("eve"), bare("zoe")]);
    let asked = ["nobody".into(), "ann".into()];
    assert_eq!(a.profiles(&asked).await.unwrap(), [bare("nobody"), ann]);
    assert!(a.profiles(&[]).await.unwrap().is_empty());
}

/// What does not fit changes nothing.
pub async fn bounds_hold([a, b]: Nodes<'_>) {
    assert_eq!(a.create(&room(&["a", "b", "c", "d"], false)).await, Err(Error::RoomFull));
    let first = made(a, &["a", "b", "c"]).await;
    assert_eq!(b.add(&first, "d").await, Err(Error::RoomFull));
    assert_eq!(b.add(&first, "a").await, Ok(Some(false)));
    let second = made(a, &["b", "a"]).await;
    assert_eq!(b.create(&room(&["d", "a"], true)).await, Err(Error::UserFull("a".into())));
    assert!(b.rooms_of("d").await.unwrap().is_empty());
    let third = made(b, &["c", "d"]).await;
    assert_eq!(b.add(&third, "a").await, Err(Error::UserFull("a".into())));
    a.delete(&second).await.unwrap();
    assert_eq!(b.add(&third, "a").await, Ok(Some(true)));
    // Names that were only put into rooms take half of the places.
    assert_eq!(a.users().await.unwrap().len(), 2);
    for user in ["c", "d", "one too many"] {
        a.meet(user).await.unwrap();
    }
    assert_eq!(a.users().await.unwrap().len(), 4);
    assert_eq!(a.set_profile(&UserProfile::bare("e")).await, Err(Error::UsersFull));
    a.set_profile(&UserProfile::bare("d")).await.unwrap();
}

/// The adder is refused, not the victim. Makers have a bound of their own, below that of lists.
pub async fn no_user_fills_the_list_of_another([a, b]: Nodes<'_>) {
    let (first, second) = (made(a, &["mallory", "ann"]).await, made(b, &["mallory", "ann"]).await);
    assert_eq!(a.create(&room(&["mallory"], false)).await, Err(Error::MakerFull("mallory".into())));
    assert_eq!(b.create(&room(&["ben", "ann"], true)).await, Err(Error::UserFull("ann".into())));
    let backends = crate::Room { created_by: None, ..room(&["ann"], false) };
    assert_eq!(b.create(&backends).await, Err(Error::UserFull("ann".into())));
    let (third, _) = (made(a, &["ann"]).await, made(b, &["ann", "ben"]).await);
    assert_eq!(b.rooms_of("ann").await.unwrap().len(), 4);
    assert_eq!(b.create(&room(&["ann"], false)).await, Err(Error::MakerFull("ann".into())));
    // It counts while it is there, whether its maker takes part or not.
    a.remove(&first, "mallory").await.unwrap();
    assert_eq!(a.create(&room(&["mallory"], false)).await, Err(Error::MakerFull("mallory".into())));
    b.delete(&first).await.unwrap();
    b.delete(&third).await.unwrap();
    made(a, &["mallory"]).await;
    b.remove(&second, "ann").await.unwrap();
    assert!(a.create(&room(&["ben", "ann"], true)).await.unwrap().new, "one has left the list");
}

/// Of all users together.
pub async fn rooms_have_a_total_bound([a, b]: Nodes<'_>) {
    let first = made(a, &["ann", "ben"]).await;
    made(b, &["ben"]).await;
    for wish in [room(&["zoe"], false), room(&["zoe", "ann"], true)] {
        assert_eq!(a.create(&wish).await, Err(Error::RoomsFull));
    }
    assert!(b.rooms_of("zoe").await.unwrap().is_empty());
    a.delete(&first).await.unwrap();
    assert!(b.create(&room(&["zoe", "ann"], true)).await.unwrap().new);
    assert!(!a.create(&room(&["ann", "zoe"], true)).await.unwrap().new, "what is there needs no place");
}

/// Whole: its pair, its maker and its participants have room for another. What is used stays.
pub async fn idle_rooms_are_forgotten([a, b]: Nodes<'_>) {
    let used = made(a, &["zoe", "eve"]).await;
    let idle = a.create(&room(&["ann", "ben"], true)).await.unwrap().room;
    let message = said(a, &idle, "ann", 1).await;
    let mut offset = 1;
    while b.room(&idle, None).await.unwrap().is_some() {
        offset += 1;
        said(a, &used, "zoe", offset).await;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(b.note(super::at(9), &message).await.unwrap(), None);
    assert_eq!((takes_part(b, &idle, "ann").await, b.delete(&idle).await.unwrap()), (None, None));
    for user in ["ann", "ben"] {
        assert!(a.rooms_of(user).await.unwrap().is_empty() && a.rooms(user).await.unwrap().is_empty());
    }
    assert_eq!(b.read(&used, "eve", None).await.unwrap(), Some(0));
    let again = b.create(&room(&["ben", "ann"], true)).await.unwrap();
    assert!(again.new && again.room != idle);
    assert_eq!(a.rooms_of("ann").await.unwrap(), [again.room]);
    assert_eq!(a.rooms_of("eve").await.unwrap(), [used]);
}

/// Users who have not called for long, with all that was known of them.
pub async fn idle_users_are_forgotten([a, b]: Nodes<'_>) {
    let ann = UserProfile { nickname: "A.".into(), ..UserProfile::bare("ann") };
    a.set_profile(&ann).await.unwrap();
    loop {
        b.meet("eve").await.unwrap();
        if a.users().await.unwrap() == [UserProfile::bare("eve")] {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(a.profiles(&["ann".into()]).await.unwrap(), [UserProfile::bare("ann")]);
}
