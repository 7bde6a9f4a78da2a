//! What the commands print. A reader that has enough (`tidegate subscribe | head`) ends them
//! quietly, and one of standard error that is gone is not missed.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};

/// Standard output does not take what is printed.
#[derive(Debug, thiserror::Error)]
#[error("can't write to standard output")]
pub(crate) struct Unwritten(#[from] io::Error);

impl Unwritten {
    /// Whether it is only that the reader has enough.
    pub(crate) fn is_end(&self) -> bool {
        self.0.kind() == ErrorKind::BrokenPipe
    }
}

/// Prints a line.
pub(crate) fn print(line: impl Display) -> Result<(), Unwritten> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// Says something beside what is printed.
pub(crate) fn say(line: impl Display) {
    // Without a reader there is no one to tell of it either.
    let _ = writeln!(io::stderr(), "{line}");
}
