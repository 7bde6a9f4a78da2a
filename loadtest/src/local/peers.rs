//! The systems that are compared, each started as its documentation says for many streams, with nothing that limits or logs.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::child::{Home, Process};
use super::ports::Port;
use crate::failure::Usage;

const PATIENCE: Duration = Duration::from_secs(30);

/// One that runs. Dropping it ends it.
pub(crate) struct Peer {
    pub(crate) url: String,
    /// Where it is published to, if that is another place.
    pub(crate) publish_url: Option<String>,
    pub(crate) pids: Vec<u32>,
    _processes: Vec<Process>,
    _ports: Vec<Port>,
}

/// An error that says what to install, if it is not here.
pub(crate) fn start(home: &Home, system: &str, gateway: Option<&Path>) -> Result<Peer> {
    match system {
        "tidegate" => tidegate(home, gateway),
        "nchan" => nchan(home),
        "pushpin" => pushpin(home),
        "loop" => bare_loop(home),
        _ => Err(Usage::new(format!(
            "{system}: tidegate, nchan, pushpin and loop are started here; for another that runs already: --running PROFILE=URL"
        ))
        .into()),
    }
}

/// With an outbox that holds a whole flood, as Nchan's message buffer does.
fn tidegate(home: &Home, gateway: Option<&Path>) -> Result<Peer> {
    let (port, admin) = (Port::free()?, Port::free()?);
    let mut command = super::serve(&super::gateway(gateway)?);
    command.args(["--listen", &port.address().to_string(), "--admin-listen", &admin.address().to_string()]);
    for (name, value) in [
        ("LOG", "error"),
        ("DRAIN__DELAY", "0s"),
        ("DRAIN__WINDOW", "0s"),
        ("STREAM__OUTBOX_EVENTS", "20000"),
        ("STREAM__OUTBOX_BYTES", "16MiB"),
    ] {
        command.env(format!("TIDEGATE_{name}"), value);
    }
    let process = home.start("tidegate", command, "cargo build -p tidegate")?;
    up(vec![process], port.address(), None, vec![port, admin])
}

/// As many workers as Tidegate has threads.
fn nchan(home: &Home) -> Result<Peer> {
    let folders = ["/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/local/lib/nginx/modules"];
    let module = folders.map(|folder| Path::new(folder).join("ngx_nchan_module.so"));
    let module = module.iter().find(|file| file.exists());
    let module =
        module.context("Nchan is missing. Debian, Ubuntu: sudo apt-get install libnginx-mod-nchan")?;
    let port = Port::free()?;
    let dir = home.path.join(format!("nchan-{}", port.number));
    fs::create_dir_all(dir.join("tmp"))?;
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let config = include_str!("nchan.conf")
        .replace("@MODULE@", &module.display().to_string())
        .replace("@DIR@", &dir.display().to_string())
        .replace("@WORKERS@", &workers.to_string())
        .replace("@PORT@", &port.number.to_string());
    fs::write(dir.join("nginx.conf"), config)?;
    let mut command = super::server("nginx");
    command.arg("-p").arg(&dir).arg("-c").arg(dir.join("nginx.conf"));
    let process = home.start("nchan", command, "apt-get install nginx libnginx-mod-nchan")?;
    up(vec![process], port.address(), None, vec![port])
}

/// It asks an origin what to do with a stream: to hold it, and on which channel. That costs it the opening, not the events. Its four
/// programs are started without the fifth, whose only work is that: what it starts it puts out of our reach.
fn pushpin(home: &Home) -> Result<Peer> {
    let ports: Vec<Port> = (0..4).map(|_| Port::free()).collect::<Result<_>>()?;
    let dir = home.path.join(format!("pushpin-{}", ports[0].number));
    fs::create_dir_all(&dir)?;
    for (name, text) in
        [("pushpin.conf", include_str!("pushpin.conf")), ("zurl.conf", include_str!("zurl.conf"))]
    {
        let mut text = text.replace("@DIR@", &dir.display().to_string());
        for (name, port) in ["@HTTP@", "@PUSH@", "@PULL@", "@SUB@"].iter().zip(&ports) {
            text = text.replace(name, &port.number.to_string());
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
                format!("--listen={},stream", ports[0].address()),
                format!("--zclient-stream=ipc://{}/p-condure", dir.display()),
                "--stream-maxconn=20000".to_owned(),
            ],
        ),
    ];
    let mut processes = Vec::new();
    for (program, arguments) in programs {
        let mut command = Command::new(program);
        command.args(arguments).args((program != "condure").then_some("--loglevel=1"));
        processes.push(home.start(program, command, "sudo apt-get install pushpin")?);
    }
    let publish = format!("http://{}", ports[1].address());
    up(processes, ports[0].address(), Some(publish), ports)
}

fn bare_loop(home: &Home) -> Result<Peer> {
    let port = Port::free()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["baseline", "--listen", &port.address().to_string()]);
    let process = home.start("loop", command, "")?;
    up(vec![process], port.address(), None, vec![port])
}

/// Until it and where it is published to listen.
fn up(
    mut processes: Vec<Process>,
    at: SocketAddr,
    publish_url: Option<String>,
    ports: Vec<Port>,
) -> Result<Peer> {
    let publish = publish_url.is_some().then(|| ports[1].address());
    let listens = |address: &SocketAddr| TcpStream::connect(address).is_ok();
    let all = || listens(&at) && publish.as_ref().is_none_or(listens);
    processes.iter_mut().try_for_each(|process| process.ready(PATIENCE, all))?;
    let pids = processes.iter().map(|process| process.pid.as_raw().unsigned_abs()).collect();
    Ok(Peer { url: format!("http://{at}"), publish_url, pids, _processes: processes, _ports: ports })
}

/// Answers every request for .../CHANNEL with the words that make Pushpin hold it. It lives as long as this program.
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
