//! The page: what it is allowed to load, and that browsers always have one build of it.

use http::StatusCode;

use crate::node::{Node, Setup, options};

#[tokio::test]
async fn the_page_and_its_files_are_served_with_a_strict_policy() {
    let node = Node::open().await;
    for (path, kind) in [
        ("/", "text/html"),
        ("/assets/app.js", "text/javascript"),
        ("/assets/app.css", "text/css"),
        ("/assets/icon.svg", "image/svg+xml"),
    ] {
        let answer = reqwest::get(node.url(path)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert!(header("content-type").starts_with(kind), "{path}");
        let policy = header("content-security-policy");
        assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("cache-control"), "no-cache");
        let tag = header("etag");
        let again = reqwest::Client::new().get(node.url(path)).header("if-none-match", &tag);
        let again = again.send().await.unwrap();
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{path}");
        assert_eq!(again.bytes().await.unwrap().len(), 0);
    }
    assert_eq!(reqwest::get(node.url("/assets/../app.rs")).await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(reqwest::get(node.url("/assets/nothing")).await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn where_no_application_is_served_there_is_no_page() {
    let http = Some(tidegate_server::Options { page: false, ..options() });
    let node = Node::start(Setup { http, ..Setup::default() }).await;
    for path in ["/", "/assets/app.js"] {
        assert_eq!(reqwest::get(node.url(path)).await.unwrap().status(), StatusCode::NOT_FOUND, "{path}");
    }
}

/// Behind a proxy that has the gateway under a path of its site, `/` is the site's.
#[tokio::test]
async fn no_page_asks_at_the_root_of_its_site() {
    let node = Node::open().await;
    for (path, parts) in [("/", 5), ("/docs", 2)] {
        let text = reqwest::get(node.url(path)).await.unwrap().text().await.unwrap();
        let starts = ["src=\"", "href=\"", "fetch('", "link('"];
        let named: Vec<&str> = starts
            .iter()
            .flat_map(|start| text.split(start).skip(1))
            .filter_map(|rest| rest.split(['"', '\'']).next())
            .filter(|name| !name.starts_with(['#', '$']) && !name.starts_with("data:"))
            .collect();
        assert!(named.len() >= parts, "{path}: {named:?}");
        assert!(named.iter().all(|name| !name.starts_with('/')), "{path}: {named:?}");
    }
    let script = reqwest::get(node.url("/assets/app.js")).await.unwrap().text().await.unwrap();
    assert!(script.contains("api/chat/rooms") && !script.contains("/api/"));
    let description: serde_json::Value =
        reqwest::get(node.url("/openapi.json")).await.unwrap().json().await.unwrap();
    assert_eq!(description["servers"], serde_json::json!([{"url": "."}]));
}
