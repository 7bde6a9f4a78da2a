//! Every route against everybody who may come: the table in SECURITY.md says what each is told, and a route without a row is a mistake.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tidegate_testkit::Gateway;
use tidegate_testkit::http::{client, get, send};

use crate::world::{API_KEY, SMALL_KEY, admin, keyed, member, user};

/// Who comes, in the order of the table's columns: nobody, somebody whose credential is none, users without and with rights, backends, administrators.
const COLUMNS: usize = 7;

/// What nobody in particular may have.
const PUBLIC: [&str; 8] = [
    "GET /",
    "GET /assets/{file}",
    "GET /docs",
    "GET /healthz",
    "GET /openapi.json",
    "GET /readyz",
    // Who sits where is for everybody to see, as in a hall.
    "GET /api/schedules/{schedule}/seats",
    "GET /api/schedules/{schedule}/seats/events",
];

#[tokio::test]
async fn everybody_is_told_what_the_table_says() {
    let gateway = keyed(&[], &[]).await;
    let table = table();
    let served = served(&gateway).await;
    let mut is = BTreeMap::new();
    let mut turn = 0;
    for route in &served {
        let mut cells = Vec::new();
        for who in visitors() {
            turn += 1;
            cells.push(told(&gateway, route, who.as_deref(), turn).await);
        }
        assert_eq!(cells.len(), COLUMNS);
        let open = cells[0] < 400;
        assert_eq!(open, PUBLIC.contains(&route.as_str()), "{route} answers {} to nobody", cells[0]);
        is.insert(route.clone(), cells);
    }
    let lines = |table: &BTreeMap<String, Vec<u16>>| {
        let line = |(route, cells): (&String, &Vec<u16>)| {
            let cells: Vec<_> = cells.iter().map(u16::to_string).collect();
            format!("| `{route}` | {} |", cells.join(" | "))
        };
        table.iter().map(line).collect::<Vec<_>>().join("\n")
    };
    assert!(table == is, "SECURITY.md says\n{}\nand the gateway\n{}", lines(&table), lines(&is));
}

fn visitors() -> [Option<String>; COLUMNS] {
    let forged = format!("{}x", user("alice"));
    let known = [forged, user("mallory"), member("alice"), SMALL_KEY.into(), API_KEY.into(), admin("root")];
    let mut all = [const { None }; COLUMNS];
    for (place, who) in all.iter_mut().skip(1).zip(known) {
        *place = Some(who);
    }
    all
}

/// The table of SECURITY.md: rows that begin with a method and a path.
fn table() -> BTreeMap<String, Vec<u16>> {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../SECURITY.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    let rows = rows.filter(|(route, _)| route.contains(" /"));
    rows.map(|(route, cells)| {
        let cells = cells.trim_end_matches('|').split('|').map(|cell| cell.trim().parse().unwrap());
        (route.to_owned(), cells.collect())
    })
    .collect()
}

/// Every operation that the gateway itself describes.
async fn served(gateway: &Gateway) -> BTreeSet<String> {
    let document = get(&gateway.url("/openapi.json")).await.body;
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().keys().filter(|name| name.parse::<Verb>().is_ok());
        methods.map(move |method| format!("{} {path}", method.to_ascii_uppercase()))
    });
    operations.collect()
}

/// The members of an OpenAPI path that are operations.
struct Verb;

impl std::str::FromStr for Verb {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let verbs = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
        verbs.contains(&text).then_some(Self).ok_or(())
    }
}

/// The status that `who` gets. Each gets a room and a seat of their own to try it on: alice's room, with bob in it, and a seat that is theirs if anybody's.
async fn told(gateway: &Gateway, route: &str, who: Option<&str>, turn: usize) -> u16 {
    let (method, path) = route.split_once(' ').unwrap();
    let mut path = path.to_owned();
    if path.contains("{roomId}") || path == "/api/chat/stream" {
        let wish = json!({"name": "a room", "participants": ["bob"]});
        let room =
            send(Method::POST, &gateway.url("/api/chat/rooms"), Some(&member("alice")), Some(&wish)).await;
        let room = room.body["id"].as_str().unwrap().to_owned();
        path = path
            .replace("{roomId}", &room)
            .replace("/api/chat/stream", &format!("/api/chat/stream?roomId={room}"));
    }
    let other = if route.starts_with("PUT /api/chat/users") { "alice" } else { "carol" };
    let show = format!("show-{turn}");
    let names = [
        ("{topic}", "room:1"),
        ("{user}", "alice"),
        ("{userId}", other),
        ("{schedule}", show.as_str()),
        ("{file}", "app.js"),
    ];
    for (name, value) in names {
        path = path.replace(name, value);
    }
    path = path.replace("{seat}", "1");
    if path.ends_with("/release") || path.ends_with("/reserve") {
        let hold = format!("{}/hold", path.rsplit_once('/').unwrap().0);
        send(Method::POST, &gateway.url(&hold), who, None).await;
    }
    match path.as_str() {
        "/v1/events" | "/v1/poll" | "/v1/ws" if method != "POST" => path.push_str("?topic=room:1"),
        "/v1/topic/events" | "/v1/users/alice/topic" => path.push_str("?topic=room:1"),
        _ if path.starts_with("/long-polling") => path.push_str("?timeout=0"),
        _ => {}
    }
    let mut request = client().request(method.parse().unwrap(), gateway.url(&path));
    if let Some(who) = who {
        request = request.bearer_auth(who);
    }
    if path.starts_with("/v1/ws") {
        request = handshake(request);
    }
    if let Some(body) = body(route) {
        request = request.json(&body);
    }
    request.send().await.unwrap().status().as_u16()
}

fn handshake(request: RequestBuilder) -> RequestBuilder {
    let request = request.header("connection", "upgrade").header("upgrade", "websocket");
    request.header("sec-websocket-version", "13").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
}

fn body(route: &str) -> Option<Value> {
    Some(match route {
        "POST /v1/events" => json!({"topics": ["room:1"]}),
        "POST /v1/publish" => json!({"topic": "room:1", "data": 1}),
        "POST /api/chat/rooms" => json!({"name": "another", "participants": ["bob"]}),
        "POST /api/chat/rooms/{roomId}/messages" => json!({"content": "hello"}),
        "PUT /api/chat/users/{userId}" => json!({"nickname": "Alice"}),
        _ => return None,
    })
}
