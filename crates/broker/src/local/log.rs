use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use tidegate_protocol::{Epoch, Event, Mark, Offset, Partition, Position, Topic};

use super::end;
use crate::{Page, Read, ResetReason, Retention, Span};

/// About what a topic costs besides its events: a slot in each of the maps below.
const TOPIC_BYTES: usize = 320;

/// About what an event costs besides its data and name.
const EVENT_BYTES: usize = 160;

/// How many topics one sweep looks at most: more than one publication adds.
const SWEEP: usize = 4;

/// A partition's counter, and what is kept of its topics.
pub(super) struct Log {
    partition: Partition,
    epoch: Epoch,
    counter: Offset,
    /// No topic that was dropped for want of room had an event after this. An unknown topic is taken to have had one right there: its
    /// readers may get a reset too many, but never miss one.
    floor: Offset,
    topics: HashMap<Topic, Kept>,
    /// Topics with events, by the offset of their last one: those published to longest ago come first.
    full: BTreeMap<Offset, Topic>,
    /// Topics of which only the last offset is left, in the same order.
    bare: BTreeMap<Offset, Topic>,
    /// When to look whether something of a topic has expired.
    due: BTreeSet<(Instant, Topic)>,
    bytes: usize,
}

/// Events that a reader has not had, and that are not there any more.
struct Hole {
    reason: ResetReason,
    /// The last of them: a reader hears of them when it gets there.
    end: Offset,
}

struct Kept {
    last: Offset,
    events: VecDeque<Arc<Event>>,
    events_end: Instant,
    record_end: Instant,
    /// The topic's entry in [`Log::due`]. Publishing never puts it off, which would cost each time: that is done when it comes up.
    due: Instant,
}

impl Log {
    pub(super) fn new(partition: Partition, epoch: Epoch) -> Self {
        Self {
            partition,
            epoch,
            counter: 0,
            floor: 0,
            topics: HashMap::new(),
            full: BTreeMap::new(),
            bare: BTreeMap::new(),
            due: BTreeSet::new(),
            bytes: 0,
        }
    }

    /// Where the counter stands.
    pub(super) fn head(&self) -> (Partition, Position) {
        (self.partition, Position { epoch: self.epoch, offset: self.counter })
    }

    /// The mark of an event that is not stored.
    pub(super) fn here(&self) -> Mark {
        Mark { partition: self.partition, epoch: self.epoch, offset: self.counter, prev: None }
    }

    /// The mark of the next event, if it is one of `topic`. Nothing has changed until it is given to [`Log::append`].
    pub(super) fn next(&mut self, topic: &Topic, now: Instant) -> Mark {
        self.expire(topic, now);
        let prev = self.topics.get(topic).map_or(self.floor, |kept| kept.last);
        Mark { offset: self.counter + 1, prev: Some(prev), ..self.here() }
    }

    /// Stores an event under the mark that [`Log::next`] gave.
    pub(super) fn append(&mut self, event: Arc<Event>, retention: &Retention, now: Instant) {
        let offset = event.mark.offset;
        self.counter = offset;
        let topic = event.topic.clone();
        let events_end = end(now, retention.ttl);
        let record_end = end(now, retention.record_ttl.max(retention.ttl));
        let kept = self.topics.entry(topic.clone()).or_insert_with(|| {
            self.bytes += TOPIC_BYTES + topic.as_str().len();
            self.due.insert((events_end, topic.clone()));
            Kept { last: 0, events: VecDeque::new(), events_end, record_end, due: events_end }
        });
        self.full.remove(&kept.last);
        self.bare.remove(&kept.last);
        self.bytes += weight(&event);
        kept.events.push_back(event);
        (kept.last, kept.events_end, kept.record_end) = (offset, events_end, record_end);
        if kept.due > events_end {
            self.due.remove(&(kept.due, topic.clone()));
            self.due.insert((events_end, topic.clone()));
            kept.due = events_end;
        }
        self.full.insert(offset, topic);
        while kept.events.len() > retention.size as usize {
            self.bytes -= kept.events.pop_front().map_or(0, |event| weight(&event));
        }
    }

    /// What topics have after a place each: in the order of offsets, as much as fits.
    pub(super) fn after(&mut self, reads: &[&Read], bytes: usize, now: Instant) -> Vec<Page> {
        let (mut pages, mut found) = (Vec::with_capacity(reads.len()), Vec::new());
        for read in reads {
            self.expire(&read.topic, now);
        }
        for (number, read) in reads.iter().enumerate() {
            let (hole, rest) = self.rest(&read.topic, read.span.from());
            found.extend(rest.map(|event| (number, event)));
            let page = Page { events: Vec::new(), head: self.head().1, reset: None, more: false };
            pages.push((page, hole));
        }
        found.sort_by_key(|(_, event)| event.mark.offset);
        let limit = reads.iter().map(|read| read.span.limit()).max().unwrap_or_default();
        let fits = fitting(found.iter().map(|(_, event)| *event), limit, bytes);
        let upto = match found.get(fits) {
            None => self.counter,
            Some(_) => fits.checked_sub(1).map_or(0, |last| found[last].1.mark.offset),
        };
        for (at, (number, event)) in found.into_iter().enumerate() {
            let page: &mut Page = &mut pages[number].0;
            if at < fits { page.events.push(Arc::clone(event)) } else { page.more = true }
        }
        let whole = |((mut page, hole), read): ((Page, Option<Hole>), &&Read)| {
            match hole {
                Some(hole) if hole.end <= upto => page.reset = Some(hole.reason),
                Some(_) => page.more = true,
                None => {}
            }
            if page.more {
                page.head.offset = upto.max(read.span.from().offset);
            }
            page
        };
        pages.into_iter().zip(reads).map(whole).collect()
    }

    /// What a topic has after a place, and what is missing before that.
    fn rest(&self, topic: &Topic, position: Position) -> (Option<Hole>, impl Iterator<Item = &Arc<Event>>) {
        let kept = self.topics.get(topic);
        let events = kept.into_iter().flat_map(move |kept| {
            let from = kept.events.partition_point(|event| event.mark.offset <= position.offset);
            kept.events.range(from..)
        });
        let mut events = events.peekable();
        let (reason, end) = if position.epoch != self.epoch {
            (ResetReason::Epoch, 0)
        } else if position.offset > self.counter {
            (ResetReason::Unknown, 0)
        } else if let Some(first) = events.peek() {
            (ResetReason::Trimmed, first.mark.prev.unwrap_or_default())
        } else {
            (ResetReason::Expired, kept.map_or(self.floor, |kept| kept.last))
        };
        let void = end == 0 && matches!(reason, ResetReason::Epoch | ResetReason::Unknown);
        let hole = (void || end > position.offset).then_some(Hole { reason, end });
        (hole, events.take_while(move |_| !void))
    }

    /// The last events of a topic, or those before an offset.
    pub(super) fn before(&mut self, read: &Read, bytes: usize, now: Instant) -> Page {
        self.expire(&read.topic, now);
        let mut page = Page { events: Vec::new(), head: self.head().1, reset: None, more: false };
        if let Some(kept) = self.topics.get(&read.topic) {
            let end = if let Span::Before { offset, .. } = read.span { offset } else { Offset::MAX };
            let to = kept.events.partition_point(|event| event.mark.offset < end);
            let from = to - fitting(kept.events.range(..to).rev(), read.span.limit(), bytes);
            page.events = kept.events.range(from..to).cloned().collect();
            page.more = from > 0;
        }
        page
    }

    /// Drops a topic's events, and remembers that there were some. True if there were.
    pub(super) fn forget(&mut self, topic: &Topic, now: Instant) -> bool {
        self.expire(topic, now);
        self.strip(topic)
    }

    /// Frees some of what has expired.
    pub(super) fn sweep(&mut self, now: Instant) {
        for _ in 0..SWEEP {
            match self.due.first() {
                Some((at, topic)) if *at <= now => {
                    let topic = topic.clone();
                    self.expire(&topic, now);
                    self.put_off(&topic);
                }
                _ => return,
            }
        }
    }

    /// Drops what is documented at [`super::Options::max_bytes`], until all fits into `limit`.
    pub(super) fn make_room(&mut self, limit: usize) {
        while self.bytes > limit {
            if let Some((_, topic)) = self.full.first_key_value() {
                let topic = topic.clone();
                let Some(kept) = self.topics.get_mut(&topic) else { return };
                self.bytes -= kept.events.pop_front().map_or(0, |event| weight(&event));
                if kept.events.is_empty() {
                    self.full.remove(&kept.last);
                    self.bare.insert(kept.last, topic);
                }
            } else if let Some((&last, topic)) = self.bare.first_key_value() {
                self.floor = last;
                let topic = topic.clone();
                self.remove(&topic);
            } else {
                return;
            }
        }
    }

    fn expire(&mut self, topic: &Topic, now: Instant) {
        match self.topics.get(topic) {
            Some(kept) if kept.record_end <= now => self.remove(topic),
            Some(kept) if kept.events_end <= now => {
                self.strip(topic);
            }
            _ => {}
        }
    }

    fn strip(&mut self, topic: &Topic) -> bool {
        let Some(kept) = self.topics.get_mut(topic).filter(|kept| !kept.events.is_empty()) else {
            return false;
        };
        // Taken, not cleared: the deque's memory goes too.
        self.bytes -= std::mem::take(&mut kept.events).iter().map(|event| weight(event)).sum::<usize>();
        self.full.remove(&kept.last);
        self.bare.insert(kept.last, topic.clone());
        true
    }

    fn remove(&mut self, topic: &Topic) {
        self.strip(topic);
        if let Some(kept) = self.topics.remove(topic) {
            self.bytes -= TOPIC_BYTES + topic.as_str().len();
            self.bare.remove(&kept.last);
            self.due.remove(&(kept.due, topic.clone()));
        }
    }

    fn put_off(&mut self, topic: &Topic) {
        let Some(kept) = self.topics.get_mut(topic) else { return };
        let next = if kept.events.is_empty() { kept.record_end } else { kept.events_end };
        self.due.remove(&(kept.due, topic.clone()));
        self.due.insert((next, topic.clone()));
        kept.due = next;
    }

    /// Counts everything anew. Gives the bytes in use.
    #[cfg(test)]
    pub(super) fn check(&self) -> usize {
        let mut bytes = 0;
        for (topic, kept) in &self.topics {
            bytes += TOPIC_BYTES + topic.as_str().len();
            bytes += kept.events.iter().map(|event| weight(event)).sum::<usize>();
            let place = if kept.events.is_empty() { &self.bare } else { &self.full };
            assert_eq!(place.get(&kept.last), Some(topic));
            assert!(self.due.contains(&(kept.due, topic.clone())));
        }
        assert_eq!(self.full.len() + self.bare.len(), self.topics.len());
        assert_eq!(self.due.len(), self.topics.len());
        assert_eq!(self.bytes, bytes);
        bytes
    }
}

/// How many of the events are within the limits. One always fits.
fn fitting<'a>(events: impl Iterator<Item = &'a Arc<Event>>, limit: u32, bytes: usize) -> usize {
    let (mut count, mut sum) = (0, 0);
    for event in events.take(limit as usize) {
        sum += event.data.as_bytes().len();
        if count > 0 && sum > bytes {
            break;
        }
        count += 1;
    }
    count
}

fn weight(event: &Event) -> usize {
    let name = event.name.as_ref().map_or(0, |name| name.as_str().len());
    EVENT_BYTES + event.data.as_bytes().len() + name
}
