//! Who takes part: clients of every kind on every way, and who publishes what.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use tidegate_auth::{Algorithm, Claims, Secret, SigningKey, mint};
use tidegate_protocol::Pattern;

use super::client::{Client, Heard};
use super::cluster::{Cluster, SECRET};
use super::schedule::Chance;
use crate::profile::Via;

/// Topics of one client.
const EACH: usize = 3;

/// Clients with a user's own topic, which it gets without asking.
const USERS: usize = 6;

/// For those who don't read.
const FLOOD: &str = "chaos:flood";

pub(super) struct Cast {
    pub(super) clients: Vec<Client>,
    /// By source: the member of a publish that says where it goes.
    pub(super) targets: Vec<String>,
    /// The source that floods those who don't read.
    pub(super) flood: u32,
}

impl Cast {
    pub(super) fn of(cluster: &Cluster, clients: usize, topics: usize, seed: u64) -> Result<Self> {
        let mut chance = Chance::new(seed ^ 1);
        let key = SigningKey::new(Algorithm::Hs256, &Secret::from(SECRET), None)?;
        let mut targets: Vec<String> =
            (0..topics).map(|topic| format!("\"topic\":\"{}\"", name(topic))).collect();
        let flood = targets.len() as u32;
        targets.push(format!("\"topic\":\"{FLOOD}\""));
        let mut all = Vec::new();
        for number in 0..clients {
            let user = format!("user-{number}");
            let mut left: Vec<usize> = (0..topics).collect();
            let mut heard: Vec<Heard> = (0..EACH.min(topics))
                .map(|_| left.swap_remove(chance.below(left.len())))
                .map(|topic| Heard { topic: name(topic), source: topic as u32, own: false })
                .collect();
            if number < USERS {
                let source = targets.len() as u32;
                heard.push(Heard { topic: format!("user:{user}"), source, own: true });
                targets.push(format!("\"user\":\"{user}\""));
            }
            let via = match number / 4 % 5 {
                0..3 => Via::Sse,
                3 => Via::Poll,
                _ => Via::Ws,
            };
            let stalls = via != Via::Poll && number % 7 == 3;
            if stalls {
                heard.push(Heard { topic: FLOOD.to_owned(), source: flood, own: false });
            }
            let mut claims = Claims::for_user(&user, SystemTime::now() + Duration::from_secs(86_400));
            claims.subscribe = vec![Pattern::parse("chaos:*")?];
            let (way, places) = way(cluster, number);
            let watchdog = (number % 2 == 0 && !stalls).then(|| Duration::from_millis(2_500));
            let kinds = [(watchdog.is_some(), ", watchful"), (stalls, ", does not always read")];
            let kinds: String = kinds.iter().filter(|kind| kind.0).map(|kind| kind.1).collect();
            all.push(Client {
                name: format!("client {number} ({} {way}{kinds})", via.title()),
                via,
                places,
                topics: heard,
                token: mint(&key, &claims)?,
                watchdog,
                stalls,
            });
        }
        Ok(Self { clients: all, targets, flood })
    }
}

fn name(topic: usize) -> String {
    format!("chaos:{topic}")
}

/// Half of them come through nginx, a quarter over a wire that is cut before that, a quarter to the gateways themselves.
fn way(cluster: &Cluster, number: usize) -> (&'static str, Vec<std::net::SocketAddr>) {
    match number % 4 {
        0 | 1 => ("through nginx", vec![cluster.front()]),
        2 => ("over a bad wire and nginx", vec![cluster.wire.address]),
        _ => {
            let mut gateways = cluster.gateways().to_vec();
            let count = gateways.len();
            gateways.rotate_left(number / 4 % count);
            ("to a gateway", gateways)
        }
    }
}
