//! deploy/grafana: every panel, legend and variable.

use serde_json::Value;

use crate::exported::Exported;
use crate::promql::Expression;
use crate::read;

#[tokio::test]
async fn every_panel_draws_what_is_exported() {
    let exported = Exported::of_a_gateway().await;
    let board: Value = serde_json::from_str(&read("deploy/grafana/tidegate.json")).unwrap();
    let mut wrong = Vec::new();
    let mut count = 0;
    for panel in board["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = Expression::parse(target["expr"].as_str().unwrap());
            assert!(!expression.series.is_empty(), "{target}");
            count += 1;
            let has = exported.labels_of(&expression);
            let legend = target["legendFormat"].as_str().unwrap_or_default();
            let legend = between(legend, "{{", "}}").filter(|label| !has.contains(*label)).map(Into::into);
            wrong.extend(
                exported.unknown(&expression).into_iter().chain(legend).map(|name| (&panel["title"], name)),
            );
        }
    }
    assert!(wrong.is_empty(), "drawn, but not exported: {wrong:?}");
    assert!(count > 20, "{count} expressions found");
}

#[tokio::test]
async fn every_variable_asks_for_what_is_exported() {
    let exported = Exported::of_a_gateway().await;
    let board: Value = serde_json::from_str(&read("deploy/grafana/tidegate.json")).unwrap();
    let variables = board["templating"]["list"].as_array().unwrap();
    let queries: Vec<_> =
        variables.iter().filter_map(|variable| variable["query"]["query"].as_str()).collect();
    assert!(!queries.is_empty());
    for query in queries {
        let asked = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).unwrap();
        let (series, label) = asked.rsplit_once(',').unwrap();
        let expression = Expression::parse(series);
        assert_eq!(exported.unknown(&expression), [""; 0], "{query}");
        assert!(exported.labels_of(&expression).contains(label.trim()), "{query}");
    }
}

/// Everything that stands between two signs.
pub(crate) fn between<'a>(text: &'a str, open: &'a str, close: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(open).skip(1).filter_map(move |rest| rest.split_once(close)).map(|(inside, _)| inside.trim())
}
