//! Ports that nobody else gets.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use anyhow::{Result, bail};
use socket2::{Domain, Socket, Type};

/// Below Linux' ephemeral range (32768 and up), so that no outgoing connection takes a port while its server is down.
const RANGE: std::ops::Range<u16> = 20_000..30_000;

/// A port on 127.0.0.1 that stays this process' own as long as this lives, also while nobody listens at it: it is bound by
/// a socket that does not listen. Bound without `SO_REUSEADDR`, which fails if anyone holds the port in any way, and
/// shared afterwards: servers set the option, and Linux then lets one of them listen beside it.
pub(crate) struct Port {
    pub(crate) number: u16,
    _held: Socket,
}

impl Port {
    pub(crate) fn free() -> Result<Self> {
        for _ in 0..10_000 {
            let random = RandomState::new().build_hasher().finish();
            let number = RANGE.start + (random % u64::from(RANGE.end - RANGE.start)) as u16;
            let held = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            if held.bind(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, number).into()).is_ok() {
                held.set_reuse_address(true)?;
                return Ok(Self { number, _held: held });
            }
        }
        bail!("no free port in {RANGE:?}")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}
