//! TLS as operators meet it: a certificate of one's own, one made for development, and a new one while streams are open.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use rcgen::{CertificateParams, KeyPair};
use serde_json::json;
use tempfile::TempDir;
use tidegate_testkit::http::{get, publish};
use tidegate_testkit::{Gateway, Sse, eventually};

use crate::{outcome, tidegate};

const BIN: &str = env!("CARGO_BIN_EXE_tidegate");

/// Certificates as Kubernetes mounts them: each in a folder of its own, and a link that says which is in force.
pub(crate) struct Mount {
    dir: TempDir,
    count: usize,
}

impl Mount {
    pub(crate) fn new() -> Self {
        let mut mount = Self { dir: tempfile::tempdir().unwrap(), count: 0 };
        mount.renew();
        mount
    }

    /// Puts a new certificate in the place of the last, all at once. Gives it as PEM.
    pub(crate) fn renew(&mut self) -> String {
        self.count += 1;
        let folder = self.dir.path().join(format!("..{}", self.count));
        fs::create_dir(&folder).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap().pem();
        fs::write(folder.join("tls.crt"), &certificate).unwrap();
        fs::write(folder.join("tls.key"), key.serialize_pem()).unwrap();
        let link = self.dir.path().join("..new");
        symlink(&folder, &link).unwrap();
        fs::rename(&link, self.dir.path().join("now")).unwrap();
        certificate
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("now").join(name)
    }

    pub(crate) fn pem(&self) -> String {
        fs::read_to_string(self.file("tls.crt")).unwrap()
    }

    async fn gateway(&self) -> Gateway {
        self.gateway_with(&[]).await
    }

    pub(crate) async fn gateway_with(&self, more: &[(&str, &str)]) -> Gateway {
        let (certificate, key) = (self.file("tls.crt"), self.file("tls.key"));
        let mut env = vec![
            ("TIDEGATE_TLS__CERTIFICATE", certificate.to_str().unwrap()),
            ("TIDEGATE_TLS__KEY", key.to_str().unwrap()),
        ];
        env.extend(more);
        Gateway::spawn(BIN, &[], &env).await
    }
}

async fn stream(gateway: &Gateway, pem: &str, h2: bool) -> std::io::Result<Sse> {
    let builder = Sse::builder(&gateway.url("/v1/events?topic=a")).trust(pem);
    let mut stream = if h2 { builder.h2() } else { builder }.try_open().await?;
    stream.next_named("tidegate:ready").await;
    Ok(stream)
}

#[tokio::test]
async fn a_new_certificate_is_seen_by_new_connections_and_old_streams_stay() {
    let mut mount = Mount::new();
    let gateway = mount.gateway().await;
    let old = mount.pem();
    let mut streams =
        [stream(&gateway, &old, false).await.unwrap(), stream(&gateway, &old, true).await.unwrap()];
    for by_hand in [true, false] {
        let new = mount.renew();
        if by_hand {
            gateway.hang_up();
        }
        for h2 in [false, true] {
            eventually("the new one is shown", async || stream(&gateway, &new, h2).await.ok()).await;
        }
        assert!(stream(&gateway, &old, false).await.is_err(), "the old one is no longer");
    }
    publish(&gateway.base(), &json!({"topic": "a", "data": "still here"})).await;
    for stream in &mut streams {
        assert_eq!(stream.collect_data(1).await, ["still here"]);
    }
    let metrics = get(&gateway.admin_url("/metrics")).await.body.as_str().unwrap().to_owned();
    assert!(metrics.contains("tidegate_tls_reloads_total{result=\"ok\"} 2"), "{metrics}");
    let expiry = metrics.lines().find_map(|line| {
        line.strip_prefix("tidegate_tls_certificate_expiry_timestamp_seconds ")?.parse::<f64>().ok()
    });
    assert!(expiry.unwrap() > 4e9, "{expiry:?}");
}

#[tokio::test]
async fn a_bad_certificate_changes_nothing_and_is_said() {
    let mut mount = Mount::new();
    let gateway = mount.gateway().await;
    let pem = mount.pem();
    mount.renew();
    fs::write(mount.file("tls.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    gateway.hang_up();
    eventually("it is said", async || gateway.log().contains("the old one stays").then_some(())).await;
    assert!(gateway.log().contains("does not belong to the first certificate in"), "{}", gateway.log());
    stream(&gateway, &pem, false).await.unwrap();
    let metrics = get(&gateway.admin_url("/metrics")).await.body.as_str().unwrap().to_owned();
    assert!(metrics.contains("tidegate_tls_reloads_total{result=\"failed\"} 1"), "{metrics}");
}

#[tokio::test]
async fn a_hang_up_without_tls_ends_nothing() {
    let gateway = Gateway::spawn(BIN, &[], &[]).await;
    gateway.hang_up();
    eventually("it is said", async || gateway.log().contains("nothing to read again").then_some(())).await;
    gateway.ready().await;
}

#[tokio::test]
async fn a_certificate_for_development() {
    let gateway = Gateway::spawn(BIN, &["--dev-tls"], &[]).await;
    let said =
        async || (gateway.log().contains("curl -k") && gateway.log().contains("sha256=")).then_some(());
    eventually("it is said", said).await;
    assert_eq!(get(&gateway.url("/healthz")).await.status, 200);
    for (flag, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let mut curl = tokio::process::Command::new("curl");
        let address = gateway.addr().port();
        curl.args(["-sk", flag, "-w", "%{http_version}", &format!("https://localhost:{address}/healthz")]);
        let Ok(output) = curl.output().await else { return eprintln!("skipped: no curl") };
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.ends_with(version), "{said}");
    }
}

#[tokio::test]
async fn what_can_not_be_shown_is_said_with_everything_else() {
    let mount = Mount::new();
    let path = |name: &str| mount.file(name).display().to_string();
    for (certificate, key, expected) in [
        (path("tls.crt"), String::new(), "tls.key: is missing"),
        (String::new(), path("tls.key"), "tls.certificate: is missing"),
        (path("none.crt"), path("tls.key"), "tls.certificate (TIDEGATE_TLS__CERTIFICATE): can't read"),
        (path("tls.key"), path("tls.key"), "tls.certificate (TIDEGATE_TLS__CERTIFICATE): "),
        (path("tls.crt"), path("tls.crt"), "tls.key (TIDEGATE_TLS__KEY): "),
    ] {
        let mut check = tidegate(&["config", "check"]);
        for (name, value) in [("TIDEGATE_TLS__CERTIFICATE", certificate), ("TIDEGATE_TLS__KEY", key)] {
            if !value.is_empty() {
                check.env(name, value);
            }
        }
        check.env("TIDEGATE_STREAM__RETRY", "soon");
        let (code, _, said) = outcome(check).await;
        assert_eq!(code, 1);
        assert!(said.contains(expected) && said.contains("stream.retry"), "{expected}\n{said}");
    }
    let mut both = tidegate(&["config", "check", "--dev-tls"]);
    both.env("TIDEGATE_TLS__CERTIFICATE", path("tls.crt")).env("TIDEGATE_TLS__KEY", path("tls.key"));
    let (code, _, said) = outcome(both).await;
    assert!(code == 1 && said.contains("tls.dev (--dev-tls): "), "{said}");
}
