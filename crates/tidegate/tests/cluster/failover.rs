use std::time::Duration;

use serde_json::json;
use tidegate_testkit::{EventSource, Nginx, Publisher, Sse, http};

use crate::cluster::{Cluster, numbers};

const TOPICS: &[&str] = &["a:1", "b:2", "c:3", "d:4", "e:5"];
const QUERY: &str = "/v1/events?topic=a:1&topic=b:2&topic=c:3&topic=d:4&topic=e:5";

#[tokio::test(flavor = "multi_thread")]
async fn nodes_behind_nginx_are_killed_again_and_again() {
    let mut cluster = Cluster::start(3).await;
    let upstreams: Vec<_> = cluster.nodes.iter().map(tidegate_testkit::Gateway::addr).collect();
    let nginx = Nginx::repository(&upstreams).await;
    let clients: Vec<_> =
        (0..6).map(|_| EventSource::builder(&[nginx.url(QUERY)]).stubborn().open()).collect();
    for client in &clients {
        client.wait_opened(1).await;
    }
    let publisher = Publisher::start(vec![nginx.base()], TOPICS, Duration::from_millis(2));
    for n in 0..3 {
        publisher.more(100).await;
        cluster.nodes[n].kill().await;
        publisher.more(100).await;
        cluster.nodes[n].restart().await;
    }
    let count = publisher.finish().await;
    for client in &clients {
        assert_eq!(client.wait_data(count).await, numbers(count));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_comes_back_at_once_is_read_for_a_handful_of_times() {
    let cluster = Cluster::start(2).await;
    let mut ids = Vec::new();
    for n in 0..41 {
        let event = json!({"topic": "room:1", "data": n});
        let (_, receipt) = http::publish(&cluster.nodes[0].base(), &event).await;
        ids.push(receipt["id"].as_str().unwrap().to_owned());
    }
    ids.pop();
    let url = cluster.nodes[1].url("/v1/events?topic=room:1");
    let back = ids.iter().map(|id| Sse::builder(&url).last_event_id(id).open());
    for (n, mut stream) in futures_util::future::join_all(back).await.into_iter().enumerate() {
        assert_eq!(stream.collect_data(40 - n).await, numbers(41)[n + 1..]);
    }
    let metrics = reqwest::get(cluster.nodes[1].admin_url("/metrics")).await.unwrap().text().await.unwrap();
    let reads = |source: &str| {
        let name = format!("tidegate_history_reads_total{{source=\"{source}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse::<u32>().ok()).unwrap_or(0)
    };
    assert_eq!(reads("ring") + reads("shared") + reads("broker"), 40, "{metrics}");
}
