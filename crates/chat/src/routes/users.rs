use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use tidegate_server::{Body, Caller, Problem, Query, Segment};

use crate::model::{UserProfile, View};
use crate::service::{Chat, ProfileWish};

pub(super) async fn list(
    State(chat): State<Arc<Chat>>,
    caller: Caller,
) -> Result<Json<Vec<UserProfile>>, Problem> {
    chat.users(&caller).await.map(Json)
}

pub(super) async fn set(
    State(chat): State<Arc<Chat>>,
    Segment(user): Segment<String>,
    caller: Caller,
    Body(wish): Body<ProfileWish>,
) -> Result<Json<UserProfile>, Problem> {
    chat.set_profile(&caller, &user, wish).await.map(Json)
}

/// The room of two.
pub(super) async fn room(
    State(chat): State<Arc<Chat>>,
    Segment(other): Segment<String>,
    caller: Caller,
    query: Query,
) -> Result<(StatusCode, Json<View>), Problem> {
    let (view, new) = chat.create_direct(&caller, &other, query.one("relationType")).await?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(view)))
}
