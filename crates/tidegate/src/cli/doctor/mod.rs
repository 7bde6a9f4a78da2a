//! `tidegate doctor`: opens streams through whatever lies between, and says in plain words what does not go through and what to change.

mod answer;
mod blocks;
mod cors;
mod delivery;
mod proxy;
mod redis;
mod report;
mod resume;
mod visit;
mod watch;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use self::report::Report;
use self::visit::Visit;

#[derive(Args, Debug)]
pub(crate) struct Doctor {
    /// The gateway as its clients reach it, with every proxy between
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: reqwest::Url,
    /// Topic to subscribe and publish to [default: one of its own, doctor:…]
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// A token or API key
    #[arg(long, visible_alias = "api-key", env = "TIDEGATE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Publish nothing: heartbeats alone tell whether the stream is live
    #[arg(long)]
    no_publish: bool,
    /// How long to watch a quiet stream for heartbeats and time-outs; 0s: not at all
    #[arg(long, value_name = "TIME", default_value = "90s", value_parser = humantime::parse_duration)]
    watch: Duration,
    /// An origin whose pages should be able to receive, such as https://app.example
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,
    /// The gateway's admin listener, such as http://127.0.0.1:8081: asks the gateway how its Redis is
    #[arg(long, value_name = "URL")]
    admin: Option<reqwest::Url>,
    /// Print one JSON object at the end
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Doctor) -> anyhow::Result<ExitCode> {
    let mut shown = args.url.clone();
    // It fails only where a URL can have none.
    let _ = shown.set_password(None);
    let mut report = Report::new(shown.as_str(), args.json);
    let visit = Visit::new(&args)?;
    examine(&visit, &args, &mut report).await;
    Ok(if report.finish()? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// From the outside in; what needs a stream is left out where none comes.
async fn examine(visit: &Visit, args: &Doctor, report: &mut Report) {
    if let Some(admin) = &args.admin {
        redis::check(visit, admin, report).await;
    }
    let stream = answer::check(visit, report).await;
    if let Some(origin) = &args.origin {
        cors::check(visit, origin, report).await;
    }
    let Some((live, ready)) = stream else { return };
    let sent = if args.no_publish {
        report.note("delivery", "nothing was published, as you asked");
        None
    } else {
        delivery::check(visit, live, report).await
    };
    resume::check(visit, &ready, sent.as_ref(), report).await;
    resume::nodes(visit, &ready, report).await;
    if !args.watch.is_zero() {
        watch::check(visit, args.watch, report).await;
    }
}
