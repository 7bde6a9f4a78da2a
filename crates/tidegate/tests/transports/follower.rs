//! A client that comes back by itself.

use std::time::Duration;

use tidegate_testkit::DEADLINE;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::client::{Ask, Client, End, Seen};
use crate::way::Way;

/// Whenever its connection has ended it goes to the next node, with its cursor, for ever. Dropping it closes it.
pub(crate) struct Follower {
    tale: watch::Receiver<Tale>,
    task: JoinHandle<()>,
}

/// What it has seen, over all its connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tale {
    pub(crate) data: Vec<String>,
    /// The reasons of resets and closings.
    pub(crate) words: Vec<String>,
    pub(crate) connections: usize,
    /// How its connections ended.
    pub(crate) ends: Vec<End>,
}

impl Follower {
    /// Opens its first connection, to the first of the nodes.
    pub(crate) async fn start(way: Way, bases: Vec<String>, ask: Ask) -> Follower {
        let (tell, tale) = watch::channel(Tale::default());
        let client = Client::open(way, &bases, &ask).await;
        tell.send_modify(|tale| tale.connections += 1);
        let task = tokio::spawn(follow(way, bases, ask, client, tell));
        Follower { tale, task }
    }

    /// Waits for so many events, and gives the whole tale.
    pub(crate) async fn wait_data(&self, count: usize) -> Tale {
        self.wait(|tale| tale.data.len() >= count).await
    }

    pub(crate) async fn wait(&self, wanted: impl Fn(&Tale) -> bool) -> Tale {
        let mut tale = self.tale.clone();
        match tokio::time::timeout(3 * DEADLINE, tale.wait_for(&wanted)).await {
            Ok(Ok(tale)) => tale.clone(),
            Ok(Err(_)) => panic!("the follower has failed: {:?}", self.tale.borrow()),
            Err(_) => panic!("not within {:?}: {:?}", 3 * DEADLINE, self.tale.borrow()),
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(
    way: Way,
    mut bases: Vec<String>,
    mut ask: Ask,
    mut client: Client,
    tell: watch::Sender<Tale>,
) {
    loop {
        match client.next().await {
            Seen::Event(event) => tell.send_modify(|tale| tale.data.push(event.data)),
            Seen::Reset { reason, .. } => tell.send_modify(|tale| tale.words.push(format!("reset {reason}"))),
            Seen::Closing { reason, .. } => tell.send_modify(|tale| tale.words.push(reason)),
            Seen::End(end) => {
                tell.send_modify(|tale| tale.ends.push(end));
                ask = ask.after(client.cursor());
                client = loop {
                    bases.rotate_left(1);
                    match Client::try_open(way, &bases, &ask).await {
                        Ok(client) => break client,
                        Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                    }
                };
                tell.send_modify(|tale| tale.connections += 1);
            }
        }
    }
}
