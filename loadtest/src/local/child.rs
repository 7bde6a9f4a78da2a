//! Child processes that cannot be left behind.

use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use parking_lot::Mutex;

use crate::wait;

/// Kills the groups it has been told of when its input ends, which it does however this process ends: a Ctrl-C, a SIGKILL.
const LIFELINE: &str = r#"
groups=' '
keep=
while read -r word group; do
    case $word in
    born) groups="$groups$group " ;;
    gone) groups="${groups%% "$group" *} ${groups#* "$group" }" ;;
    keep) keep=yes ;;
    esac
done
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
[ -n "$keep" ] || rm -rf -- "$0"
"#;

type Lifeline = Arc<Mutex<Option<ChildStdin>>>;

/// A temporary directory, and a process that removes it after the end of this one, with all that was started in it.
pub(crate) struct Home {
    pub(crate) path: PathBuf,
    lifeline: Lifeline,
    shell: Child,
}

impl Home {
    pub(crate) fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("tidegate-loadtest-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("can't create {}", path.display()))?;
        // Workers of a root nginx run as nobody and have to get at their temporary files.
        fs::set_permissions(&path, Permissions::from_mode(0o711))?;
        let mut shell = Command::new("sh")
            .args(["-c", LIFELINE])
            .arg(&path)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("can't start sh")?;
        let input = shell.stdin.take();
        Ok(Self { path, lifeline: Arc::new(Mutex::new(input)), shell })
    }

    /// Leaves the directory, with everybody's log in it, where it is.
    pub(crate) fn keep(&self) {
        tell(&self.lifeline, "keep", 0);
    }

    /// Starts `command` in a process group of its own, with its output appended to NAME.log.
    pub(crate) fn start(&self, name: &str, mut command: Command, package: &str) -> Result<Process> {
        let program = command.get_program().to_string_lossy().into_owned();
        let log = self.path.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log)?;
        let started =
            command.process_group(0).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).spawn();
        let child = match started {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!("{program} is missing: {package}")
            }
            other => other.with_context(|| format!("can't start {program}"))?,
        };
        let process = Process {
            name: name.to_owned(),
            pid: Pid::from_raw(i32::try_from(child.id())?),
            child,
            log,
            lifeline: Arc::clone(&self.lifeline),
        };
        tell(&self.lifeline, "born", process.pid.as_raw());
        Ok(process)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // The end of its input: the shell tidies up.
        self.lifeline.lock().take();
        let _ = self.shell.wait();
    }
}

/// A running child. Dropping it kills its group, stopped ones too, and waits for its end.
pub(crate) struct Process {
    name: String,
    pub(crate) pid: Pid,
    child: Child,
    log: PathBuf,
    lifeline: Lifeline,
}

impl Process {
    /// To the child itself; nothing happens if it has ended.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            let _ = kill(self.pid, signal);
        }
    }

    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// None: it takes longer.
    pub(crate) fn wait(&mut self, within: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            match self.ended() {
                None if Instant::now() < deadline => wait::pause(Duration::from_millis(5)),
                ended => return ended,
            }
        }
    }

    /// SIGKILL for the child and its own children, and waits for its end.
    pub(crate) fn kill(&mut self) {
        if self.ended().is_none() {
            let _ = killpg(self.pid, Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }

    /// Until `ready` says so; an error with the end of its log if it ends before that or is too slow.
    pub(crate) fn ready(&mut self, within: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        let deadline = Instant::now() + within;
        while !ready() {
            if let Some(status) = self.ended() {
                bail!("{} has ended with {status}:\n{}", self.name, self.tail());
            }
            if Instant::now() > deadline {
                bail!("{} is not ready after {within:?}:\n{}", self.name, self.tail());
            }
            wait::pause(Duration::from_millis(20));
        }
        Ok(())
    }

    fn tail(&self) -> String {
        tail(&self.log)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        tell(&self.lifeline, "gone", self.pid.as_raw());
    }
}

/// The end of a log.
fn tail(log: &Path) -> String {
    let text = String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

fn tell(lifeline: &Lifeline, word: &str, group: i32) {
    if let Some(input) = &mut *lifeline.lock() {
        let _ = writeln!(input, "{word} {group}");
    }
}
