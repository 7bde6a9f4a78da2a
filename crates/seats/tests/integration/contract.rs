//! What seats promise, whatever store keeps them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tidegate_seats::model::Act::{Hold, Release, Reserve};
use tidegate_seats::model::Status::{self, Available, Held, Reserved};
use tidegate_seats::model::{Change, Reason, Seat, Sight};
use tidegate_seats::store;
use tidegate_seats::{Error, Options, Place, Schedule};
use tidegate_testkit::eventually;
use tokio::task::JoinSet;

use crate::house::{House, Kind, place, quick, schedule, slow};
use crate::stalled::Stalled;

/// A test of each promise for each store.
macro_rules! suite {
    ($($test:ident),* $(,)?) => {
        mod memory { $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() { super::$test(super::Kind::Memory).await; }
        )* }
        mod redis { $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() { super::$test(super::Kind::Redis).await; }
        )* }
    };
}

suite! {
    an_untouched_schedule_has_all_its_seats,
    hold_reserve_and_release,
    one_user_holds_no_more_than_one_may,
    many_ask_for_one_seat_and_one_gets_it,
    one_user_asks_for_all_at_once,
    a_hold_ends_by_itself,
    who_comes_after_the_end_need_not_wait_for_anybody,
    nothing_is_written_on_what_is_no_longer_so,
    an_outbox_is_emptied_from_its_head,
    an_outbox_has_an_end,
    what_a_dead_node_left_is_announced,
    a_node_that_stood_still_sends_nothing_old,
    schedules_have_a_bound,
    schedules_age,
}

fn reserved(by: &str) -> Status {
    Reserved { by: by.into() }
}

async fn an_untouched_schedule_has_all_its_seats(kind: Kind) {
    let house = House::open(kind, &slow()).await;
    let seats = house.nodes[0].all(&schedule()).await.unwrap();
    assert_eq!(seats.len(), 50);
    assert!((1..).zip(&seats).all(|(number, seat)| *seat == Seat { number, status: Available }));
    house.act(0, 50, "ann", Hold).await.unwrap();
    let other = Schedule::parse("공연:2").unwrap();
    assert_eq!(house.nodes[0].all(&other).await.unwrap(), seats, "schedules don't share seats");
}

async fn hold_reserve_and_release(kind: Kind) {
    let house = House::open(kind, &slow()).await;
    let seat = house.act(0, 7, "ann", Hold).await.unwrap();
    let held = seat.status.clone();
    assert!(matches!(&held, Held { by, .. } if by == "ann"), "{seat:?}");
    assert_eq!(house.status(7).await, held);
    for act in [Hold, Release, Reserve] {
        assert_eq!(house.act(1, 7, "bob", act).await, Err((Reason::Taken, held.clone())));
    }
    assert_eq!(house.act(1, 8, "bob", Reserve).await, Err((Reason::NotHeld, Available)));
    assert_eq!(house.act(1, 8, "bob", Release).await.unwrap().status, Available);

    assert_eq!(house.act(1, 7, "ann", Release).await.unwrap().status, Available);
    assert!(house.act(1, 7, "bob", Hold).await.is_ok());
    assert_eq!(house.act(0, 7, "bob", Reserve).await.unwrap().status, reserved("bob"));
    assert_eq!(house.act(1, 7, "bob", Reserve).await.unwrap().status, reserved("bob"), "asked twice");
    for (user, act) in [("ann", Hold), ("ann", Reserve), ("ann", Release), ("bob", Hold), ("bob", Release)] {
        assert_eq!(house.act(0, 7, user, act).await, Err((Reason::Taken, reserved("bob"))));
    }
    assert_eq!(house.status(7).await, reserved("bob"));
    let told: Vec<_> = house.announced().await.iter().map(|change| change.seat.status.clone()).collect();
    assert!(
        matches!(&told[..], [Held { .. }, Available, Held { .. }, Reserved { .. }]),
        "changes, and only they, are announced: {told:?}"
    );
}

async fn one_user_holds_no_more_than_one_may(kind: Kind) {
    let house = House::open(kind, &Options { user_holds: 2, ..slow() }).await;
    house.act(0, 1, "ann", Hold).await.unwrap();
    house.act(1, 2, "ann", Hold).await.unwrap();
    let enough = Err((Reason::Enough(2), Available));
    assert_eq!(house.act(0, 3, "ann", Hold).await, enough);
    house.act(0, 2, "ann", Hold).await.expect("what one has can be held on to");
    house.act(0, 3, "bob", Hold).await.expect("others may");
    house.act(0, 1, "ann", Release).await.unwrap();
    house.act(0, 4, "ann", Hold).await.unwrap();
    assert_eq!(house.act(0, 5, "ann", Hold).await, enough);
    house.act(0, 2, "ann", Reserve).await.unwrap();
    house.act(0, 5, "ann", Hold).await.expect("what is reserved is held no longer");
}

async fn many_ask_for_one_seat_and_one_gets_it(kind: Kind) {
    let house = Arc::new(House::open(kind, &slow()).await);
    let mut users = JoinSet::new();
    for n in 0..50 {
        let house = Arc::clone(&house);
        users.spawn(async move { house.act(n % 2, 7, &format!("u{n}"), Hold).await });
    }
    let results = users.join_all().await;
    let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    let [Ok(seat)] = &won[..] else { panic!("one wins: {won:?}") };
    let refused = Err((Reason::Taken, seat.status.clone()));
    assert!(lost.iter().all(|lost| *lost == refused), "the others are told who has it: {lost:?}");
    assert_eq!(house.announced().await.len(), 1);
}

async fn one_user_asks_for_all_at_once(kind: Kind) {
    let house = Arc::new(House::open(kind, &slow()).await);
    let mut asked = JoinSet::new();
    for number in 1..=50 {
        let house = Arc::clone(&house);
        asked.spawn(async move { house.act(number as usize % 2, number, "ann", Hold).await });
    }
    let got = asked.join_all().await.into_iter().filter(Result::is_ok).count();
    assert_eq!(got, 10);
    let seats = house.nodes[0].all(&schedule()).await.unwrap();
    assert_eq!(seats.iter().filter(|seat| seat.status != Available).count(), 10);
}

async fn a_hold_ends_by_itself(kind: Kind) {
    let house = House::open(kind, &quick()).await;
    for number in 1..=3 {
        house.act(0, number, "ann", Hold).await.unwrap();
    }
    house.act(0, 2, "ann", Reserve).await.unwrap();
    for number in [1, 3] {
        house.said(number, &Available).await;
        assert_eq!(house.status(number).await, Available);
    }
    assert_eq!(house.status(2).await, reserved("ann"));
    let told = house.announced().await;
    let times: Vec<_> = told.iter().map(|change| change.timestamp).collect();
    assert_eq!(told.len(), 6, "each end is announced once: {told:?}");
    assert!(times.is_sorted());
}

async fn who_comes_after_the_end_need_not_wait_for_anybody(kind: Kind) {
    // Nobody sweeps.
    let options = Options { sweep: Duration::from_secs(3600), user_holds: 1, ..quick() };
    let house = House::open(kind, &options).await;
    house.act(0, 1, "ann", Hold).await.unwrap();
    eventually("the hold is over", async || (house.status(1).await == Available).then_some(())).await;
    assert_eq!(house.act(0, 1, "ann", Reserve).await, Err((Reason::NotHeld, Available)));
    house.act(0, 2, "ann", Hold).await.expect("what is over does not count");
    house.act(1, 1, "bob", Hold).await.expect("what is over does not bar");
    let told: Vec<_> = house.announced().await.iter().map(|change| change.seat.number).collect();
    assert_eq!(told, [1, 2, 1]);
}

async fn nothing_is_written_on_what_is_no_longer_so(kind: Kind) {
    let house = House::open(kind, &slow()).await;
    let store = &house.store;
    let look = async |number, user| store.look(&place(number), user).await.unwrap();
    let write = async |number, user: &str, sight: &Sight| {
        let seat = Seat { number, status: Held { by: user.into(), until: sight.now + 60_000 } };
        let change = Change { seat, timestamp: sight.now };
        store.write(&place(number), user, sight, &change).await.unwrap()
    };
    let [one, two, bobs] = [look(1, "ann").await, look(2, "ann").await, look(1, "bob").await];
    let first = write(1, "ann", &one).await.expect("as it was");
    assert_eq!(write(1, "bob", &bobs).await, None, "the seat was changed");
    assert_eq!(write(2, "ann", &two).await, None, "the user holds one more");
    let seen = look(1, "ann").await;
    assert_eq!((seen.version, seen.holds), (first, 1));
    let second = write(1, "ann", &seen).await.expect("as it was");
    assert!(second > first);
    assert_eq!(write(1, "ann", &seen).await, None, "not twice");
}

async fn an_outbox_is_emptied_from_its_head(kind: Kind) {
    let house = House::open(kind, &Options { sweep: Duration::from_secs(3600), ..slow() }).await;
    let (store, schedule) = (&house.store, schedule());
    let mut versions = Vec::new();
    for number in 1..=3 {
        let sight = store.look(&place(number), "ann").await.unwrap();
        let change = Change { seat: Seat { number, status: reserved("ann") }, timestamp: sight.now };
        versions.push(store.write(&place(number), "ann", &sight, &change).await.unwrap().unwrap());
    }
    let next = async |announced| {
        let next = store.next(&schedule, announced).await.unwrap()?;
        let change: Change = serde_json::from_str(&next.1).unwrap();
        Some((next.0, change.seat.number))
    };
    let waiting = store.chores(10).await.unwrap().waiting;
    assert_eq!(waiting, std::slice::from_ref(&schedule));
    for _ in 0..2 {
        assert_eq!(next(0).await, Some((versions[0], 1)), "looking takes nothing out");
    }
    assert_eq!(next(versions[1]).await, Some((versions[2], 3)));
    assert_eq!(next(versions[0]).await, Some((versions[2], 3)), "who is late takes nothing out");
    assert_eq!(next(versions[2]).await, None);
    assert_eq!(store.chores(10).await.unwrap().waiting, []);
}

async fn an_outbox_has_an_end(kind: Kind) {
    let house = House::open(kind, &Options { sweep: Duration::from_secs(3600), ..slow() }).await;
    let write = async || {
        let sight = house.store.look(&place(1), "ann").await.unwrap();
        let change = Change { seat: Seat { number: 1, status: reserved("ann") }, timestamp: sight.now };
        house.store.write(&place(1), "ann", &sight, &change).await
    };
    let mut last = write().await.unwrap().unwrap();
    let full = last + 9_999;
    if let Some(redis) = &house.redis {
        // The same in one go.
        let more =
            "for n = 2, 10000 do redis.call('RPUSH', KEYS[1], redis.call('INCR', KEYS[2]) .. ' {}') end";
        redis.cli(&["EVAL", more, "2", "tg:{seats}:o:공연:1", "tg:{seats}:version"]).await;
        last = full;
    }
    while last < full {
        last = write().await.unwrap().unwrap();
    }
    assert!(write().await.unwrap_err().to_string().contains("too many changes"));
    assert!(house.store.next(&schedule(), last - 1).await.unwrap().is_some());
    assert!(write().await.unwrap().is_some(), "as soon as one is announced");
}

async fn what_a_dead_node_left_is_announced(kind: Kind) {
    let house = House::open(kind, &Options { sweep: Duration::from_millis(20), ..slow() }).await;
    let mut expected = BTreeSet::new();
    for number in 1..=50 {
        // It writes, and dies before it announces.
        let sight = house.store.look(&place(number), "ann").await.unwrap();
        let change = Change { seat: Seat { number, status: reserved("ann") }, timestamp: sight.now };
        house.store.write(&place(number), "ann", &sight, &change).await.unwrap().unwrap();
        expected.insert(number);
    }
    house.said(50, &reserved("ann")).await;
    let told: Vec<_> = house.announced().await.iter().map(|change| change.seat.number).collect();
    assert_eq!(told, expected.into_iter().collect::<Vec<_>>(), "by two nodes, once and in order");
}

/// Between reading the outbox and publishing, for longer than any idempotency key is known.
async fn a_node_that_stood_still_sends_nothing_old(kind: Kind) {
    let mut options = Options { sweep: Duration::from_secs(3600), ..slow() };
    options.retention.key_ttl = Duration::ZERO;
    let stalled = Stalled::default();
    let house = Arc::new(House::with(kind, &options, |store| stalled.around(store)).await);
    let first = tokio::spawn({
        let house = Arc::clone(&house);
        async move { house.act(0, 7, "ann", Hold).await }
    });
    stalled.reached().await;
    // Another node carries that change and a newer one.
    house.act(1, 7, "ann", Reserve).await.unwrap();
    stalled.go_on();
    first.await.unwrap().unwrap();
    let told: Vec<_> = house.announced().await.into_iter().map(|change| change.seat.status).collect();
    assert!(matches!(&told[..], [Held { .. }, Reserved { .. }]), "{told:?}");
}

async fn hold(house: &House, schedule: &str, number: u32) -> Result<(), store::Error> {
    let place = Place { schedule: Schedule::parse(schedule).unwrap(), number };
    match house.nodes[0].act(&place, "ann", Hold).await {
        Ok(_) => Ok(()),
        Err(Error::Store(error)) => Err(error),
        Err(Error::Refused(refusal)) => panic!("{refusal}"),
    }
}

async fn schedules_have_a_bound(kind: Kind) {
    let house = House::open(kind, &Options { schedules: 2, ..slow() }).await;
    for schedule in ["a", "b"] {
        hold(&house, schedule, 1).await.unwrap();
    }
    assert_eq!(hold(&house, "c", 1).await, Err(store::Error::Schedules));
    hold(&house, "a", 2).await.expect("a schedule that is there goes on");
    let first = Place { schedule: Schedule::parse("b").unwrap(), number: 1 };
    house.nodes[1].act(&first, "ann", Release).await.unwrap();
    hold(&house, "c", 1).await.expect("a schedule without holds takes no place");
    assert_eq!(hold(&house, "b", 1).await, Err(store::Error::Schedules));
}

async fn schedules_age(kind: Kind) {
    let (hold_for, keep) = (Duration::from_millis(50), Duration::from_millis(100));
    let house = House::open(kind, &Options { schedules: 1, hold: hold_for, keep, ..slow() }).await;
    hold(&house, "a", 1).await.unwrap();
    let first = Place { schedule: Schedule::parse("a").unwrap(), number: 1 };
    let reserved = house.nodes[0].act(&first, "ann", Reserve).await;
    assert!(reserved.is_ok() || hold(&house, "a", 1).await.is_ok(), "{reserved:?}");
    eventually("the first is forgotten", async || hold(&house, "b", 1).await.ok()).await;
}
