use anyhow::Result;
use serde_json::Value;

use crate::{Target, process};

/// Prints a result, one line a figure, and writes it as JSON if asked to.
pub(crate) fn finish(target: &Target, scenario: &str, figures: &Value) -> Result<()> {
    println!("{scenario} ({})", process::machine());
    for (name, value) in figures.as_object().into_iter().flatten() {
        println!("  {name:<24} {value}");
    }
    if let Some(path) = &target.json {
        std::fs::write(
            path,
            serde_json::to_vec_pretty(&serde_json::json!({ "scenario": scenario, "figures": figures }))?,
        )?;
    }
    Ok(())
}

/// Two decimals: more would be noise.
pub(crate) fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
