//! No part of the gateway starts a task that the process would not miss.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// What starts a task or a thread beside [`tidegate_tasks::Tasks`].
const BARE: [&str; 5] = ["tokio::spawn(", "task::spawn(", "thread::spawn(", "spawn_local(", "JoinSet"];

/// Says why the end of a task concerns only what it was started for.
const REASON: &str = "// Short-lived: ";

/// Not a part of the gateway: for tests only.
const TESTS: [&str; 2] = ["testkit/src", "broker/src/contract"];

#[test]
fn whatever_is_not_watched_says_why() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    for entry in fs::read_dir(crates).unwrap() {
        files_in(&entry.unwrap().path().join("src"), &mut files);
    }
    files.retain(|file| !TESTS.iter().any(|tests| file.strip_prefix(crates).unwrap().starts_with(tests)));
    let (mut seen, mut unexplained) = (0, Vec::new());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        // Unit tests come last in a file.
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        let lines: Vec<_> = code.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let is_code = !line.trim_start().starts_with("//");
            if is_code && BARE.iter().any(|bare| line.contains(bare)) && !file.ends_with("tasks/src/lib.rs") {
                seen += 1;
                if !lines[index.saturating_sub(2)..index].iter().any(|above| above.contains(REASON)) {
                    unexplained.push(format!("{}:{}", file.display(), index + 1));
                }
            }
        }
    }
    assert!(seen >= 5, "{seen} places found: are these still the words for it?");
    assert!(
        unexplained.is_empty(),
        "use Tasks::spawn, or say above it, after \"{REASON}\", why nothing else ends with it: {unexplained:#?}"
    );
}

fn files_in(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_in(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
