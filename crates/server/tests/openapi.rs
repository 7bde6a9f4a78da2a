//! `/openapi.json` says what the router does: no path, no method more or less, and its examples work.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::sync::LazyLock;

use axum::Router;
use axum::body::Body;
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use prometheus::Registry;
use serde_json::Value;
use tidegate_auth::{Authenticator, Mode};
use tidegate_broker::{Local, LocalOptions};
use tidegate_hub::Hub;
use tidegate_server::{App, Metrics, Options, public};
use tower::ServiceExt;

static SPEC: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../src/pages/openapi.json")).unwrap());

/// The methods that a path of an OpenAPI document may have.
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

#[test]
fn every_path_of_the_router_is_described_and_no_other() {
    let source = include_str!("../src/routes/mod.rs");
    let public = source.split("pub fn public").nth(1).unwrap().split("\n}").next().unwrap();
    let served: BTreeSet<&str> = public
        .split(".route(")
        .skip(1)
        .map(|rest| {
            rest.trim_start().strip_prefix('"').expect("a path is a literal").split('"').next().unwrap()
        })
        .collect();
    assert!(served.len() > 5, "the list of routes was not found");
    let described: BTreeSet<&str> = SPEC["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(served, described);
}

#[test]
fn every_type_of_problem_is_listed_and_no_other() {
    let calls = include_str!("../src/problem.rs").split("Self::new(").skip(1);
    let made: BTreeSet<String> = calls
        .filter_map(|call| call.split('"').nth(1))
        .map(|code| format!("urn:tidegate:problem:{code}"))
        .collect();
    let types = &SPEC["components"]["schemas"]["Problem"]["properties"]["type"]["enum"];
    let listed: BTreeSet<String> = serde_json::from_value(types.clone()).unwrap();
    assert_eq!(made, listed);
}

#[tokio::test]
async fn every_path_has_the_methods_that_are_described() {
    let router = router();
    for (path, item) in SPEC["paths"].as_object().unwrap() {
        let request =
            Request::builder().method(Method::TRACE).uri(concrete(path)).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        let allow = response.headers()[header::ALLOW].to_str().unwrap().to_ascii_lowercase();
        // CONNECT opens a WebSocket over HTTP/2, and OpenAPI has no such operation.
        let served: BTreeSet<&str> =
            allow.split(',').map(str::trim).filter(|method| *method != "connect").collect();
        let mut described: BTreeSet<&str> = operations(item).map(|(method, _)| method).collect();
        // The router answers HEAD wherever it answers GET.
        if described.contains("get") {
            described.insert("head");
        }
        assert_eq!(served, described, "{path}");
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let mut count = 0;
    walk(&SPEC, &mut |value| {
        if let Some(reference) = value.get("$ref") {
            let pointer =
                reference.as_str().unwrap().strip_prefix('#').expect("references stay in the document");
            assert!(SPEC.pointer(pointer).is_some(), "{reference} leads nowhere");
            count += 1;
        }
    });
    assert!(count > 50, "only {count} references: was something not walked?");
}

#[test]
fn every_operation_says_how_it_fails() {
    let mut ids = BTreeSet::new();
    for (path, item) in SPEC["paths"].as_object().unwrap() {
        for (method, operation) in operations(item) {
            let at = format!("{method} {path}");
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{at}: operationId twice");
            let answers = operation["responses"].as_object().unwrap();
            let failures: Vec<_> = answers.iter().filter(|(code, _)| code.as_str() >= "400").collect();
            assert!(!failures.is_empty(), "{at}: no failure described");
            for (code, answer) in failures {
                let schema = &resolve(answer)["content"]["application/problem+json"]["schema"];
                assert_eq!(schema["$ref"], "#/components/schemas/Problem", "{at}: {code}");
            }
            for name in path.split(['{', '}']).skip(1).step_by(2) {
                let parameters = operation["parameters"].as_array().unwrap();
                let given = parameters.iter().map(resolve).any(|p| p["name"] == name && p["in"] == "path");
                assert!(given, "{at}: {name} is not described");
            }
        }
    }
}

#[tokio::test]
async fn examples_are_taken_as_they_stand() {
    let router = router();
    let mut tried = 0;
    for (path, item) in SPEC["paths"].as_object().unwrap() {
        for (method, operation) in operations(item) {
            for (kind, body) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
                for (name, example) in body["examples"].as_object().unwrap() {
                    let value = &example["value"];
                    let text = value.as_str().map_or_else(|| value.to_string(), Into::into);
                    let request = Request::builder()
                        .method(method.to_ascii_uppercase().as_str())
                        .uri(concrete(path))
                        .header(header::CONTENT_TYPE, kind)
                        .body(Body::from(text))
                        .unwrap();
                    let response = router.clone().oneshot(request).await.unwrap();
                    assert_eq!(response.status(), StatusCode::OK, "{method} {path}: {name}");
                    tried += 1;
                }
            }
        }
    }
    assert!(tried >= 8, "only {tried} examples were found");
}

#[tokio::test]
async fn problems_have_the_fields_and_types_described() {
    let schema = &SPEC["components"]["schemas"]["Problem"];
    for (method, uri, body, status) in [
        ("GET", "/v1/events?topic=a%20b", "", 400),
        ("GET", "/v1/nothing", "", 404),
        ("PATCH", "/v1/publish", "", 405),
        ("GET", "/v1/ws?topic=a", "", 426),
        ("POST", "/v1/publish", r#"[{"topic":"a","data":1},{"topic":"a"}]"#, 400),
    ] {
        let request = Request::builder().method(method).uri(uri).body(Body::from(body)).unwrap();
        let response = router().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{method} {uri}");
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let problem: Value = serde_json::from_slice(&bytes).unwrap();
        for required in schema["required"].as_array().unwrap() {
            assert!(problem.get(required.as_str().unwrap()).is_some(), "{problem}: no {required}");
        }
        for (field, _) in problem.as_object().unwrap() {
            assert!(schema["properties"].get(field).is_some(), "{field} is not described");
        }
        assert!(
            schema["properties"]["type"]["enum"].as_array().unwrap().contains(&problem["type"]),
            "{problem}"
        );
    }
}

/// The router of an open gateway with its page.
fn router() -> Router {
    let registry = Registry::new();
    let (broker, deliveries) =
        Local::new(LocalOptions::default(), tidegate_broker::Metrics::new(&registry).unwrap());
    let metrics = tidegate_hub::Metrics::new(&registry).unwrap();
    let hub_options = tidegate_hub::Options::default();
    let hub = Hub::start(hub_options, broker.clone(), deliveries, metrics, &Default::default());
    let auth = tidegate_auth::Options { mode: Mode::Open, ..tidegate_auth::Options::default() };
    let options = Options { topics: 1_000, page: true, ..Options::default() };
    let (auth, metrics) = (Authenticator::new(&auth).unwrap(), Metrics::new(&registry).unwrap());
    public(App::new(options, auth, broker, hub, metrics), Vec::new())
}

/// A path with something in place of its parameters.
fn concrete(path: &str) -> String {
    path.replace(['{', '}'], "")
}

fn operations(item: &Value) -> impl Iterator<Item = (&str, &Value)> {
    item.as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.as_str(), value))
        .filter(|(n, _)| METHODS.contains(n))
}

fn resolve(value: &Value) -> &Value {
    match value.get("$ref") {
        Some(reference) => SPEC.pointer(&reference.as_str().unwrap()[1..]).unwrap(),
        None => value,
    }
}

fn walk(value: &Value, visit: &mut impl FnMut(&Value)) {
    visit(value);
    match value {
        Value::Object(fields) => fields.values().for_each(|value| walk(value, visit)),
        Value::Array(items) => items.iter().for_each(|value| walk(value, visit)),
        _ => {}
    }
}
