//! The broker's promises as tests, the same for every broker.
//!
//! A broker's crate writes `tidegate_broker::contract::suite!(fixture().await);` in a module of its integration tests and gets one
//! `#[tokio::test]` for each promise. The suite is strict about results and patient about time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests: a panic is the finding")]

mod cluster;
pub mod history;
pub mod keys;
pub mod live;
pub mod merge;
pub mod payloads;
pub mod retention;
pub mod subscriptions;
mod tap;
pub mod users;

use std::sync::Arc;

use async_trait::async_trait;

use crate::{Broker, Deliveries};

pub use crate::contract_suite as suite;

/// What the nodes of a fixture must allow a user.
pub const MEMBERSHIPS: usize = 20;

/// An empty store of its own for one test, and nodes on it. Dropped at the test's end.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// How many nodes the tests are to be run with, at least 1.
    fn nodes(&self) -> usize;

    /// Starts another node on the same store: called [`Fixture::nodes`] times.
    async fn node(&self) -> (Arc<dyn Broker>, Deliveries);
}

/// Makes a test of each promise. The argument is an expression that makes a [`Fixture`](crate::contract::Fixture); it may await.
#[macro_export]
macro_rules! contract_suite {
    ($fixture:expr) => {
        $crate::contract_suite! { $fixture =>
            live::every_event_arrives_once_and_in_order,
            live::concurrent_publishers_share_one_order,
            live::a_batch_keeps_its_order_and_its_results,
            live::events_without_history_have_no_id,
            live::nothing_asked_nothing_done,
            subscriptions::subscribed_means_subscribed,
            subscriptions::many_topics_in_one_subscription,
            subscriptions::subscriptions_are_not_counted,
            subscriptions::unsubscribing_ends_deliveries,
            subscriptions::nobody_listens,
            payloads::data_and_names_survive,
            payloads::large_data_survives,
            history::a_subscription_is_a_place_to_resume_from,
            history::an_empty_store_is_a_place_to_resume_from,
            history::spans_and_limits,
            history::paging_meets_every_event_once,
            history::reads_are_answered_in_their_order,
            history::topics_are_read_together_within_a_bound,
            history::a_hole_after_the_page_is_told,
            history::each_event_names_the_one_before,
            retention::trimmed,
            retention::expired,
            retention::publishing_after_expiry,
            retention::records_end_too,
            retention::forgotten,
            retention::nodes_are_told_of_forgotten_events,
            retention::another_epoch,
            retention::ahead_of_the_counter,
            keys::the_same_key_gives_the_first_receipt,
            keys::keys_belong_to_their_topic,
            keys::keys_work_without_history,
            keys::keys_work_within_a_batch_and_a_race,
            keys::keys_end,
            keys::an_old_version_never_follows_a_newer_one,
            keys::versions_work_in_a_race,
            users::memberships_are_a_set,
            users::nodes_are_told_of_memberships,
            users::words_about_a_user_keep_their_place,
            users::nodes_are_told_to_disconnect,
            users::memberships_are_bounded,
            users::numbers_begin_above_all_before,
            merge::replay_meets_live,
        }
    };
    ($fixture:expr => $($part:ident::$test:ident),* $(,)?) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            $crate::contract::$part::$test(&$fixture).await;
        }
    )* };
}
