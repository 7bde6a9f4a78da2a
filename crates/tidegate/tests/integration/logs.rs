//! The reader of the log may be slow, stop, or go away: the gateway goes on.

use std::process::Stdio;
use std::time::Instant;

use serde_json::json;
use tidegate_testkit::http::{get, post};
use tidegate_testkit::{Gateway, RedisServer, Sse, eventually, free_port};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::tidegate;

/// A gateway whose standard error is the test's own.
struct Node {
    child: Child,
    base: String,
    admin: String,
}

impl Node {
    async fn start(env: &[(&str, &str)], stderr: impl Into<Stdio>) -> Self {
        let (listen, admin) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
        let mut command = tidegate(&["serve", "--listen", &listen, "--admin-listen", &admin]);
        command.env("TIDEGATE_DRAIN__DELAY", "0s").env("TIDEGATE_DRAIN__WINDOW", "100ms");
        command.envs(env.iter().copied()).stderr(stderr);
        let node = Self {
            child: command.spawn().unwrap(),
            base: format!("http://{listen}"),
            admin: format!("http://{admin}"),
        };
        node.ready().await;
        node
    }

    async fn ready(&self) {
        let url = format!("{}/readyz", self.admin);
        eventually("it is ready", async || ready(&url).await.then_some(())).await;
    }

    async fn publish(&self) -> u16 {
        let event = json!({"topic": "a", "data": "x"});
        post(&format!("{}/v1/publish", self.base), &event).await.status.as_u16()
    }

    async fn stream(&self) -> Sse {
        let mut stream = Sse::open(&format!("{}/v1/events?topic=a", self.base)).await;
        stream.next_named("tidegate:ready").await;
        stream
    }

    async fn metric(&self, series: &str) -> u64 {
        let text = get(&format!("{}/metrics", self.admin)).await.body.as_str().unwrap().to_owned();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("{series} is missing: {text}"))
    }

    async fn dropped(&self, reason: &str) -> u64 {
        self.metric(&format!("tidegate_log_lines_dropped_total{{reason=\"{reason}\"}}")).await
    }

    /// SIGTERM; the goodbye comes, and the process ends in order.
    async fn ends(mut self) {
        let mut stream = self.stream().await;
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
        stream.next_named("tidegate:closing").await;
        let ended = tokio::time::timeout(tidegate_testkit::DEADLINE, self.child.wait()).await;
        assert_eq!(ended.expect("it ends in time").unwrap().code(), Some(0));
    }
}

async fn ready(url: &str) -> bool {
    let answer = tidegate_testkit::http::try_send(reqwest::Method::GET, url, None, None).await;
    answer.is_ok_and(|answer| answer.status == 200)
}

/// The end of a pipe that is written to, and no other.
fn without_reader() -> std::io::PipeWriter {
    std::io::pipe().unwrap().1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_the_log_that_ends_costs_nothing_but_lines() {
    let mut redis = RedisServer::start().await;
    let node = Node::start(&[("TIDEGATE_REDIS__URL", &redis.url())], without_reader()).await;
    assert_eq!(node.publish().await, 200);
    // What keeps the connections logs their loss.
    redis.restart().await;
    eventually("the loss is noticed", async || {
        (node.metric("tidegate_redis_reconnects_total").await > 0).then_some(())
    })
    .await;
    node.ready().await;
    eventually("it publishes again", async || (node.publish().await == 200).then_some(())).await;
    assert!(node.dropped("unwritable").await > 0);
    assert_eq!(node.metric("tidegate_panics_total").await, 0);
    node.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_the_log_that_stops_freezes_nothing() {
    // Each request over HTTP/2 is many lines then.
    let mut node = Node::start(&[("TIDEGATE_LOG", "info,h2=trace")], Stdio::piped()).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let health = format!("{}/healthz", node.base);
    let mut log = BufReader::new(node.child.stderr.take().unwrap()).lines();
    let flood = async |before: u64| {
        eventually("the queue is full", async || {
            for _ in 0..50 {
                client.get(&health).send().await.unwrap();
            }
            (node.dropped("full").await > before).then_some(())
        })
        .await;
    };
    flood(0).await;
    let told = async {
        while let Some(line) = log.next_line().await.unwrap() {
            if line.contains("lines dropped: standard error") {
                return;
            }
        }
        panic!("never told");
    };
    tokio::time::timeout(tidegate_testkit::DEADLINE, told).await.expect("told in time");
    flood(node.dropped("full").await).await;
    // Nothing reads to the end, and that does not hold it.
    node.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_every_request_meets_is_not_a_line_for_each() {
    let mut redis = RedisServer::start().await;
    redis.stop().await;
    let gateway =
        Gateway::spawn_unready(env!("CARGO_BIN_EXE_tidegate"), &["--redis", &redis.url()], &[]).await;
    let began = Instant::now();
    let event = json!({"topic": "a", "data": "x"});
    for _ in 0..100 {
        assert_eq!(post(&gateway.url("/v1/publish"), &event).await.status, 503);
    }
    let lines = |log: &str, text: &str| log.lines().filter(|line| line.contains(text)).count() as u64;
    let left_out = |log: &str| {
        let told = log.lines().filter(|line| line.contains("more such lines left out"));
        let told = told.filter(|line| line.contains("like=\"events were not taken\""));
        told.map(|line| {
            let count = line.split_once(" more such lines").unwrap().0.rsplit(' ').next().unwrap();
            count.parse::<u64>().unwrap()
        })
        .sum::<u64>()
    };
    let log = eventually("all are accounted for", async || {
        let log = gateway.log();
        (lines(&log, ": events were not taken error=") + left_out(&log) == 100).then_some(log)
    })
    .await;
    // Two reasons: no connection yet, and no connection.
    let most = 2 * (began.elapsed().as_secs() + 1);
    assert!(lines(&log, ": events were not taken error=") <= most, "{most}: {log}");
}

#[tokio::test]
async fn a_command_whose_output_is_read_no_further_ends_quietly() {
    let mut server = crate::script::Script::start(vec![format!(
        "{}retry: 10\nid: a-1\ndata: one\n\nid: a-2\ndata: two\n\n",
        crate::script::STREAM
    )])
    .await;
    let url = server.url();
    for arguments in [
        &["config", "default"][..],
        &["config", "print"],
        &["config", "check"],
        &["token", "--user", "u", "--secret", "0123456789abcdef0123456789abcdef"],
        &["subscribe", "--url", &url, "--topic", "a"],
    ] {
        let mut command = tidegate(arguments);
        // (`output()` would take the pipe away again.)
        let child = command.stdout(without_reader()).spawn().unwrap();
        let output = child.wait_with_output().await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
        assert!(!said.contains("panicked") && !said.contains("standard output"), "{said}");
    }
    server.request().await;
}

#[tokio::test]
async fn a_command_without_a_reader_of_its_errors_still_fails_in_order() {
    let url = format!("http://127.0.0.1:{}", free_port());
    for arguments in [
        &["publish", "--url", &url, "--topic", "a", "1"][..],
        &["doctor", &url, "--watch", "0s"],
        &["serve", "--redis", "nonsense"],
    ] {
        let mut command = tidegate(arguments);
        let status = command.stdout(Stdio::null()).stderr(without_reader()).status().await.unwrap();
        assert_eq!(status.code(), Some(1), "{arguments:?}");
    }
}
