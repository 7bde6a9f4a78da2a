//! Plain requests, each on a connection of its own.

use std::sync::OnceLock;

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

use crate::wait::DEADLINE;

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as JSON; a body that is none is a JSON string, an empty one is null.
    pub body: Value,
}

/// `GET url`.
pub async fn get(url: &str) -> Answer {
    send(Method::GET, url, None, None).await
}

/// `POST url` with a JSON body.
pub async fn post(url: &str, body: &Value) -> Answer {
    send(Method::POST, url, None, Some(body)).await
}

/// `PUT url` without a body.
pub async fn put(url: &str) -> Answer {
    send(Method::PUT, url, None, None).await
}

/// `DELETE url`.
pub async fn delete(url: &str) -> Answer {
    send(Method::DELETE, url, None, None).await
}

/// `POST {base}/v1/publish`.
pub async fn publish(base: &str, event: &Value) -> (StatusCode, Value) {
    let answer = post(&format!("{base}/v1/publish"), event).await;
    (answer.status, answer.body)
}

/// `POST {base}/v1/publish` as the owner of a token or an API key.
pub async fn publish_as(base: &str, token: &str, event: &Value) -> (StatusCode, Value) {
    let answer = send(Method::POST, &format!("{base}/v1/publish"), Some(token), Some(event)).await;
    (answer.status, answer.body)
}

/// Any request, with a bearer token if given. Panics when no answer comes.
pub async fn send(method: Method, url: &str, token: Option<&str>, body: Option<&Value>) -> Answer {
    try_send(method.clone(), url, token, body).await.unwrap_or_else(|e| panic!("{method} {url}: {e:?}"))
}

/// The same, for a server that may be gone.
pub async fn try_send(
    method: Method,
    url: &str,
    token: Option<&str>,
    body: Option<&Value>,
) -> reqwest::Result<Answer> {
    let mut request = client().request(method, url);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    if let Some(body) = body {
        request = request.json(body);
    }
    let response = request.send().await?;
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await?;
    let body = match text.as_str() {
        "" => Value::Null,
        json => serde_json::from_str(json).unwrap_or_else(|_| Value::String(text.clone())),
    };
    Ok(Answer { status, headers, body })
}

/// The client behind these helpers. It takes any certificate, for whom to trust is [`Sse`](crate::Sse)'s to test. It ignores proxies of the environment, follows no redirect, and keeps no connection:
/// a kept one belongs to the runtime of the test that opened it.
pub fn client() -> &'static Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        Client::builder()
            .no_proxy()
            .tls_danger_accept_invalid_certs(true)
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .timeout(DEADLINE)
            .build()
            .expect("an HTTP client")
    })
}
