//! A wire as long as you like: a TCP proxy that hands every byte on after a fixed time, in order, as fast as they come. It
//! can be cut.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use socket2::SockRef;

const LISTENER: Token = Token(usize::MAX);
const WAKE: Token = Token(usize::MAX - 1);

/// Dropping it cuts all of its connections.
pub(crate) struct Delay {
    pub(crate) address: SocketAddr,
    waker: Waker,
    order: Arc<AtomicU8>,
    thread: Option<JoinHandle<()>>,
}

/// What a proxy is told when it is woken.
const CARRY: u8 = 0;
const CUT: u8 = 1;
const END: u8 = 2;

impl Delay {
    /// `delay`: each way. A connection is accepted at once: only what is said on it takes its time.
    pub(crate) fn start(target: SocketAddr, delay: Duration) -> Result<Self> {
        let mut listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = listener.local_addr()?;
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let mut proxy = Proxy { poll, listener, target, delay, pairs: Vec::new(), due: VecDeque::new() };
        let order = Arc::new(AtomicU8::new(CARRY));
        let ordered = Arc::clone(&order);
        let thread = std::thread::spawn(move || proxy.run(&ordered));
        Ok(Self { address, waker, order, thread: Some(thread) })
    }

    /// Resets all connections (RST), on both sides. New ones are served.
    pub(crate) fn cut(&self) {
        self.tell(CUT);
    }

    fn tell(&self, order: u8) {
        self.order.store(order, Ordering::Release);
        let _ = self.waker.wake();
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        self.tell(END);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Proxy {
    poll: Poll,
    listener: TcpListener,
    target: SocketAddr,
    delay: Duration,
    pairs: Vec<Option<Pair>>,
    /// When which end has something to write: all take the same time, so this is in order.
    due: VecDeque<(Instant, usize)>,
}

/// The client's end and the server's.
struct Pair {
    ends: [TcpStream; 2],
    /// What goes out at each end, and when. Nothing in it: the end of the stream. It has no bound: a tester's load fits into
    /// its memory.
    queues: [VecDeque<(Instant, Vec<u8>)>; 2],
    finished: [bool; 2],
}

impl Proxy {
    fn run(&mut self, order: &AtomicU8) {
        let mut events = Events::with_capacity(256);
        loop {
            let next = self.due.front().map(|next| next.0.saturating_duration_since(Instant::now()));
            match self.poll.poll(&mut events, next) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return,
                _ => {}
            }
            for event in &events {
                match event.token() {
                    WAKE => match order.swap(CARRY, Ordering::AcqRel) {
                        END => return,
                        CUT => self.cut(),
                        _ => {}
                    },
                    LISTENER => self.accept(),
                    Token(end) => {
                        self.read(end);
                        self.write(end);
                    }
                }
            }
            let now = Instant::now();
            while let Some((_, end)) = self.due.front().filter(|next| next.0 <= now).copied() {
                self.due.pop_front();
                self.write(end);
            }
        }
    }

    fn cut(&mut self) {
        for pair in self.pairs.iter_mut().filter_map(Option::take) {
            for end in &pair.ends {
                // The close that follows is an RST: a broken link, not an end.
                let _ = SockRef::from(end).set_linger(Some(Duration::ZERO));
            }
        }
        self.due.clear();
    }

    fn accept(&mut self) {
        while let Ok((client, _)) = self.listener.accept() {
            let Ok(server) = TcpStream::connect(self.target) else { continue };
            let mut ends = [client, server];
            let at = self.pairs.iter().position(Option::is_none).unwrap_or(self.pairs.len());
            let interest = Interest::READABLE | Interest::WRITABLE;
            let registered = (0..).zip(&mut ends).all(|(side, end)| {
                let _ = end.set_nodelay(true);
                self.poll.registry().register(end, Token(2 * at + side), interest).is_ok()
            });
            if !registered {
                continue;
            }
            let pair = Pair { ends, queues: Default::default(), finished: [false; 2] };
            if at == self.pairs.len() {
                self.pairs.push(None);
            }
            self.pairs[at] = Some(pair);
        }
    }

    /// What has come at this end is due at the other one.
    fn read(&mut self, end: usize) {
        let Some(Some(pair)) = self.pairs.get_mut(end / 2) else { return };
        let mut buffer = [0; 64 * 1024];
        loop {
            let bytes = match pair.ends[end % 2].read(&mut buffer) {
                Ok(count) => buffer[..count].to_vec(),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => Vec::new(),
            };
            let (at, last) = (Instant::now() + self.delay, bytes.is_empty());
            pair.queues[1 - end % 2].push_back((at, bytes));
            self.due.push_back((at, end ^ 1));
            if last {
                return;
            }
        }
    }

    /// Writes at this end what is due, as far as the socket takes it.
    fn write(&mut self, end: usize) {
        let (at, side) = (end / 2, end % 2);
        let Some(Some(pair)) = self.pairs.get_mut(at) else { return };
        let now = Instant::now();
        while let Some((_, bytes)) = pair.queues[side].front_mut().filter(|next| next.0 <= now) {
            if bytes.is_empty() {
                let _ = pair.ends[side].shutdown(Shutdown::Write);
                pair.finished[side] = true;
                pair.queues[side].clear();
                break;
            }
            match pair.ends[side].write(bytes) {
                Ok(count) if count < bytes.len() => drop(bytes.drain(..count)),
                Ok(_) => drop(pair.queues[side].pop_front()),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return;
                }
                Err(_) => {
                    pair.finished = [true; 2];
                    break;
                }
            }
        }
        if pair.finished == [true; 2] {
            self.pairs[at] = None;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// A server that says everything back, and ends when its client does.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                std::thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
            }
        });
        address
    }

    #[test]
    fn bytes_take_their_time_each_way() {
        let delay = Duration::from_millis(40);
        let proxy = Delay::start(echo(), delay).unwrap();
        let mut stream = TcpStream::connect(proxy.address).unwrap();
        for _ in 0..3 {
            let began = Instant::now();
            stream.write_all(b"there and back").unwrap();
            let mut back = [0; 14];
            stream.read_exact(&mut back).unwrap();
            assert_eq!(&back, b"there and back");
            assert!(began.elapsed() >= delay * 2, "{:?}", began.elapsed());
            // Generous: other tests run meanwhile.
            assert!(began.elapsed() < delay * 2 + Duration::from_secs(2), "{:?}", began.elapsed());
        }
    }

    #[test]
    fn a_cut_wire_resets_what_it_carries_and_serves_who_comes_again() {
        let proxy = Delay::start(echo(), Duration::ZERO).unwrap();
        let mut back = [0; 5];
        for _ in 0..2 {
            let mut stream = TcpStream::connect(proxy.address).unwrap();
            stream.write_all(b"hello").unwrap();
            stream.read_exact(&mut back).unwrap();
            proxy.cut();
            assert_eq!(stream.read(&mut back).unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
    }

    #[test]
    fn order_and_end_are_kept_and_width_is_not_limited() {
        let delay = Duration::from_millis(30);
        let proxy = Delay::start(echo(), delay).unwrap();
        let sent: Vec<u8> = (0..8_000_000u32).map(|at| (at * 7 + at / 1_000) as u8).collect();
        let stream = TcpStream::connect(proxy.address).unwrap();
        let began = Instant::now();
        let back = std::thread::scope(|scope| {
            scope.spawn(|| {
                (&stream).write_all(&sent).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
            });
            let mut back = Vec::new();
            (&stream).read_to_end(&mut back).unwrap();
            back
        });
        assert!(back == sent);
        assert!(began.elapsed() >= delay * 2);
    }
}
