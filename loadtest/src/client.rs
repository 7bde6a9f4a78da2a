//! As little HTTP as a client needs: the tester must cost less than what it measures.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An open stream, its head already read.
pub(crate) struct Stream {
    socket: TcpStream,
    /// Bytes read and not yet looked at.
    buffer: Vec<u8>,
}

impl Stream {
    /// Opens a stream and waits until its first block has come.
    pub(crate) async fn open(address: SocketAddr, path: &str) -> Result<Self> {
        let mut socket = connect(address).await?;
        let head = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n\r\n");
        socket.write_all(head.as_bytes()).await?;
        let mut stream = Self { socket, buffer: Vec::new() };
        while find(&stream.buffer, b"tidegate:ready").is_none() {
            stream.fill().await?;
            if stream.buffer.len() > 12 && !stream.buffer.starts_with(b"HTTP/1.1 200") {
                bail!("refused: {}", String::from_utf8_lossy(&stream.buffer));
            }
        }
        stream.buffer = Vec::new();
        Ok(stream)
    }

    /// Waits for bytes and calls `each` with the data of every event in them.
    pub(crate) async fn read(&mut self, mut each: impl FnMut(&[u8])) -> Result<()> {
        self.fill().await?;
        let mut rest = &self.buffer[..];
        while let Some(end) = find(rest, b"\n") {
            if let Some(data) = rest[..end].strip_prefix(b"data: ") {
                each(data);
            }
            rest = &rest[end + 1..];
        }
        let kept = self.buffer.len() - rest.len();
        self.buffer.drain(..kept);
        Ok(())
    }

    async fn fill(&mut self) -> Result<()> {
        if self.socket.read_buf(&mut self.buffer).await? == 0 {
            bail!("the stream was closed");
        }
        Ok(())
    }
}

/// A connection that publishes one request after another.
pub(crate) struct Publisher {
    address: SocketAddr,
    socket: TcpStream,
    buffer: Vec<u8>,
}

impl Publisher {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self> {
        Ok(Self { address, socket: connect(address).await?, buffer: Vec::new() })
    }

    /// Sends one body and waits for the answer's end. Anything but 200 is an error.
    pub(crate) async fn publish(&mut self, kind: &str, body: &[u8]) -> Result<()> {
        let mut request = format!(
            "POST /v1/publish HTTP/1.1\r\nhost: {}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            self.address,
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.socket.write_all(&request).await?;
        self.buffer.clear();
        let head = loop {
            if self.socket.read_buf(&mut self.buffer).await? == 0 {
                bail!("the connection was closed");
            }
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
        };
        let text = String::from_utf8_lossy(&self.buffer[..head]).to_ascii_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.context("an answer without content-length")?.trim().parse()?;
        while self.buffer.len() < head + 4 + length {
            if self.socket.read_buf(&mut self.buffer).await? == 0 {
                bail!("the connection was closed");
            }
        }
        if !self.buffer.starts_with(b"HTTP/1.1 200") {
            bail!("{}", String::from_utf8_lossy(&self.buffer));
        }
        Ok(())
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream> {
    let connecting = tokio::time::timeout(Duration::from_secs(10), TcpStream::connect(address));
    let socket = connecting.await.with_context(|| format!("{address} does not answer"))??;
    socket.set_nodelay(true)?;
    Ok(socket)
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}
