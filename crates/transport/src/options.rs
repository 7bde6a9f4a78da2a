use std::time::Duration;

/// Bounds on connections and on what comes by them.
#[derive(Clone, Debug)]
pub struct Options {
    /// Open connections on the listeners that share a count. Beyond it streams are told to come
    /// back later and requests get 503.
    pub connections: usize,
    /// Bytes of a request's head.
    pub header_bytes: usize,
    /// Time for the first request's head to arrive.
    pub header_timeout: Duration,
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// How long a socket may stay full before its connection is cut.
    pub write_deadline: Duration,
    /// Streams on one HTTP/2 or HTTP/3 connection.
    pub h2_streams: u32,
    /// Messages per second that a client may send on one WebSocket, and twice as many at once; 0:
    /// any number.
    pub ws_messages: u32,
    /// Frames per second besides those that begin a message (further fragments, pings, pongs), and
    /// twice as many at once; 0: any number.
    pub ws_frames: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections: 18_000,
            header_bytes: 32 << 10,
            header_timeout: Duration::from_secs(10),
            body_bytes: 8 << 20,
            write_deadline: Duration::from_secs(30),
            h2_streams: 256,
            ws_messages: 50,
            ws_frames: 500,
        }
    }
}
