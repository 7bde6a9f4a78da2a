use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use tidegate_server::{Body, Caller, Problem, Segment};

use crate::model::View;
use crate::service::{Chat, RoomWish};

pub(super) async fn list(State(chat): State<Arc<Chat>>, caller: Caller) -> Result<Json<Vec<View>>, Problem> {
    let user = chat.meet(&caller).await?;
    chat.rooms(user).await.map(Json)
}

pub(super) async fn create(
    State(chat): State<Arc<Chat>>,
    caller: Caller,
    Body(wish): Body<RoomWish>,
) -> Result<(StatusCode, Json<View>), Problem> {
    let view = chat.create(&caller, wish).await?;
    Ok((StatusCode::CREATED, Json(view)))
}

pub(super) async fn get(
    State(chat): State<Arc<Chat>>,
    Segment(room): Segment<String>,
    caller: Caller,
) -> Result<Json<View>, Problem> {
    chat.seen(&caller, &room).await.map(Json)
}

pub(super) async fn delete(
    State(chat): State<Arc<Chat>>,
    Segment(room): Segment<String>,
    caller: Caller,
) -> Result<StatusCode, Problem> {
    chat.delete(&caller, &room).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn add(
    State(chat): State<Arc<Chat>>,
    Segment((room, user)): Segment<(String, String)>,
    caller: Caller,
) -> Result<Json<View>, Problem> {
    chat.add(&caller, &room, &user).await.map(Json)
}

pub(super) async fn remove(
    State(chat): State<Arc<Chat>>,
    Segment((room, user)): Segment<(String, String)>,
    caller: Caller,
) -> Result<StatusCode, Problem> {
    chat.remove(&caller, &room, &user).await?;
    Ok(StatusCode::NO_CONTENT)
}
