//! The connections that applications share with the broker.

use std::time::Duration;

use tidegate_broker::Error;
use tidegate_broker_redis::{Connection, Options, Pool};
use tidegate_testkit::RedisServer;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::cluster::options;

/// A Redis that takes connections and says nothing: whoever asks for one is told within the time
/// for an answer.
#[tokio::test]
async fn a_connection_is_waited_for_as_long_as_for_an_answer() {
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}/", deaf.local_addr().unwrap());
    let patience = Duration::from_millis(100);
    // So long that the test would not end.
    let connect_timeout = Duration::from_secs(3600);
    let pool = Pool::open(&Options { response_timeout: patience, connect_timeout, ..options(&url) }).unwrap();
    let started = Instant::now();
    let error = pool.get().await.err().expect("no connection");
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    assert!(started.elapsed() >= patience);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_was_taken_out_makes_room_and_one_in_use_does_not() {
    let redis = RedisServer::start().await;
    let response_timeout = Duration::from_secs(1);
    let pool = Pool::open(&Options { pool_size: 1, response_timeout, ..options(&redis.url()) }).unwrap();
    let mut first = pool.get().await.unwrap();
    let error = pool.get().await.err().expect("in use");
    assert!(matches!(error, Error::Busy(_)), "{error}");
    redis::cmd("PING").query_async::<()>(&mut first).await.unwrap();
    drop(Connection::take(first));
    drop(pool.get().await.unwrap());
    redis::cmd("PING").query_async::<()>(&mut pool.get().await.unwrap()).await.unwrap();
}
