//! A gateway with keys, and those who hold them.

use std::fs;
use std::time::{Duration, SystemTime};

use tidegate_auth::{Algorithm, Claims, SigningKey, mint};
use tidegate_protocol::Pattern;
use tidegate_testkit::Gateway;
use tidegate_testkit::ws::{Builder, Refused};

pub(crate) const SECRET: &str = "the-secret-that-signs-tokens-and-is-shown-to-nobody";
/// A backend's, with everything.
pub(crate) const API_KEY: &str = "an-api-key-with-everything-0123456789";
/// A backend's that may publish to and read `room:1`, and manage nothing.
pub(crate) const SMALL_KEY: &str = "an-api-key-with-little-9876543210";

/// A gateway where keys decide, with both applications.
pub(crate) async fn keyed(args: &[&str], more: &[(&str, &str)]) -> Gateway {
    let mut env = vec![
        ("TIDEGATE_AUTH__MODE", "keys"),
        ("TIDEGATE_AUTH__JWT__KEYS__0__SECRET", SECRET),
        ("TIDEGATE_AUTH__API_KEYS__0__NAME", "backend"),
        ("TIDEGATE_AUTH__API_KEYS__0__KEY", API_KEY),
        ("TIDEGATE_AUTH__API_KEYS__1__NAME", "small"),
        ("TIDEGATE_AUTH__API_KEYS__1__KEY", SMALL_KEY),
        ("TIDEGATE_AUTH__API_KEYS__1__ADMIN", "false"),
        ("TIDEGATE_AUTH__API_KEYS__1__PUBLISH", r#"["room:1"]"#),
        ("TIDEGATE_AUTH__API_KEYS__1__SUBSCRIBE", r#"["room:1"]"#),
        ("TIDEGATE_APPS__CHAT", "true"),
        ("TIDEGATE_APPS__SEATS", "true"),
    ];
    env.extend_from_slice(more);
    Gateway::spawn(env!("CARGO_BIN_EXE_tidegate"), args, &env).await
}

/// A gateway where nobody is asked for a key.
pub(crate) async fn open(more: &[(&str, &str)]) -> Gateway {
    Gateway::spawn(env!("CARGO_BIN_EXE_tidegate"), &[], more).await
}

/// A token without grants.
pub(crate) fn user(name: &str) -> String {
    signed(&claims(name))
}

/// A token that may read every room and publish to the first.
pub(crate) fn member(name: &str) -> String {
    let pattern = |text| vec![Pattern::parse(text).unwrap()];
    signed(&Claims { subscribe: pattern("room:*"), publish: pattern("room:1"), ..claims(name) })
}

/// A token that may manage others, and has no grants.
pub(crate) fn admin(name: &str) -> String {
    signed(&Claims { admin: true, ..claims(name) })
}

/// A token with the widest grants there are.
pub(crate) fn everything(name: &str) -> String {
    let all = || vec![Pattern::parse("**").unwrap()];
    signed(&Claims { subscribe: all(), publish: all(), admin: true, ..claims(name) })
}

pub(crate) fn claims(name: &str) -> Claims {
    Claims::for_user(name, SystemTime::now() + Duration::from_secs(3600))
}

pub(crate) fn signed(claims: &Claims) -> String {
    mint(&SigningKey::new(Algorithm::Hs256, &SECRET.into(), None).unwrap(), claims).unwrap()
}

/// The most memory that the gateway ever held, in KiB.
pub(crate) fn peak_kib(gateway: &Gateway) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The status that a handshake gets; 101: it was taken.
pub(crate) async fn handshake(builder: Builder) -> u16 {
    match builder.try_open().await {
        Ok(_) => 101,
        Err(Refused::Answered(status, ..)) => status.as_u16(),
        Err(Refused::Io(error)) => panic!("no answer: {error}"),
    }
}
