//! Little that becomes much: compressed, nested, repeated, endless.

use std::io::Write as _;
use std::process::{Command, Stdio};

use reqwest::Method;
use serde_json::json;
use tidegate_testkit::http::{client, get, publish, publish_as, send};
use tidegate_testkit::{Gateway, Sse, eventually};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::raw;
use crate::world::{API_KEY, everything, keyed, open, peak_kib, user};

/// A body of the largest size there may be, and a little of what surrounds it: what one request may cost, in KiB.
const ONE_BODY: u64 = 64 << 10;

/// Posts bytes; the status and the problem's field. 0: the connection was cut while they were sent, for they were too many.
async fn told(gateway: &Gateway, path: &str, kind: &str, body: impl Into<reqwest::Body>) -> (u16, String) {
    let request = client().post(gateway.url(path)).header("content-type", kind).body(body);
    let Ok(answer) = request.send().await else { return (0, String::new()) };
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    let problem: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    (status, problem["field"].as_str().unwrap_or_default().to_owned())
}

const POSTS: [&str; 4] =
    ["/v1/publish", "/v1/events", "/api/chat/rooms?userId=a", "/api/chat/users/bob/rooms?userId=a"];

#[tokio::test]
async fn nothing_is_unpacked() {
    let gateway = open(&[]).await;
    let zeros = vec![b' '; 64 << 20];
    let packed = gzip(&zeros);
    assert!(packed.len() < 100_000);
    let before = peak_kib(&gateway);
    for (encoding, kind) in [
        ("gzip", "application/json"),
        ("gzip", "application/x-ndjson"),
        ("br", "application/json"),
        ("gzip, gzip", "text/plain"),
    ] {
        for path in POSTS {
            let request = client()
                .post(gateway.url(path))
                .header("content-encoding", encoding)
                .header("content-type", kind);
            let answer = request.body(packed.clone()).send().await.unwrap();
            let status = answer.status().as_u16();
            // A body that is not wanted is not looked at.
            assert!(
                matches!(status, 400 | 415) || (path.contains("/bob/rooms") && status < 300),
                "{path}: {status}"
            );
        }
    }
    let grown = peak_kib(&gateway).saturating_sub(before);
    assert!(grown < ONE_BODY, "{grown} KiB for {} bytes", packed.len());
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut child =
        Command::new("gzip").arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&bytes).unwrap());
    let output = child.wait_with_output().unwrap().stdout;
    writer.join().unwrap();
    output
}

#[tokio::test]
async fn depth_is_no_stack() {
    let gateway = open(&[]).await;
    let mut stream = Sse::open(&gateway.url("/v1/events?topic=a")).await;
    stream.next_named("tidegate:ready").await;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for depth in [100_000, 1_000_000] {
            let bomb = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            for path in &POSTS[..3] {
                for body in [
                    bomb.clone(),
                    open.repeat(depth),
                    format!(r#"{{"topic":"a","name":"a","data":{bomb}}}"#),
                    format!(r#"{{"nothing":{bomb}}}"#),
                    format!("[{bomb}]"),
                    format!(r#"{{"topics":{bomb}}}"#),
                ] {
                    let (status, _) = told(&gateway, path, "application/json", body).await;
                    assert!(matches!(status, 0 | 400 | 413), "{path} {depth}: {status}");
                }
            }
            let line = told(&gateway, "/v1/publish", "application/x-ndjson", bomb).await;
            assert!(matches!(line.0, 400 | 413), "{line:?}");
        }
    }
    // What fits into an event is carried as it is, however deep: nobody descends into it.
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    let (status, _) = told(
        &gateway,
        "/v1/publish",
        "application/json",
        format!(r#"{{"topic":"a","event":"deep","data":{deep}}}"#),
    )
    .await;
    assert_eq!(status, 200);
    assert_eq!(stream.next_named("deep").await.data, deep);
    let history =
        client().get(gateway.url("/v1/topics/a/events")).send().await.unwrap().text().await.unwrap();
    assert!(history.contains(&deep));
}

#[tokio::test]
async fn numbers_and_names_are_what_they_are() {
    let gateway = open(&[]).await;
    let digits = "9".repeat(50_000);
    for data in [
        digits.clone(),
        format!("1e{digits}"),
        format!("-0.{digits}"),
        "1e999999999".into(),
        "1E-999999999".into(),
    ] {
        let answer = client()
            .post(gateway.url("/v1/publish"))
            .body(format!(r#"{{"topic":"numbers","data":{data}}}"#))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{}", &data[..10]);
        let history = client()
            .get(gateway.url("/v1/topics/numbers/events?limit=1"))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        assert!(history.contains(&data), "a number is not as it was written");
    }
    for query in ["limit=99999999999999999999", "limit=-1", "limit=1e3", "limit=0x10", "limit=%2b1%00"] {
        assert_eq!(get(&gateway.url(&format!("/v1/topics/a/events?{query}"))).await.status, 400, "{query}");
    }
    assert_eq!(get(&gateway.url("/v1/events?topic=a&replay=99999999999")).await.status, 400);
    // Of two fields of one name nobody can say which counts: another program might take the other.
    for body in [
        r#"{"topic":"a","topic":"b","data":1}"#,
        r#"{"topic":"a","data":1,"data":2}"#,
        r#"{"topic":"a","data":1,"\u0074opic":"b"}"#,
        r#"[{"topic":"a","data":1,"key":"1","key":"2"}]"#,
    ] {
        assert_eq!(told(&gateway, "/v1/publish", "application/json", body).await.0, 400, "{body}");
    }
    assert_eq!(
        told(&gateway, "/v1/events", "application/json", r#"{"topics":["a"],"topics":["b"]}"#).await.0,
        400
    );
    // Within data it is the publisher's own business.
    assert_eq!(
        told(&gateway, "/v1/publish", "application/json", r#"{"topic":"a","data":{"x":1,"x":2}}"#).await.0,
        200
    );
}

/// A user without rights can't make a gateway with keys take much more memory than the body; nobody in particular not even that.
#[tokio::test]
async fn many_small_things_are_counted_before_they_are_kept() {
    let gateway = keyed(&[], &[]).await;
    let mallory = user("mallory");
    let most = 8 << 20;
    let fill = |first: &str, each: &str, last: &str| {
        let times = (most - first.len() - last.len()) / each.len();
        format!("{first}{}{last}", each.repeat(times))
    };
    let (json, lines) = ("application/json", "application/x-ndjson");
    let bodies = [
        ("/v1/publish", json, fill("[{}", ",{}", "]")),
        ("/v1/publish", json, fill("[1", ",1", "]")),
        ("/v1/publish", json, fill("[[]", ",[]", "]")),
        ("/v1/publish", json, fill(r#"{"topics":["a""#, r#","a""#, r#"],"data":1}"#)),
        ("/v1/publish", json, fill(r#"{"users":[1"#, ",1", r#"],"data":1}"#)),
        ("/v1/publish", json, fill("{\"a\":1", ",\"a\":1", "}")),
        ("/v1/publish", json, fill("{\"data\":[1", ",1", "]}")),
        ("/v1/publish", lines, fill("", "{}\n", "")),
        ("/v1/publish", lines, fill("", "1\n", "")),
        ("/v1/publish", lines, fill("", "\n", "")),
        ("/v1/publish", lines, fill(r#"{"topics":["a""#, r#","a""#, r#"],"data":1}"#)),
        ("/v1/events", json, fill(r#"{"topics":["""#, r#","""#, "]}")),
        ("/api/chat/rooms", json, fill(r#"{"name":"a","participants":["""#, r#","""#, "]}")),
    ];
    let before = peak_kib(&gateway);
    let mut last = before;
    for (path, kind, body) in bodies {
        let start: String = body.chars().take(20).collect();
        let request = || client().post(gateway.url(path)).header("content-type", kind).body(body.clone());
        // Who is answered before the body is read may be cut while sending it.
        if let Ok(answer) = request().send().await {
            assert_eq!(answer.status(), 401, "{path} {start}");
        }
        let status = match request().bearer_auth(&mallory).send().await {
            Ok(answer) => answer.status().as_u16(),
            Err(_) => 0,
        };
        assert!(matches!(status, 0 | 200 | 400 | 403 | 413), "{path} {start}: {status}");
        let peak = peak_kib(&gateway);
        println!("{path} {kind} {start:?}: {status}, +{} KiB", peak.saturating_sub(last));
        last = peak;
    }
    // Twice: between requests the allocator keeps what another thread may need. Kept whole, one of them would be half a gigabyte.
    assert!(last.saturating_sub(before) < 2 * ONE_BODY, "{} KiB", last - before);
}

#[tokio::test]
async fn lines_and_lists_have_their_most() {
    let gateway = open(&[]).await;
    let topics = (0..1_001).map(|n| format!("\"t{n}\"")).collect::<Vec<_>>().join(",");
    let event = format!(r#"{{"topics":[{topics}],"data":1}}"#);
    for kind in ["application/json", "application/x-ndjson"] {
        assert_eq!(told(&gateway, "/v1/publish", kind, event.clone()).await.0, 413, "{kind}");
    }
    let list = format!("[{}]", vec![r#"{"topic":"a","data":1}"#; 1_001].join(","));
    assert_eq!(told(&gateway, "/v1/publish", "application/json", list).await.0, 413);
    let lines = "{\"topic\":\"a\",\"data\":1}\n".repeat(100_001);
    assert_eq!(told(&gateway, "/v1/publish", "application/x-ndjson", lines).await.0, 413);
    let history = get(&gateway.url("/v1/topics/a/events")).await;
    assert_eq!(history.body["events"], json!([]), "all or nothing");
    let endless = "x".repeat(8 << 20);
    assert_eq!(told(&gateway, "/v1/publish", "application/x-ndjson", endless).await.0, 400);
    let (status, _) = publish(&gateway.base(), &json!({"topic": "a", "data": "x".repeat(65 << 10)})).await;
    assert_eq!(status, 413);
    let many: String = (0..1_001).map(|n| format!("&topic=t{n}")).collect();
    assert_eq!(get(&gateway.url(&format!("/v1/poll?x=1{many}"))).await.status, 400);
}

/// A body without an end is cut where the limit is, and takes no more.
#[tokio::test]
async fn an_endless_body_ends() {
    let gateway = keyed(&[], &[]).await;
    let token = everything("root");
    let before = peak_kib(&gateway);
    for chunk in [vec![b'['; 64 << 10], vec![b'\n'; 64 << 10]] {
        let mut socket = TcpStream::connect(gateway.addr()).await.unwrap();
        let head = format!(
            "POST /v1/publish HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        let (mut sent, limit) = (0_usize, 64 << 20);
        while sent < limit {
            let framed = [format!("{:x}\r\n", chunk.len()).as_bytes(), &chunk, b"\r\n"].concat();
            if socket.write_all(&framed).await.is_err() {
                break;
            }
            sent += chunk.len();
        }
        assert!(sent < limit, "64 MiB were taken");
    }
    let grown = peak_kib(&gateway).saturating_sub(before);
    assert!(grown < ONE_BODY, "{grown} KiB");
    assert_eq!(send(Method::GET, &gateway.url("/healthz"), None, None).await.status, 200);
}

#[tokio::test]
async fn a_flood_of_headers_ends() {
    let gateway = keyed(&[], &[]).await;
    let before = peak_kib(&gateway);
    let line = [b"GET /v1/events?topic=".as_slice(), &vec![b'a'; 16 << 20]].concat();
    let long = [b"GET / HTTP/1.1\r\nHost: a\r\nX: ".as_slice(), &vec![b'a'; 16 << 20]].concat();
    let many = [b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec(), b"a:b\r\n".repeat(3 << 20)].concat();
    let cookies =
        [b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec(), b"Cookie: tidegate_token=a\r\n".repeat(1 << 20)].concat();
    for flood in [line, long, many, cookies] {
        let answer = raw::ask(gateway.addr(), &flood).await;
        // Who is cut while still sending may not get to read why.
        assert!(matches!(raw::status(&answer), 0 | 400 | 414 | 431), "{answer}");
    }
    let grown = peak_kib(&gateway).saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB");
    assert_eq!(send(Method::GET, &gateway.url("/healthz"), None, None).await.status, 200);
}

/// All bodies together have their most, too: who has a token and many connections fills no node.
#[tokio::test]
async fn many_bodies_at_once_have_their_most() {
    let room = [("TIDEGATE_LIMITS__BODY_MEMORY", "16MiB"), ("TIDEGATE_LIMITS__BODY_TIMEOUT", "5s")];
    let gateway = keyed(&[], &room).await;
    let mallory = user("mallory");
    let before = peak_kib(&gateway);
    let head = format!(
        "POST /v1/publish HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {mallory}\r\nContent-Length: 8388608\r\n\r\n"
    );
    let most = vec![b' '; (8 << 20) - 1];
    let mut sockets = Vec::new();
    for _ in 0..24 {
        let mut socket = TcpStream::connect(gateway.addr()).await.unwrap();
        socket.write_all(head.as_bytes()).await.unwrap();
        // Who is refused is cut while sending; who has room is one byte short, and waited for.
        let taken = socket.write_all(&most).await.is_ok();
        sockets.push((socket, taken));
    }
    let metrics = get(&gateway.admin_url("/metrics")).await.body.as_str().unwrap().to_owned();
    let refused = metrics.lines().find_map(|line| line.strip_prefix("tidegate_bodies_refused_total "));
    assert!(refused.unwrap().parse::<u32>().unwrap() >= 20, "{refused:?}");
    // A small one needs nobody's room.
    let event = json!({"topic": "a", "data": "x".repeat(10_000)});
    assert_eq!(publish_as(&gateway.base(), API_KEY, &event).await.0, 200);
    let large = json!({"topic": "a", "data": "x".repeat(60_000)});
    let (status, _) = publish_as(&gateway.base(), API_KEY, &large).await;
    assert!(matches!(status.as_u16(), 200 | 503), "{status}");
    // Room is given back.
    drop(sockets);
    let again = async || (publish_as(&gateway.base(), API_KEY, &large).await.0 == 200).then_some(());
    eventually("there is room again", again).await;
    let grown = peak_kib(&gateway).saturating_sub(before);
    assert!(grown < 96 << 10, "{grown} KiB");
}
