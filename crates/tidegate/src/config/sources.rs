//! The places that settings come from, put on top of each other: file, environment, flags.

use std::env;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use toml::de::{DeTable, DeValue};

use super::key_file::BYTE_ORDER_MARK;
use super::problems::{Origin, Origins, Problem, Problems};
use super::service_links::is_foreign;

/// Variables that begin like settings and are none: the log filter, the file, and the token of the client commands.
const NOT_SETTINGS: [&str; 3] = ["TIDEGATE_LOG", "TIDEGATE_CONFIG", "TIDEGATE_TOKEN"];

/// What a configuration is read from. Nothing in here has been looked at yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    /// A TOML file.
    pub(crate) file: Option<PathBuf>,
    /// Environment variables; those that don't concern us are left alone.
    pub(crate) environment: Vec<(String, String)>,
    /// Setting, flag, value.
    pub(crate) flags: Vec<(&'static str, &'static str, String)>,
}

impl Sources {
    /// The process's own environment. The only place that reads it.
    pub(crate) fn process_environment() -> Vec<(String, String)> {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let mut all: Vec<_> = env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
        all.retain(|(name, _)| name.starts_with("TIDEGATE_") || name == "RUST_LOG");
        // List entries (`…__KEYS__0`, `…__KEYS__1`) are appended in order.
        all.sort();
        all
    }
}

/// Settings on top of each other, and where each came from. Not typed yet.
#[derive(Debug, Default)]
pub(super) struct Merged {
    pub(super) tree: Map<String, Value>,
    pub(super) origins: Origins,
    /// Variables that are known to be no settings.
    pub(super) passed_over: Vec<String>,
}

impl Merged {
    /// `shape` has a value of the right type at every path (see [`super::shape`]).
    pub(super) fn read(sources: &Sources, shape: &Value, problems: &mut Problems) -> Self {
        let mut merged = Self::default();
        if let Some(path) = &sources.file {
            merged.add_file(path, problems);
        }
        for (name, value) in &sources.environment {
            let Some(setting) = name.strip_prefix("TIDEGATE_") else { continue };
            if NOT_SETTINGS.contains(&name.as_str()) {
                continue;
            }
            let path: Vec<String> = setting.split("__").map(str::to_lowercase).collect();
            let is_setting = path.iter().try_fold(shape, |shape, segment| inner(shape, segment)).is_some();
            if !is_setting && is_foreign(name, value) {
                merged.passed_over.push(name.clone());
                continue;
            }
            merged.add_text(&path, value, Origin::Variable(name.clone()), shape, problems);
        }
        let variable = |wanted: &str| sources.environment.iter().find(|(n, v)| n == wanted && !v.is_empty());
        if let Some((name, filter)) = variable("TIDEGATE_LOG").or_else(|| variable("RUST_LOG")) {
            let path = ["log", "filter"].map(String::from);
            merged.add_text(&path, filter, Origin::Variable(name.clone()), shape, problems);
        }
        for (setting, flag, value) in &sources.flags {
            let path: Vec<String> = setting.split('.').map(String::from).collect();
            merged.add_text(&path, value, Origin::Flag(flag), shape, problems);
        }
        merged
    }

    fn add_file(&mut self, path: &Path, problems: &mut Problems) {
        let file = std::fs::read_to_string(path);
        let text = match &file {
            Ok(text) => text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text),
            Err(error) => {
                let what = format!("can't read the configuration file {}: {error}", path.display());
                let advice = "give another one with --config or TIDEGATE_CONFIG; `tidegate config default` prints one to begin with";
                return problems.push(Problem::new("", what).advise(advice));
            }
        };
        let line = |at: usize| Origin::File(path.to_owned(), 1 + text[..at].matches('\n').count());
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let origin = line(error.span().map_or(0, |span| span.start));
            problems.push(Problem::new("", format!("not TOML: {}", error.message())).at(Some(origin)));
        }
        let mut origins = Origins::default();
        self.tree = object(table.get_ref(), "", &mut |path, at| origins.set(path, line(at)));
        self.origins = origins;
    }

    fn add_text(
        &mut self,
        path: &[String],
        text: &str,
        origin: Origin,
        shape: &Value,
        problems: &mut Problems,
    ) {
        let mut root = Value::Object(std::mem::take(&mut self.tree));
        match put(&mut root, path, String::new(), Some(shape), text) {
            Ok(name) => self.origins.set(&name, origin),
            Err(problem) => problems.push(problem.at(Some(origin))),
        }
        if let Value::Object(tree) = root {
            self.tree = tree;
        }
    }
}

/// Puts a value where `path` leads to from `place`, and makes the tables and lists on the way. Returns the whole path's name.
fn put(
    place: &mut Value,
    path: &[String],
    name: String,
    shape: Option<&Value>,
    text: &str,
) -> Result<String, Problem> {
    let Some((segment, rest)) = path.split_first() else {
        *place = typed(text, shape);
        return Ok(name);
    };
    if place.is_null() && shape.is_some_and(Value::is_array) {
        *place = Value::Array(Vec::new());
    }
    let shape = shape.and_then(|shape| inner(shape, segment));
    if let (Ok(index), Value::Array(list)) = (segment.parse::<usize>(), &mut *place) {
        let name = format!("{name}[{index}]");
        if index > list.len() {
            let what = format!("the list has {} entries, so the next one is number {0}", list.len());
            return Err(Problem::new(name, what));
        }
        if index == list.len() {
            list.push(Value::Null);
        }
        return put(&mut list[index], rest, name, shape, text);
    }
    if !place.is_object() {
        *place = Value::Object(Map::new());
    }
    put(&mut place[segment], rest, join(&name, segment), shape, text)
}

/// What stands in a shape at a name or list index. The shape has one example for any namespace and any list entry.
fn inner<'a>(shape: &'a Value, segment: &str) -> Option<&'a Value> {
    match shape {
        Value::Object(map) => map.get(segment).or_else(|| map.get(super::ANY)),
        Value::Array(list) => list.first(),
        _ => None,
    }
}

/// A text as the type that is wanted. What doesn't fit stays a text: the complaint about it comes with the others.
fn typed(text: &str, shape: Option<&Value>) -> Value {
    let as_text = || Value::String(text.to_owned());
    match shape {
        Some(Value::Bool(_)) => text.trim().parse().map_or_else(|_| as_text(), Value::Bool),
        Some(Value::Number(_)) => text.trim().parse::<i64>().map_or_else(|_| as_text(), Value::from),
        Some(Value::Array(_)) if !text.trim_start().starts_with('[') => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Value::Array(items.map(Value::from).collect())
        }
        Some(Value::Array(_) | Value::Object(_)) => structured(text).unwrap_or_else(as_text),
        _ => as_text(),
    }
}

/// JSON, else a TOML value.
fn structured(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok().or_else(|| {
        let value = DeValue::parse(text.trim()).ok()?;
        Some(json(value.get_ref(), "", &mut |_, _| ()))
    })
}

fn object(table: &DeTable<'_>, path: &str, seen: &mut dyn FnMut(&str, usize)) -> Map<String, Value> {
    let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
        let name: &std::borrow::Cow<'_, str> = key.get_ref();
        let path = join(path, name);
        seen(&path, key.span().start);
        (name.to_string(), json(value.get_ref(), &path, seen))
    };
    table.iter().map(entry).collect()
}

fn json(value: &DeValue<'_>, path: &str, seen: &mut dyn FnMut(&str, usize)) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
            .map_or_else(|_| digits.to_string().into(), Value::from),
        DeValue::Float(digits) => digits.as_str().parse::<f64>().map_or(Value::Null, Value::from),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Array(list) => {
            let entry = |(index, value): (usize, &toml::Spanned<DeValue<'_>>)| {
                let path = format!("{path}[{index}]");
                seen(&path, value.span().start);
                json(value.get_ref(), &path, seen)
            };
            Value::Array(list.iter().enumerate().map(entry).collect())
        }
        DeValue::Table(table) => Value::Object(object(table, path, seen)),
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
