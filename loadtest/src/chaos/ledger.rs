//! What was published, and what each client has seen of it. Times are microseconds since the start.

use parking_lot::Mutex;

/// What one source has published, in order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// When it was tried for the first time.
    pub(super) first: u64,
    /// When it was answered with 200; None: never.
    pub(super) taken: Option<u64>,
}

/// By source, then number.
pub(super) struct Ledger(Vec<Mutex<Vec<Sent>>>);

impl Ledger {
    pub(super) fn new(sources: usize) -> Self {
        Self((0..sources).map(|_| Mutex::default()).collect())
    }

    /// The next event's number.
    pub(super) fn begin(&self, source: u32, now: u64) -> u32 {
        let mut sent = self.0[source as usize].lock();
        sent.push(Sent { first: now, taken: None });
        sent.len() as u32 - 1
    }

    pub(super) fn taken(&self, source: u32, number: u32, now: u64) {
        self.0[source as usize].lock()[number as usize].taken = Some(now);
    }

    pub(super) fn all(&self) -> Vec<Vec<Sent>> {
        self.0.iter().map(|sent| sent.lock().clone()).collect()
    }

    /// How many of this source's were taken; they are the first ones.
    pub(super) fn count(&self, source: u32) -> usize {
        self.0[source as usize].lock().iter().filter(|sent| sent.taken.is_some()).count()
    }
}

/// What a client has seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// By its sources' places, then by number: when it came for the first time.
    pub(super) arrivals: Vec<Vec<Option<u64>>>,
    pub(super) again: Vec<Odd>,
    pub(super) late: Vec<Odd>,
    /// Source, number: not meant for it, or published by nobody here.
    pub(super) stray: u64,
    pub(super) resets: Vec<Reset>,
    /// What happened to it, for its story.
    pub(super) story: Vec<(u64, String)>,
    /// When a connection ended or did not come to be.
    pub(super) hits: Vec<u64>,
    /// When it was open again.
    pub(super) returns: Vec<u64>,
}

/// An event that came in another way than it should.
#[derive(Clone, Copy, Debug)]
pub(super) struct Odd {
    pub(super) source: u32,
    pub(super) number: u32,
    pub(super) at: u64,
}

/// It was told that there may be a hole.
#[derive(Clone, Debug)]
pub(super) struct Reset {
    pub(super) at: u64,
    /// In these topics; None: in all it has.
    pub(super) topics: Option<Vec<String>>,
    pub(super) reason: String,
}

impl Reset {
    pub(super) fn names(&self, topic: &str) -> bool {
        self.topics.as_ref().is_none_or(|topics| topics.iter().any(|named| named == topic))
    }
}

impl Seen {
    /// It was not connected, or lost its connection, at some time in between.
    pub(super) fn was_away(&self, from: u64, to: u64) -> bool {
        self.hits.iter().any(|hit| {
            let back = self.returns.iter().find(|back| *back > hit);
            *hit <= to && back.is_none_or(|back| *back >= from)
        })
    }

    /// `place`: the source's among those that the client listens to.
    pub(super) fn saw(&mut self, place: usize, source: u32, number: u32, at: u64) {
        let arrivals = &mut self.arrivals[place];
        let index = number as usize;
        if arrivals.get(index).is_some_and(Option::is_some) {
            self.again.push(Odd { source, number, at });
            return;
        }
        if index < arrivals.len() {
            self.late.push(Odd { source, number, at });
        } else {
            arrivals.resize(index + 1, None);
        }
        arrivals[index] = Some(at);
    }
}
