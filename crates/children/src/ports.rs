//! Ports that no other process gets.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Result, bail};
use parking_lot::Mutex;
use socket2::{Domain, Socket, Type};

/// Below Linux' ephemeral range (32768 and up), so that no outgoing connection takes a port while
/// its server is being restarted.
const RANGE: std::ops::Range<u16> = 20_000..30_000;

/// The bound sockets of every port handed out, kept for the life of the process.
static RESERVED: Mutex<Vec<Socket>> = Mutex::new(Vec::new());

/// A free TCP port on 127.0.0.1, never given out twice: not in this process, not by another one
/// that uses this function meanwhile. Connecting to it is refused until a server listens.
///
/// The port stays bound by a socket that does not listen. It is bound without `SO_REUSEADDR`, which
/// fails if anyone holds the port in any way, and shared afterwards: servers set the option (tokio,
/// nginx and Redis do) and Linux then lets one of them listen beside it.
pub fn free_address() -> Result<SocketAddr> {
    for _ in 0..10_000 {
        let random = RandomState::new().build_hasher().finish();
        let port = RANGE.start + (random % u64::from(RANGE.end - RANGE.start)) as u16;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        if socket.bind(&address.into()).is_ok() {
            socket.set_reuse_address(true)?;
            RESERVED.lock().push(socket);
            return Ok(address);
        }
    }
    bail!("no free port in {RANGE:?}")
}
