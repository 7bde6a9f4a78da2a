//! A configuration: a file, and behind a line of `---` variables of the environment.

use std::io::Write;

/// The binary has no library; its modules stand on their own.
#[allow(dead_code, unused_imports, unreachable_pub, reason = "the binary uses the rest")]
#[path = "../../crates/tidegate/src/config/mod.rs"]
mod settings;

pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (file, environment) = text.split_once("\n---\n").unwrap_or((text, ""));
    // Settings that name files would have them read, whatever they are.
    if text.contains("_file") || text.contains("_FILE") {
        return;
    }
    let mut place = tempfile::NamedTempFile::new().unwrap();
    place.write_all(file.as_bytes()).unwrap();
    let variables = environment.lines().filter_map(|line| line.split_once('='));
    let sources = settings::Sources {
        file: Some(place.path().to_owned()),
        environment: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        flags: Vec::new(),
    };
    match settings::load(&sources) {
        Ok(loaded) => assert!(!loaded.print().is_empty()),
        Err(problems) => assert!(!problems.to_string().is_empty()),
    }
}
