//! What operators are given (dashboard, alerts, tables) against what a running gateway says of itself: a name that nobody exports is a panel
//! that stays empty and an alert that never fires, and neither tells.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod alerts;
mod dashboard;
mod documents;
mod exported;
mod nginx;
mod promql;

use std::fs;
use std::path::{Path, PathBuf};

/// A file or folder of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
