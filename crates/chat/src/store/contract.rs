//! The store's promises as tests, the same for every store.
//!
//! A test file writes `tidegate_chat::store::contract::suite!(nodes);`, where `nodes(options).await` gives two nodes' views of one empty store and
//! whatever has to live as long, and gets one `#[tokio::test]` for each promise.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests: a panic is the finding")]

mod reading;
mod rooms;

use tidegate_protocol::{Epoch, Position};

use crate::model::{Message, MessageType, Room, new_id, now};
use crate::store::Store;

pub use crate::store_suite as suite;
pub use reading::*;
pub use rooms::*;

/// Two nodes' views of one store.
pub type Nodes<'a> = [&'a dyn Store; 2];

/// Makes a test of each promise; see [`contract`](crate::store::contract).
#[macro_export]
macro_rules! store_suite {
    ($nodes:path) => {
        $crate::store_suite! { $nodes =>
            a_room_is_what_it_was_made,
            a_pair_has_one_room,
            a_pair_that_asks_at_once_has_one_room,
            participants_come_and_go,
            rooms_are_listed_by_what_happened_last,
            a_room_is_forgotten_whole,
            users_are_remembered,
            bounds_hold,
            no_user_fills_the_list_of_another,
            rooms_have_a_total_bound,
            idle_rooms_are_forgotten,
            idle_users_are_forgotten,
            messages_have_places,
            unread_until_read,
            who_comes_has_read_all,
            noted_twice_changes_nothing,
            a_mark_may_be_ahead_of_the_notes,
            places_are_trimmed,
            places_expire,
            another_epoch_begins_anew,
        }
    };
    ($nodes:path => $($test:ident),* $(,)?) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            let options = $crate::store::contract::options(stringify!($test));
            let nodes = $nodes(&options).await;
            $crate::store::contract::$test([&*nodes.0, &*nodes.1]).await;
        }
    )* };
}

/// The settings that a test needs.
pub fn options(test: &str) -> crate::Options {
    let mut options = crate::Options::default();
    let bounds = &mut options.bounds;
    match test {
        "bounds_hold" => {
            bounds.participants = 3;
            bounds.rooms_per_user = 2;
            bounds.users = 4;
        }
        "no_user_fills_the_list_of_another" => {
            bounds.rooms_per_user = 2;
            bounds.rooms_made = 2;
        }
        "rooms_have_a_total_bound" => bounds.rooms = 2,
        "idle_rooms_are_forgotten" => {
            bounds.rooms = 2;
            bounds.rooms_per_user = 1;
            bounds.rooms_made = 1;
            bounds.room_ttl = std::time::Duration::from_secs(2);
        }
        "idle_users_are_forgotten" => bounds.user_ttl = std::time::Duration::from_millis(50),
        "places_are_trimmed" => options.messages.size = 3,
        "places_expire" => options.messages.ttl = std::time::Duration::from_millis(50),
        _ => {}
    }
    options
}

/// A room of these.
fn room(participants: &[&str], direct: bool) -> Room {
    Room {
        id: new_id(now()),
        name: if direct { String::new() } else { "방 1".into() },
        participants: participants.iter().map(ToString::to_string).collect(),
        created_at: "2025-05-24T23:40:40.438Z".into(),
        created_by: Some(participants[0].into()),
        direct,
        relation_type: "SIGNAL".into(),
    }
}

/// Makes it, and gives its id.
async fn made(store: &dyn Store, participants: &[&str]) -> String {
    store.create(&room(participants, false)).await.unwrap().room
}

fn epoch(n: u64) -> Epoch {
    Epoch::from_random(n)
}

fn at(offset: u64) -> Position {
    Position { epoch: epoch(1), offset }
}

fn message(room: &str, sender: &str, kind: MessageType) -> Message {
    Message::now(room, sender, kind, "안녕".into()).0
}

/// Whether the user takes part; `None`: there is no such room.
async fn takes_part(store: &dyn Store, room: &str, user: &str) -> Option<bool> {
    store.seat(room, user).await.unwrap().map(|seat| seat.taken)
}

/// Notes a message at an offset, and gives it.
async fn said(store: &dyn Store, room: &str, sender: &str, offset: u64) -> Message {
    let message = message(room, sender, MessageType::Message);
    store.note(at(offset), &message).await.unwrap().expect("the room is there");
    message
}

async fn unread(store: &dyn Store, room: &str, user: &str) -> u64 {
    store.room(room, Some(user)).await.unwrap().expect("the room is there").unread_count
}
