use std::time::Duration;

use reqwest::StatusCode;
use tidegate_testkit::{EventSource, Nginx, Publisher};

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
