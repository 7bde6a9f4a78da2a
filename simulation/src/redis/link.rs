//! What lies between a node and Redis: each piece arrives after a delay of its own, in order, or
//! never.

use std::io;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tidegate_broker_redis::{Dialer, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::resp::{Bytes, take_command};
use super::site::Redis;

/// Bytes that pass a link in one go: others' come between.
const SHARE: usize = 4096;

/// A node's way to Redis.
pub(super) struct Way {
    pub(super) redis: Redis,
    pub(super) node: usize,
}

/// Bytes on their way to a node.
pub(super) struct Written {
    pub(super) at: Instant,
    pub(super) bytes: Bytes,
}

impl Dialer for Way {
    fn dial(&self) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        Box::pin(accept(self.redis.clone(), self.node))
    }
}

async fn accept(redis: Redis, node: usize) -> io::Result<Box<dyn Stream>> {
    let delay = redis.state().delay();
    sleep(delay).await;
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let (reading, writing) = tokio::io::split(ours);
    let (out, queue) = mpsc::unbounded_channel();
    let id = redis.state().open(node, out).ok_or(io::ErrorKind::ConnectionRefused)?;
    let (pieces, arrived) = mpsc::unbounded_channel();
    let tasks = vec![
        tokio::spawn(read(redis.clone(), id, reading, pieces)).abort_handle(),
        tokio::spawn(serve(redis.clone(), id, arrived)).abort_handle(),
        tokio::spawn(write(redis.clone(), id, writing, queue)).abort_handle(),
    ];
    if let Some(conn) = redis.state().conn(id) {
        conn.tasks = tasks;
    }
    Ok(Box::new(theirs))
}

/// Takes what the node writes. Where a segment ends is chance, and now and then one is sent again.
async fn read(
    redis: Redis,
    id: u64,
    mut stream: ReadHalf<DuplexStream>,
    pieces: mpsc::UnboundedSender<(Instant, Bytes)>,
) {
    let mut last = Instant::now();
    loop {
        let most = *redis.state().chance.pick(&[64, 64, 256, 1448, 16_384]);
        let mut piece = Vec::with_capacity(most);
        match stream.read_buf(&mut piece).await {
            Ok(0) | Err(_) => return redis.state().kill(id),
            Ok(_) => {}
        }
        {
            let mut state = redis.state();
            let mut delay = state.delay();
            if state.chance.percent(10) {
                delay += Duration::from_micros(state.chance.skewed(1, 50_000));
            }
            let Some(conn) = state.conn(id) else { return };
            last = (Instant::now() + delay).max(conn.stalled_until).max(last);
        }
        let _ = pieces.send((last, piece));
    }
}

async fn serve(redis: Redis, id: u64, mut pieces: mpsc::UnboundedReceiver<(Instant, Bytes)>) {
    let mut buffer = Vec::new();
    while let Some((arrives, piece)) = pieces.recv().await {
        until(arrives).await;
        buffer.extend_from_slice(&piece);
        while let Some(args) = take_command(&mut buffer) {
            loop {
                let paused = {
                    let mut state = redis.state();
                    let Some(server) = state.conn(id).map(|conn| conn.server) else { return };
                    state.servers[server].paused_until
                };
                if paused <= Instant::now() {
                    break;
                }
                sleep_until(paused).await;
            }
            redis.execute(id, &args);
        }
    }
}

async fn write(
    redis: Redis,
    id: u64,
    mut stream: WriteHalf<DuplexStream>,
    mut queue: mpsc::UnboundedReceiver<Written>,
) {
    while let Some(Written { at, bytes }) = queue.recv().await {
        until(at).await;
        for part in bytes.chunks(SHARE) {
            let carried = redis.state().carried(id, part.len());
            until(carried).await;
            if stream.write_all(part).await.is_err() {
                return redis.state().kill(id);
            }
            redis.state().sent(id, part.len());
        }
    }
}

async fn until(at: Instant) {
    if at > Instant::now() {
        sleep_until(at).await;
    }
}
