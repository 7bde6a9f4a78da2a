#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use super::*;

struct Files {
    dir: TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self { dir: tempfile::tempdir().unwrap() };
        files.renew();
        files
    }

    fn renew(&self) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["gate.example".to_owned()]).unwrap();
        fs::write(self.certificate(), params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(self.key(), key.serialize_pem()).unwrap();
    }

    fn certificate(&self) -> PathBuf {
        self.dir.path().join("tls.crt")
    }

    fn key(&self) -> PathBuf {
        self.dir.path().join("tls.key")
    }

    fn load(&self) -> Result<Certificates, Error> {
        Certificates::load(&self.certificate(), &self.key())
    }

    /// What is wrong, and with which file.
    fn refused(&self) -> (Option<File>, String) {
        let error = self.load().unwrap_err();
        (error.file(), error.to_string())
    }
}

#[test]
fn what_is_wrong_with_the_files_is_said() {
    let files = Files::new();
    let (certificate, key) = (fs::read(files.certificate()).unwrap(), fs::read(files.key()).unwrap());
    assert!(files.load().is_ok());
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n";
    let other = KeyPair::generate().unwrap().serialize_pem().into_bytes();
    for (with, file, words) in [
        ((&b""[..], &key[..]), File::Certificate, "no certificate in it"),
        ((&key, &key), File::Certificate, "no certificate in it"),
        ((nonsense.as_bytes(), &key), File::Certificate, "can't be used"),
        ((broken.as_bytes(), &key), File::Certificate, "not PEM"),
        ((&certificate, b""), File::Key, "PRIVATE KEY"),
        ((&certificate, encrypted.as_bytes()), File::Key, "openssl pkey"),
        ((&certificate, &other), File::Key, "does not belong"),
    ] {
        fs::write(files.certificate(), with.0).unwrap();
        fs::write(files.key(), with.1).unwrap();
        let (blamed, said) = files.refused();
        assert_eq!(blamed, Some(file), "{said}");
        let name = if file == File::Key { "tls.key" } else { "tls.crt" };
        assert!(said.contains(words) && said.contains(name), "{words}: {said}");
    }
    fs::remove_file(files.key()).unwrap();
    assert!(files.refused().1.contains("can't read"));
}

#[test]
fn files_may_begin_with_a_byte_order_mark_and_end_lines_with_crlf() {
    let files = Files::new();
    let first = files.load().unwrap().fingerprint();
    // A chain of two: the second must not be taken for the server's own.
    let other = Files::new();
    let dressed = |text: String| format!("\u{feff}{}", text.replace('\n', "\r\n"));
    let read = |path: PathBuf| fs::read_to_string(path).unwrap();
    fs::write(files.certificate(), dressed(read(files.certificate()) + &read(other.certificate()))).unwrap();
    fs::write(files.key(), dressed(read(files.key()))).unwrap();
    assert_eq!(files.load().unwrap().fingerprint(), first);
}

#[test]
fn a_reload_takes_what_is_good_and_keeps_it_otherwise() {
    let files = Files::new();
    let certificates = files.load().unwrap();
    let first = certificates.fingerprint();
    assert_eq!(certificates.reload().unwrap(), Reloaded::Same);
    files.renew();
    let clone = certificates.clone();
    assert_eq!(certificates.reload().unwrap(), Reloaded::Changed);
    let second = clone.fingerprint();
    let config = clone.tcp();
    assert_ne!(first, second);
    fs::write(files.key(), "").unwrap();
    assert!(certificates.reload().is_err());
    assert_eq!(certificates.fingerprint(), second);
    assert!(Arc::ptr_eq(&config, &certificates.tcp()), "and so do its tickets");
}

#[test]
fn a_self_signed_one_is_good_for_a_while() {
    let certificates = Certificates::self_signed(&["localhost", "127.0.0.1", "::1"]).unwrap();
    let left = certificates.expires().duration_since(SystemTime::now()).unwrap();
    assert!(left > Duration::from_secs(300 * 86_400));
    assert_eq!(certificates.reload().unwrap(), Reloaded::Same);
    assert_eq!(certificates.fingerprint().len(), 95);
    assert_eq!(certificates.spki_hash().len(), 44);
    let config = certificates.tcp();
    assert_eq!(config.max_early_data_size, 0);
    assert_eq!(config.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
}
