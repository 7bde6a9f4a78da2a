//! `/v1/users/{user}`: memberships, and closing a user's streams.

use axum::Json;
use axum::extract::{Request, State};
use serde_json::{Value, json};
use tidegate_protocol::Topic;

use crate::app::App;
use crate::extract::{Segment, TopicName, caller};
use crate::problem::Problem;

/// Of a membership's path, which has the topic behind it or none.
#[derive(serde::Deserialize)]
pub(super) struct Member {
    user: String,
}

pub(super) async fn topics(
    State(app): State<App>,
    Segment(user): Segment<String>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let (parts, _) = request.into_parts();
    let who = caller::identify(&app, &parts).await?;
    if who.user.as_deref() != Some(&user) {
        caller::require_admin(&who)?;
    }
    let mut topics = app.broker().memberships(&own(&user)?).await?;
    topics.sort();
    Ok(Json(json!({ "user": user, "topics": topics })))
}

pub(super) async fn join(
    State(app): State<App>,
    Segment(Member { user }): Segment<Member>,
    name: TopicName,
    request: Request,
) -> Result<Json<Value>, Problem> {
    set(&app, user, name, request, true).await
}

pub(super) async fn leave(
    State(app): State<App>,
    Segment(Member { user }): Segment<Member>,
    name: TopicName,
    request: Request,
) -> Result<Json<Value>, Problem> {
    set(&app, user, name, request, false).await
}

pub(super) async fn disconnect(
    State(app): State<App>,
    Segment(user): Segment<String>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let (parts, _) = request.into_parts();
    let who = caller::identify(&app, &parts).await?;
    caller::require_admin(&who)?;
    let nodes = app.broker().disconnect(&own(&user)?).await?;
    Ok(Json(json!({ "user": user, "nodes": nodes })))
}

async fn set(
    app: &App,
    user: String,
    name: TopicName,
    request: Request,
    member: bool,
) -> Result<Json<Value>, Problem> {
    let (parts, _) = request.into_parts();
    let who = caller::identify(app, &parts).await?;
    caller::require_admin(&who)?;
    let topic = name.parse()?;
    caller::require_unreserved(&topic)?;
    let changed = app.broker().set_membership(&own(&user)?, &topic, member).await?;
    Ok(Json(json!({ "user": user, "topic": topic, "member": member, "changed": changed })))
}

fn own(user: &str) -> Result<Topic, Problem> {
    Topic::user(user).map_err(|error| Problem::invalid("user", format!("{user:?}: {error}.")))
}
