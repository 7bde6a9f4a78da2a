//! HTTP: the seats of a schedule, their stream of changes, and the three things that a user can do to one.

use std::sync::Arc;

use axum::extract::{FromRef, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderValue, header};
use tidegate_broker::{Read, Span};
use tidegate_hub::{Heartbeat, Resume, StreamOverrides};
use tidegate_protocol::Cursor;
use tidegate_server::{App, Application, Caller, Problem, Segment, last_event_id, stream};

use crate::Options;
use crate::model::{Act, Refusal, Seat};
use crate::place::{Place, Schedule};
use crate::seats::{Error, Seats};
use crate::store::{self, NOBODY, Store};

/// What a page with the list goes on from: the place of the schedule's changes just before the list was read.
const CURSOR: &str = "tidegate-cursor";

/// The event that says so is no change of any seat: the number is none.
const HEARTBEAT: &str = r#"{"scheduleSeatId":-1,"status":null,"isHeartbeat":true}"#;

/// The setting that bounds them.
const SCHEDULES: &str = "seats.schedules";

const EVENTS: &str = "/api/schedules/{schedule}/seats/events";

/// The seats in `store`, ready to be served. Must be called on a runtime. The task that ends holds
/// lives as long as the hub.
pub fn application(app: App, store: Arc<dyn Store>, options: Options) -> Application {
    let overrides = Arc::new(StreamOverrides {
        greeting: None,
        heartbeat: options.heartbeat,
        style: Heartbeat::Event { name: None, data: HEARTBEAT.into() },
        max_age: options.timeout,
    });
    app.count_refusals_by(&[SCHEDULES]);
    let seats = Seats::start(store, Arc::clone(app.broker()), options, app.hub().tasks());
    let mut router =
        Router::new().route("/api/schedules/{schedule}/seats", get(list)).route(EVENTS, get(events));
    for (name, act) in [("hold", Act::Hold), ("release", Act::Release), ("reserve", Act::Reserve)] {
        let path = format!("/api/schedules/{{schedule}}/seats/{{seat}}/{name}");
        let handle = move |State(room): State<Room>, path: Path, caller: Caller| ask(room, path, caller, act);
        router = router.route(&path, post(handle));
    }
    let router = router.with_state(Room { app, seats, overrides });
    Application { name: "seats", router, streams: &[EVENTS], openapi: include_str!("openapi.json") }
}

#[derive(Clone)]
struct Room {
    app: App,
    seats: Arc<Seats>,
    overrides: Arc<StreamOverrides>,
}

impl FromRef<Room> for App {
    fn from_ref(room: &Room) -> Self {
        room.app.clone()
    }
}

/// Every seat; those of the caller, if there is one, with the caller's name. The cursor is read
/// first: what changes in between is both in the list and on the stream, which does no harm.
async fn list(
    State(room): State<Room>,
    Segment(schedule): Segment<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let schedule = valid(&schedule)?;
    // The list is for everybody: a credential that does not count only shows no holder.
    let caller = Caller::of(&room.app, &parts).await.ok();
    let viewer = caller.as_ref().and_then(|caller| caller.identity.user.as_deref()).unwrap_or(NOBODY);
    let (topic, broker) = (schedule.topic(), room.app.broker());
    let read = Read { topic: topic.clone(), span: Span::Last { limit: 1 } };
    let page = room.app.hub().history(read).await?;
    let cursor = Cursor::single(topic.partition(broker.partitions()), page.head).to_string();
    let seats = room.seats.all(&schedule).await.map_err(|error| room.failed(error))?;
    let shown: Vec<Seat> = seats.into_iter().map(|seat| room.seats.shown(seat, viewer)).collect();
    let mut response = Json(shown).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(cursor) = HeaderValue::from_str(&cursor) {
        response.headers_mut().insert(CURSOR, cursor);
    }
    Ok(response)
}

/// Every change: the schedule's topic, in the manner that the seats' clients expect. Anyone may
/// look. A stream with a credential is its user's.
async fn events(
    State(room): State<Room>,
    Segment(schedule): Segment<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let topics = vec![valid(&schedule)?.topic().clone()];
    let resume = last_event_id(&parts)?.map_or(Resume::Live, Resume::After);
    let caller = Caller::of(&room.app, &parts).await;
    let opening = caller.map(|caller| caller.opening(topics).resume(resume).overrides(room.overrides));
    stream(&room.app, &parts, opening).await
}

type Path = Segment<(String, String)>;

/// What one user asks for one seat.
async fn ask(room: Room, path: Path, caller: Caller, act: Act) -> Result<Json<Seat>, Problem> {
    let Segment((schedule, seat)) = path;
    let (schedule, seats) = (valid(&schedule)?, &room.seats);
    let number = seats.number(&seat).ok_or_else(|| {
        Problem::not_found(format!("{schedule} has no seat {seat:?}: they are numbered from 1."))
    })?;
    let user = caller.user()?;
    // Also what is refused costs an exchange with the store, and what is not is an event for everybody who looks.
    room.app.allow(&caller.identity, 1)?;
    match seats.act(&Place { schedule, number }, user, act).await {
        Ok(seat) => Ok(Json(seats.shown(seat, user))),
        Err(Error::Refused(Refusal { seat, reason })) => {
            Err(Refusal { seat: seats.shown(seat, user), reason }.into())
        }
        Err(Error::Store(error)) => Err(room.failed(error)),
    }
}

fn valid(schedule: &str) -> Result<Schedule, Problem> {
    Schedule::parse(schedule).map_err(|error| Problem::invalid("schedule", error))
}

/// The seat's own `status` goes by another name: in a problem that is the HTTP status.
impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let mut problem = Self::conflict(refusal.to_string());
        let seat = serde_json::to_value(refusal.seat).unwrap_or_default();
        for (name, value) in seat.as_object().into_iter().flatten() {
            problem = problem.with(if name == "status" { "seatStatus" } else { name }, value.clone());
        }
        problem
    }
}

impl Room {
    fn failed(&self, error: store::Error) -> Problem {
        match error {
            store::Error::Unavailable(details) => {
                // They name hosts and ports: they are for the log.
                tracing::warn!(%details, "the seats' store failed");
                Problem::unavailable("The seats are not available. Try again: asking twice does no harm.")
            }
            store::Error::Outbox => {
                tracing::warn!("changes of seats are not announced: the broker takes none");
                Problem::unavailable(
                    "Changes of seats can't be announced. Try again: asking twice does no harm.",
                )
            }
            store::Error::Schedules => {
                let detail = "The limit on schedules with held or reserved seats is reached. Release a seat, or try again later.";
                self.app.refused_by(SCHEDULES, Problem::full(detail))
            }
        }
    }
}
