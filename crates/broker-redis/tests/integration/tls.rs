//! `rediss://` with a Redis whose certificate comes from an authority of its own.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tidegate_broker_redis::{Options, RedisBroker, StartError};
use tidegate_testkit::{RedisOptions, RedisServer, eventually, free_port};

use tidegate_broker::Broker;

use crate::cluster::{Node, metrics, options, topic};

/// Writes `ca.pem`, and `redis.pem` with `redis.key` that it has signed.
fn certificates(dir: &Path) {
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ca = authority.self_signed(&key).unwrap().pem();
    fs::write(dir.join("ca.pem"), &ca).unwrap();
    fs::write(dir.join("ca-from-windows.pem"), format!("\u{feff}{}", ca.replace('\n', "\r\n"))).unwrap();
    let issuer = Issuer::new(authority, key);
    let key = KeyPair::generate().unwrap();
    let redis = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    fs::write(dir.join("redis.pem"), redis.pem()).unwrap();
    fs::write(dir.join("redis.key"), key.serialize_pem()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_of_its_own() {
    // It fails only if another test has done it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let (port, path) = (free_port(), |name: &str| dir.path().join(name));
    let mut args = vec!["--tls-port".into(), port.to_string(), "--tls-auth-clients".into(), "no".into()];
    let files =
        [("--tls-cert-file", "redis.pem"), ("--tls-key-file", "redis.key"), ("--tls-ca-cert-file", "ca.pem")];
    for (option, name) in files {
        args.extend([option.into(), path(name).display().to_string()]);
    }
    let _redis = RedisServer::start_with(RedisOptions { args, ..RedisOptions::default() }).await;

    let url = format!("rediss://127.0.0.1:{port}/");
    // With a byte order mark: a parser that knows none would pass over the only certificate.
    let mut node = Node::start(Options { ca_file: Some(path("ca-from-windows.pem")), ..options(&url) });
    let room = topic("room:1");
    node.subscribe(std::slice::from_ref(&room)).await;
    node.publish_at_last(&room, "hello").await;
    assert_eq!(node.text().await, "hello");
    let page = node.read(&room, tidegate_broker::Span::Last { limit: 1 }).await;
    assert_eq!(page.events.len(), 1, "reads have connections of their own");
    node.wait_ready(true).await;

    let stranger = Node::start(options(&url));
    let detail = eventually("a reason", async || {
        let detail = stranger.broker.health().detail;
        detail.contains("no connection to Redis at").then_some(detail)
    })
    .await;
    assert!(detail.contains("certificate"), "{detail}");
}

#[tokio::test]
async fn a_file_that_gives_no_trust_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let refused = |url: &str, name: &str| {
        let options = Options { ca_file: Some(dir.path().join(name)), ..options(url) };
        match RedisBroker::start(options, metrics(), &Default::default()).err() {
            Some(StartError::Option { option: "ca_file", rule }) => rule,
            other => panic!("{other:?}"),
        }
    };
    assert!(refused("rediss://127.0.0.1:1/", "none.pem").contains("none.pem"));
    assert!(refused("rediss://127.0.0.1:1/", "redis.key").contains("PEM"));
    assert!(refused("redis://127.0.0.1:1/", "ca.pem").contains("rediss://"));
}
