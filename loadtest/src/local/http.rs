//! One request, one answer: for health checks and settings.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

/// The status. `headers`: whole lines, each with its end.
pub(crate) fn ask(to: SocketAddr, method: &str, path: &str, headers: &str, within: Duration) -> Result<u16> {
    let mut socket = TcpStream::connect_timeout(&to, within)?;
    socket.set_read_timeout(Some(within))?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\ncontent-length: 0\r\n{headers}\r\n"
    );
    socket.write_all(request.as_bytes())?;
    let mut head = [0; 12];
    socket.read_exact(&mut head)?;
    std::str::from_utf8(&head[9..])?.parse().context("an answer without a status")
}

pub(crate) fn says_yes(to: SocketAddr, path: &str) -> bool {
    ask(to, "GET", path, "", Duration::from_secs(1)).is_ok_and(|status| status == 200)
}
