//! What a page of another origin is allowed, as its browser would see it.

use reqwest::Method;
use reqwest::header::{self, HeaderMap, HeaderName};

use super::report::Report;
use super::visit::{Visit, send};

/// Needs a preflight: `fetch` with a token, and what a client sends to resume.
const ASKED: &str = "authorization,last-event-id";

pub(super) async fn check(visit: &Visit, origin: &str, report: &mut Report) {
    if visit.gateway.url.origin().ascii_serialization() == origin {
        report.ok("cors", format!("{origin} is the gateway's own origin: nothing has to be allowed"));
        return;
    }
    // HEAD has the headers of GET, and comes through whoever holds streams back.
    let answer = send(visit.wish(Method::HEAD).header(header::ORIGIN, origin)).await;
    let Ok(answer) = answer else {
        report.problem("cors", "a request with an Origin was not answered", vec![]);
        return;
    };
    let wrong = wrong(answer.headers(), origin);
    if let Some((said, advice)) = wrong {
        report.problem("cors", said, vec![advice]);
        return;
    }
    let cookies = one(answer.headers(), header::ACCESS_CONTROL_ALLOW_CREDENTIALS) == Some("true");
    let preflight = visit.request(Method::OPTIONS, "/v1/events").header(header::ORIGIN, origin);
    let preflight = preflight
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "GET")
        .header(header::ACCESS_CONTROL_REQUEST_HEADERS, ASKED);
    let allowed = match send(preflight).await {
        Ok(answer) if answer.status().is_success() => {
            one(answer.headers(), header::ACCESS_CONTROL_ALLOW_HEADERS)
                .unwrap_or_default()
                .to_ascii_lowercase()
        }
        _ => String::new(),
    };
    if allowed != "*" && ASKED.split(',').any(|name| !allowed.contains(name)) {
        let advice = "let OPTIONS through to the gateway: it answers preflights itself".into();
        report.problem(
            "cors",
            format!("{origin} may read streams, but a preflight for `fetch` fails"),
            vec![advice],
        );
    } else {
        let with = if cookies { "with" } else { "without" };
        report.ok("cors", format!("pages of {origin} may receive, {with} cookies"));
    }
}

fn wrong(headers: &HeaderMap, origin: &str) -> Option<(String, String)> {
    let count = headers.get_all(header::ACCESS_CONTROL_ALLOW_ORIGIN).iter().count();
    let allowed = one(headers, header::ACCESS_CONTROL_ALLOW_ORIGIN);
    match allowed {
        None => Some((
            format!("pages of {origin} may not read streams: the answer allows no origin"),
            format!("add it to the gateway's settings: cors.origins = [{origin:?}]"),
        )),
        Some(_) if count > 1 => Some((
            "Access-Control-Allow-Origin comes twice, and browsers refuse that".into(),
            "only one may set it: leave CORS to the gateway and remove it from the proxy".into(),
        )),
        Some(allowed) if allowed != origin && allowed != "*" => Some((
            format!("pages of {origin} may not read streams: only {allowed} may"),
            format!(
                "add it to cors.origins; if it is there, a cache answers for another origin: let it obey `Vary: Origin` ({origin:?})"
            ),
        )),
        Some(_) => None,
    }
}

fn one(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
