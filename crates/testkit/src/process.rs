//! A child process that cannot be left behind.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::sync::watch;

/// How much of a child's output a failing test prints.
const TAIL_LINES: usize = 150;

/// A running child in its own process group, with its output in a file. Dropping it kills the group (stopped ones
/// too), waits for the end, and prints the output's tail if a test is panicking.
///
/// A thread waits for the child, not the runtime: a test's runtime may end before a child that is shared by several tests.
#[derive(Debug)]
pub(crate) struct Process {
    program: String,
    pid: Pid,
    log: PathBuf,
    status: watch::Receiver<Option<ExitStatus>>,
    waiter: Option<thread::JoinHandle<()>>,
    lifeline: Child,
}

impl Process {
    /// Starts `command`, its output appended to `log`. `package` is what to install when the program is missing.
    pub(crate) fn spawn(mut command: Command, log: &Path, package: &str) -> Process {
        let program = command.get_program().to_string_lossy().into_owned();
        let output = File::options().create(true).append(true).open(log).expect("a log file");
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(e) if e.kind() == io::ErrorKind::NotFound => panic!("{program} is missing: {package}"),
            Err(e) => panic!("cannot start {program}: {e}"),
        };
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
        let (ended, status) = watch::channel(None);
        let waiter = thread::spawn(move || {
            ended.send_replace(Some(child.wait().expect("wait for a child")));
        });
        Process { program, pid, log: log.into(), status, waiter: Some(waiter), lifeline: lifeline(pid, log) }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    pub(crate) fn status(&self) -> Option<ExitStatus> {
        *self.status.borrow()
    }

    /// Sends a signal to the child itself; nothing happens if it has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.status().is_none() {
            kill(self.pid, signal).expect("signal a child");
        }
    }

    pub(crate) async fn wait(&self) -> ExitStatus {
        let mut status = self.status.clone();
        let ended = status.wait_for(Option::is_some).await.expect("the waiter reports before it ends");
        ended.expect("just checked")
    }

    /// SIGKILL for the child and its own children, and waits for its end.
    pub(crate) async fn kill(&self) -> ExitStatus {
        self.kill_group();
        self.wait().await
    }

    /// What the child has written so far.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines of the output, with a heading, for a panic's message.
    pub(crate) fn tail(&self) -> String {
        let output = self.output();
        let skipped = output.lines().count().saturating_sub(TAIL_LINES);
        let lines: Vec<_> = output.lines().skip(skipped).collect();
        format!("--- {} (pid {}), last lines ---\n{}\n---", self.program, self.pid, lines.join("\n"))
    }

    /// SIGTERM, and blocks until the child has ended: for one that has children of its own to take leave of.
    pub(crate) fn dismiss(&mut self) {
        self.signal(Signal::SIGTERM);
        if let Some(waiter) = self.waiter.take() {
            let _ = waiter.join();
        }
    }

    fn kill_group(&self) {
        if self.status().is_none() {
            // The group may end between the look and the signal.
            let _ = killpg(self.pid, Signal::SIGKILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_group();
        if let Some(waiter) = self.waiter.take() {
            let _ = waiter.join();
        }
        let _ = self.lifeline.kill();
        let _ = self.lifeline.wait();
        if thread::panicking() {
            eprintln!("{}", self.tail());
        }
    }
}

/// A shell that waits for the end of its input, which comes when this process ends in whatever way (a Ctrl-C, a runner's
/// SIGKILL, a static that is never dropped), and then kills the group and removes the directory of its log.
fn lifeline(group: Pid, log: &Path) -> Child {
    Command::new("sh")
        .args(["-c", "read _; kill -s KILL -- -$0; rm -rf -- \"$1\"", &group.to_string()])
        .arg(log.parent().expect("a directory of the child's own"))
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("start sh")
}
