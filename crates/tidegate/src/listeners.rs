//! Binding, and what to say when that doesn't work.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use anyhow::{Context as _, anyhow};
use tokio::net::{TcpListener, TcpSocket};

/// Connections that may wait to be accepted. After a node's end a whole cluster's clients come at once; the kernel cuts this to
/// net.core.somaxconn (4,096 since Linux 5.4), so that alone decides. Who finds no room tries again after 1 s, then 3 s.
const BACKLOG: u32 = 65_535;

/// Binds `address`. `setting` and `flag` are how another one could be chosen.
pub(crate) fn bind(address: SocketAddr, setting: &str, flag: &str) -> anyhow::Result<TcpListener> {
    let variable = format!("TIDEGATE_{}", setting.to_uppercase());
    let other =
        format!("choose another address with {flag}, {variable} or `{setting}` in the configuration file");
    listen(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            let port = address.port();
            anyhow!("{address} is taken: another process listens there, perhaps another gateway (`ss -ltnp 'sport = :{port}'` names it). Stop it, or {other}")
        }
        io::ErrorKind::PermissionDenied => {
            anyhow!("{address} can't be bound without more rights (ports below 1024 belong to root, or CAP_NET_BIND_SERVICE): {other}")
        }
        io::ErrorKind::AddrNotAvailable => anyhow!("{address} is no address of this machine: {other}"),
        _ => anyhow!("{address} can't be bound ({error}): {other}"),
    })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait for the old connections' TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Binds the same port of UDP.
pub(crate) fn bind_udp(address: SocketAddr) -> anyhow::Result<UdpSocket> {
    UdpSocket::bind(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            let port = address.port();
            anyhow!("UDP {address}, for HTTP/3, is taken (`ss -lunp 'sport = :{port}'` names by whom). Stop it, choose another address with --listen, or set http3.enabled = false (TIDEGATE_HTTP3__ENABLED=false)")
        }
        _ => anyhow!("UDP {address}, for HTTP/3, can't be bound ({error}): http3.enabled = false (TIDEGATE_HTTP3__ENABLED=false) goes without"),
    })
}

/// The address that was really bound, for port 0.
pub(crate) fn address(listener: &TcpListener) -> anyhow::Result<SocketAddr> {
    listener.local_addr().context("a listener without an address")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_udp_port_says_what_to_do() {
        let taken = bind_udp(([127, 0, 0, 1], 0).into()).unwrap();
        let address = taken.local_addr().unwrap();
        let error = bind_udp(address).unwrap_err().to_string();
        for part in
            [address.to_string().as_str(), "is taken", "ss -lunp", "--listen", "TIDEGATE_HTTP3__ENABLED"]
        {
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[tokio::test]
    async fn a_taken_port_says_what_to_do() {
        let taken = bind(([127, 0, 0, 1], 0).into(), "listen", "--listen").unwrap();
        let address = address(&taken).unwrap();
        let error = bind(address, "listen", "--listen").unwrap_err().to_string();
        for part in [address.to_string().as_str(), "is taken", "ss -ltnp", "--listen", "TIDEGATE_LISTEN"] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
