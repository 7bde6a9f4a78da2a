//! Whether a stream comes at all, and how its head has arrived.

use reqwest::{Method, StatusCode, Version, header};
use tokio::time::Instant;

use super::blocks::Block;
use super::proxy::{self, Ill};
use super::report::Report;
use super::visit::{Failed, Live, Next, PATIENCE, Visit, send};
use crate::client::{chain, problem};

/// Opens a stream and takes its first block. `None`: there is no stream, and it has been said why.
pub(super) async fn check(visit: &Visit, report: &mut Report) -> Option<(Live, Block)> {
    let live = match visit.open(true, None).await {
        Ok(live) => live,
        Err(Failed::Error(error)) => return unreachable(visit, error, report),
        Err(Failed::Silent) => return silent(visit, report).await,
    };
    let took = live.answered - live.asked;
    let from = live.response.remote_addr().map_or_else(|| "?".into(), |address| address.to_string());
    report.ok("reach", format!("{from} answered after {} ms", took.as_millis()));
    protocol(&live, report);
    let seen = proxy::seen(live.response.headers());
    if !seen.is_empty() {
        let names: Vec<&str> = seen.iter().map(|proxy| proxy.name()).collect();
        report.note("between", format!("the answer came through {}", names.join(" and ")));
    }
    if live.response.status() != StatusCode::OK {
        refused(live, report).await;
        return None;
    }
    if !headers(&live, report) {
        return None;
    }
    let mut live = match live.header(header::CONTENT_ENCODING).filter(|coding| *coding != "identity") {
        None => {
            report.ok("compression", "none, although it was offered");
            live
        }
        Some(coding) => {
            let said = format!(
                "the stream is compressed ({coding}): events may wait until there is enough to compress"
            );
            report.problem("compression", said, proxy::advice(Ill::Compression, &seen));
            match visit.open(false, None).await {
                Ok(live) => live,
                Err(_) => return None,
            }
        }
    };
    match live.next(Instant::now() + PATIENCE).await {
        Next::Block(block) => gateway(&block, report).then_some((live, block)),
        Next::Quiet => {
            let said =
                format!("the answer's head came, but in {} s not one byte of the stream", PATIENCE.as_secs());
            report.problem("buffering", said, proxy::advice(Ill::Buffering, &seen));
            None
        }
        Next::Ended => {
            report.problem("gateway", "the stream ended before it began", vec![]);
            None
        }
    }
}

fn unreachable(visit: &Visit, error: reqwest::Error, report: &mut Report) -> Option<(Live, Block)> {
    // Without the URL: there may be a password in it.
    let error = error.without_url();
    let (place, why) = (visit.gateway.url.origin().ascii_serialization(), chain(&error));
    let has = |words: &[&str]| words.iter().any(|word| why.contains(word));
    let (said, advice) = if has(&["dns error", "failed to lookup"]) {
        (format!("the name of {place} does not resolve"), "check the URL, and the name's DNS record")
    } else if has(&["refused"]) {
        (
            format!("nothing listens at {place}"),
            "start the gateway or the proxy before it, or correct the port",
        )
    } else if has(&["certificate", "tls", "Tls", "handshake", "HandshakeFailure"]) {
        (
            format!("no TLS with {place}: {why}"),
            "check the certificate (name, date, the whole chain; SSL_CERT_FILE=ca.pem names an authority of your own), or whether this port speaks TLS at all",
        )
    } else if error.is_timeout() {
        (
            format!("{place} can't be reached: no connection in {} s", PATIENCE.as_secs()),
            "a firewall or security group drops packets, or the machine is off",
        )
    } else {
        (
            format!("no answer from {place}: {why}"),
            "check that this port speaks HTTP, and the log of whoever listens there",
        )
    };
    report.problem("reach", said, vec![advice.into()]);
    None
}

/// Connected, asked, and nothing came: either nobody is there, or somebody collects what the gateway sends.
async fn silent(visit: &Visit, report: &mut Report) -> Option<(Live, Block)> {
    let waited = PATIENCE.as_secs();
    if let Ok(answer) = send(visit.wish(Method::HEAD)).await {
        let seen = proxy::seen(answer.headers());
        let said = format!(
            "other requests are answered, but of the stream nothing came in {waited} s: somebody collects it before passing it on"
        );
        report.problem("buffering", said, proxy::advice(Ill::Buffering, &seen));
    } else {
        let said = format!("a connection was taken, and nothing answered in {waited} s");
        report.problem(
            "reach",
            said,
            vec![
                "look at the gateway's /healthz from next to it: it hangs, or the proxy does not reach it"
                    .into(),
            ],
        );
    }
    None
}

fn protocol(live: &Live, report: &mut Report) {
    let version = live.response.version();
    let h3 = live.header("alt-svc").is_some_and(|offers| offers.contains("h3"));
    let offer = if h3 { ", and HTTP/3 is offered" } else { "" };
    match version {
        Version::HTTP_10 => report.problem(
            "protocol",
            "HTTP/1.0: each event may be held back, and no connection is kept",
            vec!["nginx: `proxy_http_version 1.1;`; otherwise whoever answers here is very old".into()],
        ),
        Version::HTTP_11 => report.note(
            "protocol",
            format!("HTTP/1.1{offer}: a browser opens at most six connections to a host, over all its tabs; with TLS and HTTP/2 it shares one"),
        ),
        version => report.ok("protocol", format!("{version:?}{offer}")),
    }
}

async fn refused(live: Live, report: &mut Report) {
    let status = live.response.status();
    let target = live.header(header::LOCATION).unwrap_or("elsewhere").to_owned();
    let json = live.header(header::CONTENT_TYPE).is_some_and(|kind| kind.contains("problem+json"));
    let detail = problem(live.response).await;
    let (said, advice) = match status {
        status if status.is_redirection() => {
            (format!("{status}: a redirect to {target}"), "give clients the URL that it leads to")
        }
        StatusCode::UNAUTHORIZED if json => {
            (format!("{status}: {detail}"), "give a token: --token, or TIDEGATE_TOKEN")
        }
        StatusCode::FORBIDDEN if json => {
            (format!("{status}: {detail}"), "give a --topic that the token may subscribe to")
        }
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => (
            format!("{status}: a proxy answers, but does not reach the gateway"),
            "check its upstream's address, and that the gateway runs",
        ),
        _ if json => (format!("{status}: {detail}"), "see docs/protocol.md, \"Problems\""),
        status => (
            format!("{status}, and not in a gateway's words"),
            "is this the URL of a gateway? /v1/events has to lead there",
        ),
    };
    report.problem("gateway", said, vec![advice.into()]);
}

/// Whether it is an event stream.
fn headers(live: &Live, report: &mut Report) -> bool {
    let kind = live.header(header::CONTENT_TYPE).unwrap_or("none").to_owned();
    if !kind.starts_with("text/event-stream") {
        let said = format!("200, but no event stream: the content type is {kind}");
        report.problem(
            "gateway",
            said,
            vec!["is this the URL of a gateway? /v1/events has to lead there".into()],
        );
        return false;
    }
    let mut changed = Vec::new();
    if kind != "text/event-stream" {
        changed.push(format!("Content-Type became {kind:?}"));
    }
    let cache = live.header(header::CACHE_CONTROL).unwrap_or_default();
    if !cache.contains("no-cache") && !cache.contains("no-store") {
        changed.push(format!("Cache-Control became {cache:?}: a cache may keep the stream"));
    } else if !cache.contains("no-transform") {
        changed.push(format!("Cache-Control became {cache:?}: the next proxy may compress"));
    }
    if let Some(length) = live.header(header::CONTENT_LENGTH) {
        changed.push(format!("Content-Length is {length}: the stream was collected and has an end"));
    }
    if changed.is_empty() {
        // Proxies that obey X-Accel-Buffering keep it for themselves.
        report.ok("headers", "as the gateway sends them");
    } else {
        let advice =
            "remove whatever rewrites headers of /v1/events (add_header, proxy_hide_header, cache rules)";
        report.problem("headers", changed.join("; "), vec![advice.into()]);
    }
    true
}

fn gateway(block: &Block, report: &mut Report) -> bool {
    if let Some(node) = block.is("ready").then(|| block.field("node")).flatten() {
        report.ok("gateway", format!("a Tidegate, node {node}"));
        return true;
    }
    if let Some(reason) = block.is("closing").then(|| block.field("reason")).flatten() {
        let said = format!("a Tidegate, but it turned the stream away: {reason}");
        report.problem("gateway", said, vec!["see docs/protocol.md, \"closing\", for this reason".into()]);
    } else {
        let advice = "is this the URL of a gateway? /v1/events has to lead there";
        report.problem(
            "gateway",
            "an event stream, but not a Tidegate's: it does not begin with tidegate:ready",
            vec![advice.into()],
        );
    }
    false
}
