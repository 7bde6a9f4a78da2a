//! What a page and a stranger get over HTTP.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tidegate_seats::Options;
use tidegate_testkit::{Sse, http};

use crate::house::{quick, slow};
use crate::node::{Node, token};

const SEATS: &str = "/api/schedules/1/seats";
const EVENTS: &str = "/api/schedules/1/seats/events";

/// As shipped, but nothing ends by itself.
fn shipped() -> Options {
    Options { show_holders: Options::default().show_holders, ..slow() }
}

#[tokio::test]
async fn hold_reserve_and_be_told() {
    let node = Node::open(shipped()).await;
    let list = node.get(SEATS).await;
    assert_eq!(list.status, 200);
    assert_eq!(list.body.as_array().unwrap().len(), 50);
    assert_eq!(list.body[6], json!({ "scheduleSeatId": "7", "status": "AVAILABLE" }));

    let mut stream = Sse::open(&node.url(EVENTS)).await;
    let held = node.post("/api/schedules/1/seats/7/hold?userId=ann", None).await;
    assert_eq!(
        (held.status.as_u16(), &held.body["status"], &held.body["heldBy"]),
        (200, &json!("HELD"), &json!("ann"))
    );
    let hidden = without(held.body.clone(), "heldBy");
    let told = change(&mut stream).await;
    assert!(told["timestamp"].as_str().unwrap().ends_with('Z'));
    assert_eq!(without(told, "timestamp"), hidden);
    assert_eq!(node.get(&format!("{SEATS}?userId=ann")).await.body[6], held.body);
    for other in ["", "?userId=bob", "?userId=a%20b"] {
        assert_eq!(node.get(&format!("{SEATS}{other}")).await.body[6], hidden, "{other}");
    }

    let refused = node.post("/api/schedules/1/seats/7/hold?userId=bob", None).await;
    assert_eq!(refused.status, 409);
    assert_eq!(refused.headers["content-type"], "application/problem+json");
    let until = held.body["heldUntil"].as_str().unwrap();
    let detail = format!("Seat 7 is held until {until}.");
    assert_eq!(
        without(refused.body, "title"),
        json!({
            "type": "urn:tidegate:problem:conflict", "status": 409, "detail": detail,
            "scheduleSeatId": "7", "seatStatus": "HELD", "heldUntil": until,
        })
    );
    let early = node.post("/api/schedules/1/seats/8/reserve?userId=bob", None).await;
    assert_eq!((early.status.as_u16(), &early.body["seatStatus"]), (409, &json!("AVAILABLE")));

    let reserved = json!({ "scheduleSeatId": "7", "status": "RESERVED", "heldBy": "ann" });
    for _ in 0..2 {
        let answer = node.post("/api/schedules/1/seats/7/reserve?userId=ann", None).await;
        assert_eq!((answer.status.as_u16(), &answer.body), (200, &reserved));
    }
    assert_eq!(without(change(&mut stream).await, "timestamp"), without(reserved, "heldBy"));
    let late = node.post("/api/schedules/1/seats/7/release?userId=ann", None).await;
    assert_eq!((late.status.as_u16(), &late.body["heldBy"]), (409, &json!("ann")), "one's own");
    node.post("/api/schedules/1/seats/8/hold?userId=ann", None).await;
    assert_eq!(
        change(&mut stream).await["scheduleSeatId"],
        "8",
        "nothing came twice, and no refusal was told"
    );
    node.post("/api/schedules/1/seats/8/release?userId=ann", None).await;
    assert_eq!(change(&mut stream).await["status"], "AVAILABLE");
}

#[tokio::test]
async fn a_setting_shows_holders_to_everybody() {
    let node = Node::open(Options { show_holders: true, ..shipped() }).await;
    let mut stream = Sse::open(&node.url(EVENTS)).await;
    let held = node.post("/api/schedules/1/seats/7/hold?userId=ann", None).await.body;
    assert_eq!(without(change(&mut stream).await, "timestamp"), held);
    assert_eq!(node.get(SEATS).await.body[6], held);
    let refused = node.post("/api/schedules/1/seats/7/hold?userId=bob", None).await.body;
    let detail = format!("Seat 7 is held by ann until {}.", held["heldUntil"].as_str().unwrap());
    assert_eq!((&refused["heldBy"], &refused["detail"]), (&json!("ann"), &json!(detail)));
}

#[tokio::test]
async fn too_many_schedules_are_refused_with_the_limit() {
    let node = Node::open(Options { schedules: 1, ..shipped() }).await;
    assert_eq!(node.post("/api/schedules/1/seats/1/hold?userId=ann", None).await.status, 200);
    let refused = node.post("/api/schedules/2/seats/1/hold?userId=ann", None).await;
    assert_eq!(refused.status, 503);
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(refused.body["type"], "urn:tidegate:problem:full");
    assert_eq!(refused.body["limit"], "seats.schedules");
    assert_eq!(node.metrics.apps_refused.with_label_values(&["seats.schedules"]).get(), 1);
}

#[tokio::test]
async fn a_page_that_reads_the_list_first_misses_nothing() {
    let node = Node::open(slow()).await;
    node.post("/api/schedules/1/seats/1/hold?userId=ann", None).await;
    let list = node.get(SEATS).await;
    assert_eq!(list.body[0]["status"], "HELD");
    node.post("/api/schedules/1/seats/2/hold?userId=ann", None).await;
    let cursor = list.headers["tidegate-cursor"].to_str().unwrap();
    let mut stream = Sse::open(&node.url(&format!("{EVENTS}?last_event_id={cursor}"))).await;
    assert_eq!(change(&mut stream).await["scheduleSeatId"], "2");
    let id = stream.last_event_id().to_owned();
    node.post("/api/schedules/1/seats/3/hold?userId=ann", None).await;
    let mut again = Sse::builder(&node.url(EVENTS)).last_event_id(&id).open().await;
    assert_eq!(change(&mut again).await["scheduleSeatId"], "3");
}

#[tokio::test]
async fn a_hold_ends_on_the_stream_and_silence_is_filled() {
    let heartbeat = Duration::from_secs(1);
    let node = Node::open(Options { heartbeat, timeout: Some(2 * heartbeat), ..quick() }).await;
    let mut stream = Sse::open(&node.url(EVENTS)).await;
    node.post("/api/schedules/1/seats/1/hold?userId=ann", None).await;
    assert_eq!(change(&mut stream).await["status"], "HELD");
    assert_eq!(change(&mut stream).await["status"], "AVAILABLE");
    let beat = stream.next_named("message").await;
    assert_eq!(beat.data, r#"{"scheduleSeatId":-1,"status":null,"isHeartbeat":true}"#);
    assert!(stream.next_named("tidegate:closing").await.data.contains("max_age"));
}

#[tokio::test]
async fn who_asks_for_nonsense_is_told_what_is_wrong() {
    let node = Node::open(slow()).await;
    for seat in ["0", "51", "07", "-1", "x", "4294967297", "%20"] {
        let answer = node.post(&format!("/api/schedules/1/seats/{seat}/hold?userId=ann"), None).await;
        assert_eq!(answer.status, 404, "{seat}");
    }
    let long = "x".repeat(101);
    for schedule in ["%20", "a%00b", "a%20b", "%ff", long.as_str()] {
        for path in ["", "/events"] {
            let answer = node.get(&format!("/api/schedules/{schedule}/seats{path}")).await;
            assert_eq!(answer.status, 400, "{schedule}: {}", answer.body);
        }
        let answer = node.post(&format!("/api/schedules/{schedule}/seats/1/hold?userId=ann"), None).await;
        assert_eq!(answer.status, 400, "{schedule}: {}", answer.body);
    }
    let nobody = node.post("/api/schedules/1/seats/1/hold", None).await;
    assert_eq!((nobody.status.as_u16(), &nobody.body["field"]), (400, &json!("userId")));
    assert_eq!(node.get("/api/schedules/1/seats/1/hold").await.status, 405);
    assert_eq!(node.post("/api/schedules/1/seats/1/steal?userId=ann", None).await.status, 404);
    let whole = "%F0%9F%8E%AD".repeat(63);
    assert_eq!(node.get(&format!("/api/schedules/{whole}/seats")).await.status, 400, "its topic is too long");
    assert_eq!(node.get("/api/schedules/%EA%B3%B5%EC%97%B0:1/seats").await.status, 200);
}

#[tokio::test]
async fn with_keys_everybody_may_look_and_users_may_act() {
    let node = Node::keyed().await;
    assert_eq!(node.get(SEATS).await.status, 200);
    let mut stream = Sse::open(&node.url(EVENTS)).await;
    let hold = "/api/schedules/1/seats/1/hold?userId=bob";
    assert_eq!(node.post(hold, None).await.status, 401);
    assert_eq!(node.post(hold, Some("nonsense")).await.status, 401);
    let answer = node.post(hold, Some(&token("ann"))).await;
    assert_eq!(answer.body["heldBy"], "ann", "{}", answer.body);
    assert_eq!(change(&mut stream).await.get("heldBy"), None);
    for (token, holder) in [(Some(token("ann")), Some("ann")), (Some(token("bob")), None), (None, None)] {
        let list = http::send(Method::GET, &node.url(SEATS), token.as_deref(), None).await;
        assert_eq!(list.body[0]["heldBy"].as_str(), holder);
    }
    let claimed = node.get(&format!("{SEATS}?userId=ann")).await;
    assert_eq!(claimed.body[0].get("heldBy"), None, "what is claimed counts in open mode only");
}

#[tokio::test]
async fn the_description_has_every_route_and_leads_nowhere_wrong() {
    let node = Node::open(slow()).await;
    let spec = node.get("/openapi.json").await.body;
    let described: Vec<_> =
        spec["paths"].as_object().unwrap().keys().filter(|path| path.contains("seats")).collect();
    assert_eq!(described.len(), 5, "{described:?}");
    let text = spec.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1) {
        let pointer = reference.split('"').next().unwrap();
        assert!(spec.pointer(pointer).is_some(), "{pointer} leads nowhere");
    }
    for act in ["hold", "release", "reserve"] {
        let operation = &spec["paths"][format!("/api/schedules/{{schedule}}/seats/{{seat}}/{act}")]["post"];
        assert_eq!(operation["tags"], json!(["Seats"]));
    }
}

async fn change(stream: &mut Sse) -> Value {
    serde_json::from_str(&stream.next_named("seatStatusChange").await.data).unwrap()
}

fn without(mut value: Value, field: &str) -> Value {
    value.as_object_mut().unwrap().remove(field);
    value
}

/// Anyone may look, but who says who they are is held to it.
#[tokio::test]
async fn a_users_stream_ends_when_the_user_is_disconnected() {
    let node = Node::open(slow()).await;
    let mut ann = Sse::open(&node.url(&format!("{EVENTS}?userId=ann"))).await;
    let mut anyone = Sse::open(&node.url(EVENTS)).await;
    assert!(ann.next_named("tidegate:ready").await.data.contains(r#""user":"ann""#));
    anyone.next_named("tidegate:ready").await;
    let answer = node.post("/v1/users/ann/disconnect", None).await;
    assert_eq!(answer.body["nodes"], 1, "{}", answer.body);
    assert_eq!(ann.next_named("tidegate:closing").await.data, r#"{"reason":"disconnected"}"#);
    node.post("/api/schedules/1/seats/7/hold?userId=bob", None).await;
    assert_eq!(change(&mut anyone).await["scheduleSeatId"], "7");

    let node = Node::keyed().await;
    assert_eq!(Sse::open(&node.url(EVENTS)).await.status, 200);
    assert_eq!(Sse::builder(&node.url(EVENTS)).bearer("no token").open().await.status, 401);
}
