//! Lines between those who log and the thread that writes.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use prometheus::{IntCounter, IntCounterVec};
use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use super::repeats::{self, Repeats};
use super::{LAST, OWN};

/// Bytes of lines that may wait for a reader: several thousand lines, so that a hiccup of the
/// reader loses none, and no more than a few connections need. Beyond it new lines are dropped: the
/// old ones tell how it began.
const WAITING: usize = 1 << 20;

/// What a line costs beside its text.
const LINE: usize = 64;

/// Another process may have made standard error non-blocking, if it shares the terminal or pipe:
/// then the wait is here.
const AGAIN: Duration = Duration::from_millis(20);

/// The end that is written to. Cloning shares it.
#[derive(Clone)]
pub(super) struct Queue {
    messages: Sender<Message>,
    shared: Arc<Shared>,
}

struct Shared {
    waiting: AtomicUsize,
    /// The last word is in the queue. Tasks that still run say nothing behind it.
    ended: RwLock<bool>,
    /// Dropped, and not yet told of in the log.
    lost: AtomicU64,
    full: IntCounter,
    unwritable: IntCounter,
}

enum Message {
    Line(Vec<u8>),
    Flush(Sender<()>),
}

/// The end that is read, by a thread of its own.
pub(super) struct Writer {
    messages: Receiver<Message>,
    shared: Arc<Shared>,
    repeats: Repeats,
}

pub(super) fn queue(repeats: Repeats, dropped: &IntCounterVec) -> (Queue, Writer) {
    let (sender, receiver) = mpsc::channel();
    let shared = Arc::new(Shared {
        waiting: AtomicUsize::new(0),
        ended: RwLock::new(false),
        lost: AtomicU64::new(0),
        full: dropped.with_label_values(&["full"]),
        unwritable: dropped.with_label_values(&["unwritable"]),
    });
    let queue = Queue { messages: sender, shared: Arc::clone(&shared) };
    (queue, Writer { messages: receiver, shared, repeats })
}

impl Queue {
    /// Takes a line, or counts it where there is no room. Never waits.
    pub(super) fn push(&self, line: &[u8]) {
        self.push_within(line, WAITING);
    }

    /// Takes the last line: what comes later is dropped.
    pub(super) fn end(&self, line: &[u8]) {
        let mut ended = self.shared.ended.write().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *ended, true) {
            self.send(line, usize::MAX);
        }
    }

    fn push_within(&self, line: &[u8], most: usize) {
        // Held while the line is put in, so that none gets behind the last one.
        let ended = self.shared.ended.read().unwrap_or_else(PoisonError::into_inner);
        if !*ended {
            self.send(line, most);
        }
    }

    fn send(&self, line: &[u8], most: usize) {
        let cost = line.len() + LINE;
        let before = self.shared.waiting.fetch_add(cost, Ordering::Relaxed);
        if before.saturating_add(cost) > most || self.messages.send(Message::Line(line.to_vec())).is_err() {
            self.shared.waiting.fetch_sub(cost, Ordering::Relaxed);
            self.shared.lose(&self.shared.full);
        }
    }

    /// Waits until what was pushed before has been written, but not longer than `patience`. False
    /// if there is no writer any more.
    pub(super) fn flush(&self, patience: Duration) -> bool {
        let (done, flushed) = mpsc::channel();
        self.messages.send(Message::Flush(done)).is_ok()
            && flushed.recv_timeout(patience) != Err(RecvTimeoutError::Disconnected)
    }
}

impl Shared {
    fn lose(&self, reason: &IntCounter) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        reason.inc();
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { queue: self, kind: Kind::Usual }
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Line<'a> {
        let kind = match event.target() {
            LAST => Kind::Last,
            OWN => Kind::Own,
            _ => Kind::Usual,
        };
        Line { queue: self, kind }
    }
}

/// Takes one line, in one piece.
pub(super) struct Line<'a> {
    queue: &'a Queue,
    kind: Kind,
}

enum Kind {
    Usual,
    /// Few, and written by the log itself: a queue that is full again must not lose the count of its
    /// lost lines.
    Own,
    Last,
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.kind {
            Kind::Usual => self.queue.push(line),
            Kind::Own => self.queue.push_within(line, usize::MAX),
            Kind::Last => self.queue.end(line),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Writer {
    /// Writes as long as there is a process.
    pub(super) fn run(self, mut out: impl Write) {
        let (mut works, mut reported) = (true, Instant::now());
        loop {
            let flush = match self.messages.recv_timeout(repeats::PERIOD) {
                Ok(Message::Line(line)) => {
                    works = self.write(&mut out, &line);
                    None
                }
                Ok(Message::Flush(done)) => Some(done),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            // Not while nothing can be written: the report would only be lost as well.
            if works && (flush.is_some() || reported.elapsed() >= repeats::PERIOD) {
                self.report();
                reported = Instant::now();
            }
            if let Some(done) = flush {
                self.drain(&mut out);
                let _ = done.send(());
            }
        }
    }

    /// Writes what waits now.
    fn drain(&self, out: &mut impl Write) {
        while let Ok(message) = self.messages.try_recv() {
            match message {
                Message::Line(line) => drop(self.write(out, &line)),
                Message::Flush(done) => drop(done.send(())),
            }
        }
    }

    /// Says what is missing in the log, by logging it.
    fn report(&self) {
        let lines = self.shared.lost.swap(0, Ordering::Relaxed);
        if lines > 0 {
            tracing::warn!(target: OWN, "{lines} lines dropped: standard error did not take them in time");
        }
        for (like, lines) in self.repeats.take() {
            tracing::warn!(target: OWN, like, "{lines} more such lines left out");
        }
    }

    fn write(&self, out: &mut impl Write, line: &[u8]) -> bool {
        let written = write_all(out, line).is_ok();
        self.shared.waiting.fetch_sub(line.len() + LINE, Ordering::Relaxed);
        if !written {
            self.shared.lose(&self.shared.unwritable);
        }
        written
    }
}

fn write_all(out: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::park_timeout(AGAIN),
            Err(error) => return Err(error),
        }
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use prometheus::Opts;
    use tidegate_tasks::Tasks;

    use super::*;

    fn counter() -> IntCounterVec {
        IntCounterVec::new(Opts::new("dropped", "Lines"), &["reason"]).unwrap()
    }

    fn count(dropped: &IntCounterVec, reason: &str) -> u64 {
        dropped.with_label_values(&[reason]).get()
    }

    /// What becomes of each write.
    struct Out<F>(F);

    impl<F: FnMut(&[u8]) -> io::Result<usize>> Write for Out<F> {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0(line)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn start(
        dropped: &IntCounterVec,
        out: impl FnMut(&[u8]) -> io::Result<usize> + Send + 'static,
    ) -> (Queue, Tasks) {
        let (queue, writer) = queue(Repeats::new(dropped.with_label_values(&["repeated"])), dropped);
        let tasks = Tasks::default();
        tasks.thread("log writer", move || writer.run(Out(out))).unwrap();
        (queue, tasks)
    }

    #[test]
    fn a_reader_that_stops_costs_lines_and_no_time() {
        let (dropped, (go, gone)) = (counter(), mpsc::channel::<()>());
        let (written, lines) = mpsc::channel();
        let (queue, _tasks) = start(&dropped, move |line| {
            let _ = gone.recv();
            written.send(line.to_vec()).map_err(io::Error::other)?;
            Ok(line.len())
        });
        let line = vec![b'x'; 1000];
        for _ in 0..2_000 {
            queue.push(&line);
        }
        // As many as fit, whatever the thread has taken by then.
        let fit = WAITING / (1000 + LINE);
        assert_eq!(count(&dropped, "full"), (2_000 - fit) as u64);
        assert!(queue.flush(Duration::from_millis(1)), "there is a writer, and it is not waited for");
        drop(go);
        assert!(queue.flush(Duration::from_secs(60)));
        assert_eq!(lines.try_iter().count(), fit);
        queue.push(b"there is room again");
        assert!(queue.flush(Duration::from_secs(60)));
        assert_eq!(lines.try_iter().count(), 1);
    }

    #[test]
    fn nothing_is_written_behind_the_last_line() {
        let dropped = counter();
        let (written, lines) = mpsc::channel();
        let (queue, _tasks) = start(&dropped, move |line| {
            written.send(line.to_vec()).map_err(io::Error::other)?;
            Ok(line.len())
        });
        queue.push(b"before");
        queue.end(b"last");
        queue.push(b"of a task that still runs");
        queue.end(b"another last one");
        assert!(queue.flush(Duration::from_secs(60)));
        assert_eq!(lines.try_iter().collect::<Vec<_>>(), [&b"before"[..], b"last"]);
    }

    #[test]
    fn a_line_is_written_whole_and_one_that_cannot_be_is_counted() {
        let (dropped, (written, bytes)) = (counter(), mpsc::channel());
        let mut rounds = 0;
        let (queue, _tasks) = start(&dropped, move |line| {
            rounds += 1;
            match rounds {
                1 => Err(ErrorKind::BrokenPipe.into()),
                2 => Err(ErrorKind::WouldBlock.into()),
                3 => Err(ErrorKind::Interrupted.into()),
                _ => written.send(line[0]).map(|()| 1).map_err(io::Error::other),
            }
        });
        queue.push(b"lost");
        queue.push(b"whole");
        assert!(queue.flush(Duration::from_secs(60)));
        assert_eq!(bytes.try_iter().collect::<Vec<_>>(), b"whole");
        assert_eq!((count(&dropped, "unwritable"), count(&dropped, "full")), (1, 0));
    }

    #[tokio::test]
    async fn a_writer_that_dies_is_missed() {
        let dropped = counter();
        let (queue, tasks) = start(&dropped, |_| panic!("no ink"));
        queue.push(b"a line");
        let failure = tasks.failed().await.to_string();
        assert!(failure.contains("\"log writer\" panicked: no ink"), "{failure}");
        assert!(!queue.flush(Duration::from_secs(60)), "there is none to wait for");
        queue.push(b"lost");
        assert_eq!(count(&dropped, "full"), 1);
    }
}
