//! Reading stored events. Scripts do it, so that a page and its partition's place are of one
//! instant.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::{Cmd, Pipeline, Value};
use tidegate_broker::{Error, Page, Read, ResetReason, Span, groups};
use tidegate_protocol::{Envelope, Epoch, Event, Mark, Message, Offset, Partition, Position, Topic};
use tokio::time::Instant;

use crate::connect::unexpected;
use crate::errors::unanswered;
use crate::keys::Keys;
use crate::place::{Place, Verdict};
use crate::pool::{Connection, Pool};
use crate::room::Room;
use crate::scripts::{self, eval};
use crate::standing::{Entered, Standing};
use crate::window::{self, EVENTS, Limits, Stored, TOPICS, Window};

/// Reads in one pipeline. One event always fits, so each may bring an event of the largest size.
const PIPELINE: usize = 16;

/// A caller waits for a page: what two attempts teach helps the next one.
const ATTEMPTS: usize = 2;

/// The reading half of the broker.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(crate) keys: Keys,
    pub(crate) partitions: Arc<[Arc<Standing>]>,
    pub(crate) pool: Pool,
    /// How long a primary that takes over is waited for.
    pub(crate) patience: Duration,
    /// Topics that one user may be a member of.
    pub(crate) memberships: usize,
    /// Bytes of events in one answer, unless a single event is larger. What is left out shows as
    /// [`Page::more`].
    pub(crate) pages: Room,
}

/// Why a read has failed.
pub(crate) enum Failed {
    /// The node must enter the partition again.
    Elsewhere,
    Error(Error),
}

/// Where the node has entered a partition: first as it is, then after it has entered again.
struct Entries<'a> {
    standing: &'a Standing,
    patience: Duration,
    last: Option<Entered>,
    again: bool,
}

impl Entries<'_> {
    async fn next(&mut self) -> Result<Arc<Place>, Error> {
        let deadline = Instant::now() + self.patience;
        let entered = match &self.last {
            None => self.standing.entered(deadline).await?,
            Some(last) if std::mem::take(&mut self.again) => {
                self.standing.enter_again(last, deadline).await?
            }
            Some(_) => return Err(Error::Unavailable("another primary is taking over".into())),
        };
        let place = Arc::clone(&entered.place);
        self.last = Some(entered);
        Ok(place)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Reader {
    /// Runs commands in one round trip; the first refusal fails them all.
    pub(crate) async fn run(&self, commands: impl Iterator<Item = Cmd>) -> Result<Vec<Value>, Error> {
        ask(self.pool.get().await?, commands).await
    }

    /// Asks for what the link carries in time. What does not come in time is asked for again in
    /// smaller parts, `attempts` times in all.
    ///
    /// Not if there is no connection: a Redis that hangs gives none, whatever is asked.
    pub(crate) async fn sized(
        &self,
        room: &Room,
        attempts: usize,
        questions: impl Fn(usize) -> Vec<Cmd>,
    ) -> Result<Vec<Value>, Error> {
        let mut attempt = 1;
        loop {
            let (connection, bytes) = (self.pool.get().await?, room.bytes());
            let asked = Instant::now();
            match ask(connection, questions(bytes).into_iter()).await {
                Ok(answers) => {
                    room.answered(bytes, answers.iter().map(weight).sum(), asked.elapsed());
                    return Ok(answers);
                }
                Err(error) => {
                    if !room.failed(bytes, asked.elapsed()) || attempt == attempts {
                        return Err(error);
                    }
                }
            }
            attempt += 1;
        }
    }

    /// A page for each read, in their order.
    pub(crate) async fn history(&self, reads: &[Read], bytes: usize) -> Result<Vec<Page>, Error> {
        let mut pages: Vec<Option<Page>> = reads.iter().map(|_| None).collect();
        let mut left = bytes;
        for group in groups(reads, self.keys.count()) {
            // Of each read that goes backwards.
            let share = left / group.len();
            // Each partition has an epoch of its own.
            for (partition, part) in
                self.keys.by_partition(group, |keys, at| keys.partition(&reads[*at].topic))
            {
                let together: Vec<&Read> = part.iter().map(|at| &reads[*at]).collect();
                let mut entries = self.entries(partition);
                let found = loop {
                    let place = entries.next().await?;
                    let found = match together[0].span {
                        Span::After { .. } => self.after(&together, &place, left).await,
                        _ => self.backwards(&together, &place, share).await,
                    };
                    match found {
                        Ok(found) => break found,
                        Err(Failed::Error(error)) => return Err(error),
                        Err(Failed::Elsewhere) => {}
                    }
                };
                for (at, page) in part.into_iter().zip(found) {
                    left = left.saturating_sub(page.bytes());
                    pages[at] = Some(page);
                }
            }
        }
        pages.into_iter().collect::<Option<_>>().ok_or_else(|| unexpected("a page is missing"))
    }

    /// Runs one script in a partition.
    pub(crate) async fn run_in(
        &self,
        partition: Partition,
        command: impl Fn(Epoch) -> Cmd,
    ) -> Result<Value, Error> {
        let mut entries = self.entries(partition);
        loop {
            let place = entries.next().await?;
            let question = std::iter::once(command(place.head.epoch));
            let answer = self.run(question).await?.pop().unwrap_or_default();
            if !scripts::is_elsewhere(&answer) {
                return Ok(answer);
            }
        }
    }

    fn entries(&self, partition: Partition) -> Entries<'_> {
        let standing = &self.partitions[partition.index()];
        Entries { standing, patience: self.patience, last: None, again: true }
    }

    /// Reads on in topics of one partition. Answers that are short only for having many events are
    /// followed by others.
    async fn after(&self, reads: &[&Read], place: &Place, bytes: usize) -> Result<Vec<Page>, Failed> {
        let events = reads.iter().map(|read| read.span.limit()).max().unwrap_or_default();
        let mut limits = Limits { events, bytes, upto: None };
        let (mut pages, mut full) = self.windows(reads, place, &mut limits).await?;
        while full && limits.events > 0 && limits.bytes > 0 {
            let open: Vec<usize> = (0..pages.len()).filter(|at| pages[*at].more).collect();
            let rest: Vec<Read> = open.iter().map(|at| on(reads[*at], &pages[*at])).collect();
            limits.upto = None;
            let found = self.windows(&rest.iter().collect::<Vec<_>>(), place, &mut limits).await?;
            full = found.1 && found.0.iter().all(|page| page.reset.is_none());
            for (at, page) in open.into_iter().zip(found.0).filter(|(_, page)| page.reset.is_none()) {
                pages[at].events.extend(page.events);
                (pages[at].head, pages[at].more) = (page.head, page.more);
            }
        }
        Ok(pages)
    }

    /// A window over each part of the topics; what it brings is taken off the limits. True if one
    /// had as many events as an answer may have.
    async fn windows(
        &self,
        reads: &[&Read],
        place: &Place,
        limits: &mut Limits,
    ) -> Result<(Vec<Page>, bool), Failed> {
        let (mut pages, mut full) = (Vec::with_capacity(reads.len()), false);
        let mut parts = reads.len().div_ceil(TOPICS);
        for chunk in reads.chunks(TOPICS) {
            let partition = self.keys.partition(&chunk[0].topic);
            let topics: Vec<_> = chunk.iter().map(|read| (&read.topic, read.span.from().offset)).collect();
            let question = |room: usize| {
                let part = Limits { bytes: room.min(limits.bytes / parts), ..*limits };
                vec![window::command(&self.keys, partition, place.head.epoch, &topics, &part)]
            };
            let answer = self.sized(&self.pages, ATTEMPTS, question).await?.pop().unwrap_or_default();
            if scripts::is_elsewhere(&answer) {
                return Err(Failed::Elsewhere);
            }
            let window = window::parse(answer)?;
            if !self.partitions[partition.index()].has_read(window.head) {
                return Err(Failed::Elsewhere);
            }
            // What comes after it is of no use: the topics of this chunk are not read that far.
            limits.upto = Some(window.upto).filter(|upto| *upto < window.head.offset).or(limits.upto);
            let count = u32::try_from(window.events.len()).unwrap_or(u32::MAX);
            full |= count >= EVENTS;
            limits.events = limits.events.saturating_sub(count);
            limits.bytes = limits.bytes.saturating_sub(window.events.iter().map(|(_, e)| e.len()).sum());
            parts -= 1;
            pages.extend(forwards(chunk, partition, place, window)?);
        }
        Ok((pages, full))
    }

    /// Reads the ends of topics of a partition, or what is before an offset: so many bytes of each.
    async fn backwards(&self, reads: &[&Read], place: &Place, share: usize) -> Result<Vec<Page>, Failed> {
        // No more than the link carries at once: a page for people must not take long.
        let share = share.min(self.pages.bytes());
        let mut pages = Vec::with_capacity(reads.len());
        for chunk in reads.chunks(PIPELINE) {
            let questions = |room: usize| {
                chunk.iter().map(|read| self.read_back(read, place, share.min(room / chunk.len()))).collect()
            };
            for (read, answer) in chunk.iter().zip(self.sized(&self.pages, ATTEMPTS, questions).await?) {
                if scripts::is_elsewhere(&answer) {
                    return Err(Failed::Elsewhere);
                }
                let partition = self.keys.partition(&read.topic);
                let mut page = backwards(&read.topic, partition, answer)?;
                if !self.partitions[partition.index()].has_read(page.head) {
                    return Err(Failed::Elsewhere);
                }
                while let Some(rest) = rest(read, &page, share) {
                    let question = |room: usize| {
                        vec![self.read_back(&rest, place, share.saturating_sub(page.bytes()).min(room))]
                    };
                    let answer = self.sized(&self.pages, ATTEMPTS, question).await?.pop().unwrap_or_default();
                    if !prepend(
                        &mut page,
                        backwards(&read.topic, self.keys.partition(&read.topic), answer)?,
                        share,
                    ) {
                        break;
                    }
                }
                pages.push(page);
            }
        }
        Ok(pages)
    }

    /// Drops a topic's stream and tells the nodes. Its record stays, so that older cursors get a reset.
    pub(crate) async fn forget(&self, topic: &Topic) -> Result<bool, Error> {
        let (dropped, _) =
            self.control(topic, &self.keys.stream(topic), &Message::Forgotten, &["DEL"]).await?;
        Ok(dropped > 0)
    }

    fn read_back(&self, Read { topic, span }: &Read, place: &Place, bytes: usize) -> Cmd {
        let keys = [self.keys.record(topic), self.keys.stream(topic)];
        let mut command =
            eval(&scripts::READ, &self.keys, self.keys.partition(topic), place.head.epoch, &keys);
        match span {
            // Entries are `<offset>-0`: this excludes the offset itself without `(`, which 0 could
            // not be given with.
            Span::Before { offset, .. } => command.arg(format!("{}-1", offset.saturating_sub(1))),
            Span::Last { .. } | Span::After { .. } => command.arg("+"),
        };
        command.arg(span.limit().min(EVENTS)).arg(bytes);
        command
    }
}

/// Runs commands on a connection that goes back to its pool if all of them are answered.
async fn ask(mut connection: Connection, commands: impl Iterator<Item = Cmd>) -> Result<Vec<Value>, Error> {
    let mut pipeline = Pipeline::new();
    for command in commands {
        pipeline.add_command(command);
    }
    pipeline.ignore_errors();
    match pipeline.query_async::<Vec<Value>>(&mut connection).await {
        Ok(answers) if answers.len() == pipeline.len() => Ok(answers),
        Ok(_) => Err(unexpected("too few answers")),
        Err(error) => {
            // Late answers may still be on their way: not a connection for others.
            drop(Connection::take(connection));
            Err(unanswered(&error))
        }
    }
}

/// Bytes of an answer's strings.
fn weight(answer: &Value) -> usize {
    match answer {
        Value::BulkString(bytes) => bytes.len(),
        Value::Array(parts) => parts.iter().map(weight).sum(),
        _ => 0,
    }
}

/// The pages of a window's topics.
pub(crate) fn forwards(
    reads: &[&Read],
    partition: Partition,
    place: &Place,
    window: Window,
) -> Result<Vec<Page>, Error> {
    if reads.len() != window.topics.len() {
        return Err(unexpected("a window of other topics"));
    }
    let Window { head, upto, topics, events } = window;
    let mut pages: Vec<Page> = reads
        .iter()
        .zip(topics)
        .map(|(read, stored)| {
            let from = read.span.from();
            let reset = reset(from, place, head, &stored, upto);
            let void = reset.is_some_and(ResetReason::is_void);
            let more = stored.last > upto && !void;
            let head = if more { Position { offset: upto.max(from.offset), ..head } } else { head };
            Page { events: Vec::new(), head, reset, more }
        })
        .collect();
    for (number, bytes) in events {
        let page = &mut pages[number];
        if !page.reset.is_some_and(ResetReason::is_void) {
            page.events.extend(event(&reads[number].topic, partition, page.head.epoch, &bytes));
        }
    }
    Ok(pages)
}

pub(crate) fn backwards(topic: &Topic, partition: Partition, answer: Value) -> Result<Page, Error> {
    let head = scripts::position(&answer)?;
    let Value::Array(parts) = answer else { return Err(unexpected("a page is an array")) };
    let [_, _, envelopes, more]: [Value; 4] =
        parts.try_into().map_err(|_| unexpected("a page has four parts"))?;
    let more = scripts::offset_of(&more)? > 0;
    let Value::Array(envelopes) = envelopes else { return Err(unexpected("events are an array")) };
    let events = envelopes.into_iter().rev().filter_map(|value| match value {
        Value::BulkString(bytes) => event(topic, partition, head.epoch, &bytes.into()),
        _ => None,
    });
    Ok(Page { events: events.collect(), head, reset: None, more })
}

/// The read that goes on after a page.
fn on(read: &Read, page: &Page) -> Read {
    let span = Span::After { position: page.head, limit: read.span.limit() };
    Read { topic: read.topic.clone(), span }
}

/// The read that goes on backwards: an answer may bring much less than the share.
fn rest(read: &Read, page: &Page, share: usize) -> Option<Read> {
    let short = page.events.len() >= EVENTS as usize || page.bytes() < share / 2;
    let first = page.events.first().filter(|_| page.more && short)?;
    let limit = read.span.limit().checked_sub(u32::try_from(page.events.len()).ok()?)?;
    let span = Span::Before { offset: first.mark.offset, limit };
    (limit > 0).then(|| Read { topic: read.topic.clone(), span })
}

/// Puts older events before a page's, as long as they fit. False: no more of them do.
fn prepend(page: &mut Page, mut older: Page, share: usize) -> bool {
    if older.head.epoch != page.head.epoch {
        return false;
    }
    let mut room = share.saturating_sub(page.bytes());
    let fits = older.events.iter().rev().take_while(|event| {
        let left = room.checked_sub(event.data.as_bytes().len());
        room = left.unwrap_or_default();
        left.is_some()
    });
    let over = older.events.len() - fits.count();
    page.more = older.more || over > 0;
    older.events.drain(..over);
    older.events.append(&mut page.events);
    page.events = older.events;
    page.more && over == 0
}

/// Whether what is stored still reaches back to `reader`. Of a gap that ends after `upto` it hears
/// when it gets there.
fn reset(
    reader: Position,
    place: &Place,
    head: Position,
    stored: &Stored,
    upto: Offset,
) -> Option<ResetReason> {
    match place.judge(reader, head.offset) {
        Verdict::Continues => {}
        Verdict::Ahead => return Some(ResetReason::Unknown),
        Verdict::Lost(_) => return Some(ResetReason::Epoch),
    }
    let (reason, end) = match stored.prev {
        Some(prev) => (ResetReason::Trimmed, prev),
        None => (ResetReason::Expired, stored.last),
    };
    (reader.offset < end && end <= upto).then_some(reason)
}

/// A stored envelope as an event. Foreign bytes in a stream are passed over. What earlier epochs have
/// left is the same offset of the current `epoch`.
fn event(topic: &Topic, partition: Partition, epoch: Epoch, bytes: &Bytes) -> Option<Arc<Event>> {
    let envelope = match Envelope::parse(bytes) {
        Ok(envelope) => envelope,
        Err(error) => {
            tracing::warn!(%topic, %error, "a stored event was passed over");
            return None;
        }
    };
    let Message::Event { name, data, at } = envelope.message else { return None };
    let offset = envelope.position.offset;
    let mark = Mark { partition, epoch, offset, prev: envelope.prev };
    Some(Arc::new(Event { topic: topic.clone(), name, data, at, mark }))
}
