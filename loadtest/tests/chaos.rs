//! Everything goes wrong once, in a minute, to a cluster under load: no event is lost, doubled or reordered, and who can't have
//! one is told. A test binary of its own: nothing else runs meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::{Command, Stdio};

use tidegate_testkit::Gateway;

/// A small load: it is about what happens, not how much of it. Nothing here is judged by time.
#[test]
fn nothing_is_lost_whatever_goes_wrong() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(["chaos", "--seed", "1", "--seconds", "45", "--clients", "40", "--rate", "30"]);
    command.arg("--binary").arg(Gateway::binary_beside(env!("CARGO_BIN_EXE_loadtest")));
    let chaos = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let output = text(&chaos.stdout) + &text(&chaos.stderr);
    assert!(chaos.status.success(), "{output}");
    for fault in ["a node killed", "rolling restart", "Redis restarted, without data", "garbage"] {
        assert!(output.contains(fault), "{fault} did not happen: {output}");
    }
}
