//! `tidegate doctor` before gateways and proxies that are well, and before those that are not.

use serde_json::Value;
use tidegate_testkit::{Gateway, Nginx, RedisOptions, RedisServer, eventually};

use crate::script::{STREAM, Script};
use crate::{outcome, tidegate};

/// A visit's exit code, and its findings: level, check and words, a line each.
async fn visit(url: &str, arguments: &[&str]) -> (i32, String) {
    let mut all = vec!["doctor", url, "--json"];
    all.extend(arguments);
    let (code, out, error) = outcome(tidegate(&all)).await;
    let value: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}\n{error}"));
    assert_eq!(value["ok"], code == 0, "{out}");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let line = |finding: &Value| {
        let advice: Vec<String> = finding["advice"].as_array().into_iter().flatten().map(text).collect();
        let [level, check, said] = ["level", "check", "said"].map(|name| text(&finding[name]));
        format!("{level} {check}: {said} > {}\n", advice.join(" > "))
    };
    (code, value["findings"].as_array().unwrap().iter().map(line).collect())
}

async fn gateway(settings: &[(&str, &str)]) -> Gateway {
    Gateway::spawn(env!("CARGO_BIN_EXE_tidegate"), &[], settings).await
}

async fn nginx(gateway: &Gateway, settings: &str) -> Nginx {
    let base = gateway.base();
    let server = format!(
        "server {{ listen 127.0.0.1:@PORT@; location / {{ proxy_pass {base};
            proxy_set_header Connection \"\"; {settings} }} }}"
    );
    Nginx::start(&server).await
}

fn has(lines: &str, starts: &[&str]) {
    for start in starts {
        assert!(lines.lines().any(|line| line.starts_with(start)), "not found: {start}\n{lines}");
    }
}

#[tokio::test]
async fn all_is_well_at_a_bare_gateway() {
    let origin = ("TIDEGATE_CORS__ORIGINS", "https://app.example");
    let gateway = gateway(&[origin, ("TIDEGATE_STREAM__HEARTBEAT", "1s"), ("TIDEGATE_NODE", "berta")]).await;
    let (code, said) = visit(&gateway.base(), &["--watch", "4s", "--origin", "https://app.example"]).await;
    assert_eq!(code, 0, "{said}");
    has(
        &said,
        &[
            "ok reach",
            "note protocol: HTTP/1.1",
            "ok headers",
            "ok compression",
            "ok gateway: a Tidegate, node berta",
            "ok cors: pages of https://app.example may receive, with cookies",
            "ok delivery: 3 events, each by itself",
            "ok resume: came back with Last-Event-ID, and what had been missed was replayed",
            "ok nodes: one node answers: berta (5)",
            "ok timeout: still open",
            "ok heartbeat: ",
        ],
    );
    let (code, said) =
        visit(&gateway.base(), &["--watch", "0s", "--no-publish", "--origin", "https://evil.example"]).await;
    assert_eq!(code, 1, "{said}");
    has(
        &said,
        &["problem cors: pages of https://evil.example", "ok resume: Last-Event-ID reaches the gateway"],
    );

    let (code, out, _) = outcome(tidegate(&["doctor", &gateway.base(), "--watch", "0s"])).await;
    assert!(code == 0 && out.ends_with("All is well.\n") && out.contains("ok       delivery"), "{out}");
}

#[tokio::test]
async fn all_is_well_behind_nginx_as_it_should_be() {
    let gateway = gateway(&[("TIDEGATE_STREAM__HEARTBEAT", "1s")]).await;
    let nginx = nginx(&gateway, "proxy_http_version 1.1; proxy_buffering off; proxy_read_timeout 60s;").await;
    let (code, said) = visit(&nginx.base(), &["--watch", "3s"]).await;
    assert_eq!(code, 0, "{said}");
    has(&said, &["note between: the answer came through nginx", "ok delivery", "ok heartbeat"]);
}

#[tokio::test]
async fn buffering_is_found() {
    let gateway = gateway(&[]).await;
    // With 1.0 towards the gateway, nginx' default; of a chunked answer it passes on what has come.
    let buffering = nginx(&gateway, "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;").await;
    let (code, said) = visit(&buffering.base(), &["--watch", "0s"]).await;
    assert_eq!(code, 1, "{said}");
    has(&said, &["problem buffering: "]);
    assert!(said.contains("> nginx: `proxy_buffering off;"), "{said}");
}

#[tokio::test]
async fn compression_is_found() {
    let gateway = gateway(&[]).await;
    let settings =
        "proxy_buffering off; gzip on; gzip_types text/event-stream; gzip_proxied any; gzip_min_length 0;";
    let zipping = nginx(&gateway, settings).await;
    let (code, said) = visit(&zipping.base(), &["--watch", "0s"]).await;
    assert_eq!(code, 1, "{said}");
    // What follows is looked at without compression.
    has(&said, &["problem compression: the stream is compressed (gzip)", "ok delivery", "ok resume"]);
}

#[tokio::test]
async fn a_time_out_is_found_and_a_lost_header() {
    let gateway = gateway(&[]).await;
    let settings = "proxy_buffering off; proxy_read_timeout 2s; proxy_set_header Last-Event-ID \"\";";
    let hasty = nginx(&gateway, settings).await;
    let (code, said) = visit(&hasty.base(), &["--watch", "20s"]).await;
    assert_eq!(code, 1, "{said}");
    has(&said, &["problem timeout: cut after 2.", "problem resume: ", "ok delivery"]);
    assert!(said.contains("> nginx: `proxy_read_timeout 3600s;`"), "{said}");
    assert!(!said.contains("All") && said.matches("problem").count() == 2, "{said}");
}

#[tokio::test]
async fn the_gateway_is_asked_how_its_redis_is() {
    let args = ["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"].map(str::to_owned).to_vec();
    let redis = RedisServer::start_with(RedisOptions { args, ..RedisOptions::default() }).await;
    let gateway = gateway(&[
        ("TIDEGATE_REDIS__URL", &redis.url()),
        ("TIDEGATE_REDIS__PROBE_INTERVAL", "200ms"),
        ("TIDEGATE_REDIS__PROBE_TIMEOUT", "500ms"),
    ])
    .await;
    let admin = gateway.admin_url("");
    let arguments = ["--watch", "0s", "--admin", &admin];
    let told = eventually("the policy is told", async || {
        let (code, said) = visit(&gateway.base(), &arguments).await;
        said.contains("problem eviction: ").then_some((code, said))
    });
    let (code, said) = told.await;
    assert_eq!(code, 1);
    has(&said, &["ok redis: the gateway is ready", "problem eviction: Redis may evict", "ok delivery"]);
    redis.cli(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    redis.cli(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let told = eventually("what Redis refuses", async || {
        let (_, said) = visit(&gateway.base(), &["--watch", "0s", "--no-publish", "--admin", &admin]).await;
        said.contains("problem redis: partition 0").then_some(said)
    });
    let said = told.await;
    has(&said, &["problem redis: the gateway is not ready: ", "problem redis: partition 0 does not work: "]);
    assert!(said.contains("OOM"), "{said}");

    let port = tidegate_testkit::free_port();
    let nowhere = format!("http://127.0.0.1:{port}");
    let (code, said) = visit(&gateway.base(), &["--watch", "0s", "--no-publish", "--admin", &nowhere]).await;
    assert_eq!(code, 1);
    has(&said, &["problem redis: no answer from the admin listener"]);
    let (_, said) =
        visit(&gateway.base(), &["--watch", "0s", "--no-publish", "--admin", &gateway.base()]).await;
    has(&said, &["problem redis: 503 Service Unavailable, and not in the words"]);
}

#[tokio::test]
async fn a_credential_that_is_missing_is_asked_for() {
    let key = "0123456789abcdef0123456789abcdef";
    let settings =
        [("TIDEGATE_AUTH__API_KEYS__0__KEY", key), ("TIDEGATE_AUTH__API_KEYS__0__NAME", "backend")];
    let gateway = gateway(&settings).await;
    let (code, said) = visit(&gateway.base(), &["--watch", "0s"]).await;
    assert_eq!(code, 1);
    has(&said, &["problem gateway: 401"]);
    assert!(said.contains("--token"), "{said}");
    let (code, said) = visit(&gateway.base(), &["--watch", "0s", "--api-key", key]).await;
    assert_eq!(code, 0, "{said}");
}

#[tokio::test]
async fn strangers_are_told_from_gateways() {
    for (answer, found) in [
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(), "problem gateway: 404"),
        (
            "HTTP/1.1 302 Found\r\nLocation: https://x.example/\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "problem gateway: 302 Found: a redirect to https://x.example/",
        ),
        (
            "HTTP/1.1 502 Bad Gateway\r\nServer: nginx\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "problem gateway: 502",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "problem gateway: 200, but no event stream",
        ),
        (format!("{STREAM}data: hello\n\n"), "problem gateway: an event stream, but not a Tidegate's"),
        (
            format!("{STREAM}event: tidegate:closing\ndata: {{\"reason\":\"overloaded\"}}\n\n"),
            "problem gateway: a Tidegate, but it turned the stream away: overloaded",
        ),
        ("not HTTP at all".to_owned(), "problem reach: no answer from"),
    ] {
        let server = Script::start(vec![answer]).await;
        let (code, said) = visit(&server.url(), &["--watch", "0s"]).await;
        assert_eq!(code, 1, "{said}");
        has(&said, &[found]);
    }
    let tls = Gateway::spawn(env!("CARGO_BIN_EXE_tidegate"), &["--dev-tls"], &[]).await;
    let url = format!("https://somebody:hunter2@localhost:{}", tls.addr().port());
    let (code, out, _) = outcome(tidegate(&["doctor", &url, "--json"])).await;
    assert!(code == 1 && out.contains("no TLS with https://localhost") && !out.contains("hunter2"), "{out}");
    let port = tidegate_testkit::free_port();
    let (code, said) = visit(&format!("http://127.0.0.1:{port}"), &[]).await;
    assert_eq!(code, 1);
    has(&said, &[&format!("problem reach: nothing listens at http://127.0.0.1:{port}")]);
    let (code, said) = visit("http://no-such-host.invalid", &[]).await;
    assert_eq!(code, 1);
    has(&said, &["problem reach: the name of http://no-such-host.invalid does not resolve"]);
}
