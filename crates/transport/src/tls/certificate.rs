use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quinn::crypto::rustls::QuicServerConfig;
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{Error as TlsError, InconsistentKeys, ServerConfig, version};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Error, File};

/// A certificate with its key, ready to be shown.
pub(super) struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) expires: SystemTime,
    /// SHA-256 of the key file: a new key may come with an old public half, and is another one all
    /// the same.
    secret: Vec<u8>,
    /// The configurations of connections that begin with this certificate. Tickets are valid only
    /// with them: a client that returns with one after a reload does a full handshake, and sees
    /// the certificate that is in force then.
    pub(super) tcp: Arc<ServerConfig>,
    pub(super) quic: Arc<QuicServerConfig>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("expires", &self.expires).finish_non_exhaustive()
    }
}

impl Certificate {
    pub(super) fn read(certificate: &Path, key: &Path) -> Result<Self, Error> {
        let chain = chain(certificate)?;
        let secret = bytes(File::Key, key)?;
        let private = PrivateKeyDer::from_pem_slice(&secret).map_err(|error| match error {
            pem::Error::NoItemsFound => Error::NoKey {
                path: key.to_owned(),
                encrypted: secret.windows(9).any(|word| word == b"ENCRYPTED"),
            },
            error => Error::NotPem { file: File::Key, path: key.to_owned(), error },
        })?;
        let signing =
            any_supported_type(&private).map_err(|error| Error::Key { path: key.to_owned(), error })?;
        let certified = CertifiedKey::new(chain, signing);
        match certified.keys_match() {
            Ok(()) | Err(TlsError::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(TlsError::InconsistentKeys(_)) => {
                return Err(Error::Mismatch { certificate: certificate.to_owned(), key: key.to_owned() });
            }
            Err(error) => return Err(unusable(certificate, error)),
        }
        let secret = digest(&SHA256, &secret).as_ref().to_vec();
        let expires = expires(&certified.cert[0]).map_err(|error| unusable(certificate, error))?;
        Self::new(certified, expires, secret)
    }

    pub(super) fn self_signed(names: &[&str]) -> Result<Self, Error> {
        let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())
            .map_err(Error::SelfSigned)?;
        params.distinguished_name.push(DnType::CommonName, "tidegate, self-signed for development");
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let day = Duration::from_secs(86_400);
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        // From yesterday, for clocks that are behind; for a year, since Apple's systems take none
        // for longer than 398 days.
        params.not_before = epoch + now.saturating_sub(day);
        params.not_after = epoch + (now + 365 * day);
        let pair = KeyPair::generate().map_err(Error::SelfSigned)?;
        let made = params.self_signed(&pair).map_err(Error::SelfSigned)?;
        let private = PrivateKeyDer::try_from(pair.serialize_der())
            .map_err(|_| Error::SelfSigned(rcgen::Error::CouldNotParseKeyPair))?;
        let signing = any_supported_type(&private)
            .map_err(|_| Error::SelfSigned(rcgen::Error::CouldNotParseKeyPair))?;
        let key = CertifiedKey::new(vec![made.der().clone()], signing);
        Self::new(key, SystemTime::UNIX_EPOCH + now + 365 * day, Vec::new())
    }

    fn new(key: CertifiedKey, expires: SystemTime, secret: Vec<u8>) -> Result<Self, Error> {
        let key = Arc::new(key);
        // One for TCP and QUIC: a client may go on over the one where it began over the other.
        let tickets = Ticketer::new().map_err(Error::Tickets)?;
        let tcp = Arc::new(config(&key, &tickets, &[b"h2", b"http/1.1"]));
        let quic = Arc::new(quic(config(&key, &tickets, &[b"h3"])));
        Ok(Self { key, expires, secret, tcp, quic })
    }

    /// Whether it came from the same bytes.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert && self.secret == other.secret
    }

    pub(super) fn derived(&self, purpose: &str) -> Option<[u8; 32]> {
        if self.secret.is_empty() {
            return None;
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.secret);
        hmac::sign(&key, purpose.as_bytes()).as_ref().try_into().ok()
    }

    pub(super) fn fingerprint(&self) -> String {
        let hash = digest(&SHA256, &self.key.cert[0]);
        hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
    }

    pub(super) fn spki_hash(&self) -> String {
        let parsed = X509Certificate::from_der(&self.key.cert[0]);
        // It was parsed when it was read.
        parsed.map_or_else(
            |_| String::new(),
            |(_, parsed)| STANDARD.encode(digest(&SHA256, parsed.public_key().raw)),
        )
    }

    pub(super) fn pem(&self) -> String {
        let body = STANDARD.encode(&self.key.cert[0]);
        let lines: Vec<_> = body.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    }
}

/// How to speak TLS as `alpn`, the most wanted protocol first.
#[allow(
    clippy::expect_used,
    reason = "the provider has suites for both versions: nothing from outside decides"
)]
fn config(key: &Arc<CertifiedKey>, tickets: &Arc<dyn ProducesTickets>, alpn: &[&[u8]]) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .expect("suites for TLS 1.2 and 1.3")
        .with_no_client_auth()
        // The same for every name: a client that asks for another sees for itself that it does not
        // fit.
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(key))));
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    // What comes before the handshake's end can be replayed by anyone who has recorded it: a POST
    // would be done twice.
    config.max_early_data_size = 0;
    // Clients that come back all at once spare the node the signature, and the node keeps nothing
    // for them.
    config.ticketer = Arc::clone(tickets);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config
}

#[allow(clippy::expect_used, reason = "the provider has the suite: nothing from outside decides")]
fn quic(config: ServerConfig) -> QuicServerConfig {
    QuicServerConfig::try_from(config).expect("the suite of QUIC's first packets")
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let text = bytes(File::Certificate, path)?;
    let chain = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Error::NotPem { file: File::Certificate, path: path.to_owned(), error })?;
    if chain.is_empty() { Err(Error::NoCertificate { path: path.to_owned() }) } else { Ok(chain) }
}

fn bytes(file: File, path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes =
        std::fs::read(path).map_err(|error| Error::Read { file, path: path.to_owned(), error })?;
    // With a byte order mark in front the parser passes over the first block: the server's own
    // certificate.
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    Ok(bytes)
}

fn expires(certificate: &CertificateDer<'_>) -> Result<SystemTime, TlsError> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|_| TlsError::InvalidCertificate(rustls::CertificateError::BadEncoding))?;
    let seconds = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

fn unusable(path: &Path, error: TlsError) -> Error {
    Error::Certificate { path: path.to_owned(), error }
}
