//! The binary as its users meet it: a process with arguments, an environment, and two streams of text.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod admission;
mod commands;
mod doctor;
mod http3;
mod key_files;
mod logs;
mod script;
mod subscribe;
mod tasks;
mod tls;

use std::process::Stdio;

use tokio::process::Command;

/// The binary, with an environment that says nothing.
fn tidegate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(arguments).env_clear().kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Exit code, standard output, standard error.
async fn outcome(mut command: Command) -> (i32, String, String) {
    let output = command.output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}
