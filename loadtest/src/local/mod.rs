//! Servers that the tester starts itself, on this machine, and leaves nothing of behind.

pub(crate) mod child;
pub(crate) mod http;
pub(crate) mod peers;
pub(crate) mod ports;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::failure::Usage;

/// The gateway: this one, or that beside this program, since both come out of one build.
pub(crate) fn gateway(binary: Option<&Path>) -> Result<PathBuf> {
    let beside = || -> Result<PathBuf> { Ok(std::env::current_exe()?.with_file_name("tidegate")) };
    let path = binary.map(Path::to_owned).map_or_else(beside, Ok)?;
    ensure!(
        path.is_file(),
        Usage::new(format!(
            "{}: no gateway there: cargo build -p tidegate, or --binary PATH",
            path.display()
        ))
    );
    Ok(path.canonicalize()?)
}

/// A program that Debian puts where not everybody's PATH is.
pub(crate) fn server(program: &str) -> Command {
    let mut command = Command::new(program);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", [path, "/usr/sbin:/usr/local/sbin".into()].join(std::ffi::OsStr::new(":")));
    }
    command
}

/// A gateway's command line, without settings that are meant for the caller's own.
pub(crate) fn serve(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDEGATE_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command.arg("serve");
    command
}
