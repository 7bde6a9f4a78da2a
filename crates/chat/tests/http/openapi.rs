//! The description says what the router does: no path, no method more or less.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::world::Node;

const METHODS: [&str; 4] = ["get", "put", "post", "delete"];

fn described() -> Value {
    serde_json::from_str(include_str!("../../src/openapi.json")).unwrap()
}

fn operations(item: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let fields = item.as_object().unwrap().iter();
    fields.map(|(name, value)| (name.as_str(), value)).filter(|(name, _)| METHODS.contains(name))
}

#[test]
fn every_path_of_the_router_is_described_and_no_other() {
    let source = include_str!("../../src/routes/mod.rs");
    let served: BTreeSet<&str> = source
        .split(".route(")
        .skip(1)
        .map(|rest| rest.trim_start().strip_prefix('"').unwrap().split('"').next().unwrap())
        .collect();
    assert!(served.len() > 10, "the list of routes was not found");
    let document = described();
    let paths: BTreeSet<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(served, paths);
}

#[tokio::test]
async fn every_path_has_the_methods_that_are_described() {
    let node = Node::alone().await;
    for (path, item) in described()["paths"].as_object().unwrap() {
        let url = node.url(&path.replace(['{', '}'], ""));
        let request = tidegate_testkit::http::client().request(reqwest::Method::TRACE, url);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 405, "{path}");
        let allow = answer.headers()["allow"].to_str().unwrap().to_ascii_lowercase();
        let served: BTreeSet<&str> = allow.split(',').map(str::trim).filter(|name| *name != "head").collect();
        let methods: BTreeSet<&str> = operations(item).map(|(name, _)| name).collect();
        assert_eq!(served, methods, "{path}");
    }
}

#[tokio::test]
async fn every_reference_leads_somewhere_and_every_operation_says_how_it_fails() {
    let node = Node::alone().await;
    let whole = tidegate_testkit::http::get(&node.url("/openapi.json")).await.body;
    let mut open = vec![&whole];
    while let Some(value) = open.pop() {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            assert!(whole.pointer(&reference[1..]).is_some(), "{reference} leads nowhere");
        }
        match value {
            Value::Object(fields) => open.extend(fields.values()),
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    let mut ids = BTreeSet::new();
    for (path, item) in whole["paths"].as_object().unwrap() {
        for (method, operation) in operations(item) {
            let at = format!("{method} {path}");
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{at}: operationId twice");
            let answers = operation["responses"].as_object().unwrap();
            assert!(answers.keys().any(|code| code.as_str() >= "400"), "{at}: no failure described");
            for name in path.split(['{', '}']).skip(1).step_by(2) {
                let parameters = operation["parameters"].as_array().unwrap().iter();
                let given = parameters.map(|parameter| match parameter.get("$ref") {
                    Some(reference) => whole.pointer(&reference.as_str().unwrap()[1..]).unwrap(),
                    None => parameter,
                });
                assert!(given.into_iter().any(|p| p["name"] == name && p["in"] == "path"), "{at}: {name}");
            }
        }
    }
}

/// What is answered has the fields described, and no others.
#[tokio::test]
async fn answers_look_as_described() {
    let node = Node::alone().await;
    let alice = node.person("alice");
    let schemas = &described()["components"]["schemas"];
    let check = |name: &str, value: &Value| {
        let fields: BTreeSet<&String> = value.as_object().unwrap().keys().collect();
        let named: BTreeSet<&String> = schemas[name]["properties"].as_object().unwrap().keys().collect();
        assert_eq!(fields, named, "{name}");
    };
    let room = alice.post("/api/chat/rooms", json!({ "name": "ours", "participants": ["bob"] })).await.body;
    check("ChatRoom", &room);
    let id = room["id"].as_str().unwrap();
    let mut news = node.person("bob").news().await;
    check("ChatMessage", &alice.say(id, "hi").await);
    check("ChatRoomUpdate", &crate::world::next(&mut news, "chat-room-update").await);
    check("ChatMessages", &alice.get(&format!("/api/chat/rooms/{id}/messages")).await.body);
    check("ChatRead", &alice.post(&format!("/api/chat/rooms/{id}/read"), json!({})).await.body);
    check("ChatUser", &alice.get("/api/chat/users").await.body[0]);
}
