//! Clients that receive: opened, read and brought back by threads of their own, or by other processes.

pub(crate) mod body;
mod client;
pub(crate) mod ear;
mod frame;
pub(crate) mod manner;
mod poll;
mod reader;
pub(crate) mod remote;

use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use mio::{Poll, Waker};

pub(crate) use self::client::Place;
use self::manner::Manner;
pub(crate) use self::reader::Command;
use self::reader::{Reader, WAKE};
use self::remote::Remote;
use crate::options;
use crate::server::Server;
use crate::shared::{COUNTS, Count, Shared};
use crate::wait;

/// A crowd of clients. What they see is counted in [`Shared`].
pub(crate) struct Streams {
    pub(crate) shared: Arc<Shared>,
    readers: Vec<Local>,
    others: Vec<Remote>,
    /// Clients that there should be.
    pub(crate) count: usize,
    /// What others had counted before.
    before: [u64; COUNTS],
}

/// A thread that reads.
struct Local {
    thread: JoinHandle<Result<()>>,
    commands: Sender<Command>,
    waker: Waker,
}

impl Streams {
    /// Nobody is there yet. With more than one process, others do the reading.
    pub(crate) fn start(shared: &Arc<Shared>, manner: &Manner, processes: usize) -> Result<Self> {
        let mut streams = Self {
            shared: Arc::clone(shared),
            readers: Vec::new(),
            others: Vec::new(),
            count: 0,
            before: shared.all(),
        };
        if processes > 1 {
            for _ in 0..processes {
                streams.others.push(Remote::start(shared, manner)?);
            }
            return Ok(streams);
        }
        let servers: Arc<[Server]> =
            manner.urls.iter().map(|url| Server::parse(url)).collect::<Result<_>>()?;
        let tls = options::tls(&servers, b"http/1.1")?;
        let manner = Arc::new(manner.clone());
        for _ in 0..manner.readers {
            let poll = Poll::new()?;
            let waker = Waker::new(poll.registry(), WAKE)?;
            let (commands, inbox) = mpsc::channel();
            let (manner, servers, shared) = (Arc::clone(&manner), Arc::clone(&servers), Arc::clone(shared));
            let reader = Reader::new(manner, servers, tls.clone(), poll, inbox, shared);
            let thread = std::thread::spawn(move || reader.run());
            streams.readers.push(Local { thread, commands, waker });
        }
        Ok(streams)
    }

    /// Adds clients, without waiting for them.
    pub(crate) fn add(&mut self, places: impl IntoIterator<Item = Place>) -> Result<()> {
        let hands = self.readers.len().max(self.others.len());
        let mut shares: Vec<Vec<Place>> = (0..hands).map(|_| Vec::new()).collect();
        for place in places {
            shares[self.count % hands].push(place);
            self.count += 1;
        }
        for (number, share) in shares.into_iter().enumerate() {
            match self.readers.get(number) {
                Some(reader) => reader.tell(Command::Open(share))?,
                None => self.others[number].tell(&Command::Open(share))?,
            }
        }
        Ok(())
    }

    /// Adds clients and waits until each is open or has failed; how long it took.
    pub(crate) fn open(&mut self, places: impl IntoIterator<Item = Place>) -> Result<Duration> {
        let began = Instant::now();
        self.add(places)?;
        let mut before = 0;
        let settled = || self.counted(Count::Joined) + self.counted(Count::Lost);
        // As long as there is progress.
        while !self.wait(Duration::from_secs(60), || settled() >= self.count as u64) {
            let now = settled();
            ensure!(self.alive(), "a process or a thread that reads has ended");
            if now == before {
                bail!("only {} of {} clients opened: {}", now, self.count, self.errors());
            }
            before = now;
        }
        Ok(began.elapsed())
    }

    /// For scenarios that measure nothing if a client is missing.
    pub(crate) fn all_open(&self) -> Result<()> {
        let lost = self.counted(Count::Lost);
        ensure!(lost == 0, "{lost} of {} clients did not open: {}", self.count, self.errors());
        Ok(())
    }

    /// Publishes with `warm_up` until every client has seen a warm-up event: the server has arranged all it has to.
    pub(crate) fn warm_up(&self, mut publish: impl FnMut() -> Result<()>) -> Result<()> {
        for _ in 0..5 {
            publish()?;
            let all = || self.counted(Count::Warm) + self.counted(Count::Lost) >= self.count as u64;
            if self.wait(Duration::from_secs(5), all) {
                return Ok(());
            }
        }
        bail!("{} of {} clients receive", self.counted(Count::Warm), self.count)
    }

    /// Waits until so many events have come in all; false if nothing more comes for so long.
    pub(crate) fn received(&self, expected: u64, patience: Duration) -> bool {
        let mut before = self.counted(Count::Received);
        loop {
            if self.wait(patience, || self.counted(Count::Received) >= expected) {
                return true;
            }
            let now = self.counted(Count::Received);
            if now == before || !self.alive() {
                return false;
            }
            before = now;
        }
    }

    /// All hang up, or come back.
    pub(crate) fn tell(&self, command: &Command) -> Result<()> {
        self.readers.iter().try_for_each(|reader| reader.tell(command.clone()))?;
        self.others.iter().try_for_each(|other| other.tell(command))
    }

    /// Stops reading and closes them all; what they counted stays.
    pub(crate) fn finish(self) -> Result<()> {
        for reader in &self.readers {
            // One that has ended says so below.
            let _ = reader.tell(Command::Stop);
        }
        for other in self.others {
            other.finish()?;
        }
        for reader in self.readers {
            let Ok(ended) = reader.thread.join() else { bail!("a reader has panicked") };
            ended?;
        }
        Ok(())
    }

    /// False if it takes longer, or somebody who reads has ended.
    pub(crate) fn wait(&self, within: Duration, until: impl Fn() -> bool) -> bool {
        wait::until(within, || until() || !self.alive()) && until()
    }

    /// By these clients alone: there may have been others in the run.
    pub(crate) fn counted(&self, count: Count) -> u64 {
        self.shared.get(count) - self.before[count as usize]
    }

    fn alive(&self) -> bool {
        !self.readers.iter().any(|reader| reader.thread.is_finished())
            && !self.others.iter().any(Remote::is_finished)
    }

    fn errors(&self) -> String {
        let errors = self.shared.errors();
        errors.iter().map(|(kind, count)| format!("{kind} ({count})")).collect::<Vec<_>>().join(", ")
    }
}

impl Local {
    fn tell(&self, command: Command) -> Result<()> {
        ensure!(self.commands.send(command).is_ok(), "a thread that reads has ended");
        self.waker.wake()?;
        Ok(())
    }
}
