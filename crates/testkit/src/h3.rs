//! A client's side of HTTP/3.

use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ::h3::client::{RequestStream, SendRequest};
use bytes::{Buf, Bytes};
use h3_quinn::{BidiStream, OpenStreams};
use parking_lot::Mutex;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint, TransportConfig};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode, Url};
use rustls::client::{ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::net::lookup_host;

use crate::http::Answer;
use crate::sse::End;
use crate::wait::DEADLINE;

/// How long a watchful client waits for any answer to its keep-alives. A busy machine's node may take a second.
const WATCH: Duration = Duration::from_secs(3);

/// One HTTP/3 connection; clones share it. It is closed when the last clone, and every response that came by it, is gone.
#[derive(Clone)]
pub struct H3 {
    requests: SendRequest<OpenStreams, Bytes>,
    quic: quinn::Connection,
    base: Url,
    /// It drives the socket.
    endpoint: Endpoint,
}

impl H3 {
    /// Connects to `base` (`https://localhost:port`) and accepts the certificates in `pem`, or those that they have signed.
    pub async fn connect(base: &str, pem: &str) -> H3 {
        match tokio::time::timeout(DEADLINE, H3::try_connect(base, pem, None)).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(e)) => panic!("{base}: {e}"),
            Err(_) => panic!("{base}: no HTTP/3 connection within {DEADLINE:?}"),
        }
    }

    /// The same for a server that may not speak it, with as many bytes of a response as this side takes in without anybody reading, and
    /// without a deadline.
    pub async fn try_connect(base: &str, pem: &str, receive_buffer: Option<u32>) -> io::Result<H3> {
        H3::connect_with(base, pem, transport(receive_buffer)).await
    }

    /// The same for a client that watches over its connection: a node that was killed says nothing, and UDP says it for nobody.
    pub(crate) async fn try_connect_watchfully(
        base: &str,
        pem: &str,
        receive_buffer: Option<u32>,
    ) -> io::Result<H3> {
        let mut transport = transport(receive_buffer);
        transport.keep_alive_interval(Some(WATCH / 6));
        transport.max_idle_timeout(Some(WATCH.try_into().map_err(io::Error::other)?));
        H3::connect_with(base, pem, transport).await
    }

    async fn connect_with(base: &str, pem: &str, transport: TransportConfig) -> io::Result<H3> {
        let (endpoint, address, base) = endpoint(base).await?;
        let config = config(tls(pem), transport);
        let host = base.host_str().unwrap_or_default();
        let connecting = endpoint.connect_with(config, address, host).map_err(io::Error::other)?;
        let quic = connecting.await?;
        let (mut driver, requests) =
            ::h3::client::new(h3_quinn::Connection::new(quic.clone())).await.map_err(io::Error::other)?;
        tokio::spawn(async move { poll_fn(|cx| driver.poll_close(cx)).await });
        Ok(H3 { requests, quic, base, endpoint })
    }

    /// A QUIC connection on which no HTTP has been spoken yet, for a client that doesn't do as it should.
    pub async fn raw(base: &str, pem: &str) -> quinn::Connection {
        let (endpoint, address, base) = endpoint(base).await.expect("an endpoint");
        let host = base.host_str().unwrap_or_default();
        let config = config(tls(pem), TransportConfig::default());
        let connection = endpoint.connect_with(config, address, host).expect("a connection");
        connection.await.expect("a handshake")
    }

    /// Begins handshakes with what listens at `address` instead, and does not wait for them. Dropping them gives them up.
    pub fn knock(address: SocketAddr, pem: &str, count: usize) -> (Endpoint, Vec<quinn::Connecting>) {
        let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).expect("an endpoint");
        let config = config(tls(pem), TransportConfig::default());
        let connect = || endpoint.connect_with(config.clone(), address, "localhost").expect("a connection");
        let connecting = (0..count).map(|_| connect()).collect();
        (endpoint, connecting)
    }

    /// Sends something that has to be answered, and does not wait for the answer.
    pub fn ping(&self) {
        let (connection, head) = (self.clone(), self.head(Method::GET, "/healthz", &[]));
        tokio::spawn(async move { connection.requests.clone().send_request(head).await.map(drop) });
    }

    /// Goes on from another port, as a phone does that changes networks.
    pub fn change_address(&self) {
        let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        self.endpoint.rebind(socket).expect("a new socket");
    }

    /// How many bytes the server lets a client that comes back send before the handshake's end: what each of its tickets says. Waits for one.
    pub async fn early_data(base: &str, pem: &str) -> Vec<u32> {
        let (endpoint, address, base) = endpoint(base).await.expect("an endpoint");
        let tickets = Arc::new(Tickets::default());
        let mut tls = tls(pem);
        tls.enable_early_data = true;
        tls.resumption = Resumption::store(Arc::clone(&tickets) as Arc<dyn ClientSessionStore>);
        let config = config(tls, TransportConfig::default());
        let host = base.host_str().unwrap_or_default();
        let connection = endpoint.connect_with(config, address, host).expect("a connection");
        let connection = connection.await.expect("a handshake");
        let seen = crate::eventually("a ticket", async || {
            let seen = tickets.0.lock().clone();
            (!seen.is_empty()).then_some(seen)
        });
        let seen = seen.await;
        drop(connection);
        seen
    }

    /// A request on this connection. Panics when no answer comes.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Answer {
        let answer = self.try_send(method.clone(), path, headers, body);
        match tokio::time::timeout(DEADLINE, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(e)) => panic!("{method} {path}: {e}"),
            Err(_) => panic!("{method} {path}: no answer within {DEADLINE:?}"),
        }
    }

    /// The same for a request that the server may not answer, and without a deadline.
    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> io::Result<Answer> {
        let mut response = self.request(method, path, headers, body).await?;
        let mut text = Vec::new();
        loop {
            match response.read().await {
                Ok(bytes) => text.extend_from_slice(&bytes),
                Err(End::Clean) => break,
                Err(end) => return Err(io::Error::other(format!("{end:?}"))),
            }
        }
        let body = match text.as_slice() {
            b"" => Value::Null,
            json => serde_json::from_slice(json)
                .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(json).into_owned())),
        };
        Ok(Answer { status: response.status, headers: response.headers, body })
    }

    /// The beginning of a request whose rest never comes: the head announces a body of `length` bytes.
    pub async fn begin(&self, path: &str, length: usize) -> Response {
        let head = self.head(Method::POST, path, &[("content-length", &length.to_string())]);
        let stream = self.requests.clone().send_request(head).await.expect("a stream");
        Response {
            status: StatusCode::default(),
            headers: HeaderMap::new(),
            stream,
            _connection: self.clone(),
        }
    }

    /// Waits until the connection is closed, and says why.
    pub async fn closed(&self) -> quinn::ConnectionError {
        let closed = tokio::time::timeout(DEADLINE, self.quic.closed()).await;
        closed.unwrap_or_else(|_| panic!("still open after {DEADLINE:?}"))
    }

    /// Whether the server has said that it takes no more requests here (GOAWAY).
    pub async fn going_away(&self) -> bool {
        let head = self.head(Method::GET, "/healthz", &[]);
        let asked =
            tokio::time::timeout(Duration::from_secs(1), self.requests.clone().send_request(head)).await;
        matches!(asked, Ok(Err(_)))
    }

    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> io::Result<Response> {
        let request = self.head(method, path, headers);
        let mut stream = self.requests.clone().send_request(request).await.map_err(io::Error::other)?;
        let whole = match body {
            Some(body) => stream.send_data(Bytes::copy_from_slice(body.as_bytes())).await,
            None => Ok(()),
        };
        if whole.is_ok() {
            // A server that has heard enough may have answered already: the answer counts.
            let _ = stream.finish().await;
        }
        let mut response = Response {
            status: StatusCode::default(),
            headers: HeaderMap::new(),
            stream,
            _connection: self.clone(),
        };
        response.head().await?;
        Ok(response)
    }

    fn head(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> ::http::Request<()> {
        let uri = format!("{}{path}", self.base.as_str().trim_end_matches('/'));
        let mut request = ::http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request")
    }
}

impl std::fmt::Debug for H3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "H3({})", self.base)
    }
}

/// A response under way. Dropping it tells the server to send no more.
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    stream: RequestStream<BidiStream<Bytes>, Bytes>,
    _connection: H3,
}

impl Response {
    /// The head, which [`H3::begin`] does not wait for: puts it in place, and gives the status.
    pub async fn head(&mut self) -> io::Result<StatusCode> {
        let response = self.stream.recv_response().await.map_err(io::Error::other)?;
        (self.status, self.headers) = (response.status(), response.headers().clone());
        Ok(self.status)
    }

    /// The next bytes, or the end. Cancelling it loses nothing.
    pub async fn read(&mut self) -> Result<Bytes, End> {
        match self.stream.recv_data().await {
            Ok(Some(mut bytes)) => Ok(bytes.copy_to_bytes(bytes.remaining())),
            Ok(None) => Err(End::Clean),
            Err(e) => Err(End::Reset(e.to_string())),
        }
    }
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Response({})", self.status)
    }
}

/// Keeps of each ticket how much early data it allows.
#[derive(Debug, Default)]
struct Tickets(Mutex<Vec<u32>>);

impl ClientSessionStore for Tickets {
    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.0.lock().push(ticket.max_early_data_size());
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        None
    }

    fn set_kx_hint(&self, _: ServerName<'static>, _: rustls::NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<rustls::NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}
}

async fn endpoint(base: &str) -> io::Result<(Endpoint, SocketAddr, Url)> {
    let base = Url::parse(base).unwrap_or_else(|e| panic!("{base}: {e}"));
    let host = base.host_str().ok_or(io::ErrorKind::InvalidInput)?;
    let port = base.port_or_known_default().ok_or(io::ErrorKind::InvalidInput)?;
    let address =
        lookup_host((host, port)).await?.find(SocketAddr::is_ipv4).ok_or(io::ErrorKind::NotFound)?;
    Ok((Endpoint::client((Ipv4Addr::LOCALHOST, 0).into())?, address, base))
}

fn tls(pem: &str) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.expect("PEM")).expect("a certificate");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    tls
}

fn transport(receive_buffer: Option<u32>) -> TransportConfig {
    let mut transport = TransportConfig::default();
    if let Some(bytes) = receive_buffer {
        transport.stream_receive_window(bytes.into());
    }
    transport
}

fn config(tls: rustls::ClientConfig, transport: TransportConfig) -> ClientConfig {
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("suites for QUIC")));
    config.transport_config(Arc::new(transport));
    config
}
