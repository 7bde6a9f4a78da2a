//! What types can't say: ranges, and settings that contradict each other.

use std::time::Duration;

use tidegate_auth::{Authenticator, Mode};
use tidegate_protocol::{EventName, Topic};
use tidegate_transport::tls::{Certificates, File};
use tracing_subscriber::EnvFilter;

use super::{Config, Origins, Problem, Problems, Tls};

/// Below this hyper refuses to read headers at all.
const MIN_HEADER_BYTES: u64 = 8 << 10;
const ZERO: &str = "must not be 0";

/// Adds everything that is wrong with `config` to `problems`.
pub(super) fn check(config: &Config, origins: &Origins, problems: &mut Problems) {
    let mut checker = Checker { origins, problems };
    checker.listeners(config);
    checker.tls(&config.tls);
    checker.http3(config);
    checker.redis(config);
    checker.auth(config);
    checker.topics(config);
    checker.bounds(config);
    checker.drain(config);
    checker.apps(config);
}

struct Checker<'a> {
    origins: &'a Origins,
    problems: &'a mut Problems,
}

impl Checker<'_> {
    fn wrong(&mut self, path: &str, what: impl Into<String>) {
        self.add(path, Problem::new(path, what));
    }

    fn add(&mut self, path: &str, problem: Problem) {
        if !self.problems.touch(path) {
            self.problems.push(problem.at(self.origins.get(path).cloned()));
        }
    }

    fn require(&mut self, holds: bool, path: &str, what: impl Into<String>) {
        if !holds {
            self.wrong(path, what);
        }
    }

    fn listeners(&mut self, config: &Config) {
        let same = config.listen == config.admin_listen && config.listen.port() != 0;
        self.require(!same, "admin_listen", "is the same address as listen: choose another port");
        let asked = config.auth.mode == super::AuthMode::Open;
        if config.auth.is_open() && !asked && !config.listen.ip().is_loopback() {
            let what = format!(
                "no key is configured, so anybody who reaches {} could subscribe and publish",
                config.listen
            );
            let advice = "configure keys (auth.jwt, auth.api_keys), or listen on 127.0.0.1, or write auth.mode = \"open\" (TIDEGATE_AUTH__MODE=open) if that is meant";
            self.add("listen", Problem::new("listen", what).advise(advice));
        }
        if let Err(error) = EnvFilter::try_new(&config.log.filter) {
            let example = "for example \"info\", or \"info,tidegate_hub=debug\"";
            self.add("log.filter", Problem::new("log.filter", error.to_string()).advise(example));
        }
        for (index, mistake) in config.cors.parse().err().unwrap_or_default() {
            self.wrong(&format!("cors.origins[{index}]"), mistake);
        }
        let mixed = config.cors.origins.len() > 1 && config.cors.origins.iter().any(|origin| origin == "*");
        self.require(!mixed, "cors.origins", "\"*\" stands alone: it means any origin, without cookies");
    }

    fn http3(&mut self, config: &Config) {
        let spoken = config.tls.is_on() && config.http3.enabled;
        self.require(
            spoken || config.http3.advertise_port == 0,
            "http3.advertise_port",
            "has no effect: HTTP/3 needs TLS (tls.certificate and tls.key) and http3.enabled",
        );
    }

    fn tls(&mut self, tls: &Tls) {
        let (certificate, key) = (!tls.certificate.as_os_str().is_empty(), !tls.key.as_os_str().is_empty());
        let dev = "makes a certificate of its own: leave out tls.certificate and tls.key, or this";
        self.require(!tls.dev || !(certificate || key), "tls.dev", dev);
        self.require(certificate || !key, "tls.certificate", "is missing: tls.key alone proves nothing");
        self.require(
            key || !certificate,
            "tls.key",
            "is missing: tls.certificate can't be shown without its key",
        );
        if let (true, true, Err(error)) = (certificate, key, Certificates::load(&tls.certificate, &tls.key)) {
            let path = if error.file() == Some(File::Key) { "tls.key" } else { "tls.certificate" };
            self.wrong(path, error.to_string());
        }
    }

    fn redis(&mut self, config: &Config) {
        let redis = &config.redis;
        if !redis.url.is_empty() {
            match reqwest::Url::parse(redis.url.expose()) {
                Ok(url) if !matches!(url.scheme(), "redis" | "rediss") => {
                    self.wrong(
                        "redis.url",
                        format!("begins with {}://, but must with redis:// or rediss:// (TLS)", url.scheme()),
                    );
                }
                Ok(url) if url.host_str().is_none_or(str::is_empty) => {
                    self.wrong("redis.url", "names no host, unlike redis://127.0.0.1:6379");
                }
                Ok(_) => {}
                Err(error) => {
                    self.wrong("redis.url", format!("not a URL such as redis://127.0.0.1:6379: {error}"));
                }
            }
        }
        self.require(redis.pool_size > 0, "redis.pool_size", ZERO);
        self.require(redis.publish_connections > 0, "redis.publish_connections", ZERO);
        let partitions = (1..=8).contains(&redis.partitions);
        self.require(
            partitions,
            "redis.partitions",
            format!("{} is not from 1 to 8: a cursor has room for 8", redis.partitions),
        );
        let prefix = !redis.prefix.is_empty()
            && redis.prefix.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        self.require(prefix, "redis.prefix", "letters, digits, - _ and . only, and at least one of them");
        for (path, time) in [
            ("redis.connect_timeout", redis.connect_timeout),
            ("redis.response_timeout", redis.response_timeout),
            ("redis.probe_interval", redis.probe_interval),
            ("redis.probe_timeout", redis.probe_timeout),
        ] {
            self.require(!time.is_zero(), path, ZERO);
        }
        self.require(
            redis.queue_bytes >= config.limits.event_bytes,
            "redis.queue_bytes",
            "is smaller than one event (limits.event_bytes)",
        );
    }

    fn auth(&mut self, config: &Config) {
        let auth = &config.auth;
        let cookie = !auth.cookie.is_empty()
            && auth.cookie.chars().all(|c| c.is_ascii_graphic() && !"()<>@,;:\\\"/[]?={}".contains(c));
        self.require(cookie, "auth.cookie", "not a name that a cookie can have");
        let mut rest = auth.clone();
        // Each JWT key for itself: one that can't be read must not hide what is wrong with the next.
        for (index, key) in std::mem::take(&mut rest.jwt.keys).iter().enumerate() {
            let path = format!("auth.jwt.keys[{index}]");
            if self.problems.touch(&path) {
                continue;
            }
            let options = match key.option() {
                Ok(key) => tidegate_auth::JwtOptions { keys: vec![key], ..Default::default() },
                Err((field, what)) => {
                    self.wrong(&format!("{path}.{field}"), what);
                    continue;
                }
            };
            let options = tidegate_auth::Options { mode: Mode::Open, jwt: options, ..Default::default() };
            for invalid in Authenticator::new(&options).err().unwrap_or_default() {
                self.wrong(&path, invalid.problem);
            }
        }
        for (index, key) in rest.api_keys.iter_mut().enumerate() {
            if let Err((field, what)) = key.option() {
                self.wrong(&format!("auth.api_keys[{index}].{field}"), what);
                *key = key.with_stand_in(index);
            }
        }
        if auth.has_keys() && auth.mode != super::AuthMode::Open && !rest.has_keys() {
            rest.mode = super::AuthMode::Open;
        }
        let invalid = match rest.options() {
            Ok(options) => Authenticator::new(&options).err().unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        for invalid in invalid {
            self.wrong(&invalid.setting, invalid.problem);
        }
    }

    fn topics(&mut self, config: &Config) {
        for (name, namespace) in &config.namespaces {
            let path = format!("namespaces.{name}");
            let whole = !name.contains(':') && !name.starts_with('$') && Topic::parse(name).is_ok();
            self.require(
                whole,
                &path,
                "not the first segment of a topic: no : in it, no white space, and $ not at its beginning",
            );
            let (size, ttl) =
                (namespace.size.unwrap_or(config.history.size), namespace.ttl.unwrap_or(config.history.ttl));
            let path = format!("{path}.ttl");
            self.require(
                size == 0 || !ttl.is_zero(),
                &path,
                "0 keeps nothing: to have no history set size = 0",
            );
            self.require(
                ttl <= config.history.record_ttl,
                &path,
                "is longer than history.record_ttl, and a gap could not be told any more",
            );
        }
        let history = &config.history;
        self.require(
            history.size == 0 || !history.ttl.is_zero(),
            "history.ttl",
            "0 keeps nothing: to have no history set size = 0",
        );
        self.require(
            history.ttl <= history.record_ttl,
            "history.record_ttl",
            "is shorter than history.ttl, and a gap could not be told any more",
        );
    }

    fn bounds(&mut self, config: &Config) {
        let (stream, limits) = (&config.stream, &config.limits);
        for (path, count) in [
            ("stream.outbox_events", stream.outbox_events),
            ("stream.user_connections", stream.user_connections),
            ("stream.topics", stream.topics),
            ("limits.batch", limits.batch),
            ("limits.h2_streams", limits.h2_streams as usize),
            ("limits.memberships", limits.memberships),
        ] {
            self.require(count > 0, path, ZERO);
        }
        self.require(
            !config.apps.chat.or(config.auth.is_open()) || config.chat.rooms <= limits.memberships,
            "limits.memberships",
            "is below chat.rooms, and each room of a user is a membership",
        );
        let second = Duration::from_secs(1);
        self.require(stream.heartbeat >= second, "stream.heartbeat", "must be at least 1s");
        let retry = stream.retry >= Duration::from_millis(10);
        self.require(
            retry,
            "stream.retry",
            "must be at least 10ms: with 0 clients reconnect in a tight loop",
        );
        self.require(
            stream.max_age.is_zero() || stream.max_age >= second,
            "stream.max_age",
            "must be 0s (never) or at least 1s",
        );
        for (path, time) in [
            ("limits.header_timeout", limits.header_timeout),
            ("limits.body_timeout", limits.body_timeout),
            ("limits.write_deadline", limits.write_deadline),
            ("limits.join_timeout", limits.join_timeout),
            ("limits.poll_timeout", limits.poll_timeout),
            ("idempotency.ttl", config.idempotency.ttl),
        ] {
            self.require(!time.is_zero(), path, ZERO);
        }
        self.require(limits.event_bytes.bytes() > 0, "limits.event_bytes", ZERO);
        self.require(
            limits.header_bytes.bytes() >= MIN_HEADER_BYTES,
            "limits.header_bytes",
            "must be at least 8KiB, the smallest buffer that headers are read with",
        );
        self.require(
            limits.body_bytes >= limits.event_bytes,
            "limits.body_bytes",
            "is smaller than one event (limits.event_bytes)",
        );
        self.require(
            limits.body_memory >= limits.body_bytes,
            "limits.body_memory",
            "is smaller than one body (limits.body_bytes)",
        );
        self.require(
            limits.history_memory.bytes() >= limits.event_bytes.bytes().max(1 << 20),
            "limits.history_memory",
            "must be at least 1MiB, a page of history, and one event (limits.event_bytes)",
        );
        self.require(
            stream.outbox_bytes >= limits.event_bytes,
            "stream.outbox_bytes",
            "is smaller than one event (limits.event_bytes): no client could receive it",
        );
        let burst = limits.publish_burst == 0 || limits.publish_rate > 0;
        self.require(burst, "limits.publish_burst", "has no effect without limits.publish_rate");
        let burst = limits.connect_burst == 0 || limits.connect_rate > 0;
        self.require(burst, "limits.connect_burst", "has no effect without limits.connect_rate");
    }

    fn apps(&mut self, config: &Config) {
        let (chat, seats) = (&config.chat, &config.seats);
        let event = chat.connect_event.is_empty() || EventName::parse(&chat.connect_event).is_ok();
        self.require(
            event,
            "chat.connect_event",
            "no name that an event can have: no control characters, at most 128 bytes, not tidegate:…",
        );
        for (path, count) in [
            ("chat.history_size", chat.history_size as usize),
            ("chat.participants", chat.participants),
            ("chat.rooms", chat.rooms),
            ("chat.rooms_made", chat.rooms_made),
            ("chat.rooms_total", chat.rooms_total),
            ("chat.users", chat.users),
            ("seats.seats", seats.seats as usize),
            ("seats.user_holds", seats.user_holds as usize),
            ("seats.schedules", seats.schedules),
        ] {
            self.require(count > 0, path, ZERO);
        }
        let second = Duration::from_secs(1);
        for (path, time) in [
            ("chat.user_heartbeat", chat.user_heartbeat),
            ("chat.room_heartbeat", chat.room_heartbeat),
            ("chat.poll_timeout", chat.poll_timeout),
            ("seats.hold", seats.hold),
            ("seats.heartbeat", seats.heartbeat),
        ] {
            self.require(time >= second, path, "must be at least 1s");
        }
        for (path, time) in [
            ("chat.user_timeout", chat.user_timeout),
            ("chat.room_timeout", chat.room_timeout),
            ("seats.timeout", seats.timeout),
        ] {
            self.require(time.is_zero() || time >= second, path, "must be 0s (never) or at least 1s");
        }
        self.require(!chat.history_ttl.is_zero(), "chat.history_ttl", ZERO);
        let rule = "is shorter than chat.history_ttl: messages would outlive their rooms";
        self.require(chat.room_ttl >= chat.history_ttl, "chat.room_ttl", rule);
        let day = Duration::from_secs(86_400);
        self.require(chat.user_ttl >= day, "chat.user_ttl", "must be at least 1day");
        self.require(seats.sweep >= Duration::from_millis(100), "seats.sweep", "must be at least 100ms");
        let year = Duration::from_secs(366 * 86_400);
        self.require(seats.hold <= year, "seats.hold", "must be at most 366days");
        let rule = "must be at most 10000: the list has them all, in one answer";
        self.require(seats.seats <= 10_000, "seats.seats", rule);
        let rule = "is not longer than seats.hold: what is held would be forgotten";
        self.require(seats.keep > seats.hold, "seats.keep", rule);
    }

    fn drain(&mut self, config: &Config) {
        let drain = &config.drain;
        let time = humantime::format_duration;
        if drain.delay.saturating_add(drain.window) > drain.deadline {
            let (delay, window, deadline) = (time(drain.delay), time(drain.window), time(drain.deadline));
            let written = ["drain.deadline", "drain.delay", "drain.window"];
            let path = written.into_iter().find(|path| self.origins.get(path).is_some()).unwrap_or("drain");
            self.wrong(path, format!("drain.delay and drain.window ({delay} + {window}) take longer than drain.deadline ({deadline}): streams would be cut"));
        }
    }
}
