use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tidegate_testkit::{Sse, eventually};
use tokio::task::JoinSet;

use crate::cluster::Cluster;

const SEATS: &str = "/api/schedules/1/seats";
const EVENTS: &str = "/api/schedules/1/seats/events";

/// To compare what everybody is shown with what users were answered.
const SHOWN: (&str, &str) = ("TIDEGATE_SEATS__SHOW_HOLDERS", "true");

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_users_on_three_nodes_and_fifty_seats() {
    let cluster = Cluster::with(3, &[SHOWN]).await;
    let watchers = watch(&cluster).await;
    let mut users = JoinSet::new();
    for n in 0..200 {
        let base = cluster.nodes[n % 3].base();
        users.spawn(async move { User::new(n, base).get_a_seat().await });
    }
    let won: Vec<_> = users.join_all().await.into_iter().flatten().collect();
    assert_eq!(won.len(), 50);
    let won: BTreeMap<String, String> = won.into_iter().collect();
    assert_eq!(won.len(), 50, "each seat once");
    let mut told = Vec::new();
    for mut watcher in watchers {
        told.push(watcher.collect_data(100).await);
    }
    assert!(told.iter().all(|other| *other == told[0]), "every node tells the same, in the same order");
    let mut seats: BTreeMap<&str, Vec<(Value, Value)>> = BTreeMap::new();
    let changes: Vec<Value> = told[0].iter().map(|data| serde_json::from_str(data).unwrap()).collect();
    for change in &changes {
        let status = (change["status"].clone(), change["heldBy"].clone());
        seats.entry(change["scheduleSeatId"].as_str().unwrap()).or_default().push(status);
    }
    for (seat, user) in &won {
        assert_eq!(seats[seat.as_str()], [(json!("HELD"), json!(user)), (json!("RESERVED"), json!(user))]);
    }
    for node in &cluster.nodes {
        for seat in list(&node.base()).await {
            let user = &won[seat["scheduleSeatId"].as_str().unwrap()];
            assert_eq!((&seat["status"], &seat["heldBy"]), (&json!("RESERVED"), &json!(user)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_users_on_two_nodes_one_is_told_of_the_other() {
    let cluster = Cluster::with(2, &[SHOWN]).await;
    let (ann, bob) = (User::new(1, cluster.nodes[0].base()), User::new(2, cluster.nodes[1].base()));
    let (status, held) = ann.ask("7", "hold").await;
    assert_eq!(status, 200, "{held}");
    for act in ["hold", "release", "reserve"] {
        let (status, refused) = bob.ask("7", act).await;
        assert_eq!(status, 409, "{refused}");
        assert_eq!((&refused["heldBy"], &refused["heldUntil"]), (&held["heldBy"], &held["heldUntil"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_ends_though_its_node_was_killed() {
    let quick = [("TIDEGATE_SEATS__HOLD", "1s"), ("TIDEGATE_SEATS__SWEEP", "100ms")];
    let cluster = Cluster::with(2, &quick).await;
    let mut watcher = watch(&cluster).await.pop().unwrap();
    let (status, held) = User::new(1, cluster.nodes[0].base()).ask("7", "hold").await;
    assert_eq!(status, 200, "{held}");
    cluster.nodes[0].kill().await;
    assert_eq!(change(&mut watcher).await["status"], "HELD");
    let over = change(&mut watcher).await;
    assert_eq!((&over["scheduleSeatId"], &over["status"]), (&json!("7"), &json!("AVAILABLE")));
    assert!(over["timestamp"].as_str() >= held["heldUntil"].as_str(), "{over} after {held}");
    let (status, held) = User::new(2, cluster.nodes[1].base()).ask("7", "hold").await;
    assert_eq!(status, 200, "{held}");
}

/// Whatever the node was doing when it died: what it had changed is told, and in the order in which it happened.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_killed_node_changed_remains_untold() {
    let mut cluster = Cluster::with(2, &[SHOWN, ("TIDEGATE_SEATS__SWEEP", "100ms")]).await;
    let mut watcher = watch(&cluster).await.pop().unwrap();
    let mut seen: BTreeMap<String, Value> = BTreeMap::new();
    for round in 0..3 {
        let mut users = JoinSet::new();
        for n in 0..20 {
            let user = User::new(n, cluster.nodes[0].base());
            users.spawn(async move {
                // Until the node is gone: seats of one's own, so that nobody is refused.
                for seat in (n * 2 + 1..=n * 2 + 2).cycle() {
                    for act in ["hold", "release"] {
                        if user.try_ask(&seat.to_string(), act).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
        for _ in 0..100 {
            note(&mut seen, change(&mut watcher).await);
        }
        cluster.nodes[0].kill().await;
        users.join_all().await;
        // The last word on the stream, so that nothing more is waited for.
        let (status, _) = User::new(99, cluster.nodes[1].base()).ask(&(50 - round).to_string(), "hold").await;
        assert_eq!(status, 200);
        while !seen.contains_key(&(50 - round).to_string()) {
            note(&mut seen, change(&mut watcher).await);
        }
        for seat in list(&cluster.nodes[1].base()).await {
            let number = seat["scheduleSeatId"].as_str().unwrap();
            let last = seen.get(number).cloned().unwrap_or_else(|| json!({ "status": "AVAILABLE" }));
            assert_eq!(
                (&seat["status"], &seat["heldBy"]),
                (&last["status"], &last["heldBy"]),
                "seat {number}"
            );
        }
        cluster.nodes[0].restart().await;
    }
    eventually("nothing is left to be told", async || {
        let waiting = cluster.redis.cli(&["SCARD", "tg:{seats}:waiting"]).await;
        (format!("{waiting:?}") == "int(0)").then_some(())
    })
    .await;
}

/// Each change follows from the one before.
fn note(seen: &mut BTreeMap<String, Value>, change: Value) {
    let seat = change["scheduleSeatId"].as_str().unwrap().to_owned();
    if let Some(before) = seen.get(&seat) {
        assert!(before["timestamp"].as_str() <= change["timestamp"].as_str(), "{before}, then {change}");
        let over = [before, &change].map(|change| change["status"] == "AVAILABLE");
        assert_ne!(over, [true, true], "{before}, then {change}");
    }
    seen.insert(seat, change);
}

/// A stream of every node.
async fn watch(cluster: &Cluster) -> Vec<Sse> {
    let mut streams = Vec::new();
    for node in &cluster.nodes {
        let mut stream = Sse::open(&node.url(EVENTS)).await;
        stream.next_named("tidegate:ready").await;
        streams.push(stream);
    }
    streams
}

async fn change(stream: &mut Sse) -> Value {
    serde_json::from_str(&stream.next_named("seatStatusChange").await.data).unwrap()
}

async fn list(base: &str) -> Vec<Value> {
    let answer = reqwest::get(format!("{base}{SEATS}")).await.unwrap();
    answer.json().await.unwrap()
}

struct User {
    n: usize,
    base: String,
    client: Client,
}

impl User {
    fn new(n: usize, base: String) -> Self {
        Self { n, base, client: Client::new() }
    }

    async fn ask(&self, seat: &str, act: &str) -> (StatusCode, Value) {
        self.try_ask(seat, act).await.unwrap()
    }

    async fn try_ask(&self, seat: &str, act: &str) -> reqwest::Result<(StatusCode, Value)> {
        let url = format!("{}{SEATS}/{seat}/{act}?userId=u{}", self.base, self.n);
        let answer = self.client.post(url).timeout(Duration::from_secs(30)).send().await?;
        Ok((answer.status(), answer.json().await?))
    }

    /// Picks free seats until one is to be had, and reserves it. Gives the seat and the user.
    async fn get_a_seat(self) -> Option<(String, String)> {
        let name = format!("u{}", self.n);
        let mut refused = BTreeSet::new();
        loop {
            let free: Vec<_> =
                list(&self.base).await.into_iter().filter(|seat| seat["status"] == "AVAILABLE").collect();
            let free: Vec<_> = free.iter().map(|seat| seat["scheduleSeatId"].as_str().unwrap()).collect();
            // Many pick the same.
            let any = (self.n % 50 + 1).to_string();
            let seat = if free.is_empty() { &any } else { free[self.n % free.len()] };
            let (status, answer) = self.ask(seat, "hold").await;
            if status == 200 {
                let (status, answer) = self.ask(seat, "reserve").await;
                assert_eq!((status.as_u16(), &answer["heldBy"]), (200, &json!(name)), "{answer}");
                return Some((seat.to_owned(), name));
            }
            assert_eq!(status, 409, "{answer}");
            assert!(answer["heldBy"].is_string(), "{answer}");
            assert_ne!(answer["heldBy"], json!(name));
            if free.is_empty() {
                return None;
            }
            assert!(refused.insert(seat.to_owned()), "what was taken is not free again: {answer}");
        }
    }
}
