use tidegate_hub::CloseReason;
use tungstenite::protocol::CloseFrame;

/// How a connection is ended: a code and the word for it. Registered codes where there are;
/// docs/protocol.md has the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Close {
    code: u16,
    reason: &'static str,
}

impl Close {
    /// A frame that breaks the protocol.
    pub(super) const PROTOCOL: Self = Self::new(1002, "protocol");
    /// A binary frame: everything here is text.
    pub(super) const BINARY: Self = Self::new(1003, "binary");
    /// Text that is not UTF-8.
    pub(super) const ENCODING: Self = Self::new(1007, "encoding");
    /// A client that goes on although it was told that it says too much.
    pub(super) const RATE: Self = Self::new(1008, "rate");
    /// A client that sends too many frames that begin no message.
    pub(super) const FRAMES: Self = Self::new(1008, "frames");
    /// A message above the limit.
    pub(super) const TOO_LARGE: Self = Self::new(1009, "too_large");
    /// A client that answers no ping.
    pub(super) const SILENT: Self = Self::new(3008, "silent");

    /// Those for something that the client did, or failed to do.
    pub(crate) const OWN: [Self; 7] = [
        Self::PROTOCOL,
        Self::BINARY,
        Self::ENCODING,
        Self::RATE,
        Self::FRAMES,
        Self::TOO_LARGE,
        Self::SILENT,
    ];

    const fn new(code: u16, reason: &'static str) -> Self {
        Self { code, reason }
    }

    /// The word for it, in the frame and in the metrics.
    pub(crate) fn reason(self) -> &'static str {
        self.reason
    }
}

impl From<CloseReason> for Close {
    fn from(reason: CloseReason) -> Self {
        let code = match reason {
            CloseReason::Client => 1000,
            // Service restart: come back at once, here or elsewhere.
            CloseReason::Drain | CloseReason::MaxAge | CloseReason::Replay => 1012,
            // Try again later.
            CloseReason::Unavailable => 1013,
            CloseReason::TokenExpired => 3000,
            CloseReason::Disconnected => 3003,
            // None of the registered ones says that the client is too slow.
            CloseReason::SlowConsumer | CloseReason::WriteDeadline => 4008,
        };
        Self::new(code, reason.as_str())
    }
}

impl From<Close> for CloseFrame {
    fn from(Close { code, reason }: Close) -> Self {
        Self { code: code.into(), reason: reason.into() }
    }
}
