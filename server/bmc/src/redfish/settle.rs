//! In which order entries happened, which of them are new, and which two logs tell of the same event.
//!
//! A list is believed in its order, which is that of the ids either way round: ids begin anew when a counter runs over, and
//! the list goes on. Only where the order makes no sense as either (some sort ids as words) are the entries sorted by id,
//! or by time where ids are no numbers.

use super::entry::Read;
use super::pages::Member;
use crate::{Log, LogEntry, LogMark, LogTime, Since};
use std::cmp::Ordering;
use std::collections::HashMap;

/// How two entries follow each other by their ids, or by their times; `None` where neither says.
pub fn rises(a: &Member, b: &Member) -> Option<Ordering> {
    let by_id = number(&a.id).zip(number(&b.id)).map(|(a, b)| a.cmp(&b));
    by_id.or_else(|| created(a).zip(created(b)).map(|(a, b)| a.cmp(b)))
}

/// An id that counts: digits, perhaps behind a word, perhaps in groups (`7`, `Lc_7`, `1650000000_2`). Of others (a UUID)
/// the order means nothing.
fn number(id: &str) -> Option<Vec<u64>> {
    let digits = id.trim_start_matches(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '-' | '.'));
    digits.split(['_', '-', '.']).map(|group| group.parse().ok()).collect()
}

/// ISO times in one zone sort as texts.
fn created(member: &Member) -> Option<&str> {
    member.body.as_ref()?.get("Created")?.as_str()
}

/// Oldest first.
pub fn order(mut members: Vec<Member>) -> Vec<Member> {
    let breaks = |members: &[Member], order: Ordering| {
        members.windows(2).filter(|pair| matches!(pair, [a, b] if rises(a, b) == Some(order))).count()
    };
    let (ups, downs) = (breaks(&members, Ordering::Less), breaks(&members, Ordering::Greater));
    if downs > ups {
        members.reverse();
    }
    // One break is a counter that ran over.
    if ups.min(downs) > 1 {
        match members.iter().map(|one| number(&one.id)).collect::<Option<Vec<_>>>() {
            Some(_) => members.sort_by_cached_key(|one| number(&one.id)),
            None if members.iter().all(|one| created(one).is_some()) => {
                members.sort_by_cached_key(|one| created(one).map(str::to_string));
            }
            None => {}
        }
    }
    members
}

/// What the mark's print says besides: up to when changed entries were told.
const CHANGED: &str = " changed ";

/// What is new in a log since the mark.
#[derive(Clone, Debug, PartialEq)]
pub struct News {
    pub entries: Vec<LogEntry>,
    pub since: Since,
    pub mark: Option<LogMark>,
}

/// `entries` are oldest first, back to the mark at least if that is still there.
pub fn news(log: &str, entries: &[Read], mark: Option<&LogMark>) -> News {
    let (print, told) = match mark {
        Some(mark) => parts(&mark.print),
        None => ("", None),
    };
    let changed = entries.iter().filter_map(|one| one.changed).max().max(told);
    let is_marked =
        |one: &Read| mark.is_some_and(|mark| one.entry.id == mark.id && (mark.print.is_empty() || one.print == print));
    let at = entries.iter().rposition(is_marked);
    let since = match (mark, at) {
        (None, _) => Since::Beginning,
        (Some(_), Some(_)) => Since::Mark,
        (Some(_), None) => Since::Broken,
    };
    let first = at.map_or(0, |at| at + 1);
    // Without a time up to which changes were told, none is told again.
    let again = |one: &Read| told.is_some_and(|told| one.changed.is_some_and(|at| at > told));
    let new = entries.iter().enumerate().filter(|(place, one)| *place >= first || again(one));
    let new_mark = entries.last().map(|last| LogMark {
        log: log.to_string(),
        id: last.entry.id.clone(),
        print: match changed {
            Some(at) => format!("{}{CHANGED}{at}", last.print),
            None => last.print.clone(),
        },
    });
    News {
        entries: new.map(|(_, one)| one.entry.clone()).collect(),
        since,
        mark: new_mark.or_else(|| mark.filter(|_| since == Since::Mark).cloned()),
    }
}

fn parts(print: &str) -> (&str, Option<u32>) {
    match print.rsplit_once(CHANGED) {
        Some((print, at)) if at.parse::<u32>().is_ok() => (print, at.parse().ok()),
        _ => (print, None),
    }
}

/// What makes two entries of two logs one event: the same words at the same time, or under the same id where no time is
/// told. Names of messages differ only where both are told.
type Event = (LogTime, String, String);

fn event(entry: &LogEntry) -> Event {
    let id = if entry.time == LogTime::Untold { entry.id.clone() } else { String::new() };
    (entry.time, id, entry.message.clone())
}

/// Takes out of each log what one before it has told, as often as that has told it. `all` is what the logs hold as far as
/// it was read, new or not, in the same order.
pub fn without_copies(logs: &mut [Log], all: &[Vec<LogEntry>]) {
    let mut told: HashMap<Event, Vec<Option<String>>> = HashMap::new();
    for (at, log) in logs.iter_mut().enumerate() {
        let whole = all.get(at).map(Vec::as_slice).unwrap_or_default();
        let mut copies: HashMap<&str, bool> = HashMap::new();
        let mut mine = Vec::new();
        for entry in whole {
            let names = told.get_mut(&event(entry));
            let copied = names.and_then(|names| {
                let same =
                    |name: &Option<String>| name.is_none() || entry.message_id.is_none() || *name == entry.message_id;
                names.iter().position(same).map(|place| names.swap_remove(place))
            });
            copies.insert(&entry.id, copied.is_some());
            if copied.is_none() {
                mine.push(entry);
            }
        }
        log.entries.retain(|entry| copies.get(entry.id.as_str()) != Some(&true));
        for entry in mine {
            told.entry(event(entry)).or_default().push(entry.message_id.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redfish::entry;
    use crate::redfish::pages::{Budget, Pages};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn members(ids: &[&str]) -> Vec<Member> {
        let items: Vec<Value> = ids.iter().map(|id| json!({"@odata.id": format!("/E/{id}")})).collect();
        let mut pages = Pages::new("/E", None, Budget { pages: 1, entries: 100 });
        pages.next();
        pages.read(&json!({"Members": items}));
        pages.finish().members
    }

    fn ordered(ids: &[&str]) -> Vec<String> {
        order(members(ids)).into_iter().map(|one| one.id).collect()
    }

    #[test]
    fn b7_14_entries_are_in_the_order_of_their_ids_whichever_way_they_are_listed() {
        assert_eq!(ordered(&["1", "2", "10"]), ["1", "2", "10"]);
        assert_eq!(ordered(&["10", "9", "2"]), ["2", "9", "10"]);
        assert_eq!(ordered(&["1", "10", "11", "2", "20", "3"]), ["1", "2", "3", "10", "11", "20"], "sorted as words");
        assert_eq!(ordered(&["65534", "65535", "1", "2"]), ["65534", "65535", "1", "2"], "a counter that ran over");
        assert_eq!(ordered(&["2", "1", "65535", "65534"]), ["65534", "65535", "1", "2"]);
        assert_eq!(ordered(&["16_2", "16_1", "16", "9"]), ["9", "16", "16_1", "16_2"]);
        let uuids = ["b1-c", "a9-f", "f0-a", "c3-d"];
        assert_eq!(ordered(&uuids), uuids, "whose order means nothing");
    }

    fn read(id: u64, text: &str, changed: Option<u32>) -> Read {
        let at = format!("2024-06-11T05:13:{:02}Z", id % 60);
        let body = json!({"Id": id, "Created": at, "Message": text, "MessageId": "R.1"});
        Read { changed, ..entry::read(&body, "L", &id.to_string(), None).unwrap() }
    }

    fn ids(news: &News) -> Vec<&str> {
        news.entries.iter().map(|one| one.id.as_str()).collect()
    }

    #[test]
    fn b7_14_only_what_follows_the_mark_is_new() {
        let log: Vec<Read> = (1..=3).map(|id| read(id, "x", None)).collect();
        let first = news("L", &log, None);
        assert_eq!((ids(&first), first.since), (vec!["1", "2", "3"], Since::Beginning));
        let mark = first.mark.unwrap();
        let idle = news("L", &log, Some(&mark));
        assert_eq!((ids(&idle), idle.since, idle.mark.as_ref()), (vec![], Since::Mark, Some(&mark)));
        let longer: Vec<Read> = (2..=5).map(|id| read(id, "x", None)).collect();
        let new = news("L", &longer, Some(&mark));
        assert_eq!((ids(&new), new.since), (vec!["4", "5"], Since::Mark));
    }

    #[test]
    fn b7_14_a_cleared_or_wrapped_log_is_noticed_though_the_id_stands_again() {
        let log: Vec<Read> = (1..=3).map(|id| read(id, "x", None)).collect();
        let mark = news("L", &log, None).mark.unwrap();
        let wrapped = news("L", &[read(9, "x", None)], Some(&mark));
        assert_eq!((ids(&wrapped), wrapped.since), (vec!["9"], Since::Broken));
        let again = Read { print: "another time".into(), ..read(3, "x", None) };
        let cleared = news("L", &[again], Some(&mark));
        assert_eq!((ids(&cleared), cleared.since), (vec!["3"], Since::Broken));
        let empty = news("L", &[], Some(&mark));
        assert_eq!((empty.since, empty.mark), (Since::Broken, None));
        let by_id = LogMark { print: String::new(), ..mark };
        assert_eq!(news("L", &log, Some(&by_id)).since, Since::Mark);
    }

    #[test]
    fn b7_14_an_old_entry_that_counts_one_more_comes_again() {
        let log = [read(1, "x", Some(100)), read(2, "x", Some(200))];
        let mark = news("L", &log, None).mark.unwrap();
        assert_eq!(ids(&news("L", &log, Some(&mark))), Vec::<&str>::new());
        let later = [read(1, "x", Some(300)), read(2, "x", Some(200)), read(3, "x", None)];
        let new = news("L", &later, Some(&mark));
        assert_eq!((ids(&new), new.since), (vec!["1", "3"], Since::Mark));
        assert_eq!(ids(&news("L", &later, new.mark.as_ref())), Vec::<&str>::new());
    }

    fn log(entries: &[LogEntry]) -> Log {
        Log {
            name: "L".into(),
            entries: entries.to_vec(),
            since: Since::Beginning,
            mark: None,
            more: false,
            clock_offset: None,
            overflowed: false,
            gap: None,
        }
    }

    #[test]
    fn b7_14_what_two_logs_tell_is_told_once_and_a_repetition_in_one_log_stays() {
        let entry =
            |id: u64, second: u64, text: &str| LogEntry { id: id.to_string(), ..read(second, text, None).entry };
        let first = vec![entry(1, 5, "ECC"), entry(2, 5, "ECC"), entry(3, 6, "fan")];
        let second = vec![
            entry(7, 5, "ECC"),
            entry(8, 5, "ECC"),
            entry(9, 5, "ECC"),
            entry(10, 6, "login"),
            entry(11, 7, "fan"),
        ];
        let mut logs = [log(&first), log(&second)];
        without_copies(&mut logs, &[first.clone(), second.clone()]);
        assert_eq!(logs[0].entries, first);
        let left: Vec<&str> = logs[1].entries.iter().map(|one| one.id.as_str()).collect();
        assert_eq!(left, ["9", "10", "11"]);
        // Of two logs read on from their marks: what is new in the second stood in the first before.
        let mut logs = [log(&[]), log(&second[..1])];
        without_copies(&mut logs, &[first, second]);
        assert!(logs[1].entries.is_empty());
    }

    #[test]
    fn entries_of_an_unknown_time_are_one_event_only_under_one_id() {
        let untold = |id: &str| LogEntry { id: id.into(), time: LogTime::Untold, ..read(1, "x", None).entry };
        let (first, second) = (vec![untold("1")], vec![untold("1"), untold("2")]);
        let mut logs = [log(&first), log(&second)];
        without_copies(&mut logs, &[first, second]);
        assert_eq!(logs[1].entries, [untold("2")]);
    }

    proptest! {
        #[test]
        fn no_order_of_ids_loses_or_doubles_an_entry(ids in proptest::collection::btree_set("[0-9a-f_]{1,4}", 0..20)) {
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            let mut after = ordered(&ids);
            after.sort();
            prop_assert_eq!(after, ids);
        }

        #[test]
        fn no_mark_panics_and_each_log_is_found_by_its_own(print in "\\PC*", id in "\\PC{0,4}", changed: Option<u32>, count in 1_u64..9) {
            let entries: Vec<Read> = (0..count).map(|at| Read { print: print.clone(), ..read(at, "x", changed) }).collect();
            let _ = news("L", &entries, Some(&LogMark { log: "L".into(), id, print }));
            let mark = news("L", &entries, None).mark.unwrap();
            let idle = news("L", &entries, Some(&mark));
            prop_assert_eq!((idle.since, idle.entries.len()), (Since::Mark, 0));
        }
    }
}
