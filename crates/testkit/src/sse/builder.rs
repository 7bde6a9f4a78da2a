//! How a stream is asked for.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Client, Method, Url};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, lookup_host};

use super::transport::{Body, Http1, Stream};
use super::{Parser, Sse};
use crate::{H3, tls};

/// A request for a stream, opened by [`open`](Builder::open).
#[derive(Debug, Clone)]
pub struct Builder {
    url: Url,
    headers: HeaderMap,
    body: Option<String>,
    deadline: Duration,
    receive_buffer: Option<u32>,
    version: Version,
    trusted: Option<String>,
}

#[derive(Debug, Clone)]
enum Version {
    Http10,
    Http11,
    Http2(Option<Client>),
    Http3(Option<Box<H3>>),
}

impl Builder {
    pub(super) fn new(url: &str) -> Builder {
        let url = Url::parse(url).unwrap_or_else(|e| panic!("{url}: {e}"));
        let headers =
            HeaderMap::from_iter([(reqwest::header::ACCEPT, HeaderValue::from_static("text/event-stream"))]);
        let (body, receive_buffer) = (None, None);
        let (deadline, version) = (crate::DEADLINE, Version::Http11);
        Builder { url, headers, body, deadline, receive_buffer, version, trusted: None }
    }

    /// Comes back with the position of an earlier stream.
    #[must_use]
    pub fn last_event_id(self, id: &str) -> Builder {
        self.header("last-event-id", id)
    }

    /// Adds or replaces a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Builder {
        let name: HeaderName = name.parse().unwrap_or_else(|e| panic!("{name}: {e}"));
        self.headers.insert(name, value.parse().unwrap_or_else(|e| panic!("{value}: {e}")));
        self
    }

    /// `Authorization: Bearer`.
    #[must_use]
    pub fn bearer(self, token: &str) -> Builder {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// POSTs this instead of a GET.
    #[must_use]
    pub fn post(mut self, json: &Value) -> Builder {
        self.body = Some(json.to_string());
        self.header("content-type", "application/json")
    }

    /// How long any one wait on the stream may take. Default: [`DEADLINE`](crate::DEADLINE).
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Builder {
        self.deadline = deadline;
        self
    }

    /// How many bytes this side takes in without anybody reading: `SO_RCVBUF` (which Linux doubles), or HTTP/2's window.
    /// A small one makes a client that does not call `next` a slow client soon.
    #[must_use]
    pub fn receive_buffer(mut self, bytes: u32) -> Builder {
        self.receive_buffer = Some(bytes);
        self
    }

    /// HTTP/1.0: the body ends with the connection.
    #[must_use]
    pub fn http10(mut self) -> Builder {
        self.version = Version::Http10;
        self
    }

    /// Over TLS, to a URL with `https://`: accepts the certificates in `pem`, or those that they have signed.
    #[must_use]
    pub fn trust(mut self, pem: &str) -> Builder {
        self.trusted = Some(pem.to_owned());
        self
    }

    /// HTTP/2 on a connection of its own: with prior knowledge in cleartext, by ALPN over TLS.
    #[must_use]
    pub fn h2(mut self) -> Builder {
        self.version = Version::Http2(None);
        self
    }

    /// HTTP/2 by this client: several streams on one connection, or over TLS.
    #[must_use]
    pub fn h2_by(mut self, client: &Client) -> Builder {
        self.version = Version::Http2(Some(client.clone()));
        self
    }

    /// HTTP/3 on a connection of its own: say whom to [`trust`](Self::trust).
    #[must_use]
    pub fn h3(mut self) -> Builder {
        self.version = Version::Http3(None);
        self
    }

    /// HTTP/3 on this connection: several streams on one.
    #[must_use]
    pub fn h3_by(mut self, connection: &H3) -> Builder {
        self.version = Version::Http3(Some(Box::new(connection.clone())));
        self
    }

    /// Asks, and returns once the response's head is here, whatever the status.
    pub async fn open(self) -> Sse {
        let (url, deadline) = (self.url.clone(), self.deadline);
        match tokio::time::timeout(deadline, self.try_open()).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(e)) => panic!("{url}: {e}"),
            Err(_) => panic!("{url}: no response within {deadline:?}"),
        }
    }

    /// The same for a server that may be gone, and without a deadline.
    pub async fn try_open(self) -> io::Result<Sse> {
        let last_event_id =
            self.headers.get("last-event-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
        let (last_event_id, url, deadline) = (last_event_id.to_owned(), self.url.clone(), self.deadline);
        let (status, headers, body) = match self.version.clone() {
            Version::Http2(client) => {
                let client = client.unwrap_or_else(|| self.client());
                let response = self.request(&client).send().await.map_err(io::Error::other)?;
                (response.status(), response.headers().clone(), Body::Http2(response))
            }
            Version::Http3(connection) => {
                let connection = match connection {
                    Some(connection) => connection,
                    None => Box::new(self.connect_http3().await?),
                };
                let response = self.request_http3(&connection).await?;
                (response.status, response.headers.clone(), Body::Http3(Box::new(response)))
            }
            Version::Http10 | Version::Http11 => {
                let (status, headers, body) = self.request_http1().await?;
                (status, headers, Body::Http1(body))
            }
        };
        let (parser, seen, end) = (Parser::default(), Vec::new(), None);
        Ok(Sse { status, headers, url, body, parser, last_event_id, deadline, seen, end })
    }

    async fn request_http1(self) -> io::Result<(reqwest::StatusCode, HeaderMap, Http1)> {
        let host = self.url.host_str().ok_or(io::ErrorKind::InvalidInput)?;
        let port = self.url.port_or_known_default().ok_or(io::ErrorKind::InvalidInput)?;
        let addr =
            lookup_host((host, port)).await?.find(SocketAddr::is_ipv4).ok_or(io::ErrorKind::NotFound)?;
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        let stream = socket.connect(addr).await?;
        stream.set_nodelay(true)?;
        let mut stream: Box<dyn Stream> = match &self.trusted {
            Some(pem) => tls::connect(stream, host, pem, "http/1.1").await?,
            None => Box::new(stream),
        };
        stream.write_all(&self.head(&format!("{host}:{port}"))).await?;
        stream.flush().await?;
        Http1::response(stream).await
    }

    async fn connect_http3(&self) -> io::Result<H3> {
        let pem = self.trusted.as_deref().ok_or(io::ErrorKind::InvalidInput)?;
        H3::try_connect_watchfully(&self.url.origin().ascii_serialization(), pem, self.receive_buffer).await
    }

    async fn request_http3(&self, connection: &H3) -> io::Result<crate::Response> {
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_else(|e| panic!("{name}: {e}"))))
            .collect();
        connection.request(self.method(), &self.target(), &headers, self.body.as_deref()).await
    }

    fn target(&self) -> String {
        let query = self.url.query().map(|query| format!("?{query}")).unwrap_or_default();
        format!("{}{query}", self.url.path())
    }

    fn head(&self, host: &str) -> Vec<u8> {
        let version = if matches!(self.version, Version::Http10) { "1.0" } else { "1.1" };
        let target = self.target();
        let mut head = format!("{} {target} HTTP/{version}\r\nhost: {host}\r\n", self.method()).into_bytes();
        for (name, value) in &self.headers {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        let body = self.body.as_deref().unwrap_or_default();
        if self.body.is_some() {
            head.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        head.extend_from_slice(body.as_bytes());
        head
    }

    fn method(&self) -> Method {
        if self.body.is_some() { Method::POST } else { Method::GET }
    }

    fn client(&self) -> Client {
        let mut builder = Client::builder().no_proxy().http2_prior_knowledge();
        if let Some(pem) = &self.trusted {
            builder =
                builder.tls_certs_only(Certificate::from_pem_bundle(pem.as_bytes()).expect("certificates"));
        }
        builder.http2_initial_stream_window_size(self.receive_buffer).build().expect("an HTTP client")
    }

    fn request(&self, client: &Client) -> reqwest::RequestBuilder {
        let request = client.request(self.method(), self.url.clone()).headers(self.headers.clone());
        match &self.body {
            Some(body) => request.body(body.clone()),
            None => request,
        }
    }
}
