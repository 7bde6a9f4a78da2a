//! What the gateway itself says of its Redis, on its admin listener.

use reqwest::{StatusCode, Url};
use serde::Deserialize;

use super::report::Report;
use super::visit::{Failed, Visit, send};

/// The admin listener's `/readyz`.
#[derive(Deserialize)]
struct Ready {
    detail: String,
    #[serde(default)]
    degraded: Vec<Degraded>,
    eviction: Option<String>,
}

#[derive(Deserialize)]
struct Degraded {
    partition: u8,
    detail: String,
}

pub(super) async fn check(visit: &Visit, admin: &Url, report: &mut Report) {
    let mut url = admin.clone();
    url.set_path(&format!("{}/readyz", admin.path().trim_end_matches('/')));
    let advice = || vec!["give the address of admin_listen (8081), from where it can be reached".to_owned()];
    let answer = match send(visit.bare(url)).await {
        Ok(answer) => answer,
        Err(failed) => {
            let why = match failed {
                Failed::Error(error) => crate::client::chain(&error.without_url()),
                Failed::Silent => "nothing came".into(),
            };
            return report.problem("redis", format!("no answer from the admin listener: {why}"), advice());
        }
    };
    let status = answer.status();
    let Ok(ready) = answer.json::<Ready>().await else {
        let said = format!("{status}, and not in the words of a gateway's admin listener");
        return report.problem("redis", said, advice());
    };
    let see = || vec!["see docs/operations.md, \"When Redis restarts, fails over or falls back\"".to_owned()];
    if status == StatusCode::OK {
        report.ok("redis", format!("the gateway is ready: {}", ready.detail));
    } else {
        report.problem("redis", format!("the gateway is not ready: {}", ready.detail), see());
    }
    for Degraded { partition, detail } in ready.degraded {
        report.problem("redis", format!("partition {partition} does not work: {detail}"), see());
    }
    if let Some(words) = ready.eviction {
        let advice = "CONFIG SET maxmemory-policy noeviction, and the same in Redis' configuration";
        report.problem("eviction", words, vec![advice.into()]);
    }
}
