use serde_json::json;
use tidegate_testkit::{Sse, eventually, http};

use crate::cluster::{Cluster, publish};

async fn reset_of(url: &str, id: &str) -> (Sse, String) {
    let mut stream = Sse::builder(url).last_event_id(id).open().await;
    assert_eq!(stream.status, 200);
    stream.next_named("tidegate:ready").await;
    let reset = stream.next_named("tidegate:reset").await;
    (stream, reset.data)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_history_no_longer_covers_is_said() {
    let settings = [("TIDEGATE_NAMESPACES__SMALL__SIZE", "10"), ("TIDEGATE_NAMESPACES__SHORT__TTL", "300ms")];
    let cluster = Cluster::with(2, &settings).await;
    let (one, two) = (&cluster.nodes[0], &cluster.nodes[1]);

    let (_, receipt) = http::publish(&one.base(), &json!({"topic": "small:1", "data": "first"})).await;
    let id = receipt["id"].as_str().unwrap();
    let batch: Vec<_> = (0..500).map(|n| json!({"topic": "small:1", "data": n})).collect();
    http::publish(&one.base(), &json!(batch)).await;
    let (mut stream, data) = reset_of(&two.url("/v1/events?topic=small:1&topic=other"), id).await;
    assert_eq!(data, r#"{"topics":["small:1"],"reason":"trimmed"}"#);
    let after = stream.next().await.unwrap().data.parse::<u32>().unwrap();
    assert!(after > 0, "what is still there follows");
    let rest = stream.collect_data(499 - after as usize).await;
    assert_eq!(rest.last().map(String::as_str), Some("499"));

    let (_, receipt) = http::publish(&one.base(), &json!({"topic": "short:1", "data": 1})).await;
    let id = receipt["id"].as_str().unwrap().to_owned();
    publish(&one.base(), "short:1", 2).await;
    eventually("the history times out", async || {
        let page = http::get(&one.url("/v1/topics/short:1/events")).await;
        (page.body["events"] == json!([])).then_some(())
    })
    .await;
    let (mut stream, data) = reset_of(&two.url("/v1/events?topic=short:1"), &id).await;
    assert_eq!(data, r#"{"topics":["short:1"],"reason":"expired"}"#);
    publish(&one.base(), "short:1", 3).await;
    assert_eq!(stream.collect_data(1).await, ["3"]);

    for (id, reason) in [("not an id", "malformed"), ("0zzzzz-1", "epoch")] {
        let (mut stream, data) = reset_of(&two.url("/v1/events?topic=a"), id).await;
        assert_eq!(data, format!(r#"{{"topics":["a"],"reason":"{reason}"}}"#));
        publish(&one.base(), "a", "live").await;
        assert_eq!(stream.collect_data(1).await, ["live"]);
    }
}
