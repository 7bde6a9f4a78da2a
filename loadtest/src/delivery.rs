//! Events published, and every one of them waited for at every client: what fanout, flood and users have in common.

use std::ops::Range;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::failure::Usage;
use crate::options;
use crate::payload::{Payload, WARM_UP};
use crate::profile::Words;
use crate::pump::Pump;
use crate::report::round;
use crate::session::Session;
use crate::shared::{Count, micros};
use crate::streams::{Place, Streams};
use crate::{process, wait};

/// How long nothing may come until the rest is given up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// What is published, and how.
pub(crate) struct Load {
    /// Each source numbers its events. Source s publishes to topic s, or, if there are fewer, to topic s modulo their number.
    pub(crate) sources: u32,
    pub(crate) topics: Vec<String>,
    /// What the first of them is called.
    pub(crate) base: u32,
    /// Which of its events each source begins with, and before which it ends.
    pub(crate) rounds: Range<u32>,
    /// Publishing connections, each with the sources s where s modulo their number is the same: a source's events are
    /// published one after the other.
    pub(crate) publishers: u32,
    /// Events a second, all together; 0: as fast as they are answered.
    pub(crate) rate: f64,
    /// Bytes of data in an event.
    pub(crate) size: usize,
}

/// Publishes the load with these clients there, and reports what came of it.
pub(crate) fn run(mut session: Session<'_>, load: &Load, places: Vec<Place>) -> Result<ExitCode> {
    let events = u64::from(load.sources) * load.rounds.len() as u64;
    ensure!(events > 0 && load.publishers > 0, Usage::new("nothing would be published"));
    let all = places.iter().map(|place| (place.sources.len() * load.rounds.len()) as u64).sum::<u64>();
    let common = session.common;
    let manner = common.manner(common.via()?)?;
    let mut streams = Streams::start(&session.shared, &manner, common.processes)?;
    session.shared.phase("connecting");
    streams.open(places)?;
    streams.all_open()?;
    let publish_at = common.publish_servers()?;
    let tls = options::tls(&publish_at, b"http/1.1")?;
    let mut pump = Pump::connect(&publish_at, load.publishers as usize, &tls)?;
    session.shared.phase("warming up");
    streams.warm_up(|| load.warm_up(&manner.words, &mut pump))?;

    pump.tolerate(&session.shared);
    session.shared.phase("publishing");
    let start = session.shared.start;
    let cpu = process::cpu(&common.pids)?;
    let began = start.elapsed();
    load.publish(&session, &manner.words, &mut pump)?;
    let published = start.elapsed() - began;
    let refused = session.shared.get(Count::Refused);
    // Each event has as many clients as any other.
    let expected = all / events * (events - refused);
    session.shared.phase("waiting for the last");
    streams.received(expected, PATIENCE);
    let cpu = process::cpu(&common.pids)? - cpu;
    session.figure("connections", streams.count);
    streams.finish()?;

    let received = session.shared.get(Count::Received).max(1) as f64;
    let seconds = session.shared.last().saturating_sub(began).as_secs_f64().max(1e-6);
    session.figure("publishers", load.publishers);
    session.figure("events", events);
    session.figure("closed", session.shared.get(Count::Ended));
    session.figure("published_per_second", round((events - refused) as f64 / published.as_secs_f64()));
    session.figure("deliveries_per_second", round(received / seconds));
    if !common.pids.is_empty() {
        session.figure("server_cpu_us_per_delivery", round(cpu * 1e6 / received));
        session.figure("server_cpu_us_per_event", round(cpu * 1e6 / events as f64));
    }
    session.finish(expected)
}

impl Load {
    /// One event to every topic.
    pub(crate) fn warm_up(&self, words: &Words, pump: &mut Pump) -> Result<()> {
        let mut topics = self.topics.iter();
        pump.run(|_, server, request| {
            let Some(topic) = topics.next() else { return false };
            words.publish(server, topic, WARM_UP, None, request);
            true
        })?;
        Ok(())
    }

    /// All of it.
    pub(crate) fn publish(&self, session: &Session<'_>, words: &Words, pump: &mut Pump) -> Result<()> {
        let shared = &session.shared;
        let began = Instant::now();
        let mut due = 0.0;
        let mut turns = vec![0; self.publishers as usize];
        let mut data = String::new();
        pump.run(|publisher, server, request| {
            let Some((source, number)) = self.event(publisher as u32, turns[publisher]) else { return false };
            turns[publisher] += 1;
            if self.rate > 0.0 {
                wait::pause(Duration::from_secs_f64(due / self.rate).saturating_sub(began.elapsed()));
            }
            due += 1.0;
            shared.add(Count::Sent, 1);
            let sent = micros(shared.start.elapsed());
            Payload { source: self.base + source, number, sent }.write(self.size, &mut data);
            let topic = &self.topics[source as usize % self.topics.len()];
            words.publish(server, topic, &data, None, request);
            true
        })?;
        Ok(())
    }

    /// Source and number of a publisher's event, its own events counted from 0. None: it has published all.
    fn event(&self, publisher: u32, turn: u32) -> Option<(u32, u32)> {
        let sources = self.sources.saturating_sub(publisher).div_ceil(self.publishers);
        let number = self.rounds.start + turn.checked_div(sources)?;
        (number < self.rounds.end).then(|| (publisher + turn % sources * self.publishers, number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that is published, in each publisher's order.
    fn published(sources: u32, publishers: u32, rounds: u32) -> Vec<Vec<(u32, u32)>> {
        let topics = vec![String::new()];
        let load = Load { sources, topics, base: 0, rounds: 0..rounds, publishers, rate: 0.0, size: 0 };
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
