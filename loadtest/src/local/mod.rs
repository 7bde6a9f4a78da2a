//! Servers that the tester starts itself, on this machine, and leaves nothing of behind.

pub(crate) mod peers;
pub(crate) mod start;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use tidegate_children::{Home, RedisServer};

use crate::failure::Usage;
use crate::redis::Redis;

/// So long anything may take to come up: a busy machine needs seconds for what is done in
/// milliseconds elsewhere.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The gateway: this one, or that beside this program, since both come out of one build.
pub(crate) fn gateway(binary: Option<&Path>) -> Result<PathBuf> {
    let beside = || -> Result<PathBuf> { Ok(std::env::current_exe()?.with_file_name("tidegate")) };
    let path = binary.map(Path::to_owned).map_or_else(beside, Ok)?;
    ensure!(
        path.is_file(),
        Usage::new(format!(
            "{}: no gateway there: cargo build -p tidegate, or --binary PATH",
            path.display()
        ))
    );
    Ok(path.canonicalize()?)
}

/// An empty Redis with the settings that Tidegate recommends, and `arguments`.
pub(crate) fn redis(home: &Home, arguments: &[&str]) -> Result<RedisServer> {
    let config = home.path().join("redis.conf");
    fs::write(&config, include_str!("../../../deploy/redis.conf"))?;
    let config = config.display().to_string();
    let arguments = std::iter::once(config.as_str()).chain(arguments.iter().copied());
    let server = RedisServer::start(home, arguments.map(ToOwned::to_owned).collect())?;
    redis_answers(&server)?;
    Ok(server)
}

/// Waits until it does.
pub(crate) fn redis_answers(server: &RedisServer) -> Result<()> {
    let ping = || Redis::connect(&redis_url(server)).and_then(|mut redis| redis.ask(&["PING"])).is_ok();
    server.process().map_or(Ok(()), |process| process.ready(PATIENCE, ping))
}

pub(crate) fn redis_url(server: &RedisServer) -> String {
    format!("redis://{}", server.address())
}
