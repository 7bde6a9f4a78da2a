//! A wire with a pair of pliers.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::BytesMut;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A TCP proxy on loopback between a client and a server, for links that break, hang or crawl. Dropping it cuts
/// everything.
#[derive(Debug)]
pub struct TcpProxy {
    addr: SocketAddr,
    wire: watch::Sender<Wire>,
    acceptor: JoinHandle<()>,
}

/// The state of the wire, watched by every connection.
#[derive(Debug, Clone, Copy)]
struct Wire {
    upstream: SocketAddr,
    /// Connections of an earlier cut end.
    cuts: u64,
    paused: bool,
    refusing: bool,
    delay: Duration,
    open: usize,
}

impl TcpProxy {
    /// Listens on a free port and connects to `upstream` for each connection.
    pub async fn start(upstream: SocketAddr) -> TcpProxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, crate::free_port())).await.expect("listen");
        let addr = listener.local_addr().expect("an address");
        let wire = Wire { upstream, cuts: 0, paused: false, refusing: false, delay: Duration::ZERO, open: 0 };
        let (wire, _) = watch::channel(wire);
        let acceptor = tokio::spawn(accept(listener, wire.clone()));
        TcpProxy { addr, wire, acceptor }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A URL through this proxy; `path` starts with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Resets all connections, on both sides. New ones are served.
    pub fn cut(&self) {
        self.wire.send_modify(|wire| wire.cuts += 1);
    }

    /// Resets every new connection at once, until [`accept`](Self::accept).
    pub fn refuse(&self) {
        self.wire.send_modify(|wire| wire.refusing = true);
    }

    /// Ends [`refuse`](Self::refuse).
    pub fn accept(&self) {
        self.wire.send_modify(|wire| wire.refusing = false);
    }

    /// No byte passes any more, in either direction, and neither side is told. New connections are accepted and hang.
    pub fn pause(&self) {
        self.wire.send_modify(|wire| wire.paused = true);
    }

    /// What was held back passes, and all that follows.
    pub fn resume(&self) {
        self.wire.send_modify(|wire| wire.paused = false);
    }

    /// Every read of up to 16 KiB is passed on this much later; the next one is taken after that.
    pub fn delay(&self, delay: Duration) {
        self.wire.send_modify(|wire| wire.delay = delay);
    }

    /// New connections go there.
    pub fn set_upstream(&self, upstream: SocketAddr) {
        self.wire.send_modify(|wire| wire.upstream = upstream);
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.wire.borrow().open
    }

    /// Waits until that many connections are open.
    pub async fn wait_connections(&self, count: usize) {
        let mut wire = self.wire.subscribe();
        let reached = wire.wait_for(|wire| wire.open == count);
        let reached = tokio::time::timeout(crate::DEADLINE, reached).await.is_ok();
        assert!(reached, "{} connections instead of {count}", self.connections());
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.acceptor.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, wire: watch::Sender<Wire>) {
    while let Ok((client, _)) = listener.accept().await {
        if wire.borrow().refusing {
            reset(&client);
            continue;
        }
        let wire = wire.clone();
        // Counted here: a client that is connected is counted, or about to be, and `cut` reaches it.
        wire.send_modify(|wire| wire.open += 1);
        let seen = wire.subscribe();
        tokio::spawn(async move {
            serve(client, seen).await;
            wire.send_modify(|wire| wire.open -= 1);
        });
    }
}

/// Carries one connection until an end closes, an error, or a cut.
async fn serve(client: TcpStream, wire: watch::Receiver<Wire>) {
    let now = *wire.borrow();
    let Ok(server) = TcpStream::connect(now.upstream).await else { return reset(&client) };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut cut = wire.clone();
    let broken = {
        let both = async {
            tokio::try_join!(
                carry(&mut from_client, &mut to_server, wire.clone()),
                carry(&mut from_server, &mut to_client, wire.clone()),
            )
        };
        tokio::select! {
            outcome = both => outcome.is_err(),
            _ = cut.wait_for(|wire| wire.cuts != now.cuts) => true,
        }
    };
    if broken {
        reset(to_client.as_ref());
        reset(to_server.as_ref());
        // A dropped half says goodbye first (FIN); a broken link does not.
        to_client.forget();
        to_server.forget();
    }
}

/// Carries one direction; passes on the end of the stream by closing that direction only.
async fn carry(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    mut wire: watch::Receiver<Wire>,
) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(16 * 1024);
    loop {
        buffer.clear();
        let count = from.read_buf(&mut buffer).await?;
        let delay = wire.borrow().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        wire.wait_for(|wire| !wire.paused).await.map_err(io::Error::other)?;
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer).await?;
    }
}

/// Makes the coming close an RST: the peer sees a broken link, not an end.
fn reset(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
