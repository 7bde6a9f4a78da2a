//! `tidegate subscribe` against servers that break in every way.

use std::net::TcpListener;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout};
use tokio::time::timeout;

use crate::script::{STREAM, Script};
use crate::{outcome, tidegate};

struct Subscriber {
    _child: Child,
    out: Lines<BufReader<ChildStdout>>,
    err: Lines<BufReader<ChildStderr>>,
}

impl Subscriber {
    fn start(url: &str, arguments: &[&str]) -> Self {
        let mut child = tidegate(&["subscribe", "--url", url]).args(arguments).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap()).lines();
        let err = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { _child: child, out, err }
    }

    async fn line(&mut self) -> String {
        let line = timeout(Duration::from_secs(20), self.out.next_line()).await.expect("a line in time");
        line.unwrap().expect("a line")
    }

    /// Reads on until something is said on standard error that contains `text`.
    async fn says(&mut self, text: &str) {
        let wait = async {
            while let Some(line) = self.err.next_line().await.unwrap() {
                if line.contains(text) {
                    return;
                }
            }
            panic!("never said: {text}");
        };
        timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("not said in time: {text}"));
    }
}

#[tokio::test]
async fn it_resumes_after_the_last_id_also_of_a_block_without_data() {
    let mut server = Script::start(vec![
        format!("{STREAM}retry: 10\nid: a-1\nevent: tidegate:ready\ndata: {{}}\n\nid: a-2\ndata: one\n\n"),
        format!("{STREAM}id: a-3\nevent: named\ndata: two\ndata: lines\n\n: idle\n\nid: a-9\n\nid: a-10\ndata: cut off in the mid"),
        format!("{STREAM}id: a-11\ndata: three\n\n"),
    ])
    .await;
    let url = server.url();
    let mut client = Subscriber::start(&url, &["--topic", "room:1", "--topic", "b", "--replay", "5"]);

    let first = server.request().await;
    assert!(first.starts_with("GET /v1/events?topic=room%3A1&topic=b&replay=5 HTTP/1.1\r\n"), "{first}");
    assert!(!first.to_lowercase().contains("last-event-id"));
    let second = server.request().await.to_lowercase();
    assert!(second.contains("\r\nlast-event-id: a-2\r\n") && !second.contains("replay"), "{second}");
    let third = server.request().await.to_lowercase();
    assert!(third.contains("\r\nlast-event-id: a-9\r\n"), "{third}");
    for expected in ["one", "named: two", "lines", "three"] {
        assert_eq!(client.line().await, expected);
    }
}

#[tokio::test]
async fn it_says_what_happens_and_sends_its_token() {
    let mut server = Script::start(vec![
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 23\r\n\r\n{\"detail\":\"redis gone\"}".into(),
        format!("{STREAM}retry: 10\nid: a-1\nevent: tidegate:reset\ndata: {{\"topics\":[\"a\"],\"reason\":\"trimmed\"}}\n\nevent: tidegate:closing\ndata: {{\"reason\":\"drain\"}}\n\n"),
        format!("{STREAM}id: a-2\ndata: {{\"n\":1}}\n\n"),
    ])
    .await;
    let url = server.url();
    let mut client =
        Subscriber::start(&url, &["--topic", "a", "--token", "secret", "--json", "--last-event-id", "a-0"]);
    let first = server.request().await.to_lowercase();
    assert!(
        first.contains("authorization: bearer secret") && first.contains("last-event-id: a-0"),
        "{first}"
    );
    client.says("redis gone; next try in").await;
    client.says("reset (trimmed)").await;
    client.says("closing (drain)").await;
    assert_eq!(client.line().await, r#"{"id":"a-2","event":null,"data":"{\"n\":1}"}"#);
}

#[tokio::test]
async fn it_waits_for_a_gateway_that_is_not_there() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut client = Subscriber::start(&url, &["--topic", "a"]);
    client.says(&format!("no gateway answers at {url}: is it running? (")).await;
    client.says("next try in").await;
}

#[tokio::test]
async fn a_refusal_is_final() {
    let body = r#"{"detail":"the token has expired"}"#;
    let answer = format!("HTTP/1.1 401 Unauthorized\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let server = Script::start(vec![answer]).await;
    let (code, _, said) = outcome(tidegate(&["subscribe", "--url", &server.url(), "--topic", "a"])).await;
    assert_eq!(code, 1);
    assert!(said.contains("401") && said.contains("the token has expired"), "{said}");
}
