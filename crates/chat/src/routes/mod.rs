//! The routes, and those that earlier servers had.

mod messages;
mod poll;
mod rooms;
mod streams;
mod users;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use axum::routing::{get, post, put};
use tidegate_server::{App, Application};

use crate::service::Chat;

/// What every route needs.
#[derive(Clone)]
struct Node {
    app: App,
    chat: Arc<Chat>,
}

impl FromRef<Node> for App {
    fn from_ref(node: &Node) -> Self {
        node.app.clone()
    }
}

impl FromRef<Node> for Arc<Chat> {
    fn from_ref(node: &Node) -> Self {
        Arc::clone(&node.chat)
    }
}

/// The routes as an application of the gateway.
pub(crate) fn application(app: App, chat: Arc<Chat>) -> Application {
    let router = Router::new()
        .route("/api/chat/rooms", get(rooms::list).post(rooms::create))
        .route("/api/chat/rooms/{roomId}", get(rooms::get).delete(rooms::delete))
        .route("/api/chat/rooms/{roomId}/messages", get(messages::list).post(messages::send))
        .route("/api/chat/rooms/{roomId}/subscribe", get(streams::room))
        .route("/api/chat/rooms/{roomId}/read", post(messages::read))
        .route("/api/chat/rooms/{roomId}/participants/{userId}", post(rooms::add).delete(rooms::remove))
        .route("/api/chat/users", get(users::list))
        .route("/api/chat/users/{userId}", put(users::set))
        .route("/api/chat/users/{userId}/rooms", post(users::room))
        .route("/api/chat/stream", get(streams::room_by_query))
        .route("/api/sse/subscribe", get(streams::user))
        .route("/sse/chat-rooms/{roomId}/messages", get(streams::room))
        .route("/long-polling/chat-rooms/{roomId}/messages", get(poll::get))
        .with_state(Node { app, chat });
    Application {
        name: "chat",
        router,
        streams: &[
            "/api/chat/rooms/{roomId}/subscribe",
            "/api/chat/stream",
            "/api/sse/subscribe",
            "/sse/chat-rooms/{roomId}/messages",
        ],
        openapi: include_str!("../openapi.json"),
    }
}
