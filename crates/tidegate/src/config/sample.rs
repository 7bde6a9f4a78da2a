//! The sample and the table of settings, held against the types.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::Value;

use super::{ANY, Config, SAMPLE, shape};

const BEGIN: &str = "<!-- The tables are made from deploy/tidegate.toml. -->\n";

/// One line of the sample that sets something.
struct Setting {
    table: String,
    name: String,
    value: String,
    about: String,
}

#[test]
fn the_sample_as_it_is_changes_nothing() {
    assert_eq!(toml::from_str::<Config>(SAMPLE).unwrap(), Config::default());
}

#[test]
fn the_sample_shows_the_defaults() {
    let uncommented = uncomment(SAMPLE);
    let mut config: Config = toml::from_str(&uncommented).unwrap();
    // One example each; everything else has to be the default.
    assert_eq!(config.auth.jwt.keys.drain(..).collect::<Vec<_>>(), [super::JwtKey::default()]);
    assert_eq!(config.auth.api_keys.drain(..).collect::<Vec<_>>(), [super::ApiKey::default()]);
    assert_eq!(config.namespaces.len(), 1);
    config.namespaces.clear();
    assert_eq!(config, Config::default());
}

#[test]
fn the_sample_has_every_setting() {
    let mut wanted = Vec::new();
    paths(&shape(), "", &mut wanted);
    let mut shown: Vec<String> = settings().iter().map(Setting::path).collect();
    wanted.sort();
    shown.sort();
    assert_eq!(shown, wanted);
}

#[test]
fn the_documentation_has_the_samples_settings() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (head, tables) = text.split_once(BEGIN).expect("the marker is in docs/configuration.md");
    let wanted = tables_of_settings();
    // Not called TIDEGATE_…: that would be a setting.
    if std::env::var_os("WRITE_DOCS").is_some_and(|value| value == "1") {
        std::fs::write(path, format!("{head}{BEGIN}{wanted}")).unwrap();
    } else {
        assert!(tables.trim() == wanted.trim(), "run: WRITE_DOCS=1 cargo test -p tidegate documentation");
    }
}

impl Setting {
    fn path(&self) -> String {
        if self.table.is_empty() { self.name.clone() } else { format!("{}.{}", self.table, self.name) }
    }

    fn variable(&self) -> String {
        let path = self.path().replace("[]", ".0").replace(ANY, "NAME");
        format!("TIDEGATE_{}", path.replace('.', "__").to_uppercase())
    }
}

/// Comments are `# text`; settings and tables that are commented out have no space after the `#`.
fn uncomment(sample: &str) -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()) => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    sample.lines().map(line).collect()
}

fn settings() -> Vec<Setting> {
    let (mut all, mut table, mut about) = (Vec::new(), String::new(), Vec::new());
    for line in uncomment(SAMPLE).lines() {
        if let Some(text) = line.strip_prefix('#') {
            about.push(text.trim().to_owned());
        } else if let Some(list) = line.strip_prefix("[[") {
            table = format!("{}[]", list.trim_end_matches(']'));
        } else if line.starts_with('[') {
            table = line.trim_matches(['[', ']']).replace("namespaces.room", &format!("namespaces.{ANY}"));
        } else if let Some((name, value)) = line.split_once(" = ") {
            let (name, value) = (name.to_owned(), value.to_owned());
            all.push(Setting { table: table.clone(), name, value, about: about.join(" ") });
        }
        if !line.starts_with('#') {
            about.clear();
        }
    }
    all
}

fn tables_of_settings() -> String {
    let (mut out, mut table) = (String::new(), None);
    for setting in settings() {
        if table.as_ref() != Some(&setting.table) {
            let title = match setting.table.replace(ANY, "NAME") {
                title if title.is_empty() => "At the top".to_owned(),
                title if title.ends_with("[]") => format!("`[[{}]]`", title.trim_end_matches("[]")),
                title => format!("`[{title}]`"),
            };
            let _ = writeln!(out, "\n## {title}\n\n| setting | default | variable | |\n|---|---|---|---|");
            table = Some(setting.table.clone());
        }
        let about = setting.about.replace('|', "\\|");
        let _ = writeln!(
            out,
            "| `{}` | `{}` | `{}` | {about} |",
            setting.name,
            setting.value,
            setting.variable()
        );
    }
    out
}

fn paths(shape: &Value, path: &str, found: &mut Vec<String>) {
    match shape {
        Value::Object(map) => map.iter().for_each(|(name, value)| {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            paths(value, &path, found);
        }),
        Value::Array(list) if list.first().is_some_and(Value::is_object) => {
            paths(&list[0], &format!("{path}[]"), found);
        }
        _ => found.push(path.to_owned()),
    }
}
