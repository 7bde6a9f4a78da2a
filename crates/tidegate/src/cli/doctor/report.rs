//! What was found, as it is found; and all of it for a machine.

use serde::Serialize;
use serde_json::json;

use crate::cli::output::{Unwritten, print, say};

/// How serious it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Note,
    Problem,
}

#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    level: Level,
    said: String,
    /// What to change.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    advice: Vec<String>,
}

/// Everything found so far.
pub(super) struct Report {
    url: String,
    json: bool,
    findings: Vec<Finding>,
    /// Why the findings can't be printed any more.
    unwritten: Option<Unwritten>,
}

impl Report {
    pub(super) fn new(url: &str, json: bool) -> Self {
        Self { url: url.to_owned(), json, findings: Vec::new(), unwritten: None }
    }

    /// As it should be.
    pub(super) fn ok(&mut self, check: &'static str, said: impl Into<String>) {
        self.add(Finding { check, level: Level::Ok, said: said.into(), advice: Vec::new() });
    }

    /// Worth knowing, nothing to repair.
    pub(super) fn note(&mut self, check: &'static str, said: impl Into<String>) {
        self.add(Finding { check, level: Level::Note, said: said.into(), advice: Vec::new() });
    }

    /// Clients suffer from it.
    pub(super) fn problem(&mut self, check: &'static str, said: impl Into<String>, advice: Vec<String>) {
        self.add(Finding { check, level: Level::Problem, said: said.into(), advice });
    }

    /// Says what takes a while.
    pub(super) fn wait(&self, said: &str) {
        if !self.json {
            say(said);
        }
    }

    /// Prints what is left to print. Whether all is well.
    pub(super) fn finish(mut self) -> Result<bool, Unwritten> {
        let problems = self.findings.iter().filter(|finding| finding.level == Level::Problem).count();
        if self.json {
            let all = json!({ "url": self.url, "ok": problems == 0, "findings": self.findings });
            self.print(&all.to_string());
        } else {
            match problems {
                0 => self.print("All is well."),
                1 => self.print("One problem."),
                count => self.print(&format!("{count} problems.")),
            }
        }
        self.unwritten.map_or(Ok(problems == 0), Err)
    }

    fn add(&mut self, finding: Finding) {
        if !self.json {
            let level = match finding.level {
                Level::Ok => "ok",
                Level::Note => "note",
                Level::Problem => "PROBLEM",
            };
            self.print(&format!("{level:<8} {:<11} {}", finding.check, finding.said));
            for line in &finding.advice {
                self.print(&format!("{:20} > {line}", ""));
            }
        }
        self.findings.push(finding);
    }

    /// The first failure is the end of printing; what is under way in the network ends first.
    fn print(&mut self, line: &str) {
        if self.unwritten.is_none() {
            self.unwritten = print(line).err();
        }
    }
}
