//! The table of metrics in docs/operations.md, and every name of a metric in it and in deploy.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::dashboard::between;
use crate::exported::Exported;
use crate::{read, repository};

/// Names that begin like a metric's and are something else: the cookie, crates in log filters.
const OTHERS: [&str; 2] = ["tidegate_token", "tidegate_hub"];

/// Labels that come from whoever finds the gateways: Prometheus, and in Kubernetes deploy/kubernetes/prometheus.yml.
const ADDED: [&str; 4] = ["job", "instance", "namespace", "pod"];

#[tokio::test]
async fn the_table_of_metrics_is_right_and_complete() {
    let exported = Exported::of_a_gateway().await;
    let is = exported.0.iter().filter(|(name, _)| name.starts_with("tidegate_"));
    let is: BTreeMap<_, _> = is
        .map(|(name, family)| {
            let labels = family.labels.keys().cloned().collect::<Vec<_>>();
            (name.clone(), (family.kind.clone(), labels))
        })
        .collect();
    let text = read("docs/operations.md");
    let rows = text.lines().filter(|line| line.starts_with("| `tidegate_"));
    let said: BTreeMap<_, _> = rows
        .map(|row| {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            let labels = cells[3].split(", ").map(|label| label.trim_matches('`').to_owned());
            let labels = labels.filter(|label| !label.is_empty()).collect::<Vec<_>>();
            (cells[1].trim_matches('`').to_owned(), (cells[2].to_owned(), labels))
        })
        .collect();
    assert_eq!(said, is, "docs/operations.md (left) and a gateway (right)");
}

#[tokio::test]
async fn every_metric_that_is_named_anywhere_is_exported() {
    let exported = Exported::of_a_gateway().await;
    let mut files = vec![repository("docs/operations.md"), repository("SECURITY.md")];
    files_in(&repository("deploy"), &mut files);
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for (name, label, value) in mentions(&text) {
            let family = exported.family(&name).or_else(|| exported.0.get(&name));
            match (family, label) {
                _ if OTHERS.contains(&name.as_str()) => {}
                (None, _) => wrong.push(format!("{}: {name}", file.display())),
                (Some(family), Some(label)) => {
                    let known = family.labels.get(&label).is_some_and(|values| {
                        value.is_none_or(|value| value.split('|').all(|value| values.contains(value)))
                    });
                    if !known && !ADDED.contains(&label.trim_end_matches('!')) {
                        wrong.push(format!("{}: {name}{{{label}}}", file.display()));
                    }
                }
                (Some(_), None) => {}
            }
        }
    }
    assert!(wrong.is_empty(), "named, but not exported: {wrong:#?}");
}

fn files_in(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files_in(&path, files) } else { files.push(path) }
    }
}

/// Names such as `tidegate_resets_total`, each with the label and value of a `{reason="…"}` behind it.
fn mentions(text: &str) -> Vec<(String, Option<String>, Option<String>)> {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let starts = text.match_indices("tidegate_").filter(|(at, _)| !text[..*at].ends_with(is_name));
    let names = starts.filter_map(|(at, _)| {
        let rest = &text[at..];
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        let matcher = between(behind, "{", "}").next().filter(|_| behind.starts_with('{'));
        let (label, value) = matcher.and_then(|matcher| matcher.split_once('=')).unzip();
        let value = value.map(|value| value.trim_matches(['~', '"']).to_owned());
        // A name with a * behind it stands for several.
        (!behind.starts_with('*')).then(|| (name.to_owned(), label.map(Into::into), value))
    });
    names.collect()
}
