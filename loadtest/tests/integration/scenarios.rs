use tidegate_testkit::RedisServer;

use crate::run::{gateway, loadtest};

#[tokio::test]
async fn a_burst_arrives_whole_over_every_way_after_the_networks_time() {
    let gateway = gateway(None, &[]).await;
    let (url, pid) = (gateway.base(), gateway.pid().to_string());
    let burst =
        ["burst", "--url", &url, "--pid", &pid, "--rounds", "4", "--connections", "3", "--delay", "20"];
    let ran = loadtest(&burst).await;
    ran.is_exact(3 * 4 * 3 * 3);
    for way in ["sse", "ws", "poll"] {
        let figures = &ran.json["figures"][way];
        assert_eq!(figures["succeeded"], 4, "{way}");
        // 20 ms to the gateway, 20 ms to the subscriber, 100 ms between the first message and the last.
        assert!(figures["message"]["p50"].as_f64().unwrap() >= 40.0, "{way}: {figures}");
        assert!(figures["round"]["p50"].as_f64().unwrap() >= 140.0, "{way}: {figures}");
    }
    assert_eq!(ran.json["tables"][0]["rows"].as_array().unwrap().len(), 3);
    assert!(ran.page.contains("<svg"), "{}", ran.page);
}

#[tokio::test]
async fn a_ramp_shows_what_each_step_costs() {
    let gateway = gateway(None, &[]).await;
    let (url, pid) = (gateway.base(), gateway.pid().to_string());
    let ramp = ["ramp", "--url", &url, "--pid", &pid, "--steps", "5,20", "--seconds", "1", "--rate", "5"];
    let ran = loadtest(&ramp).await;
    ran.is_exact(5 * 5 + 20 * 5);
    assert_eq!(ran.figure("reached"), 20);
    let rows = ran.json["tables"][0]["rows"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| row[1].as_u64().unwrap()).collect::<Vec<_>>(), [5, 20]);
    assert!(!ran.json["timeline"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn a_storm_reads_redis_a_handful_of_times() {
    let redis = RedisServer::start().await;
    let gateway = gateway(Some(&redis.url()), &[]).await;
    let (url, pid, redis) = (gateway.base(), gateway.pid().to_string(), redis.url());
    let storm = ["reconnect", "--url", &url, "--pid", &pid, "--redis", &redis, "--connections", "40"];
    // More than the gateway's own ring holds.
    let ran = loadtest(
        &[&storm[..], &["--missed", "200", "--max-redis-commands", "39", "--seconds", "0"]].concat(),
    )
    .await;
    ran.is_exact(40 * 201);
    assert_eq!(ran.figure("reconnects"), 40);
    assert_eq!(ran.figure("resets"), 0);
}

#[tokio::test]
async fn processes_share_the_clients_and_their_counts_add_up() {
    let gateway = gateway(None, &[]).await;
    let url = gateway.base();
    for via in ["sse", "ws", "poll"] {
        let fanout = ["fanout", "--url", &url, "--connections", "10", "--seconds", "1", "--rate", "20"];
        let ran = loadtest(&[&fanout[..], &["--processes", "3", "--via", via]].concat()).await;
        ran.is_exact(10 * 20);
        assert!(ran.json["p50"].as_f64().unwrap() > 0.0);
    }
    let storm = ["reconnect", "--url", &url, "--connections", "9", "--missed", "5", "--processes", "2"];
    let storm = [&storm[..], &["--seconds", "0"]].concat();
    loadtest(&storm).await.is_exact(9 * 6);
}

#[tokio::test]
async fn the_others_speak_the_same_flags() {
    let first = gateway(None, &[("TIDEGATE_LIMITS__POLL_TIMEOUT", "10m")]).await;
    let secure = gateway(None, &[("TIDEGATE_TLS__DEV", "true")]).await;
    let (url, pid) = (first.base(), first.pid().to_string());
    let server = ["--url", &url, "--pid", &pid, "--size", "64"];
    let flood = loadtest(&[&["flood", "--connections", "5", "--events", "64"], &server[..]].concat()).await;
    flood.is_exact(5 * 64);
    let users = loadtest(&[&["users", "--connections", "8", "--events", "80"], &server[..]].concat()).await;
    users.is_exact(80);
    let publish =
        loadtest(&[&["publish", "--connections", "2", "--seconds", "1"], &server[..]].concat()).await;
    publish.is_exact(0);
    assert!(publish.count("sent") > 10);
    for via in ["sse", "h2", "ws", "poll"] {
        let idle = ["idle", "--connections", "5", "--seconds", "1", "--via", via];
        loadtest(&[&idle, &server[..]].concat()).await.is_exact(0);
    }
    let connect = loadtest(&[&["connect", "--connections", "20"], &server[..]].concat()).await;
    connect.is_exact(0);
    assert!(connect.json["p99"].as_f64().unwrap() > 0.0);
    let url = secure.base();
    let fanout = ["fanout", "--url", &url, "--connections", "5", "--seconds", "1", "--rate", "10"];
    loadtest(&fanout).await.is_exact(50);
}
