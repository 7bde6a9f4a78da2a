//! How a WebSocket is asked for.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName};
use reqwest::{StatusCode, Url};
use tokio::net::{TcpSocket, lookup_host};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{self, Error};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::{Driver, WebSocket, Wire, h2};
use crate::tls;

/// A handshake to be made by [`open`](Builder::open).
#[derive(Debug, Clone)]
pub struct Builder {
    url: Url,
    headers: HeaderMap,
    deadline: Duration,
    receive_buffer: Option<u32>,
    trusted: Option<String>,
    h2: bool,
}

/// Why there is no WebSocket.
#[derive(Debug)]
pub enum Refused {
    /// The gateway answered otherwise.
    Answered(StatusCode, HeaderMap, String),
    /// There was no answer.
    Io(io::Error),
}

impl Builder {
    pub(super) fn new(url: &str) -> Builder {
        let url = url.replacen("ws", "http", usize::from(url.starts_with("ws")));
        let url = Url::parse(&url).unwrap_or_else(|e| panic!("{url}: {e}"));
        let (headers, deadline) = (HeaderMap::new(), crate::DEADLINE);
        Builder { url, headers, deadline, receive_buffer: None, trusted: None, h2: false }
    }

    /// Comes back with the position of an earlier one: as `last_event_id` in the query, for browsers can't set a header here.
    #[must_use]
    pub fn last_event_id(mut self, id: &str) -> Builder {
        self.url.query_pairs_mut().append_pair("last_event_id", id);
        self
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

    /// How long any one wait may take. Default: [`DEADLINE`](crate::DEADLINE).
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Builder {
        self.deadline = deadline;
        self
    }

    /// How many bytes this side takes in without anybody reading: `SO_RCVBUF` (which Linux doubles), or HTTP/2's window.
    #[must_use]
    pub fn receive_buffer(mut self, bytes: u32) -> Builder {
        self.receive_buffer = Some(bytes);
        self
    }

    /// Over TLS, to a URL with `https://` or `wss://`: accepts the certificates in `pem`, or those that they have signed.
    #[must_use]
    pub fn trust(mut self, pem: &str) -> Builder {
        self.trusted = Some(pem.to_owned());
        self
    }

    /// Over HTTP/2 (RFC 8441) on a connection of its own: with prior knowledge in cleartext, by ALPN over TLS.
    #[must_use]
    pub fn h2(mut self) -> Builder {
        self.h2 = true;
        self
    }

    /// Shakes hands. Panics if it is refused.
    pub async fn open(self) -> WebSocket {
        let url = self.url.clone();
        self.try_open().await.unwrap_or_else(|refused| panic!("{url}: {refused:?}"))
    }

    /// The same where it may be refused.
    pub async fn try_open(self) -> Result<WebSocket, Refused> {
        let deadline = self.deadline;
        match tokio::time::timeout(deadline, self.shake_hands()).await {
            Ok(result) => result,
            Err(elapsed) => Err(Refused::Io(elapsed.into())),
        }
    }

    async fn shake_hands(self) -> Result<WebSocket, Refused> {
        let wire = self.connect().await.map_err(Refused::Io)?;
        let (headers, stream, driver) = if self.h2 {
            let (response, wire, driver) =
                h2::connect(wire, &self.url, &self.headers, self.receive_buffer).await?;
            let wire: Box<dyn Wire> = Box::new(wire);
            let stream = WebSocketStream::from_raw_socket(wire, Role::Client, None).await;
            (response, stream, Some(Driver(driver)))
        } else {
            let url = self.url.as_str().replacen("http", "ws", 1);
            let mut request = url.into_client_request().map_err(refused)?;
            request.headers_mut().extend(self.headers.clone());
            let (stream, response) = client_async(request, wire).await.map_err(refused)?;
            (response.into_parts().0.headers, stream, None)
        };
        let last_event_id = self.url.query_pairs().find(|(name, _)| name == "last_event_id");
        Ok(WebSocket {
            headers,
            last_event_id: last_event_id.map(|(_, id)| id.into_owned()).unwrap_or_default(),
            url: self.url.into(),
            stream,
            _driver: driver,
            deadline: self.deadline,
            seen: Vec::new(),
            pings: 0,
            close: None,
        })
    }

    async fn connect(&self) -> io::Result<Box<dyn Wire>> {
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
        let alpn = if self.h2 { "h2" } else { "http/1.1" };
        Ok(match &self.trusted {
            Some(pem) => tls::connect(stream, host, pem, alpn).await?,
            None => Box::new(stream),
        })
    }
}

fn refused(error: tungstenite::Error) -> Refused {
    match error {
        Error::Http(response) => {
            let (head, body) = response.into_parts();
            let body = String::from_utf8_lossy(&body.unwrap_or_default()).into_owned();
            Refused::Answered(head.status, head.headers, body)
        }
        Error::Io(error) => Refused::Io(error),
        error => Refused::Io(io::Error::other(error)),
    }
}
