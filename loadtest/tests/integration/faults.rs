//! What goes wrong is seen, counted and said.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use tidegate_children::{Home, Process, free_address};
use tidegate_testkit::{DEADLINE, RedisServer, free_port};

use crate::run::{gateway, loadtest};

/// The bare loop: a server that remembers nothing. Killed when it is dropped.
struct Loop {
    _process: Process,
    url: String,
}

impl Loop {
    fn start() -> Self {
        let address = free_address().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
        command.args(["baseline", "--listen", &address.to_string()]);
        let process = Home::new("loop").unwrap().start("loop", command, "").unwrap();
        process.ready(DEADLINE, || TcpStream::connect(address).is_ok()).unwrap();
        Self { _process: process, url: format!("http://{address}") }
    }
}

#[tokio::test]
async fn what_a_server_forgets_is_counted_as_lost() {
    let server = Loop::start();
    let storm =
        ["reconnect", "--profile", "loop", "--url", &server.url, "--connections", "6", "--missed", "7"];
    let ran = loadtest(&storm).await;
    assert_eq!(ran.status, 1, "{}", ran.output);
    assert_eq!((ran.count("expected"), ran.count("received"), ran.count("lost")), (48, 6, 42));
    assert!(ran.output.contains("MISSED: lost is 42, the limit 0"), "{}", ran.output);
    assert!(ran.page.contains("Limits missed"));
    let allowed = loadtest(&[&storm[..], &["--max-lost", "42"]].concat()).await;
    assert_eq!(allowed.status, 0, "{}", allowed.output);
}

#[tokio::test]
async fn a_soak_goes_through_a_restart_and_loses_nothing() {
    let redis = RedisServer::start().await;
    let settings = [("TIDEGATE_STREAM__RETRY", "100ms")];
    let mut gateway = gateway(Some(&redis.url()), &settings).await;
    let url = gateway.base();
    let mut soak = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    soak.args([
        "soak",
        "--url",
        &url,
        "--connections",
        "8",
        "--topics",
        "2",
        "--seconds",
        "12",
        "--rate",
        "4",
    ]);
    let directory = tempfile::TempDir::new().unwrap();
    let json = directory.path().join("soak.json");
    let mut soak = soak.arg("--json").arg(&json).stderr(Stdio::piped()).spawn().unwrap();
    let mut progress = BufReader::new(soak.stderr.take().unwrap()).lines();
    // The first line says that it is under way.
    let (line, progress) =
        tokio::task::spawn_blocking(move || (progress.next().unwrap().unwrap(), progress)).await.unwrap();
    assert!(line.contains("soaking  open 8"), "{line}");
    gateway.restart().await;
    let status = tokio::task::spawn_blocking(move || {
        let rest: Vec<String> = progress.map_while(Result::ok).collect();
        (soak.wait().unwrap(), rest)
    });
    let (status, rest) = status.await.unwrap();
    assert!(status.success(), "{rest:?}");
    let ran: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    for (name, count) in [("expected", 384), ("received", 384), ("lost", 0), ("doubled", 0), ("reordered", 0)]
    {
        assert_eq!(ran[name], count, "{name}");
    }
    for (name, count) in [("disconnects", 8), ("reconnects", 8), ("resets", 0)] {
        assert_eq!(ran["figures"][name], count, "{name}: {ran}");
    }
}

#[tokio::test]
async fn a_publisher_that_is_too_fast_is_told_and_what_was_refused_is_nobodys_loss() {
    let settings = [("TIDEGATE_LIMITS__PUBLISH_RATE", "40"), ("TIDEGATE_LIMITS__PUBLISH_BURST", "40")];
    let gateway = gateway(None, &settings).await;
    let url = gateway.base();
    let flood = ["flood", "--url", &url, "--connections", "3", "--events", "400", "--publishers", "4"];
    let ran = loadtest(&flood).await;
    assert_eq!(ran.status, 1, "{}", ran.output);
    assert!(ran.output.contains("MISSED: refused is "), "{}", ran.output);
    let refused = ran.count("refused");
    assert!((1..400).contains(&refused), "{}", ran.output);
    assert_eq!(ran.json["errors"]["publish: status 429"], refused);
    assert_eq!((ran.count("sent"), ran.count("lost")), (400, 0));
    assert_eq!((ran.count("expected"), ran.count("received")), (3 * (400 - refused), 3 * (400 - refused)));
}

#[tokio::test]
async fn limits_and_usage_have_their_own_status() {
    let gateway = gateway(None, &[]).await;
    let url = gateway.base();
    let fanout = ["fanout", "--url", &url, "--connections", "2", "--seconds", "1", "--rate", "5"];
    let slow = loadtest(&[&fanout[..], &["--max-p99-ms", "0.001"]].concat()).await;
    assert_eq!(slow.status, 1, "{}", slow.output);
    assert!(slow.output.contains("MISSED: p99 ms is "), "{}", slow.output);
    for wrong in [
        &["fanout"][..],
        &["fanout", "--url", "https://127.0.0.1:1", "--url", "http://127.0.0.1:1"],
        &["soak", "--url", &url, "--via", "h2"],
        &["idle", "--url", &url],
        &["ramp", "--url", &url, "--steps", "5,2"],
        &["fanout", "--url", &url, "--pid", "999999999"],
        &["fanout", "--url", &url, "--connections", "90000000"],
    ] {
        let ran = loadtest(wrong).await;
        assert_eq!(ran.status, 2, "{wrong:?}: {}", ran.output);
        assert!(ran.json.is_null());
    }
    let nobody = loadtest(&["fanout", "--url", &format!("http://127.0.0.1:{}", free_port())]).await;
    assert_eq!(nobody.status, 1);
    assert!(nobody.output.contains("connection refused"), "{}", nobody.output);
}
