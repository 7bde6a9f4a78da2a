//! Replicas: what a primary does is done by them, too, in the same order and a little later. A
//! script's commands arrive together.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::keyspace::Keyspace;
use super::resp::Bytes;
use super::server::Server;
use super::site::{Redis, State, Subscribers};

/// A server's part in it.
#[derive(Default)]
pub(super) struct Replication {
    /// The number of the server that this one follows.
    pub(super) primary: Option<usize>,
    /// There are servers that follow this one.
    pub(super) followed: bool,
    /// What followers have not been sent yet: all of one client's command.
    pub(super) done: Vec<Vec<Bytes>>,
    /// What has arrived from the primary, and from when on it is done here.
    arrived: VecDeque<(Instant, Vec<Vec<Bytes>>)>,
    /// Until the primary's data have been loaded, the old ones are served.
    loading_until: Option<Instant>,
}

impl State {
    /// The server that new connections reach is this one from now on, as a primary of its own. It
    /// keeps its connections.
    pub fn promote_server(&mut self, server: usize) {
        self.catch_up(server, None);
        let before = std::mem::replace(&mut self.current, server);
        let promoted = &mut self.servers[server];
        (promoted.up, promoted.refuses, promoted.paused_until) = (true, None, Instant::now());
        promoted.replication =
            Replication { followed: promoted.replication.followed, ..Replication::default() };
        self.new_reign(server);
        self.compare();
        for follower in self.followers(before) {
            self.follow(follower, server, Some(Duration::ZERO));
        }
        self.trace.note(|| format!("server {server} is the primary"));
    }

    /// A replica that begins with its primary's data as they are then, with all that it does.
    pub(super) fn load_again(&mut self, primary: usize) {
        for follower in self.followers(primary) {
            self.follow(follower, primary, Some(Duration::ZERO));
        }
    }

    /// The primary's name for its reign changes, and nothing else.
    pub fn new_reign(&mut self, server: usize) {
        self.reigns += 1;
        self.servers[server].replid = replid(self.reigns);
        let replid = self.servers[server].replid.clone();
        self.followers(server).for_each(|follower| self.servers[follower].replid.clone_from(&replid));
    }

    /// The server becomes a replica, and keeps its connections. With `loading` it has the primary's
    /// data after that time, in place of its own, and its subscribers hear nothing of what is done
    /// until then. Without, it goes on from the same data.
    pub fn follow(&mut self, server: usize, primary: usize, loading: Option<Duration>) {
        let replid = self.servers[primary].replid.clone();
        let follower = &mut self.servers[server];
        follower.replication.primary = Some(primary);
        follower.replication.loading_until = loading.map(|loading| Instant::now() + loading);
        follower.replication.arrived.clear();
        if loading.is_none() {
            follower.replid = replid;
        }
        self.servers[primary].replication.followed = true;
        self.trace
            .note(|| format!("server {server} becomes a replica of server {primary}, loading {loading:?}"));
    }

    fn followers(&self, primary: usize) -> std::vec::IntoIter<usize> {
        let follows = |server: &usize| self.servers[*server].replication.primary == Some(primary);
        (0..self.servers.len()).filter(follows).collect::<Vec<_>>().into_iter()
    }

    /// Sends on what a server has done. Gives when each follower will do it.
    pub(super) fn replicate(&mut self, primary: usize) -> Vec<(usize, Instant)> {
        let done = std::mem::take(&mut self.servers[primary].replication.done);
        if done.is_empty() {
            return Vec::new();
        }
        let mut due = Vec::new();
        for follower in self.followers(primary) {
            let now = Instant::now() + self.delay();
            if self.servers[follower].replication.loading_until.is_some() {
                due.push((follower, now));
                continue;
            }
            let replication = &mut self.servers[follower].replication;
            let at = replication.arrived.back().map_or(now, |(last, _)| now.max(*last));
            replication.arrived.push_back((at, done.clone()));
            due.push((follower, at));
        }
        due
    }

    /// Loads what there is to load, and does what has arrived until then; `None`: all of it.
    pub(super) fn catch_up(&mut self, server: usize, until: Option<Instant>) {
        let Some(primary) = self.servers[server].replication.primary else { return };
        let due = |at: Instant| until.is_none_or(|until| at <= until);
        let loads = self.servers[server].replication.loading_until.is_some_and(due);
        if loads && self.servers[primary].up {
            let (db, replid) = (self.servers[primary].db.clone(), self.servers[primary].replid.clone());
            (self.servers[server].db, self.servers[server].replid) = (db, replid);
            self.servers[server].replication.loading_until = None;
            self.trace.note(|| format!("server {server} has the data of server {primary}"));
        }
        while let Some((at, _)) = self.servers[server].replication.arrived.front()
            && due(*at)
            && let Some((_, done)) = self.servers[server].replication.arrived.pop_front()
        {
            let mut running = self.take(server);
            running.repeat(&done, &mut Subscribers { state: self, server });
            self.servers[server] = running;
        }
    }

    /// A server, taken out for as long as it runs something: it publishes to the connections beside
    /// it.
    pub(super) fn take(&mut self, server: usize) -> Server {
        let placeholder = Server::new(Keyspace::default(), String::new());
        std::mem::replace(&mut self.servers[server], placeholder)
    }
}

impl Redis {
    /// A server's followers do what it has done, each at its time.
    pub(super) fn pass_on(&self, state: &mut State, primary: usize) {
        for (follower, at) in state.replicate(primary) {
            self.wake(follower, at);
        }
    }

    /// The server becomes a replica, as [`State::follow`] says.
    pub fn demote(&self, server: usize, primary: usize, loading: Option<Duration>) {
        self.state().follow(server, primary, loading);
        self.wake(server, Instant::now() + loading.unwrap_or_default());
    }

    fn wake(&self, follower: usize, at: Instant) {
        let redis = self.clone();
        tokio::spawn(async move {
            sleep_until(at).await;
            let mut state = redis.state();
            state.catch_up(follower, Some(Instant::now()));
            redis.pass_on(&mut state, follower);
        });
    }
}

/// As Redis writes one: 40 hexadecimal digits.
pub(super) fn replid(number: u64) -> String {
    let digits = crate::chance::Chance::of(number, "reign", 0).draw();
    format!("{digits:016x}{number:024x}")
}

#[cfg(test)]
mod tests {
    use tidegate_broker_redis::Stream;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::chance::Chance;
    use crate::redis::resp::{self, Reply};
    use crate::trace::Trace;

    struct Client {
        stream: Box<dyn Stream>,
        buffer: Bytes,
    }

    impl Client {
        async fn of(redis: &Redis, server: usize) -> Self {
            redis.state().network.stale.insert(0, server);
            Self { stream: redis.dialer(0).dial().await.expect("a connection"), buffer: Vec::new() }
        }

        async fn ask(&mut self, words: &[&str]) -> Reply {
            let words: Vec<Bytes> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
            self.stream.write_all(&resp::command(&words)).await.expect("written");
            self.hear().await
        }

        async fn hear(&mut self) -> Reply {
            loop {
                if let Some(reply) = Reply::parse(&mut self.buffer) {
                    return reply;
                }
                assert!(self.stream.read_buf(&mut self.buffer).await.expect("read") > 0);
            }
        }
    }

    fn message(words: &str) -> Reply {
        Reply::Push(["message", "c", words].map(Reply::text).into())
    }

    const REPLID: &str = "return string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)')";

    /// The same as `a_real_replica_does_what_the_model_says` of tests/differential.rs.
    #[tokio::test(start_paused = true)]
    async fn a_replica_hears_its_primary_and_keeps_its_connections() {
        let redis = Redis::new(Chance::new(1), Trace::new(false));
        let replica = redis.state().promote(Keyspace::default());
        let mut before = Client::of(&redis, replica).await;
        let own = before.ask(&["EVAL", REPLID, "0"]).await;
        redis.state().promote_server(0);
        redis.demote(replica, 0, Some(Duration::from_millis(5)));
        let (mut subscriber, mut primary) = (Client::of(&redis, replica).await, Client::of(&redis, 0).await);
        subscriber.ask(&["SUBSCRIBE", "c"]).await;
        tokio::time::sleep(Duration::from_millis(10)).await;

        let script = "redis.call('SET', 'k', '1') return redis.call('PUBLISH', 'c', 'from a script')";
        assert_eq!(primary.ask(&["EVAL", script, "0"]).await, Reply::Int(0));
        assert_eq!(primary.ask(&["PUBLISH", "c", "alone"]).await, Reply::Int(0));
        assert_eq!(subscriber.hear().await, message("from a script"));
        assert_eq!(subscriber.hear().await, message("alone"));
        // What was connected before is still there, and is told that this is a replica.
        assert_eq!(before.ask(&["GET", "k"]).await, Reply::text("1"));
        assert_eq!(before.ask(&["PUBLISH", "c", "here only"]).await, Reply::Int(1));
        assert_eq!(subscriber.hear().await, message("here only"));
        let refused = before.ask(&["EVAL", "return redis.call('PERSIST', 'k')", "0"]).await;
        assert!(matches!(refused, Reply::Error(words) if words.starts_with("READONLY")));
        let theirs = before.ask(&["EVAL", REPLID, "0"]).await;
        assert_eq!(theirs, primary.ask(&["EVAL", REPLID, "0"]).await);
        // It is a primary again: another reign, the same connection.
        redis.state().promote_server(replica);
        assert_eq!(before.ask(&["SET", "k", "2"]).await, Reply::OK);
        let again = before.ask(&["EVAL", REPLID, "0"]).await;
        assert!(again != own && again != theirs);
    }
}
