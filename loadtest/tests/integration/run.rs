//! The load tester and the gateway as processes.

use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tidegate_testkit::Gateway;

/// A gateway by itself, or on a Redis.
pub(crate) async fn gateway(redis: Option<&str>, settings: &[(&str, &str)]) -> Gateway {
    let arguments: Vec<&str> = redis.map_or_else(Vec::new, |url| vec!["--redis", url]);
    Gateway::spawn(Gateway::binary_beside(env!("CARGO_BIN_EXE_loadtest")), &arguments, settings).await
}

/// What a run left behind.
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) output: String,
    /// Null if there is none.
    pub(crate) json: Value,
    pub(crate) page: String,
}

/// Runs it to its end, in a thread of its own: the runtime goes on meanwhile.
pub(crate) async fn loadtest(arguments: &[&str]) -> Ran {
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    tokio::task::spawn_blocking(move || {
        let directory = TempDir::new().unwrap();
        let (json, page) = (directory.path().join("report.json"), directory.path().join("report.html"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
        command.args(&arguments).arg("--json").arg(&json).arg("--html").arg(&page);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran {
            status: output.status.code().unwrap_or(-1),
            output: text(&output.stdout) + &text(&output.stderr),
            json: std::fs::read(json).map_or(Value::Null, |json| serde_json::from_slice(&json).unwrap()),
            page: std::fs::read_to_string(page).unwrap_or_default(),
        }
    })
    .await
    .unwrap()
}

impl Ran {
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.json[name].as_u64().unwrap_or_else(|| panic!("no {name}\n{}", self.output))
    }

    pub(crate) fn figure(&self, name: &str) -> u64 {
        let value = self.json["figures"][name].as_u64();
        value.unwrap_or_else(|| panic!("no figure {name}\n{}\n{}", self.json, self.output))
    }

    /// So many events came, each once and in order, and the exit status says so.
    pub(crate) fn is_exact(&self, expected: u64) {
        assert_eq!(self.status, 0, "{}", self.output);
        for (name, count) in [
            ("expected", expected),
            ("received", expected),
            ("lost", 0),
            ("doubled", 0),
            ("reordered", 0),
            ("stray", 0),
        ] {
            assert_eq!(self.count(name), count, "{name}\n{}", self.output);
        }
        assert!(self.page.contains("Limits held"), "{}", self.output);
    }
}
