//! The stories. Each is told by one client or a few, of any way to receive.

mod delivery;
mod draining;
mod endings;
mod faults;
mod gaps;
mod limits;
mod quiet;
mod resuming;
mod slow;
mod topics;

use std::ops::Range;

/// `0..count` as the data of events.
fn numbers(range: Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

/// Whether `data` is what was published of `0..count` to `of` topics in turn: that of some of the topics, each in order and everything once.
/// Topics of one partition share one order.
#[track_caller]
fn assert_whole(data: &[String], count: usize, topics: Range<usize>, of: usize) {
    let data: Vec<usize> = data.iter().map(|text| text.parse().unwrap()).collect();
    let expected = |topic: usize| (0..count).filter(move |n| n % of == topic);
    for topic in topics.clone() {
        let own: Vec<usize> = data.iter().copied().filter(|n| n % of == topic).collect();
        assert_eq!(own, expected(topic).collect::<Vec<_>>(), "lost, doubled or out of order");
    }
    assert_eq!(data.len(), topics.map(|topic| expected(topic).count()).sum::<usize>(), "others' events");
}
