//! TLS: the certificate that every listener shows, and how it is replaced while connections live.

mod certificate;
mod error;
mod line;
mod session;
mod stream;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};

use certificate::Certificate;
pub use error::{Error, File};
pub(crate) use line::TlsLine;
pub(crate) use stream::{Accepted, Stream, accept, turn_away};

/// The certificate in force. Clones share it: a reload changes it for TCP and QUIC alike, from the next handshake on.
#[derive(Clone, Debug)]
pub struct Certificates(Arc<Store>);

#[derive(Debug)]
struct Store {
    current: ArcSwap<Certificate>,
    /// Where it came from; none for one that was made here.
    files: Option<(PathBuf, PathBuf)>,
    /// One for all listeners: a client may go on over TCP where it began over QUIC.
    tickets: Arc<dyn ProducesTickets>,
}

/// What a reload found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// Another certificate: new connections see it.
    Changed,
    /// The same as before.
    Same,
}

impl Certificates {
    /// Reads a PEM file with the certificate and those between it and the root, and one with its private key.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, Error> {
        let current = Certificate::read(certificate, key)?;
        Self::new(current, Some((certificate.to_owned(), key.to_owned())))
    }

    /// Makes a key and a certificate for `names` (host names and addresses) that is good for a year and that nobody trusts unasked.
    pub fn self_signed(names: &[&str]) -> Result<Self, Error> {
        Self::new(Certificate::self_signed(names)?, None)
    }

    /// Reads the files again. An error changes nothing: the certificate that was in force stays.
    pub fn reload(&self) -> Result<Reloaded, Error> {
        let Some((certificate, key)) = &self.0.files else { return Ok(Reloaded::Same) };
        let found = Certificate::read(certificate, key)?;
        if found.is(&self.0.current.load()) {
            return Ok(Reloaded::Same);
        }
        self.0.current.store(Arc::new(found));
        Ok(Reloaded::Changed)
    }

    /// When the certificate in force expires.
    pub fn expires(&self) -> SystemTime {
        self.0.current.load().expires
    }

    /// SHA-256 of the certificate in force, as browsers and `openssl x509 -fingerprint` show it: `AB:CD:…`.
    pub fn fingerprint(&self) -> String {
        self.0.current.load().fingerprint()
    }

    /// SHA-256 of its public key in base64: for Chromium's `--ignore-certificate-errors-spki-list` and curl's `--pinnedpubkey sha256//…`.
    pub fn spki_hash(&self) -> String {
        self.0.current.load().spki_hash()
    }

    /// The certificate in force as PEM, for a client that is to trust it.
    pub fn pem(&self) -> String {
        self.0.current.load().pem()
    }

    /// A secret for `purpose`, the same after a restart with the same key; none for a key that was made here.
    pub(crate) fn derived(&self, purpose: &str) -> Option<[u8; 32]> {
        self.0.current.load().derived(purpose)
    }

    /// How to speak TLS as `alpn`, the most wanted protocol first.
    #[allow(
        clippy::expect_used,
        reason = "the provider has suites for both versions: nothing from outside decides"
    )]
    pub(crate) fn server_config(&self, alpn: &[&[u8]]) -> ServerConfig {
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .expect("suites for TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.0) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        // What comes before the handshake's end can be replayed by whoever has recorded it: a POST would be done twice.
        config.max_early_data_size = 0;
        // Clients that come back all at once spare the node the signature, and the node keeps nothing for them.
        config.ticketer = Arc::clone(&self.0.tickets);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config
    }

    fn new(current: Certificate, files: Option<(PathBuf, PathBuf)>) -> Result<Self, Error> {
        let tickets = aws_lc_rs::Ticketer::new().map_err(Error::Tickets)?;
        Ok(Self(Arc::new(Store { current: ArcSwap::from_pointee(current), files, tickets })))
    }
}

impl ResolvesServerCert for Store {
    /// The same for every name: a client that asks for another sees for itself that it does not fit.
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.load().key))
    }
}
