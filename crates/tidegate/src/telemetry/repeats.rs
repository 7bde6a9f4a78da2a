//! At most one line a second of those that say the same: a fault that every request meets must not
//! fill the disk.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus::IntCounter;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::OWN;

/// The time within which a line is a repeat.
pub(super) const PERIOD: Duration = Duration::from_secs(1);

/// Lines of one place in the code within [`PERIOD`] that say different things. More of them, each
/// about another topic or client, are a flood like any other.
const DIFFERENT: usize = 16;

/// Decides which lines are written. Levels below `info` pass: a person asked to see everything.
#[derive(Clone)]
pub(super) struct Repeats {
    places: Arc<Mutex<HashMap<Identifier, Place>>>,
    dropped: IntCounter,
}

/// What a place in the code has said lately.
struct Place {
    since: Instant,
    /// Hashes of the texts.
    said: Vec<u64>,
    left_out: u64,
    /// The last line that was left out.
    like: String,
}

impl Repeats {
    pub(super) fn new(dropped: IntCounter) -> Self {
        Self { places: Arc::default(), dropped }
    }

    /// What was left out since the last time: a line like those, and how many.
    pub(super) fn take(&self) -> Vec<(String, u64)> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let repeated = places.values_mut().filter(|place| place.left_out > 0);
        repeated.map(|place| (std::mem::take(&mut place.like), std::mem::take(&mut place.left_out))).collect()
    }

    fn admits(&self, event: &Event<'_>, now: Instant) -> bool {
        let mut text = Text::default();
        event.record(&mut text);
        let hash = text.hasher.finish();
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.entry(event.metadata().callsite()).or_insert_with(|| Place {
            since: now,
            said: Vec::new(),
            left_out: 0,
            like: String::new(),
        });
        if now.duration_since(place.since) >= PERIOD {
            place.since = now;
            place.said.clear();
        }
        if place.said.contains(&hash) || place.said.len() == DIFFERENT {
            place.left_out += 1;
            place.like = text.message;
            self.dropped.inc();
            return false;
        }
        place.said.push(hash);
        true
    }
}

/// Not a filter of one layer: those keep state between two calls, of which the first is left out
/// for what is always enabled.
impl<S: Subscriber> Layer<S> for Repeats {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let about = event.metadata();
        *about.level() > Level::INFO || about.target() == OWN || self.admits(event, Instant::now())
    }
}

/// What a line says, as a hash, and its message in words.
#[derive(Default)]
struct Text {
    hasher: DefaultHasher,
    message: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // It fails only if `value` does.
        let _ = write!(Hashing(&mut self.hasher), "{}={value:?} ", field.name());
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        }
    }
}

struct Hashing<'a>(&'a mut DefaultHasher);

impl fmt::Write for Hashing<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::mpsc;

    use tracing::subscriber::with_default;
    use tracing_subscriber::fmt as lines;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// The lines that pass while `work` logs, and what was left out.
    fn passed(work: impl FnOnce()) -> (Vec<String>, Vec<(String, u64)>) {
        let repeats = Repeats::new(IntCounter::new("dropped", "Lines").unwrap());
        let (sender, receiver) = mpsc::channel();
        let writer = move || Line(sender.clone());
        let layer = lines::layer().without_time().with_ansi(false).with_writer(writer);
        with_default(tracing_subscriber::registry().with(layer).with(repeats.clone()), work);
        let left_out = repeats.take();
        assert_eq!(repeats.take(), []);
        assert_eq!(repeats.dropped.get(), left_out.iter().map(|(_, count)| count).sum::<u64>());
        (receiver.iter().collect(), left_out)
    }

    struct Line(mpsc::Sender<String>);

    impl io::Write for Line {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.send(String::from_utf8_lossy(line).into_owned()).map_err(io::Error::other)?;
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_was_said_already_is_counted_and_what_differs_is_said() {
        let complain = |error: &str| tracing::warn!(error, "the broker failed");
        let (lines, left_out) = passed(|| {
            for error in ["gone", "gone", "full", "gone"] {
                complain(error);
            }
            tracing::warn!(error = "gone", "the broker failed");
        });
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert_eq!(left_out, [("the broker failed".to_owned(), 2)]);
    }

    #[test]
    fn a_flood_of_different_lines_is_a_flood() {
        let (lines, left_out) = passed(|| (0..1_000).for_each(|n| tracing::error!(n, "a bad event")));
        assert_eq!(lines.len(), DIFFERENT);
        assert_eq!(left_out, [("a bad event".to_owned(), 1_000 - DIFFERENT as u64)]);
    }

    #[test]
    fn below_info_all_is_written() {
        let (lines, left_out) = passed(|| (0..100).for_each(|_| tracing::debug!("again")));
        assert_eq!((lines.len(), left_out.len()), (100, 0));
    }

    #[test]
    fn after_a_second_it_is_said_again() {
        let repeats = Repeats::new(IntCounter::new("dropped", "Lines").unwrap());
        let now = Instant::now();
        let later = now + PERIOD;
        struct Ask(Repeats, Vec<Instant>, mpsc::Sender<bool>);
        impl<S: Subscriber> Layer<S> for Ask {
            fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
                self.1.iter().for_each(|at| self.2.send(self.0.admits(event, *at)).unwrap());
            }
        }
        let (sender, answers) = mpsc::channel();
        let ask = Ask(repeats, vec![now, now, later, later], sender);
        with_default(tracing_subscriber::registry().with(ask), || tracing::info!("ping"));
        assert_eq!(answers.iter().collect::<Vec<_>>(), [true, false, true, false]);
    }
}
