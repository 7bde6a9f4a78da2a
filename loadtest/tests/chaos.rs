//! Everything goes wrong once, in a minute, to a cluster under load: no event is lost, doubled or reordered, and who can't have
//! one is told. A test binary of its own: nothing else runs meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The binary beside this test's own: a run of the workspace's tests has built it. Else it is built.
fn gateway() -> PathBuf {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_loadtest")).with_file_name("tidegate");
    if !binary.exists() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--package", "tidegate", "--locked"]);
        build.args(binary.parent().is_some_and(|dir| dir.ends_with("release")).then_some("--release"));
        assert!(build.status().unwrap().success(), "the gateway does not build");
    }
    binary
}

/// A small load: it is about what happens, not how much of it. Nothing here is judged by time.
#[test]
fn nothing_is_lost_whatever_goes_wrong() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(["chaos", "--seed", "1", "--seconds", "45", "--clients", "40", "--rate", "30"]);
    let chaos = command.arg("--binary").arg(gateway()).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let output = text(&chaos.stdout) + &text(&chaos.stderr);
    assert!(chaos.status.success(), "{output}");
    for fault in ["a node killed", "rolling restart", "Redis restarted, without data", "garbage"] {
        assert!(output.contains(fault), "{fault} did not happen: {output}");
    }
}
