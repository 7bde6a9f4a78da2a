use proptest::prelude::*;
use redis::Value;
use tidegate_protocol::{Epoch, Offset, Position};

use super::{Began, Evidence, LATER, Place, Verdict};

/// The answer of `enter.lua`.
fn answer(head: (&str, i64), begin: i64, line: &str, old: &str, began: &str) -> Value {
    let text = |text: &str| Value::BulkString(text.into());
    let (epoch, counter) = (text(head.0), Value::Int(head.1));
    let rest = [text("alife"), text(line), text(old), text(began)];
    Value::Array([epoch, counter, Value::Int(begin)].into_iter().chain(rest).collect())
}

/// In the epoch `now00`, which has counted to 10 since `begin`.
fn place(begin: i64, line: &str) -> Place {
    Place::parse(&answer(("now00", 10), begin, line, "", "")).unwrap()
}

/// As [`place`], with a gateway of the version before.
fn old_place(begin: i64, line: &str) -> Place {
    Place::parse(&answer(("now00", 10), begin, line, "1", "")).unwrap()
}

fn epoch(name: &str) -> Epoch {
    Epoch::parse(name.as_bytes()).unwrap()
}

fn at(name: &str, offset: Offset) -> Position {
    Position { epoch: epoch(name), offset }
}

fn evidence(names: &[(&str, Offset)]) -> Evidence {
    let mut evidence = Evidence::default();
    for (name, offset) in names {
        evidence.note(at(name, *offset));
    }
    evidence
}

fn names(evidence: &Evidence) -> Vec<(&str, Offset)> {
    evidence.entries().iter().map(|(epoch, offset)| (epoch.as_str(), *offset)).collect()
}

#[test]
fn an_answer_is_read_as_the_script_gives_it() {
    let line = "first:r1:5:-1:clean secnd:r2:8:12:lossy other:-:-1:7:lossy";
    let place = Place::parse(&answer(("third", 9), 8, line, "", "lossy")).unwrap();
    assert_eq!((place.head, place.begin, place.life.as_str()), (at("third", 9), 8, "alife"));
    assert_eq!((place.began, place.began.cause()), (Began::Lossy, Some("lossy")));
    assert!(["first", "secnd", "other", "third"].iter().all(|name| place.knows(epoch(name))));
    assert!(!place.knows(epoch("never")));
    for (word, began) in [("", Began::Nothing), ("clean", Began::Clean), ("new", Began::Life)] {
        assert_eq!(Place::parse(&answer(("third", 9), 8, "", "", word)).unwrap().began, began);
    }
}

#[test]
fn an_answer_of_another_shape_is_an_error() {
    let good = answer(("now00", 1), 0, "first:r1:5:-1:clean", "", "");
    let Value::Array(parts) = &good else { unreachable!() };
    for without in 0..parts.len() {
        let mut parts = parts.clone();
        parts.remove(without);
        Place::parse(&Value::Array(parts)).unwrap_err();
    }
    for at in 0..parts.len() {
        for other in [Value::Nil, Value::Int(-1), Value::BulkString(vec![0xff])] {
            let mut parts = parts.clone();
            parts[at] = other;
            Place::parse(&Value::Array(parts)).unwrap_err();
        }
    }
    for line in ["first", "first:r:5:-1", "first:r:x:-1:clean", "UPPER:r:5:-1:clean", "long00:r:5:-1:clean"] {
        Place::parse(&answer(("now00", 1), 0, line, "", "")).unwrap_err();
    }
}

#[test]
fn a_position_goes_on_while_nothing_was_lost() {
    let place = place(8, "first:r1:5:-1:clean secnd:r2:8:-1:clean");
    for (position, verdict) in [
        (at("now00", 10), Verdict::Continues),
        (at("now00", 11), Verdict::Ahead),
        (at("secnd", 8), Verdict::Continues),
        (at("secnd", 9), Verdict::Lost(8)),
        (at("first", 5), Verdict::Continues),
        (at("first", 6), Verdict::Lost(5)),
        (at("never", 1), Verdict::Lost(10)),
    ] {
        assert_eq!(place.judge(position, 10), verdict, "{position:?}");
    }
    assert_eq!(place.judge(at("now00", 10), 9), Verdict::Ahead, "by the counter that was read");
}

#[test]
fn a_loss_ends_all_positions_before_it() {
    let place = place(9, "first:r1:5:-1:clean secnd:r2:8:12:lossy third:r3:9:-1:clean");
    for (position, verdict) in [
        (at("first", 3), Verdict::Lost(3)),
        (at("secnd", 3), Verdict::Lost(3)),
        (at("secnd", 12), Verdict::Lost(8)),
        (at("third", 9), Verdict::Continues),
    ] {
        assert_eq!(place.judge(position, 10), verdict, "{position:?}");
    }
}

#[test]
fn what_other_lines_had_goes_on_nowhere() {
    let place = place(0, "other:-:-1:7:lossy");
    assert_eq!(place.judge(at("other", 7), 10), Verdict::Lost(0));
    assert_eq!(place.judge(at("never", 7), 10), Verdict::Lost(0), "a life's first epoch has all of it");
    assert_eq!((place.has(at("other", 7)), place.has(at("never", 7))), (Some(false), None));
}

#[test]
fn a_gateway_of_the_version_before_may_have_dropped_what_was_there() {
    let place = old_place(8, "first:r1:8:-1:clean");
    assert_eq!(place.judge(at("first", 8), 10), Verdict::Lost(8));
    assert_eq!(place.judge(at("first", 3), 10), Verdict::Lost(3));
    assert_eq!(place.judge(at("now00", 9), 10), Verdict::Continues);
}

#[test]
fn an_event_is_kept_if_its_epoch_ended_behind_it() {
    let place = place(8, "first:r1:5:-1:clean secnd:r2:8:12:lossy");
    for (name, kept) in [
        (at("now00", 99), Some(true)),
        (at("secnd", 8), Some(true)),
        (at("secnd", 9), Some(false)),
        (at("first", 5), Some(true)),
        (at("first", 6), Some(false)),
        (at("never", 1), None),
    ] {
        assert_eq!(place.has(name), kept, "{name:?}");
    }
}

#[test]
fn empty_epochs_before_this_one_stand_for_its_beginning() {
    let before = |line| place(8, line).before().map(|epoch| epoch.as_str().to_owned());
    assert_eq!(before("first:r1:8:-1:clean secnd:r2:8:-1:clean").as_deref(), Some("first"));
    assert_eq!(before("first:r1:5:-1:clean secnd:r2:8:-1:clean").as_deref(), Some("secnd"));
    assert_eq!(before("first:r1:8:-1:clean secnd:r2:8:9:lossy"), None);
    assert_eq!(before(""), None);
    assert_eq!(Place::first(epoch("now00")).before(), None);
}

#[test]
fn the_highest_of_each_epoch_is_kept() {
    let evidence = evidence(&[("first", 3), ("secnd", 1), ("first", 2), ("first", 5)]);
    assert_eq!(names(&evidence), [("first", 5), ("secnd", 1)]);
}

/// A primary that has accepted it may be lost, too: what it says of the past is proven by an event
/// of its own epoch.
#[test]
fn accepted_evidence_goes_when_the_next_epoch_is_seen() {
    let mut evidence = evidence(&[("first", 8)]);
    evidence.accepted(&place(8, "first:r1:8:-1:clean"));
    assert_eq!(names(&evidence), [("first", 8)]);
    evidence.note(at("now00", 8));
    assert_eq!(names(&evidence), [("first", 8), ("now00", 8)], "it stood there when it began");
    evidence.note(at("now00", 9));
    assert_eq!(names(&evidence), [("now00", 9)]);
}

#[test]
fn evidence_beyond_an_end_stays_whatever_is_seen_later() {
    let mut evidence = evidence(&[("first", 9), ("never", 1)]);
    let place = place(8, "first:r1:8:-1:clean");
    assert!(evidence.is_beyond(&place));
    evidence.accepted(&place);
    evidence.note(at("now00", 9));
    assert_eq!(names(&evidence), [("first", 9), ("never", 1), ("now00", 9)]);
    assert!(evidence.is_beyond(&place));
}

/// The loss must not be told again by a primary that has not heard of it.
#[test]
fn after_a_loss_the_next_epoch_stands_for_all_before() {
    let mut evidence = evidence(&[("first", 5), ("secnd", 12)]);
    evidence.accepted(&place(8, "first:r1:5:-1:clean secnd:r2:8:12:lossy"));
    assert_eq!(names(&evidence), [("now00", 8)]);
    evidence.accepted(&place(8, "first:r1:5:-1:clean secnd:r2:8:12:lossy"));
    assert_eq!(names(&evidence), [("now00", 8)]);
    let later = place(9, "first:r1:5:-1:clean secnd:r2:8:12:lossy third:r3:9:-1:clean");
    let mut other = self::evidence(&[("secnd", 12)]);
    other.accepted(&later);
    assert_eq!(names(&other), [("third", 8)]);
}

/// Another life is no loss of this line: what is told of other lines stays evidence.
#[test]
fn what_was_told_at_a_life_s_beginning_stays() {
    let mut evidence = evidence(&[("other", 7)]);
    let place = place(0, "other:-:-1:7:lossy");
    assert!(!evidence.is_beyond(&place));
    evidence.accepted(&place);
    assert_eq!(names(&evidence), [("other", 7)]);
}

#[test]
fn old_evidence_goes_after_many_epochs() {
    let mut line = "first:r0:5:-1:clean".to_owned();
    let mut evidence = evidence(&[("first", 5)]);
    for number in 1..LATER {
        line += &format!(" {number:05}:r{number}:5:-1:clean");
    }
    evidence.accepted(&place(5, &line));
    assert_eq!(names(&evidence), [("first", 5)]);
    line += " 99999:r99:5:-1:clean";
    evidence.accepted(&place(5, &line));
    assert!(names(&evidence).is_empty());
    let mut beyond = self::evidence(&[("first", 6)]);
    beyond.accepted(&place(5, &line));
    assert_eq!(names(&beyond), [("first", 6)]);
}

#[test]
fn beyond_is_what_the_place_does_not_account_for() {
    let place = place(8, "first:r1:5:7:lossy secnd:r2:8:-1:clean");
    for (name, beyond) in [
        (("now00", 10), false),
        (("now00", 11), true),
        (("secnd", 8), false),
        (("secnd", 9), true),
        (("first", 7), false),
        (("first", 8), true),
        (("never", 1), true),
    ] {
        assert_eq!(evidence(&[name]).is_beyond(&place), beyond, "{name:?}");
    }
}

/// Ended epochs in the order of a line: their names are their numbers, and `now00` follows them.
fn line() -> impl Strategy<Value = (String, Offset)> {
    let ended = (0..4_u64, proptest::option::of(0..4_u64), 0..16_u8, 0..16_u8);
    proptest::collection::vec(ended, 0..32).prop_map(|all| {
        let (mut words, mut counter) = (Vec::new(), 0);
        for (number, (more, told, lossy, foreign)) in all.into_iter().enumerate() {
            // What is told of another line ends the epoch that was the current one.
            if foreign == 0 {
                words.push(format!("x{number:04}:-:-1:{more}:lossy"));
            }
            counter += more;
            let told = told.map_or(-1, |beyond| i64::try_from(counter + beyond).unwrap());
            let how = if lossy == 0 || foreign == 0 { "lossy" } else { "clean" };
            words.push(format!("{number:05}:r{number}:{counter}:{told}:{how}"));
        }
        (words.join(" "), counter)
    })
}

fn positions() -> impl Strategy<Value = Vec<Position>> {
    let name = prop_oneof![
        4 => (0..34_u8).prop_map(|n| format!("{n:05}")),
        1 => (0..34_u8).prop_map(|n| format!("x{n:04}")),
        1 => Just("now00".into()),
    ];
    let position = (name, 0..100_u64).prop_map(|(name, offset)| at(&name, offset));
    proptest::collection::vec(position, 0..12)
}

fn any_place() -> impl Strategy<Value = Place> {
    (line(), 0..9_u64, any::<bool>()).prop_map(|((line, begin), more, old)| {
        let number = |offset| i64::try_from(offset).unwrap();
        let head = ("now00", number(begin + more));
        Place::parse(&answer(head, number(begin), &line, if old { "1" } else { "" }, "")).unwrap()
    })
}

proptest! {
    /// Whatever goes on is kept, and so does all before it in its epoch.
    #[test]
    fn what_goes_on_is_kept(place in any_place(), positions in positions()) {
        for position in positions {
            let counter = place.head.offset;
            let verdict = place.judge(position, counter);
            if verdict == Verdict::Continues {
                prop_assert_eq!(place.has(position), Some(true));
                let earlier = Position { offset: position.offset / 2, ..position };
                // What is before an epoch in which an older gateway has written may be gone.
                let kept = !place.old || earlier.offset >= place.begin;
                prop_assert_eq!(place.judge(earlier, counter) == Verdict::Continues, kept);
            }
            if let Verdict::Lost(offset) = verdict {
                prop_assert!(offset <= counter, "{:?} goes on after what there is", position);
            }
        }
    }

    /// To enter with something never hides that it is beyond the primary, now or later.
    #[test]
    fn accepting_hides_no_loss(place in any_place(), positions in positions(), more in positions()) {
        let mut evidence = Evidence::default();
        positions.iter().for_each(|position| evidence.note(*position));
        let is_beyond = |(epoch, offset): &(Epoch, Offset)| {
            let alone = Evidence { seen: vec![(*epoch, *offset)], place: None };
            alone.is_beyond(&place)
        };
        let beyond: Vec<_> = evidence.entries().iter().filter(|entry| is_beyond(entry)).copied().collect();
        prop_assert_eq!(evidence.is_beyond(&place), !beyond.is_empty());
        evidence.accepted(&place);
        prop_assert_eq!(evidence.is_beyond(&place), !beyond.is_empty());
        let once = evidence.entries().to_vec();
        evidence.accepted(&place);
        prop_assert_eq!(evidence.entries(), once);
        more.iter().for_each(|position| evidence.note(*position));
        for (epoch, offset) in beyond {
            prop_assert!(evidence.entries().iter().any(|(of, top)| *of == epoch && *top >= offset));
        }
    }

    /// What comes over the wire is an answer or an error.
    #[test]
    fn any_line_is_read_or_refused(line in "[a-z0-9:. -]{0,60}", begin in any::<i64>()) {
        let read = Place::parse(&answer(("now00", 1), begin, &line, "", ""));
        if let Ok(place) = read {
            prop_assert_eq!(place.line.len(), line.split_whitespace().count());
            prop_assert!(begin >= 0);
        }
    }
}
