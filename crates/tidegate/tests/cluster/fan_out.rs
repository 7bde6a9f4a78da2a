use serde_json::json;
use tidegate_testkit::{Sse, eventually, http};

use crate::cluster::{Cluster, publish};

#[tokio::test(flavor = "multi_thread")]
async fn ten_users_on_three_nodes_see_the_same_once_and_in_order() {
    let cluster = Cluster::start(3).await;
    let mut streams = Vec::new();
    for n in 0..10 {
        let url = cluster.nodes[n % 3].url(&format!("/v1/events?userId=u{n}&topic=room:1"));
        let mut stream = Sse::open(&url).await;
        stream.next_named("tidegate:ready").await;
        streams.push(stream);
    }
    for (n, node) in cluster.nodes.iter().enumerate() {
        publish(&node.base(), "room:1", format!("event {n}")).await;
    }
    for stream in &mut streams {
        assert_eq!(stream.collect_data(3).await, ["event 0", "event 1", "event 2"]);
    }
    let (_, receipt) =
        http::publish(&cluster.nodes[0].base(), &json!({"topic": "room:1", "data": "end"})).await;
    assert_eq!(receipt["nodes"], 3);
    for stream in &mut streams {
        assert_eq!(stream.collect_data(1).await, ["end"], "nothing came twice");
    }
    let one = json!({"topics": ["user:u3"], "data": "for u3"});
    http::publish(&cluster.nodes[2].base(), &one).await;
    assert_eq!(streams[3].collect_data(1).await, ["for u3"]);
    drop(streams);
    eventually("nodes that nobody listens on are not counted", async || {
        let (_, receipt) =
            http::publish(&cluster.nodes[0].base(), &json!({"topic": "room:1", "data": 1})).await;
        (receipt["nodes"] == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribed_means_subscribed_a_thousand_times() {
    let cluster = Cluster::start(2).await;
    for n in 0..1_000 {
        let topic = format!("t:{}", n % 300);
        let mut stream = Sse::open(&cluster.nodes[n % 2].url(&format!("/v1/events?topic={topic}"))).await;
        assert_eq!(stream.status, 200);
        publish(&cluster.nodes[(n + 1) % 2].base(), &topic, n).await;
        assert_eq!(stream.collect_data(1).await, [n.to_string()]);
    }
}
