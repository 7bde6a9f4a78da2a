//! A TCP server that answers each connection with the next line of a script.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::SockRef;
use tidegate_testkit::free_port;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// One step of an answer.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Send(Vec<u8>),
    /// Fills the connection until the kernel takes no more, and reports the number of bytes as a request.
    Fill,
    /// An RST instead of an end.
    Reset,
    /// Keeps the connection open until the client leaves.
    Hold,
}

pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    requests: mpsc::UnboundedReceiver<String>,
}

impl Server {
    /// The first connection gets the first answer, and so on; later connections get the last one.
    pub(crate) async fn start(answers: Vec<Vec<Step>>) -> Server {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, free_port())).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (heard, requests) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            for turn in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let answer = answers[turn.min(answers.len() - 1)].clone();
                tokio::spawn(serve(stream, answer, heard.clone()));
            }
        });
        Server { addr, requests }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/events?topic=a", self.addr)
    }

    /// The next request's head, as it came.
    pub(crate) async fn request(&mut self) -> String {
        self.requests.recv().await.unwrap()
    }
}

async fn serve(mut stream: TcpStream, answer: Vec<Step>, heard: mpsc::UnboundedSender<String>) {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let _ = heard.send(String::from_utf8(request).unwrap());
    for step in answer {
        match step {
            // A client that has left is no concern of this server.
            Step::Send(bytes) => drop(stream.write_all(&bytes).await),
            Step::Reset => SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).unwrap(),
            Step::Fill => {
                let mut filled = 0;
                while let Ok(count) = stream.try_write(&[b'x'; 1 << 16]) {
                    filled += count;
                }
                heard.send(filled.to_string()).unwrap();
            }
            Step::Hold => while stream.read(&mut [0; 64]).await.is_ok_and(|count| count > 0) {},
        }
    }
}

pub(crate) fn send(bytes: impl AsRef<[u8]>) -> Step {
    Step::Send(bytes.as_ref().to_vec())
}

pub(crate) const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";

/// The head of a chunked stream.
pub(crate) fn chunked() -> Step {
    send(format!("{HEAD}transfer-encoding: chunked\r\n\r\n"))
}

pub(crate) fn chunk(text: &str) -> Step {
    send(format!("{:x}\r\n{text}\r\n", text.len()))
}

pub(crate) fn last_chunk() -> Step {
    send("0\r\n\r\n")
}
