//! An HTTP server that answers each connection as its script says, whatever is asked.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// The head of a good stream's answer.
pub(crate) const STREAM: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";

pub(crate) struct Script {
    pub(crate) address: SocketAddr,
    requests: mpsc::UnboundedReceiver<String>,
}

impl Script {
    /// Each connection gets one of the answers and is closed; the last stays open.
    pub(crate) async fn start(answers: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (heard, requests) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut open = Vec::new();
            let count = answers.len();
            for (index, answer) in answers.into_iter().enumerate() {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = heard.send(request(&mut stream).await);
                stream.write_all(answer.as_bytes()).await.unwrap();
                if index + 1 == count {
                    open.push(stream);
                }
            }
            std::future::pending::<()>().await;
        });
        Self { address, requests }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next request, head and body.
    pub(crate) async fn request(&mut self) -> String {
        self.requests.recv().await.unwrap()
    }
}

/// Reads a request; the body by its Content-Length.
async fn request(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    loop {
        let mut bytes = [0; 4096];
        let read = stream.read(&mut bytes).await.unwrap();
        text.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        if read == 0 {
            return text;
        }
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return text;
            }
        }
    }
}
