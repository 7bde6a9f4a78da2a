//! Events published, and every one of them waited for at every stream: what fanout, flood and users have in common.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Map, Value, json};

use crate::payload::{Payload, WARM_UP};
use crate::profile::Profile;
use crate::pump::Pump;
use crate::result::round;
use crate::streams::{Place, Reading, Seen, Streams};
use crate::target::Target;
use crate::{process, wait};

/// What is published, and how.
pub(crate) struct Load {
    /// Each source numbers its events. Source s publishes to topic s, or, if there are fewer, to topic s modulo their number.
    pub(crate) sources: u32,
    pub(crate) topics: Vec<String>,
    /// Events of each source.
    pub(crate) rounds: u32,
    /// Publishing connections, each with the sources s where s modulo their number is the same: a source's events are
    /// published one after the other.
    pub(crate) publishers: u32,
    /// Events a second, all together; 0: as fast as they are answered.
    pub(crate) rate: u32,
    /// Bytes of data in an event.
    pub(crate) size: usize,
}

/// Publishes the load with these streams open, prints and writes what came of it, and fails if an event did not come
/// exactly once and in order.
pub(crate) fn run(
    target: &Target,
    scenario: &str,
    load: &Load,
    places: Vec<Place>,
    reading: Reading,
) -> Result<()> {
    let events = u64::from(load.sources) * u64::from(load.rounds);
    ensure!(events > 0 && load.publishers > 0, "nothing would be published");
    let expected =
        places.iter().map(|place| place.sources.len() as u64 * u64::from(load.rounds)).sum::<u64>();
    let start = Instant::now();
    let streams = Streams::open(target, start, places, reading)?;
    let connections = streams.count;
    let mut pump =
        Pump::connect(&target.publish_addresses()?, load.publishers as usize, &target.tls(b"http/1.1")?)?;
    streams.warm_up(|| load.warm_up(target.profile, &mut pump))?;

    let cpu = process::cpu(&target.pids)?;
    let began = start.elapsed();
    load.publish(target.profile, &mut pump, start)?;
    let published = start.elapsed() - began;
    streams.received(expected);
    let cpu = process::cpu(&target.pids)? - cpu;
    let seen = streams.finish()?;

    let mut figures = Map::new();
    let mut figure = |name: &str, value: Value| figures.insert(name.to_owned(), value);
    figure("connections", json!(connections));
    figure("publishers", json!(load.publishers));
    figure("events", json!(events));
    accounts(&seen, expected, &mut figure);
    let millis = |quantile: f64| round(seen.latency.value_at_quantile(quantile) as f64 / 1e3);
    for (name, quantile) in [("p50_ms", 0.5), ("p95_ms", 0.95), ("p99_ms", 0.99), ("max_ms", 1.0)] {
        figure(name, json!(millis(quantile)));
    }
    let received = seen.counts.received.max(1) as f64;
    let seconds = seen.last.saturating_sub(began).as_secs_f64().max(1e-6);
    figure("published_per_second", json!(round(events as f64 / published.as_secs_f64())));
    figure("deliveries_per_second", json!(round(received / seconds)));
    figure("server_cpu_us_per_delivery", json!(round(cpu * 1e6 / received)));
    figure("server_cpu_us_per_event", json!(round(cpu * 1e6 / events as f64)));
    target.finish(scenario, &Value::Object(figures))?;
    let exact =
        received as u64 == expected && seen.counts.doubled + seen.counts.reordered + seen.counts.stray == 0;
    ensure!(exact, "events were lost, doubled, reordered or went astray");
    Ok(())
}

fn accounts(seen: &Seen, expected: u64, figure: &mut impl FnMut(&str, Value) -> Option<Value>) {
    figure("expected", json!(expected));
    figure("received", json!(seen.counts.received));
    figure("lost", json!(seen.counts.lost(expected)));
    figure("doubled", json!(seen.counts.doubled));
    figure("reordered", json!(seen.counts.reordered));
    figure("stray", json!(seen.counts.stray));
    figure("closed", json!(seen.closed));
}

impl Load {
    /// One event to every topic.
    fn warm_up(&self, profile: Profile, pump: &mut Pump) -> Result<()> {
        let mut topics = self.topics.iter();
        pump.run(|_, address, request| {
            let Some(topic) = topics.next() else { return false };
            profile.publish(address, topic, WARM_UP, request);
            true
        })?;
        Ok(())
    }

    fn publish(&self, profile: Profile, pump: &mut Pump, start: Instant) -> Result<()> {
        let began = Instant::now();
        let mut sent = 0;
        let mut turns = vec![0; self.publishers as usize];
        let mut data = String::new();
        pump.run(|publisher, address: SocketAddr, request| {
            let Some((source, number)) = self.event(publisher as u32, turns[publisher]) else { return false };
            turns[publisher] += 1;
            if self.rate > 0 {
                let due = Duration::from_secs(1) * sent / self.rate;
                wait::pause(due.saturating_sub(began.elapsed()));
            }
            sent += 1;
            let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
            Payload { source, number, sent: micros }.write(self.size, &mut data);
            profile.publish(address, &self.topics[source as usize % self.topics.len()], &data, request);
            true
        })?;
        Ok(())
    }

    /// Source and number of a publisher's event, its own events counted from 0. None: it has published all.
    fn event(&self, publisher: u32, turn: u32) -> Option<(u32, u32)> {
        let sources = self.sources.saturating_sub(publisher).div_ceil(self.publishers);
        let number = turn.checked_div(sources)?;
        (number < self.rounds).then(|| (publisher + turn % sources * self.publishers, number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that is published, in each publisher's order.
    fn published(sources: u32, publishers: u32, rounds: u32) -> Vec<Vec<(u32, u32)>> {
        let load = Load { sources, topics: vec![String::new()], rounds, publishers, rate: 0, size: 0 };
        let of = |publisher| (0..).map_while(|turn| load.event(publisher, turn)).collect();
        (0..publishers).map(of).collect()
    }

    #[test]
    fn every_source_publishes_its_rounds_over_one_connection_and_in_order() {
        assert_eq!(published(1, 1, 3), [[(0, 0), (0, 1), (0, 2)]]);
        assert_eq!(published(2, 2, 2), [[(0, 0), (0, 1)], [(1, 0), (1, 1)]]);
        assert_eq!(published(3, 2, 2), [vec![(0, 0), (2, 0), (0, 1), (2, 1)], vec![(1, 0), (1, 1)]]);
    }

    #[test]
    fn a_publisher_without_a_source_has_nothing_to_do() {
        assert_eq!(published(1, 2, 1), [vec![(0, 0)], vec![]]);
    }
}
