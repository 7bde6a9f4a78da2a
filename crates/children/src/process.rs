//! A child process that cannot be left behind.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use parking_lot::Mutex;

use crate::Home;

/// How much of a child's output an error holds.
const TAIL_LINES: usize = 150;

/// Between two looks. A loop of 20 ms costs a waiting thread nothing and adds little to a passing
/// one.
const PAUSE: Duration = Duration::from_millis(20);

/// A running child. Dropping it kills its process group, stopped ones too, waits for the end, and
/// prints the end of its log if a test is panicking.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: Pid,
    child: Mutex<Child>,
    log: PathBuf,
    home: Home,
}

impl Process {
    pub(crate) fn spawn(home: &Home, name: &str, mut command: Command, package: &str) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let log = home.path().join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log)?;
        command.process_group(0).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = match command.spawn() {
            Err(error) if error.kind() == ErrorKind::NotFound => bail!("{program} is missing: {package}"),
            other => other.with_context(|| format!("can't start {program}"))?,
        };
        let pid = Pid::from_raw(i32::try_from(child.id())?);
        Ok(Self { name: name.to_owned(), pid, child: Mutex::new(child), log, home: home.clone() })
    }

    /// The process id, which is its group's as well.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// How it ended; none while it runs.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.child.lock().try_wait().ok().flatten()
    }

    /// Sends a signal to the child itself. Nothing happens if it has ended.
    pub fn signal(&self, signal: Signal) {
        let mut child = self.child.lock();
        if matches!(child.try_wait(), Ok(None)) {
            let _ = kill(self.pid, signal);
        }
    }

    /// SIGKILL for the child and its own children. Waits for its end.
    pub fn kill(&self) -> io::Result<ExitStatus> {
        let mut child = self.child.lock();
        if matches!(child.try_wait(), Ok(None)) {
            let _ = killpg(self.pid, Signal::SIGKILL);
        }
        child.wait()
    }

    /// Waits for its end. None: it takes longer.
    pub fn wait(&self, within: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            match self.ended() {
                None if Instant::now() < deadline => pause(),
                ended => return ended,
            }
        }
    }

    /// Waits until `ready` says so. An error if the child ends before that, or takes longer.
    pub fn ready(&self, within: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        let deadline = Instant::now() + within;
        while !ready() {
            if let Some(status) = self.ended() {
                bail!("{} has ended with {status}\n{}", self.name, self.tail());
            }
            if Instant::now() > deadline {
                bail!("{} is not ready after {within:?}\n{}", self.name, self.tail());
            }
            pause();
        }
        Ok(())
    }

    /// Everything that the child has written so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines of the output, with a heading.
    pub fn tail(&self) -> String {
        let output = self.output();
        let skipped = output.lines().count().saturating_sub(TAIL_LINES);
        let lines: Vec<_> = output.lines().skip(skipped).collect();
        format!("--- {} (pid {}), last lines ---\n{}\n---", self.name, self.pid, lines.join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
        self.home.forget(self.pid());
        if thread::panicking() {
            eprintln!("{}", self.tail());
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "another process can only be asked again")]
fn pause() {
    thread::sleep(PAUSE);
}
