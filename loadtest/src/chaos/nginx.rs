//! The same nginx as in production; only addresses, limits and temporary paths are this machine's.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::local;

/// The repository's own files.
const FILES: [(&str, &str); 5] = [
    ("nginx.conf", include_str!("../../../nginx/nginx.conf")),
    ("cleartext.conf", include_str!("../../../nginx/cleartext.conf")),
    ("upstream.conf", include_str!("../../../nginx/upstream.conf")),
    ("snippets/proxy.conf", include_str!("../../../nginx/snippets/proxy.conf")),
    ("snippets/routes.conf", include_str!("../../../nginx/snippets/routes.conf")),
];

/// Writes the files and says how to start it.
pub(super) fn prepare(dir: &Path, listen: u16, gateways: &[SocketAddr]) -> Result<Command> {
    for folder in ["snippets", "local.d", "tls.d", "tmp"] {
        fs::create_dir_all(dir.join(folder))?;
    }
    for (name, text) in FILES {
        let mut lines = String::new();
        for line in text.lines() {
            let word = line.trim_start();
            if let Some((node, rest)) =
                word.strip_prefix("server gateway-").and_then(|rest| rest.split_once(' '))
            {
                // Each kind of line once, with every gateway in the place of the first.
                let all = gateways.iter().filter(|_| node.starts_with("1:"));
                lines.extend(all.map(|at| format!("    server {at} {rest}\n")));
                continue;
            }
            match word.split_whitespace().next() {
                Some("worker_rlimit_nofile") => lines.push_str("worker_rlimit_nofile 8192;"),
                Some("worker_connections") => lines.push_str("    worker_connections 4096;"),
                // A reload ends its old workers' streams within the run.
                Some("worker_shutdown_timeout") => lines.push_str("worker_shutdown_timeout 1s;"),
                // Tokens that it might name are worth nothing here.
                Some("error_log") => lines.push_str("error_log stderr error;"),
                _ => lines.push_str(&line.replace("listen 8080", &format!("listen 127.0.0.1:{listen}"))),
            }
            lines.push('\n');
        }
        fs::write(dir.join(name), lines).with_context(|| format!("can't write nginx' {name}"))?;
    }
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {}/tmp/{kind};\n", dir.display()));
    fs::write(dir.join("local.d/temporary.conf"), temporary.concat())?;
    let mut command = local::server("nginx");
    command.arg("-p").arg(dir).arg("-c").arg(dir.join("nginx.conf"));
    command.arg("-g").arg(format!("daemon off; pid {}/nginx.pid;", dir.display()));
    Ok(command)
}
