//! `Sse` sees blocks, comments and ends as they are.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::json;
use sse_stream::SseStream;
use tidegate_testkit::sse::Parser;
use tidegate_testkit::{Block, End, Event, Sse};

use crate::scripted::{HEAD, Server, Step, chunk, chunked, last_chunk, send};

#[tokio::test]
async fn blocks_without_data_move_the_position_and_dispatch_nothing() {
    let mut server = Server::start(vec![vec![
        chunked(),
        chunk("retry: 250\nid: e-1\nevent: tidegate:ready\ndata: {}\n\n"),
        chunk(": still here\n\n"),
        chunk("id: e-2\nda"),
        chunk("ta: one\ndata: more\n\nid: e-3\n\n"),
        last_chunk(),
    ]])
    .await;
    let mut stream = Sse::builder(&server.url()).last_event_id("e-0").bearer("secret").open().await;
    let request = server.request().await;
    assert!(request.starts_with("GET /events?topic=a HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("\r\nlast-event-id: e-0\r\n"), "{request}");
    assert!(request.contains("\r\nauthorization: Bearer secret\r\n"), "{request}");
    assert_eq!(stream.status, 200);
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    assert_eq!(stream.last_event_id(), "e-0");

    let ready = stream.next().await.unwrap();
    assert_eq!((ready.event.as_str(), ready.retry), ("tidegate:ready", Some(Duration::from_millis(250))));
    let comment = stream.next_block().await.unwrap();
    assert_eq!(comment, Block { comments: vec!["still here".into()], ..Block::default() });
    let event = stream.next().await.unwrap();
    let expected =
        Event { id: Some("e-2".into()), event: "message".into(), data: "one\nmore".into(), retry: None };
    assert_eq!(event, expected);
    assert_eq!(stream.last_event_id(), "e-2");
    assert_eq!(stream.next().await, None);
    assert_eq!(stream.last_event_id(), "e-3");
    assert_eq!(stream.end(), Some(&End::Clean));
}

#[tokio::test]
async fn the_end_of_a_stream_tells_its_manner() {
    let server = Server::start(vec![
        vec![chunked(), chunk("data: 1\n\n"), last_chunk()],
        vec![chunked(), chunk("data: 1\n\n")],
        vec![send(format!("{HEAD}\r\ndata: 1\n\n"))],
        vec![send(format!("{HEAD}content-length: 9\r\n\r\ndata: 1\n\n")), Step::Hold],
    ])
    .await;
    for expected in [End::Clean, End::Truncated, End::Clean, End::Clean] {
        let (events, end) = Sse::open(&server.url()).await.rest().await;
        assert_eq!((events.len(), end), (1, expected));
    }
    let server = Server::start(vec![vec![chunked(), Step::Reset]]).await;
    let (_, end) = Sse::open(&server.url()).await.rest().await;
    assert!(matches!(end, End::Reset(_)), "{end:?}");
}

#[tokio::test]
async fn an_error_is_an_answer_with_a_text() {
    let problem = "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\n{}";
    let mut server = Server::start(vec![vec![send("HTTP/1.1 103 Early Hints\r\n\r\n"), send(problem)]]).await;
    let answer = Sse::builder(&server.url()).post(&json!({"topics": ["a"]})).open().await;
    assert_eq!(answer.status, 403);
    assert_eq!(answer.text().await, "{}");
    let request = server.request().await;
    assert!(request.starts_with("POST ") && request.contains("\r\ncontent-length: 16\r\n"), "{request}");
}

#[tokio::test]
async fn collecting_passes_over_the_ready_event_and_named_ones_can_be_sought() {
    let text =
        "event: tidegate:ready\ndata: {}\n\ndata: 1\n\nevent: x\ndata: 2\n\ndata: 3\n\nevent: y\ndata: 4\n\n";
    let server = Server::start(vec![vec![chunked(), chunk(text), Step::Hold]]).await;
    let mut stream = Sse::open(&server.url()).await;
    assert_eq!(stream.collect_data(2).await, ["1", "2"]);
    assert_eq!(stream.next_named("y").await.data, "4");
}

#[tokio::test]
#[should_panic(expected = "nothing within")]
async fn silence_is_a_panic_that_tells_the_story() {
    let server = Server::start(vec![vec![chunked(), chunk("data: 1\n\n"), Step::Hold]]).await;
    let mut stream = Sse::builder(&server.url()).deadline(Duration::from_millis(50)).open().await;
    stream.collect_data(2).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_its_server() {
    let begin = send(format!("{HEAD}\r\ndata: begin\n\n"));
    let mut server = Server::start(vec![vec![begin, Step::Fill]]).await;
    let mut slow = Sse::builder(&server.url()).receive_buffer(4096).open().await;
    server.request().await;
    let filled: usize = server.request().await.parse().unwrap();
    assert!(filled < 8 << 20, "the kernel's send buffer and little more, not {filled} bytes");
    assert_eq!(slow.collect_data(1).await, ["begin"]);
    assert_eq!(slow.rest().await, (vec![], End::Clean));
}

#[tokio::test]
async fn the_parser_agrees_with_another_one_wherever_the_bytes_are_cut() {
    let text = "\u{feff}data: bom\n\n:c\nevent:n\ndata:  two\ndata\nid:7\n\nretry: 12\ndata: \u{2028}é\n\ndata: x\nid: 8\n\n";
    let whole: Vec<_> =
        SseStream::from_bytes_stream(futures_util::stream::iter([Ok::<_, Infallible>(text.as_bytes())]))
            .map(|event| event.unwrap())
            .map(|sse| (sse.id, sse.event, sse.data, sse.retry))
            .collect()
            .await;
    assert_eq!(whole.len(), 4);
    for cut in 0..text.len() {
        for line_end in ["\n", "\r", "\r\n"] {
            let bytes = text.replace('\n', line_end).into_bytes();
            let (head, tail) = bytes.split_at(cut);
            let mut parser = Parser::default();
            let mut blocks = Vec::new();
            for part in [head, tail] {
                parser.push(part);
                blocks.extend(std::iter::from_fn(|| parser.next_block()));
            }
            let blocks: Vec<_> = blocks
                .into_iter()
                .map(|b| (b.id, b.event, b.data, b.retry.map(|r| u64::try_from(r.as_millis()).unwrap())))
                .collect();
            assert_eq!(blocks, whole, "cut at {cut} with {line_end:?}");
        }
    }
}
