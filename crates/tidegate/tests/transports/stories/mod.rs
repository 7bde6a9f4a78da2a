//! The stories. Each is told by one client or a few, of any way to receive.

mod delivery;
mod endings;
mod faults;
mod gaps;
mod resuming;
mod slow;
mod topics;

/// `0..count` as the data of events.
fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

/// Whether `data` is `0, 1, 2, …`, published to so many topics in turn, each topic in order and everything once. Topics of one partition
/// share one order.
#[track_caller]
fn assert_whole(data: &[String], count: usize, orders: usize) {
    let data: Vec<usize> = data.iter().map(|text| text.parse().unwrap()).collect();
    for order in 0..orders {
        let own: Vec<usize> = data.iter().copied().filter(|n| n % orders == order).collect();
        let expected: Vec<usize> = (0..count).filter(|n| n % orders == order).collect();
        assert_eq!(own, expected, "lost, doubled or out of order");
    }
    assert_eq!(data.len(), count);
}
