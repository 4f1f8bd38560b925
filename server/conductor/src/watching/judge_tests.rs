//! What one visit after the other makes of what is known, and what of it is told.

use super::*;
use crate::hand::HandError;
use muster_bmc::{LogTime, ReadingKind, Thresholds};

const NOW: Millis = Millis(1_000);

fn reading(name: &str, health: Health) -> Reading {
    Reading {
        name: name.into(),
        kind: ReadingKind::Fan,
        value: Some(90.0),
        unit: Some("rpm".into()),
        state: vec!["below lower critical".into()],
        health,
        thresholds: Thresholds::default(),
    }
}

fn entry(id: &str, health: Health) -> LogEntry {
    LogEntry {
        log: "SEL".into(),
        id: id.into(),
        raw: vec![],
        time: LogTime::Untold,
        health,
        message_id: None,
        component: None,
        message: format!("entry {id}"),
        event: None,
    }
}

fn log(since: Since, entries: Vec<LogEntry>) -> Log {
    let mark = entries.last().map(|last| LogMark { log: "SEL".into(), id: last.id.clone(), print: String::new() });
    Log { name: "SEL".into(), entries, since, mark, more: false, clock_offset: Some(2), overflowed: false, gap: None }
}

fn visit(power: Power, readings: Vec<Reading>, logs: Vec<Log>) -> Visit {
    Visit { power: Ok(power), readings: Ok(readings), logs: Ok(logs), shown: None }
}

fn failed(later: bool) -> Visit {
    let error = HandError { reason: "no answer".into(), may_have_happened: false, later };
    Visit { power: Err(error.clone()), readings: Err(error.clone()), logs: Err(error), shown: None }
}

/// What a row of visits leaves behind, and the kinds of its news, a list a visit.
fn course(visits: &[Visit]) -> (Seen, Vec<Vec<&'static str>>) {
    let (mut seen, mut told) = (Seen::default(), Vec::new());
    for visit in visits {
        let (next, news) = judge(&seen, visit, NOW);
        told.push(news.iter().map(|one| one.kind).collect());
        seen = next;
    }
    (seen, told)
}

#[test]
fn a_bmc_is_silent_after_two_visits_and_that_is_told_once_and_its_return_too() {
    let well = || visit(Power::On, vec![], vec![]);
    let (seen, told) = course(&[well(), failed(true), failed(true), failed(true), well(), failed(true), well()]);
    let nothing: Vec<&str> = vec![];
    assert_eq!(
        told,
        [&nothing, &nothing, &vec!["bmc-fell-silent"], &nothing, &vec!["bmc-answered"], &nothing, &nothing]
            .map(Clone::clone)
    );
    assert_eq!((seen.reach, seen.power), (Reach::Answers, Power::On));
}

#[test]
fn a_refusal_is_told_at_once_and_keeps_what_was_known() {
    let fan = || vec![reading("Fan2", Health::Critical)];
    let (seen, told) = course(&[visit(Power::On, fan(), vec![]), failed(false), failed(false)]);
    assert_eq!(told, [vec!["bmc-sensor-changed"], vec!["bmc-refused"], vec![]]);
    assert_eq!((seen.power, seen.health(), seen.reach.failures()), (Power::On, Health::Critical, u32::MAX));
}

#[test]
fn unknown_power_is_no_change_and_neither_is_the_first_that_is_seen() {
    let of = |power| visit(power, vec![], vec![]);
    let (seen, told) = course(&[of(Power::On), of(Power::Unknown), of(Power::On), of(Power::Off)]);
    assert_eq!(told, [vec![], vec![], vec![], vec!["bmc-power-changed"]]);
    assert_eq!(seen.power, Power::Off);
}

#[test]
fn a_sensor_is_news_when_it_gets_worse_and_when_it_is_well_again_and_not_in_between() {
    let of = |health| visit(Power::On, vec![reading("Fan2", health)], vec![]);
    let (seen, told) = course(&[
        of(Health::Ok),
        of(Health::Warning),
        of(Health::Warning),
        of(Health::Critical),
        of(Health::Ok),
        of(Health::Unknown),
    ]);
    let one = vec!["bmc-sensor-changed"];
    assert_eq!(told, [vec![], one.clone(), vec![], one.clone(), one, vec![]]);
    assert!(seen.unwell.is_empty());
}

#[test]
fn a_sensor_that_is_gone_from_the_list_is_unknown_and_not_well() {
    let (before, _) = course(&[visit(Power::On, vec![reading("Fan2", Health::Critical)], vec![])]);
    let (_, news) = judge(&before, &visit(Power::On, vec![], vec![]), NOW);
    assert_eq!(news[0].body["health"], "unknown");
}

#[test]
fn the_fans_of_a_machine_that_is_off_alarm_nobody() {
    let (seen, told) = course(&[visit(Power::Off, vec![reading("Fan2", Health::Critical)], vec![])]);
    assert!(told[0].is_empty() && seen.unwell.is_empty());
}

#[test]
fn what_was_logged_before_anybody_watched_is_history_and_what_follows_is_news() {
    let bad = |id| entry(id, Health::Critical);
    let first = visit(Power::On, vec![], vec![log(Since::Beginning, vec![bad("1"), bad("2")])]);
    let then = visit(Power::On, vec![], vec![log(Since::Mark, vec![bad("3"), entry("4", Health::Ok)])]);
    let (seen, told) = course(&[first, then]);
    assert_eq!(told, [vec![], vec!["bmc-logged"]]);
    assert_eq!(seen.marks.len(), 1);
    assert_eq!(seen.marks[0].id, "4");
}

#[test]
fn a_log_that_was_cleared_or_wrapped_is_told() {
    let (_, told) = course(&[
        visit(Power::On, vec![], vec![log(Since::Beginning, vec![entry("7", Health::Ok)])]),
        visit(Power::On, vec![], vec![log(Since::Broken, vec![entry("1", Health::Critical)])]),
    ]);
    assert_eq!(told[1], ["bmc-log-restarted", "bmc-logged"]);
}

#[test]
fn a_flood_is_told_in_a_dozen_events_with_the_number_of_the_rest() {
    let entries = (1..=500).map(|n| entry(&n.to_string(), Health::Critical)).collect();
    let readings = (0..500).map(|n| reading(&format!("s{n}"), Health::Critical)).collect();
    let visits = [
        visit(Power::On, vec![], vec![log(Since::Beginning, vec![entry("0", Health::Ok)])]),
        visit(Power::On, readings, vec![log(Since::Mark, entries)]),
    ];
    let (seen, told) = course(&visits);
    assert_eq!(told[1].len(), 2 * (MOST_NEWS + 1));
    assert!(seen.unwell.len() <= MOST_UNWELL);
}

#[test]
fn a_clock_that_is_off_is_told_when_it_goes_wrong_and_when_it_is_right_again() {
    let of = |offset| visit(Power::On, vec![], vec![Log { clock_offset: offset, ..log(Since::Mark, vec![]) }]);
    let (seen, told) = course(&[of(Some(2)), of(Some(-7200)), of(None), of(Some(-7201)), of(Some(0))]);
    let one = vec!["bmc-clock-changed"];
    assert_eq!(told, [vec![], one.clone(), vec![], vec![], one]);
    assert_eq!(seen.clock_offset, Some(0));
}

#[test]
fn what_was_seen_reads_back_from_the_database_and_so_does_what_an_older_program_wrote() {
    let (seen, _) = course(&[visit(Power::On, vec![reading("Fan2", Health::Critical)], vec![]), failed(true)]);
    let text = serde_json::to_string(&seen).unwrap();
    assert_eq!(serde_json::from_str::<Seen>(&text).unwrap(), seen);
    assert_eq!(serde_json::from_str::<Seen>("{}").unwrap(), Seen::default());
}

#[test]
fn a_bmc_that_tells_no_sensor_is_not_called_well() {
    let of = |readings| course(&[visit(Power::On, readings, vec![])]).0.health();
    assert_eq!(of(vec![]), Health::Unknown);
    assert_eq!(of(vec![reading("x", Health::Unknown)]), Health::Unknown);
    assert_eq!(of(vec![reading("x", Health::Unknown), reading("y", Health::Ok)]), Health::Ok);
}
