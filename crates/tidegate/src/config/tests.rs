//! Loading, from every source, and everything that can be wrong with it.

use std::path::PathBuf;
use std::time::Duration;

use super::values::Toggle;
use super::*;

fn environment(variables: &[(&str, &str)]) -> Sources {
    let owned = |(name, value): &(&str, &str)| (String::from(*name), String::from(*value));
    Sources { environment: variables.iter().map(owned).collect(), ..Sources::default() }
}

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tidegate.toml");
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

fn complaints(sources: &Sources) -> String {
    load(sources).expect_err("this can't work").to_string()
}

#[test]
fn nothing_given_is_the_default() {
    let loaded = load(&Sources::default()).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert!(loaded.config.auth.is_open());
}

#[test]
fn later_sources_win() {
    let (_dir, path) = file("node = \"file\"\nlisten = \"127.0.0.1:1\"\n[stream]\nretry = \"1s\"\n");
    let mut sources = environment(&[("TIDEGATE_LISTEN", "127.0.0.1:2"), ("TIDEGATE_STREAM__RETRY", "3s")]);
    sources.file = Some(path);
    sources.flags = vec![("listen", "--listen", "127.0.0.1:3".into())];
    let loaded = load(&sources).unwrap();
    assert_eq!(loaded.config.node, "file");
    assert_eq!(loaded.config.listen.port(), 3);
    assert_eq!(loaded.config.stream.retry, Duration::from_secs(3));

    let printed = loaded.print();
    let line = |setting: &str| printed.lines().find(|line| line.starts_with(setting)).unwrap();
    assert!(line("listen").ends_with("# --listen"), "{printed}");
    assert!(line("node").ends_with("tidegate.toml:1"), "{printed}");
    assert!(line("retry").ends_with("# TIDEGATE_STREAM__RETRY"), "{printed}");
    assert!(line("heartbeat ").ends_with("# default"), "{printed}");
}

#[test]
fn the_environment_knows_types_lists_and_tables() {
    let secret = "0123456789abcdef0123456789abcdef";
    let loaded = load(&environment(&[
        ("TIDEGATE_NODE", "17"),
        ("TIDEGATE_LIMITS__BATCH", "17"),
        ("TIDEGATE_LIMITS__EVENT_BYTES", "1KiB"),
        ("TIDEGATE_APPS__CHAT", "true"),
        ("TIDEGATE_CORS__ORIGINS", "https://a.example, https://b.example"),
        ("TIDEGATE_LIMITS__TRUSTED_PROXIES", "10.0.0.0/8,::1"),
        ("TIDEGATE_AUTH__JWT__KEYS", &format!(r#"[{{alg = "HS256", secret = "{secret}"}}]"#)),
        ("TIDEGATE_AUTH__API_KEYS__0__NAME", "shop"),
        ("TIDEGATE_AUTH__API_KEYS__0__KEY", secret),
        ("TIDEGATE_NAMESPACES__ROOM__SIZE", "5"),
        ("TIDEGATE_CONFIG", "read elsewhere"),
        ("TIDEGATE_TOKEN", "read elsewhere"),
        ("RUST_LOG", "debug"),
    ]));
    let config = loaded.unwrap().config;
    assert_eq!((config.node.as_str(), config.limits.batch), ("17", 17));
    assert_eq!(config.limits.event_bytes.bytes(), 1024);
    assert_eq!(config.apps.chat, Toggle::On);
    assert_eq!(config.cors.origins, ["https://a.example", "https://b.example"]);
    let proxies: Vec<String> =
        config.limits.trusted_proxies.iter().map(|network| network.0.to_string()).collect();
    assert_eq!(proxies, ["10.0.0.0/8", "::1/128"]);
    assert_eq!(config.auth.jwt.keys[0].secret.expose(), secret);
    assert_eq!((config.auth.api_keys[0].name.as_str(), config.auth.api_keys[0].publish.len()), ("shop", 1));
    assert_eq!(config.namespaces["room"].size, Some(5));
    assert_eq!(config.log.filter, "debug");
    assert!(!config.auth.is_open());
}

#[test]
fn everything_wrong_is_said_at_once() {
    let (_dir, path) = file(
        r#"
        hearbeat = "3s"
        [redis]
        url = "http://:hunter2@cache"
        partitions = 9
        [stream]
        retry = 15
        outbox_bytes = "1KiB"
        [limits]
        history_memory = "512KiB"
        [[auth.jwt.keys]]
        alg = "HS1"
        [[auth.jwt.keys]]
        alg = "RS256"
        public_key_file = "/nowhere/key.pem"
        [[auth.api_keys]]
        name = "a b"
        key = "hunter2-hunter2-hunter2"
        publish = ["a**"]
        [namespaces."a:b"]
        size = 1
        "#,
    );
    let mut sources = environment(&[
        ("TIDEGATE_DRAIN__DELAY", "40s"),
        ("TIDEGATE_STREAMS__RETRY", "1s"),
        ("TIDEGATE_LIMITS__BATCH", "many"),
        ("TIDEGATE_LOG", "x=y=z"),
    ]);
    sources.file = Some(path);
    let said = complaints(&sources);
    for expected in [
        "tidegate.toml:2): there is no setting `hearbeat`",
        "redis.url (",
        "redis.partitions (",
        "stream.retry (",
        "stream.outbox_bytes (",
        "limits.history_memory (",
        "auth.jwt.keys[0].alg (",
        "can't read /nowhere/key.pem",
        "auth.api_keys[0].name (",
        "auth.api_keys[0].publish (",
        "namespaces.a:b (",
        "drain.delay (TIDEGATE_DRAIN__DELAY): ",
        "streams (TIDEGATE_STREAMS__RETRY): there is no setting",
        "limits.batch (TIDEGATE_LIMITS__BATCH): ",
        "log.filter (TIDEGATE_LOG): ",
    ] {
        assert!(said.contains(expected), "not said: {expected}\n{said}");
    }
    assert!(said.contains("\n15. ") && !said.contains("\n16. "), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn what_is_no_size_and_no_duration_is_told_what_one_looks_like() {
    for (variable, text, expected) in [
        ("TIDEGATE_LIMITS__EVENT_BYTES", "64QB", r#""64QB" is not a size such as 64KiB"#),
        ("TIDEGATE_STREAM__OUTBOX_BYTES", "", r#""" is not a size such as 64KiB"#),
        ("TIDEGATE_STREAM__RETRY", "soon", r#""soon" is not a duration such as 15s"#),
        ("TIDEGATE_LIMITS__TRUSTED_PROXIES", "::1,nginx", r#""nginx" is no network such as 10.0.0.0/8"#),
        ("TIDEGATE_LIMITS__CONNECT_BURST", "5", "has no effect without limits.connect_rate"),
    ] {
        let said = complaints(&environment(&[(variable, text)]));
        assert!(said.contains(expected), "{said}");
    }
    for (line, expected) in [
        ("[limits]\nevent_bytes = -1", "integer `-1` is not a size such as 64KiB"),
        ("[limits]\nevent_bytes = true", "boolean `true` is not a size such as 64KiB"),
        ("[stream]\nretry = 15", "integer `15` is not a duration such as 15s"),
        ("[namespaces.room]\nttl = 15", "integer `15` is not a duration such as 15s"),
    ] {
        let (_dir, path) = file(line);
        let said = complaints(&Sources { file: Some(path), ..Sources::default() });
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn what_can_be_guessed_is_no_key() {
    let said = complaints(&environment(&[
        ("TIDEGATE_AUTH__JWT__KEYS", r#"[{alg = "HS256", secret = "short"}]"#),
        ("TIDEGATE_AUTH__API_KEYS__0__KEY", "short"),
    ]));
    for expected in ["HS256 needs at least 32", "auth.api_keys[0].key (", "openssl rand -base64 48"] {
        assert!(said.contains(expected), "{said}");
    }
    assert!(!said.contains("short\""), "{said}");
}

#[test]
fn a_broken_file_says_where() {
    let (_dir, path) = file("listen = \n[log\nformat = 1\n");
    let said = complaints(&Sources { file: Some(path), ..Sources::default() });
    assert!(
        said.contains("tidegate.toml:1: not TOML") && said.contains("tidegate.toml:2: not TOML"),
        "{said}"
    );
    let said = complaints(&Sources { file: Some("/nowhere/tidegate.toml".into()), ..Sources::default() });
    assert!(said.contains("/nowhere/tidegate.toml") && said.contains("--config"), "{said}");
}

#[test]
fn an_open_gateway_stays_at_home_unless_told() {
    let said = complaints(&environment(&[("TIDEGATE_LISTEN", "0.0.0.0:8080")]));
    assert!(said.contains("listen (TIDEGATE_LISTEN)") && said.contains("auth.mode = \"open\""), "{said}");
    assert!(
        load(&environment(&[("TIDEGATE_LISTEN", "0.0.0.0:8080"), ("TIDEGATE_AUTH__MODE", "open")])).is_ok()
    );
    let said = complaints(&environment(&[("TIDEGATE_AUTH__MODE", "keys")]));
    assert!(said.contains("auth.mode (TIDEGATE_AUTH__MODE)"), "{said}");
}

#[test]
fn what_kubernetes_sets_for_a_service_is_passed_over_and_named_once() {
    let sources = environment(&[
        ("TIDEGATE_NODE", "a"),
        ("TIDEGATE_NOFILE", "20000"),
        ("TIDEGATE_PORT", "tcp://10.0.0.7:80"),
        ("TIDEGATE_REDIS_SERVICE_HOST", "10.0.0.8"),
        ("TIDEGATE_HTTP3__ADVERTISE_PORT", "0"),
    ]);
    let loaded = load(&sources).unwrap();
    assert_eq!(loaded.config.node, "a");
    let warning = loaded.warning().unwrap();
    let named = "TIDEGATE_NOFILE, TIDEGATE_PORT, TIDEGATE_REDIS_SERVICE_HOST. ";
    assert!(warning.contains(named) && warning.contains("enableServiceLinks"), "{warning}");
    assert_eq!(load(&Sources::default()).unwrap().warning(), None);
    for mistyped in [("TIDEGATE_STREAM__HEARTBEET", "1s"), ("TIDEGATE_PORT", "8080")] {
        assert!(complaints(&environment(&[mistyped])).contains(mistyped.0));
    }
}

#[test]
fn an_origin_that_no_browser_sends_is_refused() {
    let origins = |text| environment(&[("TIDEGATE_CORS__ORIGINS", text)]);
    for (text, reason) in [
        (
            "https://a.example,https://b.example/",
            "cors.origins[1] (TIDEGATE_CORS__ORIGINS): \"https://b.example/\"",
        ),
        ("https://*.com", "a whole top-level domain"),
        ("*,https://a.example", "\"*\" stands alone"),
    ] {
        let said = complaints(&origins(text));
        assert!(said.contains(reason), "{said}");
    }
    let loaded = load(&origins("https://*.example.com,HTTPS://APP.example:443")).unwrap();
    let origins = loaded.config.cors.parse().unwrap();
    assert!(origins.names("https://a.example.com") && origins.names("https://app.example"));
}

#[test]
fn secrets_come_from_one_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    std::fs::write(&path, "0123456789abcdef0123456789abcdef\n").unwrap();
    let path = path.to_str().unwrap();
    let key_file = ("TIDEGATE_AUTH__API_KEYS__0__KEY_FILE", path);
    assert!(load(&environment(&[key_file])).is_ok());
    let said = complaints(&environment(&[key_file, ("TIDEGATE_AUTH__API_KEYS__0__KEY", "inline")]));
    assert!(said.contains("keep one of them") && !said.contains("inline"), "{said}");
}

#[test]
fn a_secret_in_base64_says_what_is_wrong_with_it_and_nothing_of_itself() {
    let refused = |more: &[(&str, &str)]| {
        let said = complaints(&environment(more));
        assert!(!said.contains("hunter2"), "{said}");
        said
    };
    let base64 = "TIDEGATE_AUTH__JWT__KEYS__0__SECRET_BASE64";
    assert!(refused(&[(base64, "hunter2!")]).contains("secret_base64"));
    assert!(refused(&[(base64, "hunter2hunter2hu")]).contains("HS256 needs at least 32"));
    let both = refused(&[(base64, "hunter2"), ("TIDEGATE_AUTH__JWT__KEYS__0__SECRET", "hunter2")]);
    assert!(both.contains("secret and secret_base64 are both given"), "{both}");
    assert!(
        refused(&[("TIDEGATE_AUTH__API_KEYS__0__KEY", "hunter2-hunter2-hünter")]).contains("printable ASCII")
    );
}

#[test]
fn secrets_are_not_printed() {
    let loaded = load(&environment(&[
        ("TIDEGATE_REDIS__URL", "redis://app:hunter2@cache:6379"),
        ("TIDEGATE_AUTH__API_KEYS__0__KEY", "hunter2-hunter2-hunter2"),
    ]))
    .unwrap();
    for shown in [loaded.print(), format!("{loaded:?}")] {
        assert!(!shown.contains("hunter2") && shown.contains("redacted"), "{shown}");
    }
}
