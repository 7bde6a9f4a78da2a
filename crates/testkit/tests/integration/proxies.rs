//! nginx in front, and a wire that breaks.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tidegate_testkit::{EventSource, Nginx, Sse, TcpProxy, eventually, free_port, http};

use crate::scripted::{Server, Step, chunk, chunked};

fn stream(text: &str) -> Vec<Vec<Step>> {
    vec![vec![chunked(), chunk(text), Step::Hold]]
}

#[tokio::test]
async fn nginx_passes_a_stream_on_at_once_and_goes_to_the_next_node() {
    let server = Server::start(stream("id: 1\ndata: hello\n\n")).await;
    let gone: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let nginx = Nginx::repository(&[gone, server.addr]).await;
    for _ in 0..3 {
        let mut events = Sse::open(&nginx.url("/events")).await;
        assert_eq!(events.status, 200);
        assert_eq!(events.next().await.unwrap().data, "hello");
    }
}

#[tokio::test]
async fn nginx_takes_over_a_configuration_and_keeps_old_streams() {
    let one = Server::start(stream("data: one\n\n")).await;
    let two = Server::start(stream("data: two\n\n")).await;
    let nginx = Nginx::repository(&[one.addr]).await;
    let source = EventSource::open(&nginx.url("/"));
    assert_eq!(source.wait_data(1).await, ["one"]);
    nginx.reload(&[two.addr]);
    eventually("a worker with the new configuration", async || {
        let mut events = Sse::open(&nginx.url("/")).await;
        (events.next().await?.data == "two").then_some(())
    })
    .await;
    assert_eq!(source.connections().len(), 1, "the old stream stays");
}

#[tokio::test]
async fn nginx_runs_a_configuration_of_the_tests_own() {
    let nginx =
        Nginx::start("server { listen 127.0.0.1:@PORT@; location / { return 200 '{\"a\": 1}'; } }").await;
    assert_eq!(http::get(&nginx.url("/")).await.body["a"], 1);
}

#[tokio::test]
async fn h2_streams_are_read_the_same_way() {
    let server = Server::start(stream("id: 1\ndata: hello\n\n: c\n\n")).await;
    let config = format!(
        "server {{ listen 127.0.0.1:@PORT@ http2; location / {{ proxy_pass http://{}; proxy_buffering off;
         proxy_http_version 1.1; }} }}",
        server.addr
    );
    let nginx = Nginx::start(&config).await;
    let mut events = Sse::h2(&nginx.url("/")).await;
    assert_eq!(events.collect_data(1).await, ["hello"]);
    assert_eq!(events.next_block().await.unwrap().comments, ["c"]);
    assert_eq!(events.last_event_id(), "1");
    drop(nginx);
    let (_, end) = events.rest().await;
    assert!(matches!(end, tidegate_testkit::End::Reset(_)), "{end:?}");
}

#[tokio::test]
async fn a_cut_wire_is_a_reset_and_the_client_comes_back() {
    let server = Server::start(stream("id: 1\ndata: hello\n\n")).await;
    let proxy = TcpProxy::start(server.addr).await;
    let source = EventSource::builder(&[proxy.url("/")]).retry_cap(Duration::from_millis(1)).open();
    source.wait_data(1).await;
    proxy.wait_connections(1).await;
    proxy.cut();
    source.wait_data(2).await;
    let connections = source.connections();
    assert!(matches!(connections[0].end, Some(tidegate_testkit::End::Reset(_))), "{connections:?}");
    assert_eq!(connections[1].last_event_id, "1");
    source.close();
    proxy.wait_connections(0).await;
    proxy.refuse();
    assert!(Sse::builder(&proxy.url("/")).try_open().await.is_err());
    proxy.accept();
    Sse::open(&proxy.url("/")).await;
}

#[tokio::test]
async fn a_paused_wire_keeps_the_bytes_and_a_slow_one_delays_them() {
    let server = Server::start(stream("data: hello\n\n")).await;
    let proxy = TcpProxy::start(server.addr).await;
    proxy.pause();
    let url = proxy.url("/");
    let open = tokio::spawn(async move { Sse::open(&url).await });
    proxy.wait_connections(1).await;
    assert!(!open.is_finished());
    proxy.resume();
    assert_eq!(open.await.unwrap().collect_data(1).await, ["hello"]);

    let delay = Duration::from_millis(40);
    proxy.delay(delay);
    let begin = Instant::now();
    Sse::open(&proxy.url("/")).await.collect_data(1).await;
    assert!(begin.elapsed() >= 2 * delay, "{:?} there and back", begin.elapsed());
}
