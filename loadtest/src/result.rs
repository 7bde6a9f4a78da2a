use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::process;

/// Prints a result, one line a figure, and writes it as JSON if asked to.
pub(crate) fn finish(path: Option<&Path>, scenario: &str, figures: &Value) -> Result<()> {
    let machine = process::machine();
    println!("{scenario} ({machine})");
    for (name, value) in figures.as_object().into_iter().flatten() {
        println!("  {name:<28} {value}");
    }
    if let Some(path) = path {
        let result = json!({ "scenario": scenario, "machine": machine, "figures": figures });
        std::fs::write(path, serde_json::to_vec_pretty(&result)?)
            .with_context(|| format!("can't write {}", path.display()))?;
    }
    Ok(())
}

/// Three digits that count: more would be noise.
pub(crate) fn round(value: f64) -> f64 {
    let step = if value.abs() >= 100.0 {
        1.0
    } else if value.abs() >= 1.0 {
        100.0
    } else {
        10_000.0
    };
    (value * step).round() / step
}
