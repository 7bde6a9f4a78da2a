//! What the server gives to applications, with one that is as small as can be.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use serde_json::{Value, json};
use tidegate_hub::{Greeting, Heartbeat, Resume, StreamOverrides};
use tidegate_protocol::{EventName, Topic};
use tidegate_server::{App, Application, Body, Caller, Problem, Query, Segment, last_event_id, stream, wait};
use tidegate_testkit::{Sse, http as ask};

use crate::node::{self, Node, Setup};

const OPENAPI: &str = r#"{"paths": {"/toy/{name}/events": {"get": {}}}, "tags": [{"name": "Toy"}]}"#;

pub(crate) fn toy(app: App) -> Application {
    let router = Router::new()
        .route("/toy/{name}/events", get(events))
        .route("/toy/{name}/wait", get(poll))
        .route("/toy/echo", post(echo))
        .route("/toy/bare", get(|| async { StatusCode::BAD_REQUEST }))
        .route("/toy/taken", get(|| async { Problem::conflict("Bob has it.").with("heldBy", "bob") }))
        .with_state(app);
    Application { name: "toy", router, streams: &["/toy/{name}/events"], openapi: OPENAPI }
}

async fn events(
    State(app): State<App>,
    Segment(name): Segment<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let overrides = StreamOverrides {
        greeting: Some(Greeting { event: EventName::parse("ping").unwrap(), data: "connect success".into() }),
        heartbeat: Duration::from_millis(200),
        style: Heartbeat::Event { name: None, data: "beat".into() },
        max_age: None,
    };
    let resume = last_event_id(&parts)?.map_or(Resume::Live, Resume::After);
    let opening =
        Caller::of(&app, &parts).await?.opening(vec![Topic::parse(&format!("$toy:{name}")).unwrap()]);
    stream(&app, &parts, Ok(opening.resume(resume).overrides(Arc::new(overrides)))).await
}

async fn poll(
    State(app): State<App>,
    Segment(name): Segment<String>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let (parts, _) = request.into_parts();
    let topics = vec![Topic::parse(&format!("$toy:{name}")).unwrap()];
    let opening = Caller::of(&app, &parts).await?.opening(topics).objects();
    let batch = wait(&app, &parts, opening, Duration::from_secs(60)).await?;
    Ok(Json(json!(batch.events.len())))
}

async fn echo(caller: Caller, query: Query, Body(said): Body<Value>) -> Result<Json<Value>, Problem> {
    let times = query.number("times")?;
    Ok(Json(json!({ "user": caller.user()?, "admin": caller.is_admin(), "said": said, "times": times })))
}

async fn start(keyed: bool) -> Node {
    Node::start(Setup { keyed, application: Some(toy), ..Setup::default() }).await
}

#[tokio::test]
async fn a_stream_with_manners_of_its_own() {
    let node = start(false).await;
    let mut stream = Sse::open(&node.url("/toy/a/events")).await;
    let ready = stream.next_named("tidegate:ready").await;
    let greeting = stream.next_block().await.unwrap();
    assert_eq!(
        (greeting.event.as_deref(), greeting.data.as_deref()),
        (Some("ping"), Some("connect success"))
    );
    assert_eq!(greeting.id, None, "a greeting moves nobody's place");
    let beat = stream.next_block().await.unwrap();
    assert_eq!((beat.event, beat.data.as_deref(), beat.id), (None, Some("beat"), None));
    let mut watched = Sse::open(&node.url("/toy/a/events?heartbeat=event")).await;
    watched.next_named("ping").await;
    assert_eq!(watched.next_block().await.unwrap().event.as_deref(), Some("tidegate:heartbeat"));
    assert!(!stream.last_event_id().is_empty() && Some(stream.last_event_id()) == ready.id.as_deref());
}

/// The application does nothing for it, and could do nothing against it.
#[tokio::test]
async fn what_an_application_opens_for_a_user_is_the_users() {
    let hub = tidegate_hub::Options { user_connections: 3, ..Default::default() };
    let setup = Setup { hub: Some(hub), application: Some(toy), ..Setup::default() };
    let node = Node::start(setup).await;
    let mut toys = Vec::new();
    for name in ["a", "b"] {
        let mut toy = Sse::open(&node.url(&format!("/toy/{name}/events?userId=bob"))).await;
        assert!(toy.next_named("tidegate:ready").await.data.contains(r#""user":"bob""#));
        toys.push(toy);
    }
    let waiting = tokio::spawn(reqwest::get(node.url("/toy/a/wait?userId=bob")));
    tidegate_testkit::eventually("the poll waits", async || (node.hub.live() == 3).then_some(())).await;
    for path in ["/toy/a/events", "/v1/events"] {
        let mut fourth = Sse::open(&node.url(&format!("{path}?userId=bob"))).await;
        assert_eq!(fourth.next_named("tidegate:closing").await.data, r#"{"reason":"user_limit"}"#);
    }
    assert_eq!(ask::get(&node.url("/toy/a/wait?userId=bob")).await.status, 429);
    Sse::open(&node.url("/toy/a/events?userId=eve")).await.next_named("tidegate:ready").await;

    let answer = ask::post(&node.url("/v1/users/bob/disconnect"), &json!(null)).await;
    assert_eq!(answer.body["nodes"], 1);
    for toy in &mut toys {
        assert_eq!(toy.next_named("tidegate:closing").await.data, r#"{"reason":"disconnected"}"#);
    }
    assert_eq!(waiting.await.unwrap().unwrap().json::<Value>().await.unwrap(), 0);
}

#[tokio::test]
async fn heartbeats_that_a_page_can_see() {
    let hub = tidegate_hub::Options { heartbeat: Duration::from_millis(200), ..Default::default() };
    let node = Node::start(Setup { hub: Some(hub), ..Setup::default() }).await;
    let mut stream = Sse::open(&node.url("/v1/events?topic=a&heartbeat=event")).await;
    let beat = stream.next_named("tidegate:heartbeat").await;
    assert_eq!((beat.id, beat.data.as_str()), (None, ""));
    let wrong = reqwest::get(node.url("/v1/events?topic=a&heartbeat=loud")).await.unwrap();
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    let problem: Value = wrong.json().await.unwrap();
    assert_eq!(problem["field"], "heartbeat");
}

#[tokio::test]
async fn who_calls_and_what_was_said() {
    let node = start(false).await;
    let http = reqwest::Client::new();
    let post = |path: &str, body: &'static str| http.post(node.url(path)).body(body).send();
    let answer: Value = post("/toy/echo?userId=alice&times=2", "{}").await.unwrap().json().await.unwrap();
    assert_eq!(answer, json!({"user": "alice", "admin": false, "said": {}, "times": 2}));
    for (path, body, field) in [
        ("/toy/echo", "{}", "userId"),
        ("/toy/echo?userId=a%20b", "{}", "userId"),
        ("/toy/echo?userId=a&times=x", "{}", "times"),
        ("/toy/echo?userId=a", "{", ""),
        ("/toy/echo?userId=a", "[]", ""),
    ] {
        let answer = post(path, body).await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{path}");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["field"], field, "{path}: {problem}");
    }
    let taken = reqwest::get(node.url("/toy/taken")).await.unwrap();
    assert_eq!(taken.status(), StatusCode::CONFLICT);
    let problem: Value = taken.json().await.unwrap();
    assert_eq!(problem["heldBy"], "bob");
}

#[tokio::test]
async fn with_keys_the_token_says_who_calls() {
    let node = start(true).await;
    let http = reqwest::Client::new();
    let call = |token: Option<String>| {
        let request = http.post(node.url("/toy/echo?userId=mallory")).body("1");
        let request = token.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth);
        request.send()
    };
    let alice = node::token("alice", &[], &[], Duration::from_secs(60));
    let answer: Value = call(Some(alice)).await.unwrap().json().await.unwrap();
    assert_eq!(answer["user"], "alice");
    assert_eq!(call(None).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(call(Some(node::API_KEY.into())).await.unwrap().status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn applications_are_in_the_description_and_behind_the_gate() {
    let node = start(false).await;
    let spec: Value = reqwest::get(node.url("/openapi.json")).await.unwrap().json().await.unwrap();
    assert!(spec["paths"]["/toy/{name}/events"].is_object() && spec["paths"]["/v1/events"].is_object());
    assert!(spec["tags"].as_array().unwrap().iter().any(|tag| tag["name"] == "Toy"));
    let http = reqwest::Client::new();
    let stranger = http.post(node.url("/toy/echo?userId=a")).header("origin", "https://evil.test").body("1");
    assert_eq!(stranger.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    let wrong = http.delete(node.url("/toy/echo")).send().await.unwrap();
    assert_eq!(wrong.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(wrong.headers()["content-type"], "application/problem+json");
    let metrics = node.metrics().await;
    assert!(metrics.contains(r#"path="/toy/echo""#) || metrics.contains(r#"route="/toy/echo""#), "{metrics}");
}
