//! A real nginx in front of a test's servers.

use std::net::SocketAddr;

use tidegate_children::{Home, Nginx as Child, free_address};
use tokio::net::TcpStream;

use crate::wait::up;

/// An `nginx` child with a configuration of its own. Dropping it ends it and its workers, whatever
/// they are serving.
#[derive(Debug)]
pub struct Nginx(Child);

impl Nginx {
    /// Starts nginx on a free port. `config` is what belongs inside `http { … }`; `@PORT@` in it is
    /// the port.
    pub async fn start(config: &str) -> Nginx {
        let whole = format!(
            "worker_processes 1;\nerror_log stderr notice;\nevents {{ worker_connections 4096; }}\n\
             http {{\naccess_log off;\nclient_body_temp_path tmp/1; proxy_temp_path tmp/2; fastcgi_temp_path tmp/3;\n\
             uwsgi_temp_path tmp/4; scgi_temp_path tmp/5;\n{config}\n}}\n"
        );
        Nginx::listening(Child::start(&home(), "nginx", free_address().unwrap(), &whole).unwrap()).await
    }

    /// Starts nginx with the repository's own configuration (`nginx/`): only addresses, limits,
    /// temporary paths and the number of workers are this machine's. Its access log is in
    /// [`log`](Self::log), too.
    pub async fn repository(upstreams: &[SocketAddr]) -> Nginx {
        Nginx::repository_with(upstreams, str::to_owned).await
    }

    /// The same, each line changed by `edit`.
    pub async fn repository_with(upstreams: &[SocketAddr], edit: impl Fn(&str) -> String) -> Nginx {
        let edit = |line: &str| edit(&for_tests(line));
        Nginx::listening(Child::repository(&home(), free_address().unwrap(), upstreams, edit).unwrap()).await
    }

    /// `http://127.0.0.1:port`.
    pub fn base(&self) -> String {
        format!("http://{}", self.0.address())
    }

    /// A URL behind this nginx; `path` starts with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base())
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.0.address().port()
    }

    /// Takes over another set of gateways gracefully, after [`repository`](Self::repository): old
    /// workers keep their streams, and soon new connections see the new set.
    pub fn reload(&self, upstreams: &[SocketAddr]) {
        self.0.reload_repository(upstreams, for_tests).unwrap();
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.0.process().output()
    }

    async fn listening(child: Child) -> Nginx {
        let listens = async || TcpStream::connect(child.address()).await.is_ok();
        up(child.process(), &format!("nginx does not listen on {}", child.address()), listens).await;
        Nginx(child)
    }
}

fn home() -> Home {
    Home::new("nginx").unwrap()
}

/// One worker is enough.
fn for_tests(line: &str) -> String {
    line.replace("worker_processes auto", "worker_processes 1")
}
