//! Redis and a gateway's stand-in as children.

use std::collections::HashSet;
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use redis::Value;
use tidegate_testkit::{Gateway, RedisOptions, RedisServer, free_port, http};

#[test]
fn a_port_is_given_out_once_and_can_be_listened_on() {
    let ports: Vec<_> = (0..50).map(|_| free_port()).collect();
    assert_eq!(ports.iter().collect::<HashSet<_>>().len(), ports.len());
    for _ in 0..2 {
        TcpListener::bind(("127.0.0.1", ports[0])).unwrap();
    }
}

#[tokio::test]
async fn redis_keeps_its_data_or_loses_it_as_asked() {
    for aof in [false, true] {
        let mut redis = RedisServer::start_with(RedisOptions { aof, ..RedisOptions::default() }).await;
        redis.cli(&["SET", "k", "v"]).await;
        redis.restart().await;
        assert_eq!(redis.cli(&["GET", "k"]).await, Value::BulkString(b"v".to_vec()));
        redis.stop().await;
        assert!(redis.try_cli(&["PING"]).await.is_err());
        redis.start_again().await;
        let kept = redis.cli(&["EXISTS", "k"]).await;
        assert_eq!(kept, Value::Int(i64::from(aof)), "only an append-only file survives a crash");
        redis.cli(&["SET", "k", "v"]).await;
        redis.restart_empty().await;
        assert_eq!(redis.cli(&["DBSIZE"]).await, Value::Int(0));
    }
}

#[tokio::test]
async fn a_replica_has_everything_and_takes_over() {
    let (primary, [replica]) = RedisServer::replicated().await;
    primary.cli(&["SET", "k", "v"]).await;
    primary.synced(1).await;
    assert_eq!(replica.cli(&["GET", "k"]).await, Value::BulkString(b"v".to_vec()));
    assert!(replica.try_cli(&["SET", "k", "w"]).await.is_err());
    primary.fail_over_to(&replica).await;
    assert!(primary.try_cli(&["SET", "k", "w"]).await.is_err());
    primary.promote().await;
    for server in [primary, replica] {
        server.cli(&["SET", "k", "w"]).await;
    }
}

#[tokio::test]
async fn redis_asks_for_its_password() {
    let options = RedisOptions { password: Some("s3cret".into()), ..RedisOptions::default() };
    let redis = RedisServer::start_with(options).await;
    assert!(redis.url().contains(":s3cret@"), "{}", redis.url());
    assert_eq!(redis.cli(&["PING"]).await, Value::SimpleString("PONG".into()));
    let stranger = redis::Client::open(format!("redis://127.0.0.1:{}/", redis.port())).unwrap();
    let mut stranger = stranger.get_multiplexed_async_connection().await.unwrap();
    assert!(redis::cmd("PING").exec_async(&mut stranger).await.is_err());
}

#[tokio::test]
async fn a_paused_redis_answers_once_it_is_resumed_and_dies_when_dropped() {
    let redis = RedisServer::start().await;
    redis.pause();
    let mut ping = Box::pin(redis.try_cli(&["PING"]));
    tokio::select! {
        biased;
        answer = &mut ping => panic!("{answer:?} from a stopped server"),
        () = tokio::task::yield_now() => redis.resume(),
    }
    assert!(ping.await.is_ok());
    redis.pause();
    let port = redis.port();
    drop(redis);
    TcpListener::bind(("127.0.0.1", port)).expect("nobody listens any more");
}

/// Python in the gateway's place: it takes the same flags, answers every GET, and leaves at SIGTERM.
const STAND_IN: &str = r#"#!/usr/bin/env python3
import os, signal, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
assert sys.argv[1:2] == ["serve"] and sys.argv[2] == "--listen" and sys.argv[4] == "--admin-listen"
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = ('{"setting": "%s"}' % os.environ.get("TIDEGATE_NODE")).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
HTTPServer(("127.0.0.1", int(sys.argv[5].split(":")[1])), Handler).serve_forever()
"#;

#[tokio::test]
async fn a_gateway_starts_ends_and_starts_again_on_its_ports() {
    let dir = tempfile::tempdir().unwrap();
    let bin: PathBuf = dir.path().join("tidegate");
    fs::write(&bin, STAND_IN).unwrap();
    fs::set_permissions(&bin, Permissions::from_mode(0o755)).unwrap();

    let mut gateway = Gateway::spawn(&bin, &[], &[("TIDEGATE_NODE", "n1")]).await;
    let url = gateway.admin_url("/metrics");
    assert_eq!(http::get(&url).await.body["setting"], "n1");
    assert!(gateway.log().contains("GET /readyz"), "{}", gateway.log());
    gateway.terminate();
    assert_eq!(gateway.wait().await.code(), Some(7));
    gateway.restart().await;
    assert_eq!(gateway.admin_url("/metrics"), url);
    assert_eq!(http::get(&url).await.status, 200);
    assert!(!gateway.kill().await.success());
}
