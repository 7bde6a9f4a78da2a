//! A gateway that has lost a part of itself ends, and says which.

use std::collections::BTreeSet;

use tidegate_testkit::{Gateway, RedisServer};

#[cfg(debug_assertions)]
use crate::{outcome, tidegate};

/// Every background task of a gateway that has everything on. A new one is added here, and its end
/// is tried.
const TASKS: [&str; 15] = [
    "HTTP/3 listener",
    "admin listener",
    "certificate",
    "drain",
    "hub dispatch",
    "hub resync",
    "hub wheel",
    "key set",
    "main listener",
    "publish rates",
    "redis probe 0",
    "redis publisher 0",
    "redis publisher 1",
    "redis subscription 0",
    "seats sweep",
];

/// A thread can't be ended from outside: the unit tests of the log end it from within.
const THREADS: [&str; 1] = ["log writer"];

fn settings(redis: &RedisServer) -> Vec<(&'static str, String)> {
    vec![
        ("TIDEGATE_REDIS__URL", redis.url()),
        ("TIDEGATE_REDIS__PUBLISH_CONNECTIONS", "2".into()),
        ("TIDEGATE_TLS__DEV", "true".into()),
        ("TIDEGATE_AUTH__JWT__JWKS_URL", "http://127.0.0.1:1/keys".into()),
        ("TIDEGATE_APPS__CHAT", "true".into()),
        ("TIDEGATE_APPS__SEATS", "true".into()),
    ]
}

#[tokio::test]
async fn every_background_task_is_known() {
    let redis = RedisServer::start().await;
    let mut env = settings(&redis);
    env.push(("TIDEGATE_LOG", "info,tidegate_tasks=debug".into()));
    let env: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let gateway = Gateway::spawn(env!("CARGO_BIN_EXE_tidegate"), &[], &env).await;
    gateway.terminate();
    assert!(gateway.wait().await.success());
    let log = gateway.log();
    let begun = log.lines().filter(|line| line.contains("a background task begins"));
    let begun: BTreeSet<_> = begun.map(|line| line.rsplit('"').nth(1).unwrap()).collect();
    assert_eq!(begun, TASKS.into_iter().chain(THREADS).collect());
}

/// Only a debug build has the flag.
#[cfg(debug_assertions)]
#[tokio::test]
async fn a_background_task_that_dies_is_the_last_word_of_the_process() {
    let redis = RedisServer::start().await;
    for task in TASKS {
        let mut command = tidegate(&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command.args(["--kill-task", task]).envs(settings(&redis));
        let (code, _, log) = outcome(command).await;
        assert_eq!(code, 1, "{task}: {log}");
        let expected =
            format!("tidegate: the background task \"{task}\" panicked: a fault, as a test wants it; ");
        let last = log.lines().last().unwrap();
        assert!(last.starts_with(&expected), "{task}: {log}");
        // What a panic leaves in the log: where it was.
        let line = log.lines().find(|line| line.contains("a panic: please report this"));
        assert!(line.is_some_and(|line| line.contains("src/lib.rs:")), "{task}: {log}");
    }
}

#[cfg(debug_assertions)]
#[tokio::test]
async fn for_a_machine_the_last_word_is_an_object() {
    let mut command = tidegate(&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    command.args(["--kill-task", "hub wheel"]).env("TIDEGATE_LOG__FORMAT", "json");
    let (code, _, log) = outcome(command).await;
    assert_eq!(code, 1, "{log}");
    let last: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(last["level"], "ERROR");
    assert!(last["message"].as_str().unwrap().contains("\"hub wheel\" panicked"), "{last}");
}
