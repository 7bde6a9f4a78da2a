//! deploy/alerts.yml: every expression, and the labels that its texts name.

use std::collections::BTreeSet;

use crate::dashboard::between;
use crate::exported::Exported;
use crate::promql::Expression;
use crate::read;

struct Alert {
    name: String,
    expression: String,
    /// Whatever else is said.
    texts: String,
}

/// Read by hand, as far as the file goes: a rule begins with its name, and an expression is a line or an indented block.
fn alerts() -> Vec<Alert> {
    let text = read("deploy/alerts.yml");
    let rules = text.split("- alert: ").skip(1).map(|rule| {
        let (name, rest) = rule.split_once('\n').unwrap();
        let (_, rest) = rest.split_once("expr: ").unwrap();
        let (expression, texts) = match rest.strip_prefix("|\n") {
            Some(block) => {
                let indent = block.len() - block.trim_start().len();
                let inside = |line: &&str| line.len() > indent && line[..indent].trim().is_empty();
                let length: usize = block.split_inclusive('\n').take_while(inside).map(str::len).sum();
                block.split_at(length)
            }
            None => rest.split_once('\n').unwrap(),
        };
        Alert { name: name.into(), expression: expression.into(), texts: texts.into() }
    });
    rules.collect()
}

#[tokio::test]
async fn every_alert_reads_what_is_exported() {
    let exported = Exported::of_a_gateway().await;
    let mut wrong = Vec::new();
    for alert in alerts() {
        let expression = Expression::parse(&alert.expression);
        assert!(!expression.series.is_empty(), "{}: {}", alert.name, alert.expression);
        let has = exported.labels_of(&expression);
        let said = between(&alert.texts, "$labels.", " }}").filter(|label| !has.contains(*label));
        wrong.extend(
            exported
                .unknown(&expression)
                .into_iter()
                .chain(said.map(Into::into))
                .map(|name| (alert.name.clone(), name)),
        );
    }
    assert!(wrong.is_empty(), "read, but not exported: {wrong:?}");
}

/// What to do is said of each, each has been made to fire, and nothing is said of others.
#[test]
fn every_alert_is_explained_and_tried() {
    let named: BTreeSet<_> = alerts().into_iter().map(|alert| alert.name).collect();
    assert!(named.len() > 10, "{named:?}");
    let text = read("docs/operations.md");
    let (_, section) = text.split_once("\n## Alerts\n").unwrap();
    let rows = section.split("\n## ").next().unwrap().lines().filter(|line| line.starts_with("| Tidegate"));
    let names = rows.flat_map(|row| row.split('|').nth(1).unwrap().split(','));
    let explained: BTreeSet<_> = names.map(|name| name.trim().to_owned()).collect();
    assert_eq!(explained, named, "docs/operations.md and deploy/alerts.yml");
    let tests = read("deploy/alerts.test.yml");
    let tried: BTreeSet<_> =
        between(&tests, "alertname: ", "\n").map(|name| name.trim_end_matches(" }").to_owned()).collect();
    assert_eq!(tried, named, "deploy/alerts.test.yml and deploy/alerts.yml");
}
