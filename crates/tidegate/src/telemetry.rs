//! Logs: lines for a person or JSON for a machine, on standard error; and what is counted of them
//! and of panics.
//!
//! Nothing but the log's own thread writes to standard error. A reader that is slow, stops or goes
//! away costs lines, which are counted, and nothing else.

mod queue;
mod repeats;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{IsTerminal as _, Write as _, stderr};
use std::panic::PanicHookInfo;
use std::sync::mpsc;
use std::time::Duration;

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use tidegate_tasks::Tasks;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

use self::queue::Queue;
use self::repeats::Repeats;
use crate::config::{Log, LogFormat};

/// What the log says of itself.
const OWN: &str = "tidegate::log";

/// Why the process fails.
const LAST: &str = "tidegate::last_word";

/// The longest that the end of the process waits for its last lines: enough for a pipe that is
/// read, and no reason to kill it.
const GOODBYE: Duration = Duration::from_millis(500);

/// The log of this process.
pub(crate) struct Telemetry {
    queue: Queue,
    format: LogFormat,
    dropped: IntCounterVec,
    panics: IntCounter,
}

impl Telemetry {
    /// Starts logging. To be called once; the filter has been checked with the configuration.
    pub(crate) fn start(log: &Log, tasks: &Tasks) -> anyhow::Result<Self> {
        let dropped = IntCounterVec::new(
            Opts::new("tidegate_log_lines_dropped_total", "Log lines that were not written, by reason"),
            &["reason"],
        )?;
        let panics = IntCounter::new("tidegate_panics_total", "Panics, in whatever task or thread")?;
        let repeats = Repeats::new(dropped.with_label_values(&["repeated"]));
        let (queue, writer) = queue::queue(repeats.clone(), &dropped);
        subscribe(log, &queue, repeats);
        tasks.thread("log writer", move || writer.run(stderr()))?;
        let count = panics.clone();
        std::panic::set_hook(Box::new(move |panic| {
            count.inc();
            report(panic);
        }));
        Ok(Self { queue, format: log.format, dropped, panics })
    }

    /// Adds what it counts.
    pub(crate) fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.dropped.clone()))?;
        registry.register(Box::new(self.panics.clone()))
    }

    /// Says why the process fails, and waits a moment for that and all before it to be written.
    pub(crate) fn last_word(&self, error: &anyhow::Error) {
        let text = format!("tidegate: {error:#}\n");
        // First what the log has left out: nothing comes behind the last word.
        self.queue.flush(GOODBYE / 2);
        match self.format {
            LogFormat::Human => self.queue.end(text.as_bytes()),
            LogFormat::Json => tracing::error!(target: LAST, "{error:#}"),
        }
        if !self.queue.flush(GOODBYE / 2) {
            // The log's own thread is what has failed.
            say_aside(text);
        }
    }

    /// Waits a moment for what was logged to be written.
    pub(crate) fn finish(&self) {
        self.queue.flush(GOODBYE);
    }
}

fn subscribe(log: &Log, queue: &Queue, repeats: Repeats) {
    let filter = EnvFilter::try_new(&log.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    // At `trace` it writes down every message: what clients say and hear is nobody's business.
    let filter = match "tungstenite=debug".parse() {
        Ok(quiet) => filter.add_directive(quiet),
        Err(_) => filter,
    };
    // It would complain to standard error, and panic where that is closed.
    let lines = fmt::layer().with_writer(queue.clone()).log_internal_errors(false);
    let lines = match log.format {
        LogFormat::Human => lines.with_ansi(stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.with_ansi(false).json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(lines).with(repeats).with(filter).init();
}

/// In place of the usual hook, which writes to standard error itself and waits for its reader.
fn report(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("unknown");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or_default();
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        tracing::error!(cause = text, place, thread, %trace, "a panic: please report this");
    } else {
        tracing::error!(cause = text, place, thread, "a panic: please report this");
    }
}

/// Writes without the queue, for as long as the end of the process may wait.
fn say_aside(text: String) {
    let (done, said) = mpsc::channel();
    // Short-lived: the process ends with it.
    std::thread::spawn(move || {
        let _ = stderr().write_all(text.as_bytes());
        let _ = done.send(());
    });
    let _ = said.recv_timeout(GOODBYE);
}
