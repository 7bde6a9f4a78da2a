//! What a gateway exports: asked of a real one, with a Redis, a certificate and keys, so that nothing is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair};
use tidegate_testkit::http::get;
use tidegate_testkit::{Gateway, RedisServer, Sse};
use tokio::sync::OnceCell;

use crate::promql::{Expression, Series};
use crate::repository;

/// Added to everything by Prometheus itself.
const ADDED: [&str; 2] = ["job", "instance"];

/// Vectors whose label values come up one by one: not all that are possible can be seen.
const OPEN_ENDED: [&str; 3] =
    ["tidegate_http_requests_total", "tidegate_auth_refusals_total", "tidegate_build_info"];

#[derive(Debug, Default)]
pub(crate) struct Family {
    pub(crate) kind: String,
    /// Each with the values that were seen.
    pub(crate) labels: BTreeMap<String, BTreeSet<String>>,
}

pub(crate) struct Exported(pub(crate) BTreeMap<String, Family>);

impl Exported {
    /// Asked once for all tests.
    pub(crate) async fn of_a_gateway() -> &'static Self {
        static SEEN: OnceCell<Exported> = OnceCell::const_new();
        SEEN.get_or_init(async || Self(parse(&scrape().await))).await
    }

    /// The family that a series belongs to: its own, or the histogram's that it is a part of.
    pub(crate) fn family(&self, series: &str) -> Option<&Family> {
        let parts = ["_bucket", "_sum", "_count"];
        let histogram = parts.iter().find_map(|part| self.0.get(series.strip_suffix(part)?));
        histogram.filter(|family| family.kind == "histogram").or_else(|| {
            // Nothing is drawn of a histogram as such.
            self.0.get(series).filter(|family| family.kind != "histogram")
        })
    }

    /// What `expression` names and nobody exports.
    pub(crate) fn unknown(&self, expression: &Expression) -> Vec<String> {
        let mut unknown = Vec::new();
        let mut labels: BTreeSet<&str> = ADDED.into();
        for series in &expression.series {
            if series.name == "up" {
                continue;
            }
            let Some(family) = self.family(&series.name) else {
                unknown.push(series.name.clone());
                continue;
            };
            labels.extend(family.labels.keys().map(String::as_str));
            if series.name.ends_with("_bucket") {
                labels.insert("le");
            }
            unknown.extend(strange_matchers(series, family));
        }
        unknown.extend(expression.by.iter().filter(|by| !labels.contains(by.as_str())).cloned());
        unknown
    }

    /// The labels that the result of `expression` has.
    pub(crate) fn labels_of(&self, expression: &Expression) -> BTreeSet<String> {
        if expression.aggregates {
            return expression.by.iter().cloned().collect();
        }
        let families = expression.series.iter().filter_map(|series| self.family(&series.name));
        families.flat_map(|family| family.labels.keys().cloned()).chain(ADDED.map(Into::into)).collect()
    }
}

fn strange_matchers(series: &Series, family: &Family) -> Vec<String> {
    let mut strange = Vec::new();
    for matcher in series.matchers.iter().filter(|matcher| !ADDED.contains(&matcher.label.as_str())) {
        let Some(seen) = family.labels.get(&matcher.label) else {
            strange.push(format!("{}{{{}}}", series.name, matcher.label));
            continue;
        };
        if OPEN_ENDED.contains(&series.name.as_str()) {
            continue;
        }
        let values = matcher.value.split('|').filter(|value| !seen.contains(*value));
        strange.extend(values.map(|value| format!("{}{{{}={value:?}}}", series.name, matcher.label)));
    }
    strange
}

async fn scrape() -> String {
    let redis = RedisServer::start().await;
    let dir = tempfile::tempdir().unwrap();
    let (crt, key) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
    let pair = KeyPair::generate().unwrap();
    let pem = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().self_signed(&pair).unwrap().pem();
    fs::write(&crt, &pem).unwrap();
    fs::write(&key, pair.serialize_pem()).unwrap();
    let env = [
        ("TIDEGATE_REDIS__URL", redis.url()),
        ("TIDEGATE_TLS__CERTIFICATE", crt.display().to_string()),
        ("TIDEGATE_TLS__KEY", key.display().to_string()),
        ("TIDEGATE_AUTH__API_KEYS__0__KEY", "0123456789abcdef0123456789abcdef".into()),
        ("TIDEGATE_APPS__CHAT", "true".into()),
        ("TIDEGATE_APPS__SEATS", "true".into()),
    ];
    let env = env.each_ref().map(|(name, value)| (*name, value.as_str()));
    let gateway = Gateway::spawn(env!("CARGO_BIN_EXE_tidegate"), &[], &env).await;
    // A vector without a series is not exported at all. Those whose series are not there from the start: requests, refused credentials.
    let refused =
        Sse::builder(&gateway.url("/v1/events?topic=a")).trust(&pem).bearer("wrong").try_open().await;
    drop(refused);
    get(&gateway.admin_url("/metrics")).await.body.as_str().unwrap().to_owned()
}

/// Prometheus' text format.
fn parse(text: &str) -> BTreeMap<String, Family> {
    let mut families = BTreeMap::<String, Family>::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            name.clone_into(&mut current);
            kind.clone_into(&mut families.entry(current.clone()).or_default().kind);
        } else if let Some((_, labels)) = line.split_once('{').filter(|_| !line.starts_with('#')) {
            let family = families.get_mut(&current).unwrap();
            // A sample is an expression, too.
            let sample = Expression::parse(&format!("x{{{}", labels.rsplit_once(' ').unwrap().0));
            for matcher in &sample.series[0].matchers {
                if matcher.label != "le" {
                    family.labels.entry(matcher.label.clone()).or_default().insert(matcher.value.clone());
                }
            }
        }
    }
    families
}

/// Nothing is missing in what the tests compare with: whatever the code makes a metric of has been seen.
#[tokio::test]
async fn every_metric_of_the_code_was_seen() {
    let exported = Exported::of_a_gateway().await;
    let mut named = BTreeSet::new();
    for name in fs::read_dir(repository("crates")).unwrap() {
        literals(&name.unwrap().path().join("src"), &mut named);
    }
    named.remove("tidegate_token"); // the cookie
    let unseen: Vec<_> = named.iter().filter(|name| !exported.0.contains_key(*name)).collect();
    assert!(unseen.is_empty(), "named in the code, not exported by a gateway that was made to: {unseen:?}");
    assert!(named.len() > 20, "{named:?}");
}

/// Texts such as "tidegate_joins_total".
fn literals(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            literals(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let code = fs::read_to_string(&path).unwrap();
            let names = code.split('"').filter(|text| {
                let name = text.strip_prefix("tidegate_").unwrap_or_default();
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
            });
            found.extend(names.map(Into::into));
        }
    }
}
