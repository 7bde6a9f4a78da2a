//! The applications that are served beside the gateway's own routes.

use std::sync::Arc;
use std::time::Duration;

use tidegate_broker::Retention;
use tidegate_broker_redis::RedisBroker;
use tidegate_hub::{Greeting, Heartbeat};
use tidegate_protocol::{EventName, Topic};
use tidegate_server::{App, Application, Namespaces};

use crate::config::{Chat, Config, HeartbeatStyle, Seats};

/// Those that the configuration has on, with their stores: in Redis where there is one, else in this process.
pub(crate) fn build(
    config: &Config,
    namespaces: &Namespaces,
    app: &App,
    redis: Option<&RedisBroker>,
) -> Vec<Application> {
    let (open, prefix) = (config.auth.is_open(), &config.redis.prefix);
    let mut applications = Vec::new();
    if config.apps.chat.or(open) {
        let options = chat(&config.chat, config.idempotency.ttl, namespaces);
        let store: Arc<dyn tidegate_chat::store::Store> = match redis {
            Some(redis) => Arc::new(tidegate_chat::store::Redis::new(redis.pool(), prefix, &options)),
            None => Arc::new(tidegate_chat::store::Memory::new(&options)),
        };
        applications.push(tidegate_chat::application(app.clone(), options, store));
    }
    if config.apps.seats.or(open) {
        let options = seats(&config.seats, namespaces.default.retention);
        let store: Arc<dyn tidegate_seats::store::Store> = match redis {
            Some(redis) => Arc::new(tidegate_seats::store::Redis::new(redis.pool(), prefix, &options)),
            None => Arc::new(tidegate_seats::store::Memory::new(&options)),
        };
        applications.push(tidegate_seats::application(app.clone(), store, options));
    }
    applications
}

fn chat(chat: &Chat, key_ttl: Duration, namespaces: &Namespaces) -> tidegate_chat::Options {
    let defaults = tidegate_chat::Options::default();
    let event = EventName::parse(&chat.connect_event).ok();
    tidegate_chat::Options {
        messages: Retention {
            size: chat.history_size,
            ttl: chat.history_ttl,
            // A gap can be told for as long again.
            record_ttl: chat.history_ttl.saturating_mul(2),
            key_ttl,
        },
        notices: Topic::user("anyone").map_or(defaults.notices, |topic| namespaces.of(&topic).retention),
        replay: chat.replay,
        greeting: event.map(|event| Greeting { event, data: chat.connect_data.clone() }),
        // The data of a heartbeat is what the first clients of such streams were sent; nobody reads it.
        user_heartbeat_style: style(&chat.user_heartbeat_style, "heartbeat"),
        user_heartbeat: chat.user_heartbeat,
        room_heartbeat_style: style(&chat.room_heartbeat_style, ""),
        room_heartbeat: chat.room_heartbeat,
        room_timeout: chat.room_timeout,
        user_timeout: chat.user_timeout,
        poll_timeout: chat.poll_timeout,
        bounds: tidegate_chat::Bounds {
            participants: chat.participants,
            rooms_per_user: chat.rooms,
            rooms_made: chat.rooms_made,
            rooms: chat.rooms_total,
            room_ttl: chat.room_ttl,
            users: chat.users,
            user_ttl: chat.user_ttl,
            ..defaults.bounds
        },
    }
}

fn seats(seats: &Seats, retention: Retention) -> tidegate_seats::Options {
    tidegate_seats::Options {
        seats: seats.seats,
        hold: seats.hold,
        user_holds: seats.user_holds,
        keep: seats.keep,
        sweep: seats.sweep,
        heartbeat: seats.heartbeat,
        timeout: (!seats.timeout.is_zero()).then_some(seats.timeout),
        schedules: seats.schedules,
        show_holders: seats.show_holders,
        retention,
    }
}

fn style(style: &HeartbeatStyle, data: &str) -> Heartbeat {
    match style {
        HeartbeatStyle::Comment => Heartbeat::Comment,
        HeartbeatStyle::Event(name) => Heartbeat::Event { name: Some(name.clone()), data: data.into() },
    }
}
