//! A connection that does not block, in the clear or over TLS.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

use crate::server::Server;

/// How TLS is spoken; None: it is not.
pub(crate) type Tls = Option<Arc<ClientConfig>>;

/// Reads and writes like a socket that is polled.
pub(crate) struct Line {
    pub(crate) socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Line {
    /// The socket may still be connecting.
    pub(crate) fn new(socket: TcpStream, server: &Server, tls: &Tls) -> Result<Self> {
        let tls = match tls {
            Some(config) => Some(Box::new(session(config, server)?)),
            None => None,
        };
        Ok(Self { socket, tls })
    }

    /// Over TLS all of it is taken, and later reads see to it that it leaves.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let Some(tls) = &mut self.tls else { return self.socket.write(bytes) };
        // Taken before the socket is connected it would be taken again.
        flush(tls, &mut self.socket)?;
        let count = tls.writer().write(bytes)?;
        match flush(tls, &mut self.socket) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(count),
        }
    }

    /// Less than the buffer holds: the socket is empty.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let Some(tls) = &mut self.tls else { return self.socket.read(buffer) };
        let mut filled = 0;
        while filled < buffer.len() {
            match tls.reader().read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => {
                    filled += count;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            match tls.read_tls(&mut self.socket) {
                Ok(0) => break,
                Ok(_) => {
                    tls.process_new_packets().map_err(|error| Error::new(ErrorKind::InvalidData, error))?;
                    if let Err(error) = flush(tls, &mut self.socket)
                        && error.kind() != ErrorKind::WouldBlock
                    {
                        return Err(error);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock && filled > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

fn flush(tls: &mut ClientConnection, socket: &mut TcpStream) -> Result<()> {
    while tls.wants_write() {
        tls.write_tls(socket)?;
    }
    Ok(())
}

/// The client's side of a connection to this server.
pub(crate) fn session(config: &Arc<ClientConfig>, server: &Server) -> Result<ClientConnection> {
    let name = ServerName::try_from(server.name().to_owned()).map_err(Error::other)?;
    let mut tls = ClientConnection::new(Arc::clone(config), name).map_err(Error::other)?;
    tls.set_buffer_limit(None);
    Ok(tls)
}

/// TLS that takes any certificate and proves nothing: it is a server under test that is spoken to, and the client's work
/// is taken from it. Every handshake is a whole one.
pub(crate) fn client(alpn: &[u8]) -> std::result::Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
