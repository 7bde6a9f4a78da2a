//! The promises of a stream, told once and kept by every way to receive: each story is a test for each transport.
//!
//! Real processes: a redis-server and gateways with TLS and without. Stories that break nothing share a cluster ([`world`]).
#![allow(clippy::unwrap_used, clippy::expect_used)]

/// `over_every_transport!(story)` makes of `async fn story(way: Way)` the tests `story::sse_h1`,
/// `story::poll` and so on.
macro_rules! over_every_transport {
    ($($story:ident),+ $(,)?) => { $(
        mod $story {
            tests! { $story:
                sse_http10 Http10, sse_http10_tls Http10Tls, sse_h1 H1, sse_h1_tls H1Tls,
                sse_h2 H2, sse_h2_tls H2Tls, sse_h3 H3,
                sse_post Post, poll Poll, poll_tls PollTls,
                ws_h1 Ws, ws_h1_tls WsTls, ws_h2 WsH2, ws_h2_tls WsH2Tls,
            }
        }
    )+ };
}

/// The same without long polls, where the story is about one connection that stays.
macro_rules! over_every_stream {
    ($($story:ident),+ $(,)?) => { $(
        mod $story {
            tests! { $story:
                sse_http10 Http10, sse_http10_tls Http10Tls, sse_h1 H1, sse_h1_tls H1Tls,
                sse_h2 H2, sse_h2_tls H2Tls, sse_h3 H3,
                sse_post Post,
                ws_h1 Ws, ws_h1_tls WsTls, ws_h2 WsH2, ws_h2_tls WsH2Tls,
            }
        }
    )+ };
}

macro_rules! tests {
    ($story:ident: $($name:ident $way:ident),+ $(,)?) => { $(
        #[tokio::test]
        async fn $name() {
            super::$story(crate::way::Way::$way).await;
        }
    )+ };
}

mod client;
mod follower;
mod stories;
mod way;
mod world;
