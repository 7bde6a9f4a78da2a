//! A real redis-server, and which of its answers the model must give.
#![allow(dead_code)] // Each test uses some of it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tidegate_simulation::redis::resp::{self, Bytes, Reply};

/// Entries in one node of a stream, on both sides.
pub const NODE: usize = 3;

/// A redis-server that ends with the test.
pub struct Real {
    server: Option<Child>,
    link: UnixStream,
    buffer: Bytes,
}

impl Real {
    pub fn start(folder: &Path) -> Self {
        Self::at(folder, 0)
    }

    pub fn at(folder: &Path, port: u16) -> Self {
        let socket = folder.join("redis.sock");
        let mut server = Command::new("redis-server");
        server.args(["--port", &port.to_string(), "--repl-diskless-sync-delay", "0"]);
        server.args(["--save", "", "--stream-node-max-bytes", "0"]);
        server.args(["--stream-node-max-entries", &NODE.to_string()]).arg("--unixsocket").arg(&socket);
        server.arg("--dir").arg(folder).stdout(Stdio::null());
        let mut server = server.spawn().expect("redis-server is installed: scripts/setup.sh");
        let link = loop {
            if let Ok(link) = UnixStream::connect(&socket) {
                break link;
            }
            assert!(server.try_wait().expect("its state").is_none(), "redis-server has ended");
            std::thread::yield_now();
        };
        let mut real = Self { server: Some(server), link, buffer: Vec::new() };
        real.ask(&args(&["HELLO", "3"]));
        real
    }

    /// Another connection to a server of that folder.
    pub fn beside(folder: &Path) -> Self {
        let link = UnixStream::connect(folder.join("redis.sock")).expect("a connection");
        let mut real = Self { server: None, link, buffer: Vec::new() };
        real.ask(&args(&["HELLO", "3"]));
        real
    }

    pub fn ask(&mut self, command: &[Bytes]) -> Reply {
        self.link.write_all(&resp::command(command)).expect("written");
        self.hear()
    }

    pub fn hear(&mut self) -> Reply {
        let mut piece = [0; 16 << 10];
        loop {
            if let Some(reply) = Reply::parse(&mut self.buffer) {
                return reply;
            }
            let count = self.link.read(&mut piece).expect("read");
            assert!(count > 0, "redis-server has closed the connection");
            self.buffer.extend_from_slice(&piece[..count]);
        }
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

pub fn args(words: &[&str]) -> Vec<Bytes> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

/// What may differ: the time that is left, the order of a set's members, and the words of an error behind its code.
pub fn comparable(reply: Reply) -> Reply {
    let all = |items: Vec<Reply>| items.into_iter().map(comparable).collect();
    match reply {
        Reply::Error(words) => Reply::Error(words.split(' ').next().unwrap_or_default().into()),
        // Time passes between the two.
        Reply::Int(900_000..=1_000_000) => Reply::Int(1_000_000),
        Reply::Map(pairs) => {
            Reply::Map(pairs.into_iter().map(|(a, b)| (comparable(a), comparable(b))).collect())
        }
        Reply::Set(items) => {
            let mut items: Vec<Reply> = all(items);
            items.sort_by_key(Reply::encoded);
            Reply::Set(items)
        }
        Reply::Array(items) => Reply::Array(all(items)),
        other => other,
    }
}
