//! Session tickets end with the certificate that they were given under: a client that comes back
//! after a reload sees the new one.

use std::fs;
use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;
use tidegate_transport::tls::{Certificates, Reloaded};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion};

use crate::node::{Node, Setup};

/// The files of a certificate, and those of its successor.
struct Renewal {
    dir: TempDir,
    pairs: [(CertificateDer<'static>, String, String); 2],
}

impl Renewal {
    fn new() -> Self {
        let pairs = [(); 2].map(|()| {
            let key = KeyPair::generate().unwrap();
            let made = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
            let pem = made.pem();
            (CertificateDer::from_pem_slice(pem.as_bytes()).unwrap(), pem, key.serialize_pem())
        });
        let renewal = Self { dir: tempfile::tempdir().unwrap(), pairs };
        renewal.write(0);
        renewal
    }

    fn write(&self, which: usize) {
        let (_, certificate, key) = &self.pairs[which];
        fs::write(self.dir.path().join("tls.crt"), certificate).unwrap();
        fs::write(self.dir.path().join("tls.key"), key).unwrap();
    }

    fn load(&self) -> Certificates {
        Certificates::load(&self.dir.path().join("tls.crt"), &self.dir.path().join("tls.key")).unwrap()
    }

    /// A client that trusts both, and keeps its tickets.
    fn client(&self, version: &'static SupportedProtocolVersion, alpn: &[u8]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        for (certificate, ..) in &self.pairs {
            roots.add(certificate.clone()).unwrap();
        }
        let mut client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![alpn.to_vec()];
        client
    }
}

/// The kind of handshake and the certificate shown. Reads an answer, and with it the tickets.
async fn over_tcp(node: &Node, client: &Arc<ClientConfig>) -> (HandshakeKind, CertificateDer<'static>) {
    let socket = TcpStream::connect(node.addr()).await.unwrap();
    let connector = TlsConnector::from(Arc::clone(client));
    let mut stream = connector.connect(ServerName::try_from("localhost").unwrap(), socket).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
    let (_, tls) = stream.get_ref();
    (tls.handshake_kind().unwrap(), tls.peer_certificates().unwrap()[0].clone().into_owned())
}

#[tokio::test]
async fn over_tcp_a_reload_ends_them() {
    for version in [&TLS12, &TLS13] {
        let renewal = Renewal::new();
        let certificates = renewal.load();
        let node = Node::start(Setup { tls: Some(certificates.clone()), ..Setup::default() }).await;
        let client = Arc::new(renewal.client(version, b"http/1.1"));
        let [old, new] = [0, 1].map(|which| renewal.pairs[which].0.clone());
        assert_eq!(over_tcp(&node, &client).await, (HandshakeKind::Full, old.clone()));
        assert_eq!(over_tcp(&node, &client).await, (HandshakeKind::Resumed, old.clone()));
        assert_eq!(certificates.reload().unwrap(), Reloaded::Same);
        assert_eq!(over_tcp(&node, &client).await, (HandshakeKind::Resumed, old), "nothing has changed");
        renewal.write(1);
        assert_eq!(certificates.reload().unwrap(), Reloaded::Changed);
        assert_eq!(over_tcp(&node, &client).await, (HandshakeKind::Full, new.clone()));
        assert_eq!(over_tcp(&node, &client).await, (HandshakeKind::Resumed, new));
    }
}

#[tokio::test]
async fn over_quic_a_reload_ends_them() {
    let renewal = Renewal::new();
    let certificates = renewal.load();
    let node = Node::start(Setup { tls: Some(certificates.clone()), h3: true, ..Setup::default() }).await;
    let client = QuicClientConfig::try_from(renewal.client(&TLS13, b"h3")).unwrap();
    let client = quinn::ClientConfig::new(Arc::new(client));
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let seen = async || {
        let connecting = endpoint.connect_with(client.clone(), node.addr(), "localhost").unwrap();
        let connection = connecting.await.unwrap();
        // The node's control stream: it comes behind the tickets.
        connection.accept_uni().await.unwrap();
        let shown = connection.peer_identity().unwrap().downcast::<Vec<CertificateDer<'static>>>().unwrap();
        shown[0].clone()
    };
    assert_eq!([seen().await, seen().await], [(); 2].map(|()| renewal.pairs[0].0.clone()));
    renewal.write(1);
    assert_eq!(certificates.reload().unwrap(), Reloaded::Changed);
    assert_eq!(seen().await, renewal.pairs[1].0);
}
