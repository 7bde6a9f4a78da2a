//! The systems that are compared, each started as its documentation says for many streams, with
//! nothing that limits or logs.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use tidegate_children::{Gateway, Home, Nginx, Process, free_address};

use super::PATIENCE;
use crate::failure::Usage;

/// One that runs. Dropping it ends it.
pub(crate) struct Peer {
    url: String,
    /// Where it is published to, if that is another place.
    publish_url: Option<String>,
    children: Vec<Child>,
}

/// What differs from one run to the next.
#[derive(Default)]
pub(crate) struct Setup<'a> {
    /// The gateway.
    pub(crate) binary: Option<&'a Path>,
    /// For nodes that share one.
    pub(crate) redis: Option<&'a str>,
    /// More of the gateway's settings.
    pub(crate) settings: Vec<(String, String)>,
}

enum Child {
    Gateway(Gateway),
    Nginx(Nginx),
    Other(Process),
}

impl Peer {
    /// What tells a scenario about it.
    pub(crate) fn flags(&self) -> Vec<String> {
        let mut flags = vec!["--url".to_owned(), self.url.clone()];
        for child in &self.children {
            flags.extend(["--pid".to_owned(), child.process().pid().to_string()]);
        }
        flags.extend(self.publish_url.iter().flat_map(|url| ["--publish-url".to_owned(), url.clone()]));
        flags
    }
}

impl Child {
    fn process(&self) -> &Process {
        match self {
            Self::Gateway(gateway) => gateway.process(),
            Self::Nginx(nginx) => nginx.process(),
            Self::Other(process) => process,
        }
    }
}

/// An error that says what to install, if it is not here.
pub(crate) fn start(home: &Home, system: &str, setup: &Setup<'_>) -> Result<Peer> {
    match system {
        "tidegate" => tidegate(home, setup),
        "nchan" => nchan(home, setup.redis),
        "pushpin" => pushpin(home),
        "loop" => bare_loop(home),
        _ => Err(Usage::new(format!(
            "{system}: tidegate, nchan, pushpin and loop are started here; for another that runs already: --running PROFILE=URL"
        ))
        .into()),
    }
}

/// With an outbox that holds a whole flood, as Nchan's message buffer does, and polls that wait for
/// as long as anyone looks.
fn tidegate(home: &Home, setup: &Setup<'_>) -> Result<Peer> {
    let redis: Vec<&str> = setup.redis.into_iter().flat_map(|url| ["--redis", url]).collect();
    let own: Vec<(String, &str)> =
        setup.settings.iter().map(|(name, value)| (format!("TIDEGATE_{name}"), value.as_str())).collect();
    let mut settings = vec![
        ("TIDEGATE_LOG", "error"),
        ("TIDEGATE_DRAIN__DELAY", "0s"),
        ("TIDEGATE_DRAIN__WINDOW", "0s"),
        ("TIDEGATE_STREAM__OUTBOX_EVENTS", "20000"),
        ("TIDEGATE_STREAM__OUTBOX_BYTES", "16MiB"),
        ("TIDEGATE_LIMITS__POLL_TIMEOUT", "10m"),
    ];
    settings.extend(own.iter().map(|(name, value)| (name.as_str(), *value)));
    let gateway = Gateway::start(home, "tidegate", &super::gateway(setup.binary)?, &redis, &settings)?;
    let address = gateway.address();
    up(vec![Child::Gateway(gateway)], address, None)
}

/// As many workers as Tidegate has threads, and nothing that limits, logs or times out.
fn nchan(home: &Home, redis: Option<&str>) -> Result<Peer> {
    let folders = ["/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/local/lib/nginx/modules"];
    let module = folders.map(|folder| Path::new(folder).join("ngx_nchan_module.so"));
    let module = module.iter().find(|file| file.exists());
    let module =
        module.context("Nchan is missing. Debian, Ubuntu: sudo apt-get install libnginx-mod-nchan")?;
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let upstream =
        |url| format!("upstream redis {{ nchan_redis_server {url}; nchan_redis_storage_mode distributed; }}");
    let config = include_str!("nchan.conf")
        .replace("@MODULE@", &module.display().to_string())
        .replace("@WORKERS@", &workers.to_string())
        .replace("@FILES@", &crate::process::raise_open_files()?.to_string())
        .replace("@REDIS@", &redis.map(upstream).unwrap_or_default())
        .replace("@STORE@", redis.map_or("", |_| "nchan_redis_pass redis;"))
        .replace("@BUFFER@", if redis.is_some() { "1000" } else { "20000" });
    let nginx = Nginx::start(home, "nchan", free_address()?, &config)?;
    let address = nginx.address();
    up(vec![Child::Nginx(nginx)], address, None)
}

/// It asks an origin what to do with a stream: to hold it, and on which channel. That costs it the
/// opening, not the events. Its four programs are started without the fifth, whose only work is
/// that: what it starts it puts out of our reach.
fn pushpin(home: &Home) -> Result<Peer> {
    let addresses: Vec<SocketAddr> = (0..4).map(|_| free_address()).collect::<Result<_>>()?;
    let dir = home.path().join(format!("pushpin-{}", addresses[0].port()));
    fs::create_dir_all(&dir)?;
    for (name, text) in
        [("pushpin.conf", include_str!("pushpin.conf")), ("zurl.conf", include_str!("zurl.conf"))]
    {
        let mut text = text.replace("@DIR@", &dir.display().to_string());
        for (name, address) in ["@HTTP@", "@PUSH@", "@PULL@", "@SUB@"].iter().zip(&addresses) {
            text = text.replace(name, &address.port().to_string());
        }
        fs::write(dir.join(name), text)?;
    }
    fs::write(dir.join("routes"), format!("* {}\n", origin()?))?;
    let config = format!("--config={}/pushpin.conf", dir.display());
    let programs = [
        ("zurl", vec![format!("--config={}/zurl.conf", dir.display())]),
        ("pushpin-handler", vec![config.clone(), "--ipc-prefix=p-".to_owned()]),
        ("pushpin-proxy", vec![config, "--ipc-prefix=p-".to_owned()]),
        (
            "condure",
            vec![
                format!("--listen={},stream", addresses[0]),
                format!("--zclient-stream=ipc://{}/p-condure", dir.display()),
                "--stream-maxconn=20000".to_owned(),
            ],
        ),
    ];
    let mut processes = Vec::new();
    for (program, arguments) in programs {
        let mut command = Command::new(program);
        command.args(arguments).args((program != "condure").then_some("--loglevel=1"));
        processes.push(Child::Other(home.start(program, command, "sudo apt-get install pushpin")?));
    }
    up(processes, addresses[0], Some(addresses[1]))
}

fn bare_loop(home: &Home) -> Result<Peer> {
    let address = free_address()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["baseline", "--listen", &address.to_string()]);
    let process = home.start("loop", command, "")?;
    up(vec![Child::Other(process)], address, None)
}

/// Until it and where it is published to listen.
fn up(children: Vec<Child>, at: SocketAddr, publish: Option<SocketAddr>) -> Result<Peer> {
    let listens = |address: &SocketAddr| TcpStream::connect(address).is_ok();
    let all = || listens(&at) && publish.as_ref().is_none_or(listens);
    children.iter().try_for_each(|child| child.process().ready(PATIENCE, all))?;
    Ok(Peer { url: format!("http://{at}"), publish_url: publish.map(|at| format!("http://{at}")), children })
}

/// Answers every request for .../CHANNEL with the words that make Pushpin hold it. It lives as long
/// as this program.
fn origin() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || hold(&stream));
        }
    });
    Ok(address)
}

fn hold(stream: &TcpStream) -> Option<()> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    loop {
        let request = lines.next()?;
        let channel = request.split(' ').nth(1)?.rsplit('/').next()?.to_owned();
        while !lines.next()?.is_empty() {}
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nGrip-Hold: stream\r\nGrip-Channel: {channel}\r\n\
             Content-Length: 0\r\n\r\n"
        );
        (&*stream).write_all(answer.as_bytes()).ok()?;
    }
}
