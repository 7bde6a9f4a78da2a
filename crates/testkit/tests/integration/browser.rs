//! `EventSource` comes back as a browser does.

use std::time::Duration;

use tidegate_testkit::{EventSource, free_port};

use crate::scripted::{Server, Step, chunk, chunked, last_chunk, send};

#[tokio::test]
async fn it_comes_back_with_the_last_id_and_to_the_next_node() {
    let first = vec![chunked(), chunk("retry: 1\nid: a\ndata: 1\n\nid: b\n\n"), last_chunk()];
    let second = vec![chunked(), chunk("id: c\nevent: n\ndata: 2\n\n"), Step::Hold];
    let mut one = Server::start(vec![first]).await;
    let mut two = Server::start(vec![second]).await;
    let gone = format!("http://127.0.0.1:{}/", free_port());
    let source = EventSource::builder(&[one.url(), gone.clone(), two.url()])
        .header("x-test", "yes")
        .retry_cap(Duration::from_secs(1))
        .open();

    assert_eq!(source.wait_data(2).await, ["1", "2"]);
    assert_eq!(source.last_event_id(), "c");
    let request = one.request().await;
    assert!(request.contains("x-test: yes") && !request.contains("last-event-id"), "{request}");
    assert!(two.request().await.contains("\r\nlast-event-id: b\r\n"));
    let connections = source.connections();
    let urls: Vec<_> = connections.iter().map(|c| c.url.as_str()).collect();
    assert_eq!(urls, [one.url(), gone, two.url()]);
    assert!(connections[1].status.is_none() && connections[1].end.is_some());
    assert!(connections[2].status.is_some() && connections[2].end.is_none());
    source.wait_opened(2).await;
    source.wait_for(|events| events.iter().any(|e| e.event == "n" && e.id.as_deref() == Some("c"))).await;
    source.close();
}

#[tokio::test]
async fn it_gives_up_after_an_answer_that_is_no_stream() {
    for answer in ["HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\n"] {
        let server = Server::start(vec![vec![send(answer)]]).await;
        let source = EventSource::open(&server.url());
        source.wait_given_up().await;
        assert_eq!(source.connections().len(), 1);
    }
}

#[tokio::test]
async fn a_stubborn_one_outlasts_a_bad_gateway() {
    let bad = vec![send("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n")];
    let good = vec![chunked(), chunk("data: 1\n\n"), Step::Hold];
    let server = Server::start(vec![bad, good]).await;
    let source = EventSource::builder(&[server.url()]).retry_cap(Duration::from_millis(1)).stubborn().open();
    assert_eq!(source.wait_data(1).await, ["1"]);
    assert_eq!(source.connections().len(), 2);
}
