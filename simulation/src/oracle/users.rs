//! Memberships, disconnects and deletions: what was acknowledged about a user holds on every node.

use std::time::Duration;

use tidegate_protocol::Topic;
use tokio::time::Instant;

use super::{Act, Deed, Failure, Got, Log, Sent};
use crate::world::World;

/// How long a node that missed something about a user may need to notice, once its connection is
/// there.
const NOTICED: Duration = Duration::from_secs(15);

/// Whether the user was a member from before the event until a stream that must bring it had begun.
/// The first stream after the event may end before the event arrives.
pub(super) fn entitled(log: &Log, user: usize, sent: &Sent, strict: bool) -> bool {
    let Some(done) = sent.done else { return false };
    let mut opened = log.got(user).iter().filter(|(at, got)| *at > done && matches!(got, Got::Ready));
    let until = opened.nth(1).map_or_else(Instant::now, |(at, _)| *at);
    let mine = |deed: &&Deed| deed.user == user;
    let joined = log.deeds.iter().filter(mine).filter(|deed| deed.act == Act::Join(sent.topic.clone()));
    // A call that failed may have worked, but a removal that may have worked counts as one.
    let Some(since) = joined.filter_map(|deed| deed.done).filter(|at| *at <= sent.begun).max() else {
        return false;
    };
    // A node that was away when the membership came hears of it later, and brings what comes from
    // then on.
    let opened_since =
        |(at, got): &(Instant, Got)| *at > since && *at < sent.begun && matches!(got, Got::Ready);
    if !strict && !log.got(user).iter().any(opened_since) {
        return false;
    }
    let left = log.deeds.iter().filter(mine).filter(|deed| deed.act == Act::Leave(sent.topic.clone()));
    let mut overlapping = left.filter(|deed| deed.begun < until && deed.done.is_none_or(|at| at > since));
    overlapping.next().is_none()
}

pub(super) fn judge(world: &World, log: &Log, user: usize) -> Vec<Failure> {
    let mut failures = Vec::new();
    if !world.plan.keeps_all() {
        return failures;
    }
    // From then on every node has had the time to hear of everything.
    let Some(quiet) = world.quiet_since() else { return failures };
    let noticed = |at: Instant| at.max(quiet) + NOTICED;
    let (mut open, mut streams) = (None, Vec::new());
    for (at, got) in log.got(user) {
        match got {
            Got::Ready => open = Some(*at),
            Got::Left => streams.extend(open.take().map(|from| (from, *at))),
            Got::Event { number } => {
                let sent = &log.sent[*number];
                if sent.begun > noticed(quiet) && left_for_good(log, user, &sent.topic, sent.begun) {
                    let words = format!("user {user} got event {number} on {} after leaving it", sent.topic);
                    failures.push(Failure::new("NOT ENTITLED", words));
                }
            }
            _ => {}
        }
    }
    streams.extend(open.map(|from| (from, Instant::now())));
    let disconnects = log.deeds.iter().filter(|deed| deed.user == user && deed.act == Act::Disconnect);
    for deed in disconnects {
        let Some(done) = deed.done else { continue };
        for (from, to) in &streams {
            if *from < deed.begun && *to > noticed(done) {
                let words = format!(
                    "user {user}'s stream from {:.3} outlived the disconnect of {:.3}",
                    world.seconds(*from),
                    world.seconds(done)
                );
                failures.push(Failure::new("NOT DISCONNECTED", words));
            }
        }
    }
    failures
}

/// The last word about the membership was an acknowledged removal, well before.
fn left_for_good(log: &Log, user: usize, topic: &Topic, at: Instant) -> bool {
    let about = |deed: &&Deed| {
        deed.user == user && (deed.act == Act::Join(topic.clone()) || deed.act == Act::Leave(topic.clone()))
    };
    let last = log.deeds.iter().filter(about).max_by_key(|deed| deed.begun);
    last.is_some_and(|deed| {
        matches!(deed.act, Act::Leave(_)) && deed.done.is_some_and(|done| done + NOTICED < at)
    }) && !log.deeds.iter().filter(about).any(|deed| deed.done.is_none())
}
