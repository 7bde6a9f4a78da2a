//! Clients counted by their own addresses, behind a real nginx.

use tidegate_testkit::{Gateway, Nginx, Sse};

#[tokio::test]
async fn behind_nginx_an_address_is_the_clients() {
    let settings =
        [("TIDEGATE_LIMITS__ADDRESS_CONNECTIONS", "1"), ("TIDEGATE_LIMITS__TRUSTED_PROXIES", "127.0.0.1")];
    let gateway = Gateway::spawn(env!("CARGO_BIN_EXE_tidegate"), &[], &settings).await;
    // The edge before this nginx is on this machine as well, and says who its clients are.
    let nginx = Nginx::start(&format!(
        "server {{ listen 127.0.0.1:@PORT@; location / {{ proxy_pass {}; proxy_http_version 1.1; proxy_buffering off;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }}",
        gateway.base()
    ))
    .await;
    let begin = async |client: &str| {
        let builder = Sse::builder(&nginx.url("/v1/events?topic=a")).header("x-forwarded-for", client);
        let mut stream = builder.open().await;
        let first = stream.next().await.unwrap();
        (stream, first.event, first.data)
    };
    let first = begin("203.0.113.7, 192.0.2.1").await;
    assert_eq!(first.1, "tidegate:ready");
    let (_, event, data) = begin("198.51.100.7, 192.0.2.1").await;
    assert_eq!((event.as_str(), data.as_str()), ("tidegate:closing", r#"{"reason":"address_limit"}"#));
    assert_eq!(begin("192.0.2.2").await.1, "tidegate:ready");
}
