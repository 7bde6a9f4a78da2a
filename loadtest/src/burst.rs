//! The burst: a few messages right after each other, to clients that are far away, again and again.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::failure::Usage;
use crate::options::{self, Common};
use crate::payload::{Payload, WARM_UP};
use crate::profile::{Via, Words};
use crate::proxy::Delay;
use crate::pump::Pump;
use crate::report::{Latency, Table, round};
use crate::server::Server;
use crate::session::Session;
use crate::shared::{Arrival, Count, micros};
use crate::streams::{Place, Streams};
use crate::wait;

/// 10 subscribers (--connections), 3 messages 50 ms apart (--rate 20), 200 rounds, 50 ms of network each way, over SSE,
/// WebSocket and long polling one after the other.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Rounds of each way; with --seconds, as many of them as begin in that time.
    #[arg(long, default_value_t = 200)]
    rounds: u32,
    /// Messages of a round.
    #[arg(long, default_value_t = 3)]
    messages: u32,
    /// Milliseconds that every byte takes, in each direction, through a proxy inside the load tester.
    #[arg(long, value_name = "MS", default_value_t = 50)]
    delay: u64,
    /// Seconds after which a round has failed.
    #[arg(long, value_name = "S", default_value_t = 30)]
    timeout: u64,
    /// Rounds that may fail.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Limits")]
    max_failed: u64,
    /// 99 of 100 rounds must be complete within so many milliseconds.
    #[arg(long, value_name = "MS", help_heading = "Limits")]
    max_round_p99_ms: Option<f64>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let common = &options.common;
    ensure!(options.rounds > 0 && options.messages > 0, Usage::new("a burst has rounds and messages"));
    let subscribers = common.connections.unwrap_or(10);
    let mut session = Session::begin(common, "burst", subscribers * 4)?;
    let ways = if !common.via.is_empty() {
        common.via.clone()
    } else if common.words()?.greets() {
        vec![Via::Ws, Via::Sse, Via::Poll]
    } else {
        vec![Via::Sse]
    };
    let mut table = Table {
        title: format!(
            "{} subscribers, {} messages, {} ms each way: a round's time (first send to last arrival) and a message's, ms",
            subscribers, options.messages, options.delay
        ),
        columns: vec![
            "way",
            "rounds",
            "failed",
            "round p50",
            "p95",
            "p99",
            "max",
            "message p50",
            "p95",
            "p99",
            "max",
            "lost",
        ],
        rows: Vec::new(),
    };
    let (mut expected, mut failed, mut slowest) = (0, 0, None::<f64>);
    for via in ways {
        session.shared.phase(via.title());
        let way = burst(&session, options, via, subscribers)?;
        expected += way.expected;
        failed += way.failed;
        let rounds = Percentiles::of(&way.rounds);
        slowest = Some(slowest.unwrap_or_default().max(rounds.p99));
        let message = way.message;
        table.rows.push(vec![
            json!(via.title()),
            json!(rounds.count),
            json!(way.failed),
            json!(rounds.p50),
            json!(rounds.p95),
            json!(rounds.p99),
            json!(rounds.max),
            json!(message.p50),
            json!(message.p95),
            json!(message.p99),
            json!(message.max),
            json!(way.lost),
        ]);
        let name = format!("{via:?}").to_lowercase();
        session.figure(&name, way.figures(&rounds));
    }
    session.table(table);
    session.note(format!(
        "A message takes {} ms at least, a round {} ms: the publisher's way, the subscriber's, and the messages' distance.",
        2 * options.delay,
        2 * options.delay + (1e3 * f64::from(options.messages - 1) / gap_rate(common)).round() as u64,
    ));
    session.limit("failed rounds", Some(options.max_failed as f64), Some(failed as f64));
    session.limit("round p99 ms", options.max_round_p99_ms, slowest);
    session.finish(expected)
}

/// What came of one way to receive.
struct Way {
    /// Milliseconds of each round; those of failed ones are the time-out.
    rounds: Vec<f64>,
    failed: u64,
    expected: u64,
    lost: u64,
    message: Latency,
}

fn burst(session: &Session<'_>, options: &Options, via: Via, subscribers: usize) -> Result<Way> {
    let (common, shared) = (session.common, &session.shared);
    let delay = Duration::from_millis(options.delay);
    let far = |server: Server| -> Result<(Delay, Server)> {
        let proxy = Delay::start(server.address, delay)?;
        Ok((proxy, server))
    };
    let nodes = common.servers()?.into_iter().map(far).collect::<Result<Vec<_>>>()?;
    let doors = common.publish_servers()?.into_iter().map(far).collect::<Result<Vec<_>>>()?;
    let url = |(proxy, server): &(Delay, Server)| {
        let scheme = if server.secure { "https" } else { "http" };
        format!("{scheme}://{}{}", proxy.address, server.prefix)
    };
    let mut manner = common.manner(via)?;
    manner.urls = nodes.iter().map(url).collect();
    manner.log = true;
    let topic = format!("{}-{via:?}", session.topic()).to_lowercase();
    let mut streams = Streams::start(shared, &manner, common.processes)?;
    let place = |server| Place { server, topic: topic.clone(), sources: 0..options.messages };
    streams.open((0..subscribers).map(place))?;
    streams.all_open()?;
    let doors_at: Vec<Server> = doors.iter().map(|door| Server::parse(&url(door))).collect::<Result<_>>()?;
    // A connection for each message of a round: none waits for another's answer.
    let tls = options::tls(&doors_at, b"http/1.1")?;
    let mut pump = Pump::connect(&doors_at, options.messages as usize, &tls)?;
    let words = &manner.words;
    streams.warm_up(|| {
        let mut once = Some(());
        pump.run(|_, server, request| {
            let first = once.take().is_some();
            if first {
                words.publish(server, &topic, WARM_UP, None, request);
            }
            first
        })?;
        Ok(())
    })?;
    shared.step();

    let began = Instant::now();
    let mut way = Way { rounds: Vec::new(), failed: 0, expected: 0, lost: 0, message: Latency::default() };
    for number in 0..options.rounds {
        if common.seconds.is_some_and(|limit| began.elapsed().as_secs() >= limit) {
            break;
        }
        let sent = publish(session, options, words, &topic, &mut pump, number)?;
        way.expected += u64::from(options.messages) * subscribers as u64;
        let timeout = Duration::from_secs(options.timeout);
        let until = timeout.saturating_sub(shared.start.elapsed().saturating_sub(sent));
        let complete = streams.wait(until, || {
            streams.counted(Count::Received) - streams.counted(Count::Doubled) >= way.expected
        });
        let arrivals = std::mem::take(&mut *shared.arrivals.lock());
        let of_round = |arrival: &&Arrival| arrival.number == number;
        let last = arrivals.iter().filter(of_round).map(|arrival| arrival.at).max().unwrap_or_default();
        let took = if complete { last.saturating_sub(micros(sent)) } else { micros(timeout) };
        way.rounds.push(took as f64 / 1e3);
        way.failed += u64::from(!complete);
        // Until a poll that was answered last has asked again.
        wait::pause(delay * 2 + Duration::from_millis(50));
    }
    let came = streams.counted(Count::Received) - streams.counted(Count::Doubled);
    way.lost = way.expected.saturating_sub(came);
    streams.finish()?;
    way.message = Latency::of(&shared.step().delivery);
    Ok(way)
}

/// A round's messages, each at its time; when the first was sent, since the start.
fn publish(
    session: &Session<'_>,
    options: &Options,
    words: &Words,
    topic: &str,
    pump: &mut Pump,
    number: u32,
) -> Result<Duration> {
    let shared = &session.shared;
    let gap = Duration::from_secs_f64(1.0 / gap_rate(session.common));
    let first = shared.start.elapsed();
    let mut turn = 0;
    let mut data = String::new();
    pump.run(|_, server, request| {
        if turn >= options.messages {
            return false;
        }
        wait::pause((first + gap * turn).saturating_sub(shared.start.elapsed()));
        let sent = micros(shared.start.elapsed());
        // Each connection is a source: nobody promises an order between them.
        Payload { source: turn, number, sent }.write(session.common.size, &mut data);
        words.publish(server, topic, &data, None, request);
        shared.add(Count::Sent, 1);
        turn += 1;
        true
    })?;
    Ok(first)
}

/// Messages a second within a round.
fn gap_rate(common: &Common) -> f64 {
    common.rate.filter(|rate| *rate > 0.0).unwrap_or(20.0)
}

struct Percentiles {
    count: usize,
    p50: f64,
    p95: f64,
    p99: f64,
    max: f64,
}

impl Percentiles {
    /// The smallest value that so many are not above.
    fn of(values: &[f64]) -> Self {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let rank = (part * values.len() as f64).ceil() as usize;
            values.get(rank.max(1) - 1).copied().map_or(0.0, round)
        };
        Self { count: values.len(), p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1.0) }
    }
}

impl Way {
    fn figures(&self, rounds: &Percentiles) -> Value {
        json!({
            "succeeded": rounds.count as u64 - self.failed,
            "failed": self.failed,
            "round": { "p50": rounds.p50, "p95": rounds.p95, "p99": rounds.p99, "max": rounds.max },
            "message": self.message,
            "lost": self.lost,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let all = Percentiles::of(&(1..=200).rev().map(f64::from).collect::<Vec<_>>());
        assert_eq!((all.count, all.p50, all.p95, all.p99, all.max), (200, 100.0, 190.0, 198.0, 200.0));
        let one = Percentiles::of(&[7.0]);
        assert_eq!((one.p50, one.p99, one.max), (7.0, 7.0, 7.0));
        assert_eq!(Percentiles::of(&[]).max, 0.0);
    }
}
