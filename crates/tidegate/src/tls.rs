//! The main listener's certificate: loading it, and its upkeep while the process lives.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};
use tidegate_transport::tls::{Certificates, Error, Reloaded};
use tokio::signal::unix::Signal;

use crate::config;

/// How often the files are looked at. Whoever renews certificates does so days before they expire.
const INTERVAL: Duration = Duration::from_secs(5);

/// So long before its end a certificate should have been renewed: a third of the shortest that are common.
const SOON: Duration = Duration::from_secs(7 * 86_400);

/// A certificate and what is counted of it.
#[derive(Clone)]
pub(crate) struct Tls {
    certificates: Certificates,
    expiry: IntGauge,
    reloads: IntCounterVec,
}

impl Tls {
    /// None without TLS.
    pub(crate) fn load(
        config: &config::Tls,
        listen: SocketAddr,
        registry: &Registry,
    ) -> anyhow::Result<Option<Self>> {
        if !config.is_on() {
            return Ok(None);
        }
        let certificates = if config.dev {
            self_signed(listen)?
        } else {
            Certificates::load(&config.certificate, &config.key)?
        };
        let expiry = IntGauge::new(
            "tidegate_tls_certificate_expiry_timestamp_seconds",
            "When the certificate in force expires, in seconds since 1970",
        )?;
        let reloads = IntCounterVec::new(
            Opts::new("tidegate_tls_reloads_total", "Changed certificate files, by what became of them"),
            &["result"],
        )?;
        for result in ["ok", "failed"] {
            reloads.with_label_values(&[result]);
        }
        registry.register(Box::new(expiry.clone()))?;
        registry.register(Box::new(reloads.clone()))?;
        let tls = Self { certificates, expiry, reloads };
        tls.note();
        Ok(Some(tls))
    }

    pub(crate) fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// Reads the files again. Blocks as long as their disk does.
    fn reload(&self) -> Result<Reloaded, Error> {
        let reloaded = self.certificates.reload()?;
        if reloaded == Reloaded::Changed {
            self.reloads.with_label_values(&["ok"]).inc();
            tracing::info!(
                sha256 = self.certificates.fingerprint(),
                "new certificate: new connections see it"
            );
            self.note();
        }
        Ok(reloaded)
    }

    fn failed(&self, error: &str) {
        self.reloads.with_label_values(&["failed"]).inc();
        tracing::error!(error, "the new certificate can't be used, the old one stays");
    }

    fn note(&self) {
        let expires = self.certificates.expires();
        let seconds = expires.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        self.expiry.set(i64::try_from(seconds).unwrap_or(i64::MAX));
        let expires = humantime::format_rfc3339_seconds(expires);
        match self.certificates.expires().duration_since(SystemTime::now()) {
            Ok(left) if left > SOON => {}
            Ok(_) => tracing::warn!(%expires, "the certificate expires soon"),
            Err(_) => tracing::error!(%expires, "the certificate has expired: clients refuse it"),
        }
    }
}

/// Takes over a changed certificate, by itself or at SIGHUP, until it is aborted.
pub(crate) async fn upkeep(tls: Option<Tls>, mut hangups: Signal) {
    let Some(tls) = tls else {
        while hangups.recv().await.is_some() {
            tracing::info!("SIGHUP: there is nothing to read again without [tls]");
        }
        return;
    };
    // What was wrong at the last look, and whether it has been said: files that are just being written are wrong for a moment.
    let mut wrong: Option<(String, bool)> = None;
    loop {
        let asked = tokio::select! {
            Some(()) = hangups.recv() => true,
            () = tokio::time::sleep(INTERVAL) => false,
        };
        let reading = tls.clone();
        let Ok(reloaded) = tokio::task::spawn_blocking(move || reading.reload()).await else { return };
        wrong = match reloaded {
            Ok(reloaded) => {
                if asked && reloaded == Reloaded::Same {
                    tracing::info!("SIGHUP: the certificate is the same as before");
                }
                None
            }
            Err(error) => {
                let error = error.to_string();
                let before = wrong.filter(|(before, _)| *before == error);
                let said = before.as_ref().is_some_and(|(_, said)| *said);
                let say = asked || (before.is_some() && !said);
                if say {
                    tls.failed(&error);
                }
                Some((error, said || say))
            }
        };
    }
}

/// For this machine's names, and for the address that is listened on.
fn self_signed(listen: SocketAddr) -> Result<Certificates, Error> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if !listen.ip().is_unspecified() && !listen.ip().is_loopback() {
        names.push(listen.ip().to_string());
    }
    let certificates = Certificates::self_signed(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
    let (sha256, spki) = (certificates.fingerprint(), certificates.spki_hash());
    tracing::warn!(
        sha256,
        spki,
        "a self-signed certificate, for development: `curl -k`, or Chromium with --ignore-certificate-errors-spki-list={spki}"
    );
    Ok(certificates)
}
