//! `tidegate publish`

use std::io::{BufRead as _, Read as _, stdin};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::Gateway;
use super::output::print;
use crate::client::{problem, unanswered};

/// Lines in one request: the gateway's own default limit for a batch.
const BATCH: usize = 1_000;
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Args, Debug)]
pub(crate) struct Publish {
    #[command(flatten)]
    gateway: Gateway,
    /// Topic; may be repeated
    #[arg(long = "topic", value_name = "TOPIC", required_unless_present_any = ["users", "ndjson"])]
    topics: Vec<String>,
    /// User whose own topic it goes to; may be repeated
    #[arg(long = "user", value_name = "USER", conflicts_with = "topics")]
    users: Vec<String>,
    /// Event name
    #[arg(long)]
    event: Option<String>,
    /// Idempotency-Key: the same one again publishes nothing again
    #[arg(long, conflicts_with = "ndjson")]
    key: Option<String>,
    /// One event a line of standard input: its data, or without --topic the whole object ({"topic", "event", "data"})
    #[arg(long)]
    ndjson: bool,
    /// JSON, else taken as a text; `-` reads standard input
    #[arg(required_unless_present = "ndjson", allow_hyphen_values = true)]
    data: Option<String>,
}

pub(crate) async fn run(args: &Publish) -> anyhow::Result<ExitCode> {
    let http = reqwest::Client::builder().timeout(TIMEOUT).build()?;
    if args.ndjson {
        return lines(args, &http).await;
    }
    let data = match args.data.as_deref() {
        Some("-") => {
            let mut text = String::new();
            stdin().read_to_string(&mut text).context("can't read standard input")?;
            text.truncate(text.trim_end_matches(['\r', '\n']).len());
            text
        }
        data => data.unwrap_or_default().to_owned(),
    };
    let mut request = http.post(args.gateway.endpoint("/v1/publish")).json(&args.publication(&data));
    if let Some(key) = &args.key {
        request = request.header("Idempotency-Key", key);
    }
    send(args, request).await
}

/// As many lines as there are go into each request: one at a time from a slow source, a thousand from a file.
async fn lines(args: &Publish, http: &reqwest::Client) -> anyhow::Result<ExitCode> {
    if args.data.as_deref().is_some_and(|data| data != "-") {
        bail!("--ndjson reads standard input: leave out DATA, or give -");
    }
    let (sender, mut receiver) = mpsc::channel(BATCH);
    // Reading blocks, and standard input can't be read otherwise. The thread ends with the input or the receiver.
    let reader = tokio::task::spawn_blocking(move || {
        stdin().lock().lines().try_for_each(|line| sender.blocking_send(line).map_err(|_| ()))
    });
    let mut batch = Vec::with_capacity(BATCH);
    let mut code = ExitCode::SUCCESS;
    while receiver.recv_many(&mut batch, BATCH).await > 0 {
        let mut body = String::new();
        for line in batch.drain(..) {
            let line = line.context("can't read standard input")?;
            match line.trim() {
                "" => continue,
                whole if args.topics.is_empty() && args.users.is_empty() => body.push_str(whole),
                data => body.push_str(&args.publication(data).to_string()),
            }
            body.push('\n');
        }
        if body.is_empty() {
            continue;
        }
        let request =
            http.post(args.gateway.endpoint("/v1/publish")).header(CONTENT_TYPE, "application/x-ndjson");
        if send(args, request.body(body)).await? != ExitCode::SUCCESS {
            code = ExitCode::FAILURE;
        }
    }
    let _ = reader.await;
    Ok(code)
}

async fn send(args: &Publish, request: reqwest::RequestBuilder) -> anyhow::Result<ExitCode> {
    let answered = args.gateway.authorize(request).send().await;
    let response = answered.map_err(|error| anyhow::anyhow!(unanswered(&args.gateway.url, &error)))?;
    let status = response.status();
    if !status.is_success() {
        bail!("not published ({status}): {}", problem(response).await);
    }
    let answer: Value =
        response.json().await.context("the answer is no JSON: is this the URL of a gateway?")?;
    print(&answer)?;
    let failed = |item: &Value| item["status"].as_u64().is_some_and(|status| status >= 400);
    let all_well = !answer.as_array().into_iter().flatten().any(failed);
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Publish {
    /// The request's object. A single name takes the singular, which answers with one receipt, not a list.
    fn publication(&self, data: &str) -> Value {
        let data = serde_json::from_str(data).unwrap_or_else(|_| Value::from(data));
        let mut object = json!({ "data": data });
        match (self.topics.as_slice(), self.users.as_slice()) {
            ([topic], _) => object["topic"] = topic.as_str().into(),
            (_, [user]) => object["user"] = user.as_str().into(),
            ([], users) => object["users"] = users.into(),
            (topics, _) => object["topics"] = topics.into(),
        }
        if let Some(event) = &self.event {
            object["event"] = event.as_str().into();
        }
        object
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use serde_json::{Value, json};

    use crate::cli::{Cli, Command};

    fn body(arguments: &[&str]) -> Value {
        let line = ["tidegate", "publish"].iter().chain(arguments);
        match Cli::try_parse_from(line).unwrap().command() {
            Command::Publish(args) => args.publication(args.data.as_deref().unwrap()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn data_is_json_or_a_text() {
        assert_eq!(body(&["--topic", "a", "{\"n\":1}"]), json!({"topic": "a", "data": {"n": 1}}));
        assert_eq!(body(&["--topic", "a", "hello"]), json!({"topic": "a", "data": "hello"}));
        assert_eq!(body(&["--topic", "a", "-1"]), json!({"topic": "a", "data": -1}));
    }

    #[test]
    fn one_name_is_singular() {
        let named = body(&["--topic", "a", "--topic", "b", "--event", "e", "1"]);
        assert_eq!(named, json!({"topics": ["a", "b"], "event": "e", "data": 1}));
        assert_eq!(body(&["--user", "u", "1"]), json!({"user": "u", "data": 1}));
    }
}
