//! `nginx/` and `scripts/cluster.sh`, with a real nginx.

use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::Method;
use serde_json::{Value, json};
use tidegate_testkit::{Gateway, Nginx, eventually, free_port, http};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{read, repository};

const BIN: &str = env!("CARGO_BIN_EXE_tidegate");

/// Tells which location answered.
const HEADER: &str = "x-read-timeout";

/// A stream that is cut after half a minute is useless; a request that may hang for an hour is a
/// client that does. So each route of the description is one or the other, and a new streaming
/// route can't be forgotten.
#[tokio::test]
async fn streams_and_polls_may_be_quiet_and_nothing_else_may() {
    let gateway = Gateway::spawn(BIN, &[], &[]).await;
    let told = |line: &str| {
        let time = line.trim().strip_prefix("proxy_read_timeout ").and_then(|rest| rest.split_once(';'));
        time.map_or(line.to_owned(), |(time, _)| format!("{line}\nadd_header {HEADER} {time} always;"))
    };
    let nginx = Nginx::repository_with(&[gateway.addr()], told).await;
    let spec = http::get(&gateway.url("/openapi.json")).await.body;
    let (mut quiet, mut brief) = (0, 0);
    for (path, methods) in spec["paths"].as_object().unwrap() {
        let methods = methods.as_object().unwrap();
        let waits = methods.values().any(waits);
        let expected = if waits { "3600s" } else { "30s" };
        for method in methods.keys().filter(|name| *name != "parameters") {
            let method: Method = method.to_uppercase().parse().unwrap();
            *(if waits { &mut quiet } else { &mut brief }) += 1;
            let url = nginx.url(&path.replace(['{', '}'], ""));
            let answer = reqwest::Client::new().request(method.clone(), url).send().await.unwrap();
            let time = answer.headers().get(HEADER).unwrap_or_else(|| panic!("{method} {path}: {answer:?}"));
            assert_eq!(time, expected, "{method} {path}");
        }
    }
    assert!(quiet >= 10 && brief >= 20, "{quiet} and {brief}");
}

/// Some clients close their side when they have sent the request (`nc -N`, for one).
#[tokio::test]
async fn a_half_closed_client_gets_its_answer() {
    let gateway = Gateway::spawn(BIN, &[], &[]).await;
    let nginx = Nginx::repository(&[gateway.addr()]).await;
    for request in [
        "GET /v1/topics/a/events HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /v1/publish HTTP/1.1\r\nHost: a\r\nContent-Length: 22\r\n\r\n{\"topic\":\"a\",\"data\":1}",
    ] {
        let mut socket = TcpStream::connect(("127.0.0.1", nginx.port())).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        socket.shutdown().await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{request}: {answer:?}");
    }
}

/// Whether an answer may take as long as nothing happens: a stream, a WebSocket, a poll.
fn waits(operation: &Value) -> bool {
    let responses = &operation["responses"];
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    responses["200"]["content"].get("text/event-stream").is_some()
        || responses.get("101").is_some()
        || parameters.into_iter().any(|parameter| parameter["name"] == "timeout")
}

#[test]
fn kubernetes_ingress_has_the_same_streams() {
    let routes = read("nginx/snippets/routes.conf");
    let list = routes.split_once("location ~ \"^").unwrap().1.split_once('"').unwrap().0;
    let ingress = read("deploy/kubernetes/ingress.yaml");
    assert!(ingress.contains(&format!("- path: {list}\n")), "{list}");
}

/// As root, nginx' workers run as another user, who must get at the folder for bodies that don't
/// fit into memory.
#[tokio::test]
async fn large_bodies_pass_the_local_cluster_and_the_tests_nginx() {
    let gateway = Gateway::spawn(BIN, &[], &[]).await;
    let nginx = Nginx::repository(&[gateway.addr()]).await;
    let cluster = Cluster::start().await;
    let events: Vec<_> = (0..200).map(|_| json!({"topic": "room:1", "data": "x".repeat(1_000)})).collect();
    for base in [nginx.base(), cluster.base.clone()] {
        let (status, answer) = http::publish(&base, &json!(events)).await;
        assert_eq!(status, 200, "{base}: {answer}");
    }
}

/// `make cluster` with one node. Dropping it ends everything that it started.
struct Cluster {
    script: Child,
    base: String,
}

impl Cluster {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (ready, port) = (dir.path().join("ready"), free_port());
        // Whoever starts it may let others see nothing.
        let mut command = Command::new("sh");
        command.args(["-c", "umask 077; exec \"$0\""]).arg(repository("scripts/cluster.sh"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TIDEGATE_")) {
            command.env_remove(name);
        }
        for (name, port) in
            [("HTTP", port), ("GATEWAY", free_port()), ("ADMIN", free_port()), ("REDIS", free_port())]
        {
            command.env(format!("CLUSTER_{name}_PORT"), port.to_string());
        }
        command.env("CLUSTER_NODES", "1").env("CLUSTER_BINARY", BIN).env("CLUSTER_READY_FILE", &ready);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let script = command.spawn().unwrap();
        let cluster = Self { script, base: format!("http://127.0.0.1:{port}") };
        eventually("the cluster is ready", async || ready.exists().then_some(())).await;
        cluster
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.script.id()).unwrap());
        let _ = kill(pid, Signal::SIGTERM);
        let _ = self.script.wait();
    }
}
