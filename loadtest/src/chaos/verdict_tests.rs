use super::*;
use crate::profile::Via;

/// One source, five events, 100 apart; one client; Redis loses its data between the third and the fourth, and is back before that.
struct Case {
    clients: Vec<Client>,
    seen: Vec<Seen>,
    sent: Vec<Vec<Sent>>,
    happened: Vec<Happened>,
}

const WIPE: Happened = Happened { fault: Fault::WipeRedis, from: 350, mended: 390 };
const KILL: Happened = Happened { fault: Fault::Kill, from: 250, mended: 390 };

impl Case {
    fn new(happened: &[Happened], came: &[u32]) -> Self {
        let heard = Heard { topic: "t".to_owned(), source: 0, own: false };
        let client = Client {
            name: "client".to_owned(),
            via: Via::Sse,
            places: Vec::new(),
            topics: vec![heard],
            token: String::new(),
            watchdog: None,
            stalls: false,
        };
        let mut seen = client.seen();
        for (at, number) in (500..).zip(came) {
            seen.saw(0, 0, *number, at);
        }
        let sent = (1..=5).map(|at| Sent { first: at * 100, taken: Some(at * 100 + 10) }).collect();
        Self { clients: vec![client], seen: vec![seen], sent: vec![sent], happened: happened.to_vec() }
    }

    fn told(mut self, at: u64, topic: &str) -> Self {
        let topics = Some(vec![topic.to_owned()]);
        self.seen[0].resets.push(Reset { at, topics, reason: "epoch".to_owned() });
        self
    }

    fn verdict(&self) -> Verdict {
        let Self { clients, seen, sent, happened } = self;
        Verdict::of(&Evidence { sent, clients, seen, happened })
    }
}

#[test]
fn all_that_came_in_order_is_well() {
    let verdict = Case::new(&[KILL], &[0, 1, 2, 3, 4]).verdict();
    assert_eq!((verdict.expected, verdict.received, &verdict.first), (5, 5, &None));
    let events: Vec<u64> = verdict.windows.iter().map(|window| window.events).collect();
    assert_eq!(events, [2, 3]);
    assert_eq!(verdict.windows[1].worst, 202);
}

#[test]
fn what_is_missing_twice_or_late_is_the_last_faults() {
    let verdict = Case::new(&[KILL], &[0, 2, 2, 4, 3]).verdict();
    let Window { lost, doubled, reordered, .. } = verdict.windows[1];
    assert_eq!((verdict.windows[0].lost, lost, doubled, reordered), (1, 0, 1, 1));
    let (client, at, what) = verdict.first.unwrap_or_default();
    assert_eq!((client, at), (0, 200));
    assert!(what.starts_with("t #1 never came"), "{what}");
    // The end of a stream has no later event that would show the hole.
    assert_eq!(Case::new(&[KILL], &[0, 1, 2]).verdict().windows[1].lost, 2);
}

#[test]
fn what_went_with_the_data_must_be_told() {
    let silent = Case::new(&[WIPE], &[0, 1, 4]).verdict();
    assert_eq!((silent.sum(|window| window.lost), silent.untold.len()), (2, 1));
    let told = Case::new(&[WIPE], &[0, 1, 4]).told(420, "t").verdict();
    assert_eq!((told.sum(|window| window.lost), told.sum(|window| window.told), told.expected), (0, 2, 3));
    assert_eq!((told.untold.len(), told.first), (0, None));
    let other = Case::new(&[WIPE], &[0, 1, 4]).told(420, "another").verdict();
    assert_eq!((other.sum(|window| window.lost), other.untold.len()), (2, 1));
}

#[test]
fn a_reset_excuses_nothing_that_came_after_it_nor_without_a_loss() {
    let later = Case::new(&[WIPE], &[0, 1, 2, 3]).told(420, "t").verdict();
    assert_eq!(later.sum(|window| window.lost), 1);
    let groundless = Case::new(&[KILL], &[0, 1, 4]).told(420, "t").verdict();
    assert_eq!((groundless.sum(|window| window.lost), groundless.groundless), (2, 1));
    let early = Case::new(&[WIPE], &[0, 1, 2, 3, 4]).told(340, "t").verdict();
    assert_eq!((early.groundless, early.untold.len()), (1, 1));
}

#[test]
fn only_a_publish_under_way_may_come_again_with_the_data_lost() {
    let mut case = Case::new(&[WIPE], &[0, 1, 2, 2, 3, 3, 4]).told(420, "t");
    assert_eq!(case.verdict().sum(|window| window.doubled), 2);
    case.sent[0][2].taken = Some(395);
    let verdict = case.verdict();
    assert_eq!((verdict.sum(|window| window.doubled), verdict.sum(|window| window.forgotten)), (1, 1));
}

#[test]
fn what_was_there_long_before_the_loss_is_excused_only_to_those_who_were_away() {
    let wipe = Happened { fault: Fault::WipeRedis, from: 5_000_000, mended: 5_100_000 };
    let mut case = Case::new(&[wipe], &[0, 2, 3, 4]).told(5_200_000, "t");
    assert_eq!(case.verdict().sum(|window| window.lost), 1, "it was there all the time");
    (case.seen[0].hits, case.seen[0].returns) = (vec![120], vec![190]);
    assert_eq!(case.verdict().sum(|window| window.lost), 1, "it was back before the event");
    case.seen[0].returns = vec![260];
    assert_eq!(case.verdict().sum(|window| window.told), 1);
}
