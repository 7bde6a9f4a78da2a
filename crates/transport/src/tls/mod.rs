//! TLS: the certificate that every listener shows, and how it is replaced while connections live.

mod certificate;
mod error;
mod handshake;
mod session;
mod stream;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use quinn::crypto::rustls::QuicServerConfig;
use rustls::ServerConfig;

use certificate::Certificate;
pub use error::{Error, File};
pub(crate) use handshake::Acceptor;
pub(crate) use session::Session;
pub(crate) use stream::Stream;

/// The certificate in force. Clones share it: a reload changes it for TCP and QUIC alike, from the
/// next handshake on.
#[derive(Clone, Debug)]
pub struct Certificates(Arc<Store>);

#[derive(Debug)]
struct Store {
    current: ArcSwap<Certificate>,
    /// Where it came from; none for one that was made here.
    files: Option<(PathBuf, PathBuf)>,
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
    /// Reads a PEM file with the certificate and those between it and the root, and one with its
    /// private key.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, Error> {
        let current = Certificate::read(certificate, key)?;
        Ok(Self::new(current, Some((certificate.to_owned(), key.to_owned()))))
    }

    /// Makes a key and a certificate for `names` (host names and addresses) that is good for a year
    /// and that no client trusts by itself.
    pub fn self_signed(names: &[&str]) -> Result<Self, Error> {
        Ok(Self::new(Certificate::self_signed(names)?, None))
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

    /// SHA-256 of the certificate in force, as browsers and `openssl x509 -fingerprint` show it:
    /// `AB:CD:…`.
    pub fn fingerprint(&self) -> String {
        self.0.current.load().fingerprint()
    }

    /// SHA-256 of its public key in base64: for Chromium's `--ignore-certificate-errors-spki-list`
    /// and curl's `--pinnedpubkey sha256//…`.
    pub fn spki_hash(&self) -> String {
        self.0.current.load().spki_hash()
    }

    /// The certificate in force as PEM, for a client that is to trust it.
    pub fn pem(&self) -> String {
        self.0.current.load().pem()
    }

    /// A secret for `purpose`, the same after a restart with the same key; none for a key that was
    /// made here.
    pub(crate) fn derived(&self, purpose: &str) -> Option<[u8; 32]> {
        self.0.current.load().derived(purpose)
    }

    /// The configuration of new connections over TCP: that of the certificate in force.
    pub(crate) fn tcp(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.current.load().tcp)
    }

    /// The same over QUIC.
    pub(crate) fn quic(&self) -> Arc<QuicServerConfig> {
        Arc::clone(&self.0.current.load().quic)
    }

    fn new(current: Certificate, files: Option<(PathBuf, PathBuf)>) -> Self {
        Self(Arc::new(Store { current: ArcSwap::from_pointee(current), files }))
    }
}
