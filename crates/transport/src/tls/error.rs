use std::io;
use std::path::PathBuf;

use rustls::pki_types::pem;

/// Which of the two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// The certificate and those between it and the root.
    Certificate,
    /// Its private key.
    Key,
}

/// Why there is no certificate to show.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that can't be read.
    #[error("can't read {}: {error}", path.display())]
    Read {
        /// Which.
        file: File,
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// A file that looks like PEM and is broken.
    #[error("{} is not PEM: {error}", path.display())]
    NotPem {
        /// Which.
        file: File,
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        error: pem::Error,
    },
    /// No certificate in the certificate file.
    #[error(
        "{} has no certificate in it: it must be PEM, the gateway's own certificate first, then those between it and the root (what certbot calls fullchain.pem)",
        path.display()
    )]
    NoCertificate {
        /// Where.
        path: PathBuf,
    },
    /// No key in the key file.
    #[error("{} has no private key that can be used: {}", path.display(), if *encrypted {
        "it is encrypted, and nobody is here to ask for its passphrase; `openssl pkey -in FILE -out NEW` writes it without"
    } else {
        "it must be PEM with a PRIVATE KEY block (what certbot calls privkey.pem)"
    })]
    NoKey {
        /// Where.
        path: PathBuf,
        /// Whether it wants a passphrase.
        encrypted: bool,
    },
    /// A key of a kind that TLS here does not speak.
    #[error("the private key in {} can't be used ({error}): RSA of at least 2048 bits, ECDSA on P-256, P-384 or P-521, or Ed25519", path.display())]
    Key {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        error: rustls::Error,
    },
    /// A certificate that is none.
    #[error("the first certificate in {} can't be used: {error}", path.display())]
    Certificate {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        error: rustls::Error,
    },
    /// The two don't belong together.
    #[error(
        "the private key in {} does not belong to the first certificate in {}: are both from the same order, and does the gateway's own certificate come first?",
        key.display(),
        certificate.display()
    )]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// A certificate could not be made.
    #[error("can't make a certificate: {0}")]
    SelfSigned(#[source] rcgen::Error),
    /// Keys for session tickets could not be made.
    #[error("can't make keys for session tickets: {0}")]
    Tickets(#[source] rustls::Error),
}

impl Error {
    /// The file to look at; none if none is to blame.
    pub fn file(&self) -> Option<File> {
        match self {
            Self::Read { file, .. } | Self::NotPem { file, .. } => Some(*file),
            Self::NoCertificate { .. } | Self::Certificate { .. } => Some(File::Certificate),
            Self::NoKey { .. } | Self::Key { .. } | Self::Mismatch { .. } => Some(File::Key),
            Self::SelfSigned(_) | Self::Tickets(_) => None,
        }
    }
}
