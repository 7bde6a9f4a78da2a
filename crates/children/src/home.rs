//! A directory for child processes, and the end of both.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result};
use parking_lot::Mutex;

use crate::Process;

/// Kills the process groups that it knows when its input ends. The input ends when this process
/// does, in whatever way: a Ctrl-C, a runner's SIGKILL, a static that is never dropped.
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

/// A temporary directory with children, and a shell that removes it after their end. It lives as
/// long as a clone of it, or a child that was started in it.
#[derive(Clone, Debug)]
pub struct Home(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    lifeline: Mutex<Child>,
}

impl Home {
    /// A directory of its own: `tidegate-NAME-…`.
    pub fn new(name: &str) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix(&format!("tidegate-{name}-")).tempdir()?;
        let lifeline = Command::new("sh")
            .args(["-c", LIFELINE])
            .arg(dir.path())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("can't start sh")?;
        Ok(Self(Arc::new(Inner { path: dir.keep(), lifeline: Mutex::new(lifeline) })))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Leaves the directory behind, with every log in it.
    pub fn keep(&self) {
        self.tell("keep", 0);
    }

    /// Starts `command` in a process group of its own, with its output appended to NAME.log.
    /// `package`: what to install when the program is missing.
    pub fn start(&self, name: &str, command: Command, package: &str) -> Result<Process> {
        let process = Process::spawn(self, name, command, package)?;
        self.tell("born", process.pid());
        Ok(process)
    }

    /// The group has ended: its number may become another one's.
    pub(crate) fn forget(&self, process: u32) {
        self.tell("gone", process);
    }

    fn tell(&self, word: &str, group: u32) {
        if let Some(input) = &mut self.0.lifeline.lock().stdin {
            let _ = writeln!(input, "{word} {group}");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Closes the shell's input first.
        let _ = self.lifeline.lock().wait();
    }
}
