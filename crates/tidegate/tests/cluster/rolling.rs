use std::time::Duration;

use reqwest::StatusCode;
use tidegate_testkit::{EventSource, Nginx, Publisher, Sse};

use crate::cluster::{Cluster, numbers};

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_under_load_loses_and_repeats_nothing() {
    let mut cluster = Cluster::start(3).await;
    let upstreams: Vec<_> = cluster.nodes.iter().map(tidegate_testkit::Gateway::addr).collect();
    let nginx = Nginx::repository(&upstreams).await;
    let url = nginx.url("/v1/events?topic=a&topic=b&topic=c");
    let clients: Vec<_> = (0..30)
        .map(|_| EventSource::builder(&[&url]).deadline(Duration::from_secs(30)).stubborn().open())
        .collect();
    for client in &clients {
        client.wait_opened(1).await;
    }
    let publisher = Publisher::start(vec![nginx.base()], &["a", "b", "c"], Duration::from_millis(2));
    for n in 0..3 {
        publisher.more(50).await;
        cluster.nodes[n].terminate();
        assert!(cluster.nodes[n].wait().await.success(), "{}", cluster.nodes[n].log());
        cluster.nodes[n].restart().await;
    }
    publisher.more(50).await;
    let count = publisher.finish().await;
    for client in &clients {
        assert_eq!(client.wait_data(count).await, numbers(count));
    }
    for client in &clients {
        let opened = client.connections().iter().filter(|c| c.status == Some(StatusCode::OK)).count();
        assert!(opened > 1, "every node was restarted, so every client moved at least once: {client:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_node_says_so_and_closes_every_stream_in_its_own_time() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = Sse::open(&node.url("/v1/events?topic=a")).await;
        stream.next_named("tidegate:ready").await;
        streams.push(stream);
    }
    node.terminate();
    let mut retries = Vec::new();
    for stream in &mut streams {
        let closing = stream.next_named("tidegate:closing").await;
        assert_eq!(closing.data, r#"{"reason":"drain"}"#);
        retries.push(closing.retry.unwrap());
        assert_eq!(stream.next().await, None);
        assert!(matches!(stream.end(), Some(tidegate_testkit::sse::End::Clean)), "{:?}", stream.end());
    }
    assert!(node.wait().await.success());
    retries.sort_unstable();
    retries.dedup();
    assert!(retries.len() > 5, "each has a delay of its own: {retries:?}");
}
