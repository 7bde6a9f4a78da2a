//! Which listener shows what.

use std::process::Command;

use tidegate_testkit::http::get;
use tidegate_testkit::{Gateway, Nginx};

use crate::raw;
use crate::world::{API_KEY, SECRET, everything, keyed};

#[tokio::test]
async fn metrics_are_on_the_admin_listener_alone() {
    let gateway = keyed(&[], &[]).await;
    let nginx = Nginx::repository(&[gateway.addr()]).await;
    let token = everything("root");
    for path in
        ["/metrics", "/metrics/", "//metrics", "/%6detrics", "/v1/../metrics", "/./metrics", "/METRICS"]
    {
        for addr in [gateway.addr(), ([127, 0, 0, 1], nginx.port()).into()] {
            let head = format!(
                "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
            );
            let answer = raw::ask(addr, head.as_bytes()).await;
            assert_eq!(raw::status(&answer), 404, "{path} of {addr}: {answer}");
            assert!(!answer.contains("tidegate_"), "{answer}");
        }
    }
    // As a proxy would be asked: the authority is no way to another listener.
    let head = format!(
        "GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
        gateway.admin_url("/metrics")
    );
    assert_eq!(raw::status(&raw::ask(gateway.addr(), head.as_bytes()).await), 404);
    let tunnel = raw::ask(gateway.addr(), head.replace("GET", "CONNECT").as_bytes()).await;
    assert!(matches!(raw::status(&tunnel), 400 | 404 | 405), "{tunnel}");
    assert!(get(&gateway.admin_url("/metrics")).await.body.as_str().unwrap().contains("tidegate_"));
}

#[tokio::test]
async fn the_admin_listener_shows_and_does_little() {
    let gateway = keyed(&[], &[]).await;
    for path in [
        "/v1/events?topic=a",
        "/v1/publish",
        "/v1/users/a/topics",
        "/openapi.json",
        "/api/chat/rooms",
        "/debug/pprof",
        "/config",
    ] {
        assert_eq!(get(&gateway.admin_url(path)).await.status, 404, "{path}");
    }
    for path in ["/", "/metrics", "/readyz", "/healthz"] {
        let text = get(&gateway.admin_url(path)).await.body.to_string();
        assert!(!text.contains(API_KEY) && !text.contains(SECRET), "{path}: {text}");
    }
}

#[tokio::test]
async fn both_listeners_are_on_this_machine_unless_told_otherwise() {
    let printed = Command::new(env!("CARGO_BIN_EXE_tidegate")).args(["config", "print"]).env_clear().output();
    let text = String::from_utf8(printed.unwrap().stdout).unwrap();
    let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    assert!(line("listen ").starts_with(r#"listen = "127.0.0.1:8080""#), "{text}");
    assert!(line("admin_listen ").starts_with(r#"admin_listen = "127.0.0.1:8081""#), "{text}");
    // Without keys nobody else is let in by accident.
    let open = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["serve", "--listen", "0.0.0.0:0"])
        .env_clear()
        .output()
        .unwrap();
    assert!(!open.status.success());
    let text = String::from_utf8_lossy(&open.stderr).into_owned();
    assert!(text.contains("auth.mode"), "{text}");
}

/// A connection that says nothing to the gateway's own routes leads nowhere either: `Gateway` is asked by every name it could have.
#[tokio::test]
async fn no_name_leads_to_the_admin_routes() {
    let gateway: Gateway = keyed(&[], &[]).await;
    for host in ["127.0.0.1:8081", "localhost", "admin", "", "[::1]:8081"] {
        let head = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = raw::ask(gateway.addr(), head.as_bytes()).await;
        assert!(matches!(raw::status(&answer), 400 | 404), "{host:?}: {answer}");
    }
}
