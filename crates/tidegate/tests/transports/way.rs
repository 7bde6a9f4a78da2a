//! The ways to receive.

/// A way from a gateway to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Server-Sent Events to an HTTP/1.0 client.
    Http10,
    /// The same over TLS.
    Http10Tls,
    /// Over HTTP/1.1.
    H1,
    /// The same over TLS.
    H1Tls,
    /// Over HTTP/2 with prior knowledge.
    H2,
    /// Over HTTP/2 by ALPN.
    H2Tls,
    /// Over HTTP/3.
    H3,
    /// Asked for with a POST.
    Post,
    /// One long poll after the other, each to another node.
    Poll,
    /// The same over TLS, on HTTP/2.
    PollTls,
    /// WebSocket by an HTTP/1.1 upgrade.
    Ws,
    /// The same over TLS.
    WsTls,
    /// By an extended CONNECT in HTTP/2.
    WsH2,
    /// The same over TLS.
    WsH2Tls,
}

impl Way {
    pub(crate) const ALL: [Self; 14] = [
        Self::Http10,
        Self::Http10Tls,
        Self::H1,
        Self::H1Tls,
        Self::H2,
        Self::H2Tls,
        Self::H3,
        Self::Post,
        Self::Poll,
        Self::PollTls,
        Self::Ws,
        Self::WsTls,
        Self::WsH2,
        Self::WsH2Tls,
    ];

    /// Whether it leads to a node that speaks TLS.
    pub(crate) fn tls(self) -> bool {
        match self {
            Self::Http10Tls | Self::H1Tls | Self::H2Tls | Self::H3 => true,
            Self::PollTls | Self::WsTls | Self::WsH2Tls => true,
            Self::Http10 | Self::H1 | Self::H2 | Self::Post | Self::Poll | Self::Ws | Self::WsH2 => false,
        }
    }

    /// Whether the client asks again for every batch of events. Such a one is never slow, and is told of an end by its next answer
    /// alone.
    pub(crate) fn polls(self) -> bool {
        matches!(self, Self::Poll | Self::PollTls)
    }

    /// Whether a response that is cut looks like one that is finished: HTTP/1.0 in the clear has no
    /// end of its own.
    pub(crate) fn hides_a_cut(self) -> bool {
        self == Self::Http10
    }

    /// What the metrics call it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Http10 | Self::Http10Tls | Self::H1 | Self::H1Tls | Self::Post => "sse-h1",
            Self::H2 | Self::H2Tls => "sse-h2",
            Self::H3 => "sse-h3",
            Self::Poll | Self::PollTls => "poll",
            Self::Ws | Self::WsTls => "ws-h1",
            Self::WsH2 | Self::WsH2Tls => "ws-h2",
        }
    }

    /// An HTTP/1.1 stream of the same node.
    pub(crate) fn plain_stream(self) -> Self {
        if self.tls() { Self::H1Tls } else { Self::H1 }
    }

    /// Whether the client could also speak.
    pub(crate) fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::WsTls | Self::WsH2 | Self::WsH2Tls)
    }

    /// Whether every event says which topic it is of.
    pub(crate) fn names_topics(self) -> bool {
        self.polls() || self.is_websocket()
    }

    /// What arrives of a text: Server-Sent Events know one line end only.
    pub(crate) fn text(self, sent: &str) -> String {
        if self.names_topics() { sent.to_owned() } else { sent.replace("\r\n", "\n").replace('\r', "\n") }
    }
}
