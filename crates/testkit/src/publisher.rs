//! A backend that publishes and publishes.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::wait::DEADLINE;

/// Publishes `0, 1, 2, …` to its topics in turn, each by another of its nodes, each with a key, and each again and again until a node has
/// taken it. So all of them are stored, once and in order, whatever happens to nodes and stores. Dropping it stops it.
#[derive(Debug)]
pub struct Publisher {
    stop: watch::Sender<bool>,
    taken: watch::Receiver<usize>,
    task: JoinHandle<usize>,
}

impl Publisher {
    /// Begins, to an open gateway, with a pause after every event. `bases` are those of [`Gateway::base`](crate::Gateway::base).
    pub fn start<S: AsRef<str>>(bases: Vec<String>, topics: &[S], pause: Duration) -> Publisher {
        Publisher::launch(bases, topics, pause, None)
    }

    /// The same as the owner of a token or an API key.
    pub fn start_as<S: AsRef<str>>(
        token: &str,
        bases: Vec<String>,
        topics: &[S],
        pause: Duration,
    ) -> Publisher {
        Publisher::launch(bases, topics, pause, Some(token.to_owned()))
    }

    /// Waits until this many were taken.
    pub async fn reached(&self, count: usize) {
        let mut taken = self.taken.clone();
        let limit = 3 * DEADLINE;
        let reached = tokio::time::timeout(limit, taken.wait_for(|taken| *taken >= count)).await;
        assert!(matches!(reached, Ok(Ok(_))), "{} of {count} were taken within {limit:?}", self.sent());
    }

    /// Waits until this many more were taken.
    pub async fn more(&self, count: usize) {
        self.reached(self.sent() + count).await;
    }

    /// How many were taken.
    pub fn sent(&self) -> usize {
        *self.taken.borrow()
    }

    /// Stops, and says how many there are: the last is one less.
    pub async fn finish(mut self) -> usize {
        self.stop.send_replace(true);
        (&mut self.task).await.expect("a publisher that goes on")
    }

    fn launch<S: AsRef<str>>(
        bases: Vec<String>,
        topics: &[S],
        pause: Duration,
        token: Option<String>,
    ) -> Publisher {
        assert!(!bases.is_empty() && !topics.is_empty(), "a publisher needs a node and a topic");
        let topics: Vec<String> = topics.iter().map(|topic| topic.as_ref().to_owned()).collect();
        let (stop, stopped) = watch::channel(false);
        let (count, taken) = watch::channel(0);
        // A client of its own keeps its connections, as a backend's does, and takes them along into its grave.
        let client = Client::builder().no_proxy().tls_danger_accept_invalid_certs(true).timeout(DEADLINE);
        let client = client.build().expect("an HTTP client");
        let task = tokio::spawn(async move {
            let (mut number, mut turn) = (0, 0);
            while !*stopped.borrow() {
                turn += 1;
                let request = client.post(format!("{}/v1/publish", bases[turn % bases.len()])).json(&json!({
                    "topic": topics[number % topics.len()], "data": number, "key": format!("{}#{number}", topics[0]),
                }));
                let request = match &token {
                    Some(token) => request.bearer_auth(token),
                    None => request,
                };
                if taken_by_a_node(request).await {
                    number += 1;
                    count.send_replace(number);
                    // Also lets others run where there is no pause.
                    tokio::time::sleep(pause).await;
                } else {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            number
        });
        Publisher { stop, taken, task }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn taken_by_a_node(request: RequestBuilder) -> bool {
    match request.send().await {
        Ok(answer) if answer.status() == StatusCode::OK => true,
        Ok(answer) => {
            assert!(answer.status().is_server_error(), "{} {:?}", answer.status(), answer.text().await);
            false
        }
        Err(_) => false,
    }
}
