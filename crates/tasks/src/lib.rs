//! Long-lived tasks and threads whose end, in whatever way, the process hears of.
//!
//! A runtime takes no notice of a task that panics or returns: the process lives on, answers
//! `/healthz`, and has lost a part of itself. So every task that lives as long as its node is
//! started here, under a name. If one ends before it was told to, [`Tasks::failed`] says which and
//! how, and the process ends with that as its last word.
//!
//! Tasks of one connection or one request are not for here: their end is that connection's alone.

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The long-lived tasks of a node, or of a part of it. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    node: Arc<Node>,
    told: CancellationToken,
}

#[derive(Debug, Default)]
struct Node {
    running: Mutex<BTreeMap<String, Option<Arc<Notify>>>>,
    failed: watch::Sender<Option<Failure>>,
}

/// A task that has ended without being told to: which, and how.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the background task \"{task}\" {how}; without it this node does not work")]
pub struct Failure {
    task: String,
    how: String,
}

impl Tasks {
    /// The same node's, for a part that ends earlier: its tasks may end once `told` is cancelled.
    #[must_use]
    pub fn until(&self, told: &CancellationToken) -> Self {
        Self { node: Arc::clone(&self.node), told: told.clone() }
    }

    /// Starts a task that runs until it is told to end, wherever it is then.
    pub fn spawn(&self, name: &str, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let told = self.told.clone();
        self.spawn_finishing(name, async move {
            told.run_until_cancelled_owned(task).await;
        })
    }

    /// Starts a task that hears by itself that it is to end, and may take its time then.
    pub fn spawn_finishing(
        &self,
        name: &str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let (watched, fault) = (self.watch(name), Arc::new(Notify::new()));
        self.node.running.lock().insert(name.to_owned(), Some(Arc::clone(&fault)));
        tokio::spawn(async move {
            let watched = watched;
            let work = async {
                tokio::select! {
                    biased;
                    () = fault.notified() => panic!("a fault, as a test wants it"),
                    () = task => {}
                }
            };
            watched.ended(AssertUnwindSafe(work).catch_unwind().await);
        })
    }

    /// Starts a thread. Fails if the system has no room for one.
    pub fn thread(&self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let watched = self.watch(name);
        self.node.running.lock().insert(name.to_owned(), None);
        let thread = std::thread::Builder::new().name(name.to_owned());
        let started = thread.spawn(move || watched.ended(catch_unwind(AssertUnwindSafe(work))));
        started.map(drop)
    }

    /// Resolves with the first that ended without being told to.
    pub async fn failed(&self) -> Failure {
        let mut failed = self.node.failed.subscribe();
        let failure = match failed.wait_for(Option::is_some).await {
            Ok(failure) => failure.clone(),
            Err(_) => None,
        };
        match failure {
            Some(failure) => failure,
            // The sender is ours: it can't be gone.
            None => std::future::pending().await,
        }
    }

    /// The names of those that run.
    pub fn names(&self) -> Vec<String> {
        self.node.running.lock().keys().cloned().collect()
    }

    /// Lets a task panic, for tests of what becomes of the process then. Whether there is such a
    /// task; a thread can't be reached.
    pub fn kill(&self, name: &str) -> bool {
        let fault = self.node.running.lock().get(name).cloned().flatten();
        fault.inspect(|fault| fault.notify_one()).is_some()
    }

    fn watch(&self, name: &str) -> Watched {
        tracing::debug!(task = name, "a background task begins");
        Watched { tasks: self.clone(), name: name.to_owned(), panic: None }
    }
}

/// Lives in a task, and tells of its end: also of an abort, which drops the task where it is.
struct Watched {
    tasks: Tasks,
    name: String,
    panic: Option<String>,
}

impl Watched {
    fn ended(mut self, how: std::thread::Result<()>) {
        self.panic = how.err().map(|panic| text(&*panic));
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.tasks.node.running.lock().remove(&self.name);
        let how = match self.panic.take() {
            Some(message) => format!("panicked: {message}"),
            None if self.tasks.told.is_cancelled() => return,
            None => "ended by itself".to_owned(),
        };
        let failure = Failure { task: std::mem::take(&mut self.name), how };
        // The first is the cause; what follows may be its effect.
        self.tasks.node.failed.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(failure);
            is_first
        });
    }
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("with something that is no text").to_owned()
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    async fn failure(begin: impl FnOnce(&Tasks)) -> String {
        let tasks = Tasks::default();
        tasks.spawn("bystander", pending());
        begin(&tasks);
        tasks.failed().await.to_string()
    }

    #[tokio::test]
    async fn a_task_that_panics_returns_or_is_aborted_is_named() {
        let panicked = failure(|tasks| drop(tasks.spawn("ships", async { panic!("sunk at {}", 3) }))).await;
        assert!(panicked.contains("\"ships\" panicked: sunk at 3"), "{panicked}");
        let returned = failure(|tasks| drop(tasks.spawn("ships", ready(())))).await;
        assert!(returned.contains("\"ships\" ended by itself"), "{returned}");
        let aborted = failure(|tasks| tasks.spawn("ships", pending()).abort()).await;
        assert!(aborted.contains("\"ships\" ended by itself"), "{aborted}");
        let killed = failure(|tasks| {
            tasks.spawn("ships", pending());
            assert!(tasks.kill("ships") && !tasks.kill("boats"));
        });
        assert!(killed.await.contains("\"ships\" panicked: a fault"));
    }

    #[tokio::test]
    async fn a_thread_that_panics_or_returns_is_named() {
        let panicked = failure(|tasks| tasks.thread("writer", || panic!("dry")).unwrap()).await;
        assert!(panicked.contains("\"writer\" panicked: dry"), "{panicked}");
        let returned = failure(|tasks| tasks.thread("writer", || {}).unwrap()).await;
        assert!(returned.contains("\"writer\" ended by itself"), "{returned}");
    }

    #[tokio::test]
    async fn an_end_that_was_asked_for_is_no_failure() {
        let (tasks, told) = (Tasks::default(), CancellationToken::new());
        let part = tasks.until(&told);
        let at_once = part.spawn("at once", pending());
        let heard = told.clone();
        let finishing = part.spawn_finishing("finishing", async move { heard.cancelled().await });
        assert_eq!(tasks.names(), ["at once", "finishing"]);
        told.cancel();
        at_once.await.unwrap();
        finishing.await.unwrap();
        assert_eq!(tasks.names(), [""; 0]);
        assert_eq!(tasks.failed().now_or_never(), None);
    }

    #[tokio::test]
    async fn a_panic_on_the_way_out_is_a_failure_and_the_first_one_stays() {
        let (tasks, told) = (Tasks::default(), CancellationToken::new());
        let ending = told.clone();
        let ended = tasks.until(&told).spawn_finishing("goodbyes", async move {
            ending.cancelled().await;
            panic!("speechless");
        });
        told.cancel();
        ended.await.unwrap();
        let _ = tasks.spawn("later", ready(())).await;
        assert!(tasks.failed().await.to_string().contains("\"goodbyes\" panicked: speechless"));
    }
}
