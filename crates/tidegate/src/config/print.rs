//! The effective configuration as TOML: secrets redacted, and behind each value where it came from.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::Loaded;

/// Values end here, so that most of the origins stand below each other.
const COLUMN: usize = 44;

impl Loaded {
    /// TOML that could be read again, but for the secrets.
    pub(crate) fn print(&self) -> String {
        let mut out = String::new();
        if let Ok(Value::Object(settings)) = serde_json::to_value(&self.config) {
            self.table(&settings, "", "", &mut out);
        }
        out
    }

    /// `header` names the table in TOML, `path` in origins: they differ in lists.
    fn table(&self, table: &Map<String, Value>, header: &str, path: &str, out: &mut String) {
        let (inner, values): (Vec<_>, Vec<_>) = table.iter().partition(|(_, value)| is_table(value));
        for (name, value) in values {
            let line = format!("{} = {}", key(name), toml(value));
            let origin = self.origins.of_value(&join(path, name));
            let origin = origin.map_or_else(|| "default".to_owned(), ToString::to_string);
            let _ = writeln!(out, "{line:COLUMN$} # {origin}");
        }
        for (name, value) in inner {
            let (header, path) = (join(header, &key(name)), join(path, name));
            match value {
                Value::Object(map) => {
                    if map.is_empty() || map.values().any(|value| !is_table(value)) {
                        let _ = writeln!(out, "\n[{header}]");
                    }
                    self.table(map, &header, &path, out);
                }
                Value::Array(list) => {
                    for (index, entry) in list.iter().filter_map(Value::as_object).enumerate() {
                        let _ = writeln!(out, "\n[[{header}]]");
                        self.table(entry, &header, &format!("{path}[{index}]"), out);
                    }
                }
                _ => {}
            }
        }
    }
}

fn is_table(value: &Value) -> bool {
    value.is_object() || value.as_array().is_some_and(|list| list.first().is_some_and(Value::is_object))
}

fn toml(value: &Value) -> String {
    toml::Value::try_from(value).map_or_else(|_| value.to_string(), |value| value.to_string())
}

fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    if bare { name.to_owned() } else { toml(&Value::from(name)) }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
