//! A real browser: what it makes of the streams, and by which protocol it comes for them.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_testkit::http::{post, publish};
use tidegate_testkit::{Chromium, eventually};

use crate::node::{Node, Setup};

/// Opens an EventSource, publishes to it, and tells what came and by which protocol the page and the publish request went.
const STREAM: &str = r"
(async () => {
    const events = globalThis.events = [];
    const source = globalThis.source = new EventSource('/v1/events?topic=a&userId=ann');
    globalThis.waiting = [];
    source.onmessage = event => { events.push(event.data); waiting.forEach(look => look()); };
    await new Promise((resolve, reject) => {
        source.addEventListener('tidegate:ready', resolve);
        source.onerror = () => reject(new Error('the stream failed'));
    });
    source.onerror = null;
    const body = JSON.stringify({ topic: 'a', data: 'from the page' });
    const answer = await fetch('/v1/publish', { method: 'POST', body });
    const receipt = await answer.json();
    const protocol = entry => entry.nextHopProtocol;
    return {
        nodes: receipt.nodes,
        page: performance.getEntriesByType('navigation').map(protocol),
        publish: performance.getEntriesByType('resource').filter(e => e.name.endsWith('/v1/publish')).map(protocol),
    };
})()";

/// Waits for so many events.
const RECEIVED: &str = r"
new Promise(resolve => {
    const look = () => events.length >= COUNT && resolve(events);
    waiting.push(look);
    look();
})";

fn received(count: usize) -> String {
    RECEIVED.replace("COUNT", &count.to_string())
}

async fn streams(node: &Node, line: &str) {
    eventually(line, async || node.metrics().await.lines().any(|found| found == line).then_some(())).await;
}

#[tokio::test]
async fn streams_over_http3_and_resumes_after_a_cut() {
    let hub = tidegate_hub::Options { retry: Duration::from_millis(100), ..Default::default() };
    let node = Node::start(Setup { h3: true, hub: Some(hub), ..Setup::default() }).await;
    let origin = format!("localhost:{}", node.addr().port());
    let browser = Chromium::start(&node.spki_hash(), Some(&origin)).await;
    let mut page = browser.open(&format!("https://{origin}/docs")).await;
    let told = page.run(STREAM).await;
    assert_eq!(told, json!({"nodes": 1, "page": ["h3"], "publish": ["h3"]}));
    streams(&node, r#"tidegate_connections{transport="sse-h3"} 1"#).await;
    publish(&node.base(), &json!({"topic": "a", "data": "from elsewhere"})).await;
    assert_eq!(page.run(&received(2)).await, json!(["from the page", "from elsewhere"]));

    // The stream ends, and the browser comes back for what it missed.
    post(&node.url("/v1/users/ann/disconnect"), &Value::Null).await;
    for n in 0..5 {
        publish(&node.base(), &json!({"topic": "a", "data": n})).await;
    }
    let all = json!(["from the page", "from elsewhere", "0", "1", "2", "3", "4"]);
    assert_eq!(page.run(&received(7)).await, all);
    page.run("source.close()").await;
    streams(&node, r#"tidegate_connections{transport="sse-h3"} 0"#).await;
}

#[tokio::test]
async fn stays_on_http2_where_udp_does_not_pass() {
    let node = Node::start(Setup { h3: true, udp_blocked: true, ..Setup::default() }).await;
    let browser = Chromium::start(&node.spki_hash(), None).await;
    let mut page = browser.open(&format!("https://localhost:{}/docs", node.addr().port())).await;
    let told = page.run(STREAM).await;
    assert_eq!(told, json!({"nodes": 1, "page": ["h2"], "publish": ["h2"]}));
    streams(&node, r#"tidegate_connections{transport="sse-h2"} 1"#).await;
    assert_eq!(page.run(&received(1)).await, json!(["from the page"]));
}
