//! The commands that come back.

use std::net::TcpListener;
use std::process::Stdio;

use tidegate_testkit::Gateway;
use tokio::io::AsyncWriteExt as _;

use crate::script::Script;
use crate::{outcome, tidegate};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn answer(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn the_printed_default_can_be_used_again() {
    let (code, sample, _) = outcome(tidegate(&["config", "default"])).await;
    assert_eq!(code, 0);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tidegate.toml");
    std::fs::write(&path, sample).unwrap();
    let mut check = tidegate(&["config", "check"]);
    check.env("TIDEGATE_CONFIG", &path);
    let (code, said, _) = outcome(check).await;
    assert_eq!((code, said.as_str()), (0, "the configuration can be used\n"));
}

#[tokio::test]
async fn a_bad_configuration_is_said_whole() {
    for command in [&["config", "check"][..], &["serve"], &[]] {
        let mut command = tidegate(command);
        command.env("TIDEGATE_LISTENS", "x").env("TIDEGATE_STREAM__RETRY", "soon");
        let (code, _, said) = outcome(command).await;
        assert_eq!(code, 1);
        assert!(
            said.contains("\n1. ") && said.contains("\n2. ") && said.contains("TIDEGATE_LISTENS"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_service_called_tidegate_stops_no_start() {
    let links = [("TIDEGATE_PORT", "tcp://10.0.0.7:80"), ("TIDEGATE_SERVICE_HOST", "10.0.0.7")];
    let mut check = tidegate(&["config", "check"]);
    check.envs(links);
    let (code, _, said) = outcome(check).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("TIDEGATE_PORT, TIDEGATE_SERVICE_HOST"), "{said}");

    let gateway = Gateway::spawn(env!("CARGO_BIN_EXE_tidegate"), &[], &links).await;
    let warned = gateway.log().matches("TIDEGATE_PORT, TIDEGATE_SERVICE_HOST").count();
    assert_eq!(warned, 1, "{}", gateway.log());
}

#[tokio::test]
async fn printing_says_where_values_come_from_and_no_secret() {
    let mut print = tidegate(&["config", "print", "--redis", "redis://u:hunter2@cache"]);
    print.env("TIDEGATE_STREAM__HEARTBEAT", "20s");
    let (code, printed, _) = outcome(print).await;
    assert_eq!(code, 0);
    assert!(printed.contains("# --redis") && printed.contains("# TIDEGATE_STREAM__HEARTBEAT"), "{printed}");
    assert!(!printed.contains("hunter2"), "{printed}");
}

#[tokio::test]
async fn a_token_is_signed_with_the_configured_key() {
    let mut token = tidegate(&["token", "--user", "alice", "--subscribe", "room:*", "--ttl", "1h"]);
    token.env("TIDEGATE_AUTH__JWT__KEYS", format!(r#"[{{"alg":"HS256","secret":"{SECRET}"}}]"#));
    let (code, with_configured, said) = outcome(token).await;
    assert_eq!(code, 0, "{said}");
    let arguments = ["token", "--user", "alice", "--secret", SECRET];
    let (code, with_given, _) = outcome(tidegate(&arguments)).await;
    assert_eq!(code, 0);
    for token in [with_configured, with_given] {
        assert_eq!(token.trim().split('.').count(), 3, "{token}");
    }
    let (code, _, said) = outcome(tidegate(&["token", "--user", "alice"])).await;
    assert!(code == 1 && said.contains("no key to sign with"), "{said}");
}

#[tokio::test]
async fn publishing_prints_the_receipt_or_the_problem() {
    let receipt = r#"{"id":"a-1","nodes":1,"topic":"a"}"#;
    let refusal = answer("413 Payload Too Large", r#"{"detail":"65537 bytes","field":"[1].data"}"#);
    let mut server = Script::start(vec![answer("200 OK", receipt), refusal]).await;
    let arguments = ["publish", "--url", &server.url(), "--topic", "a", "--key", "k", "hello"];
    let (code, printed, said) = outcome(tidegate(&arguments)).await;
    assert_eq!((code, printed.trim()), (0, receipt), "{said}");
    let request = server.request().await;
    assert!(
        request.starts_with("POST /v1/publish ") && request.to_lowercase().contains("idempotency-key: k")
    );
    assert!(request.ends_with(r#"{"data":"hello","topic":"a"}"#), "{request}");

    let (code, _, said) = outcome(tidegate(&arguments)).await;
    assert!(code == 1 && said.contains("413") && said.contains("[1].data: 65537 bytes"), "{said}");
}

#[tokio::test]
async fn a_gateway_that_is_not_there_is_missed_by_its_address() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
    drop(listener);
    let url = format!("http://me:hunter2@{place}/live");
    for command in [&["publish", "--url", &url, "--topic", "a", "1"][..], &["health", "--url", &url]] {
        let (code, _, said) = outcome(tidegate(command)).await;
        let expected = format!("tidegate: no gateway answers at http://{place}: is it running? (");
        assert!(code == 1 && said.starts_with(&expected) && !said.contains("hunter2"), "{said}");
    }
}

#[tokio::test]
async fn each_line_is_an_event() {
    let mut server = Script::start(vec![answer("200 OK", "[]"), answer("200 OK", "[]")]).await;
    let mut command = tidegate(&["publish", "--url", &server.url(), "--topic", "a", "--ndjson"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"1\n\n{\"n\":2}\n").await.unwrap();
    assert!(child.wait().await.unwrap().success());
    // One request or two: as many lines go together as have been read.
    let mut bodies = String::new();
    while bodies.lines().count() < 2 {
        bodies.push_str(server.request().await.split_once("\r\n\r\n").unwrap().1);
    }
    assert_eq!(bodies, "{\"data\":1,\"topic\":\"a\"}\n{\"data\":{\"n\":2},\"topic\":\"a\"}\n");
}

#[tokio::test]
async fn health_is_an_exit_code() {
    let server =
        Script::start(vec![answer("200 OK", "ready"), answer("503 Service Unavailable", "draining")]).await;
    for expected in [0, 1] {
        let mut health = tidegate(&["health"]);
        health.env("TIDEGATE_ADMIN_LISTEN", format!("0.0.0.0:{}", server.address.port()));
        assert_eq!(outcome(health).await.0, expected);
    }
}

#[tokio::test]
async fn a_taken_port_says_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, _, said) =
        outcome(tidegate(&["serve", "--listen", &address, "--admin-listen", "127.0.0.1:0"])).await;
    assert_eq!(code, 1);
    assert!(said.contains(&format!("{address} is taken")) && said.contains("--listen"), "{said}");
}
