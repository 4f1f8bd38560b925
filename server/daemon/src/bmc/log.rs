//! What `muster bmc log` prints: the entries of a BMC's logs in one list for people, log by log for programs.
//!
//! `--since` names an entry by its id alone, since that is what a person has: that another entry stands under it after the
//! log was cleared is not noticed then, that it is gone is.

use crate::cli::Output;
use crate::table::{clock, plain_text, print_told, span};
use anyhow::{Result, bail};
use muster_bmc::{Bmcs, Log, LogEntry, LogMark, LogTime, Since, Target};
use serde_json::{Value, json};

/// A long log comes in parts; with more than these it has no end.
const MOST_PARTS: usize = 128;
/// Clocks that differ by less are right for a person.
const CLOCK_IS_RIGHT: i64 = 60;

pub async fn look(bmcs: &Bmcs, target: &Target, since: &[String], output: Output) -> Result<()> {
    let marks: Vec<LogMark> = since.iter().map(|text| mark(text)).collect();
    let logs = named(bmcs.event_log_on(target, &marks, MOST_PARTS).await?, &marks)?;
    for remark in remarks(&logs, &marks) {
        eprintln!("muster: {}", plain_text(&remark));
    }
    match output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&logs.iter().map(object).collect::<Vec<_>>())?),
        Output::Table => show(&logs),
    }
    Ok(())
}

/// `ID`, of the first log, or `LOG=ID`.
fn mark(text: &str) -> LogMark {
    let (log, id) = text.rsplit_once('=').unwrap_or(("", text));
    LogMark { log: log.into(), id: id.into(), print: String::new() }
}

/// The logs that a mark names; all of them without one.
fn named(logs: Vec<Log>, marks: &[LogMark]) -> Result<Vec<Log>> {
    let names: Vec<String> = logs.iter().map(|log| log.name.clone()).collect();
    if let Some(unknown) = marks.iter().find(|mark| !mark.log.is_empty() && !names.contains(&mark.log)) {
        bail!("the BMC has no log {:?}; it has: {}", unknown.log, plain_text(&names.join(", ")));
    }
    let wanted = |(at, log): &(usize, Log)| {
        marks.is_empty() || marks.iter().any(|mark| mark.log == log.name || (mark.log.is_empty() && *at == 0))
    };
    Ok(logs.into_iter().enumerate().filter(wanted).map(|(_, log)| log).collect())
}

/// What a reader of the entries has to know besides.
fn remarks(logs: &[Log], marks: &[LogMark]) -> Vec<String> {
    let mut remarks = Vec::new();
    for log in logs {
        let name = &log.name;
        if log.since == Since::Broken {
            let mark =
                marks.iter().find(|mark| mark.log == *name).or_else(|| marks.iter().find(|mark| mark.log.is_empty()));
            let id = mark.map_or("the last one read", |mark| mark.id.as_str());
            remarks.push(format!(
                "{name} has no entry {id}: it was cleared or has wrapped since, if that was its id; it is shown from its beginning"
            ));
        }
        if log.overflowed {
            remarks.push(format!("{name} is full and drops what is new; save it and clear it"));
        }
        remarks.extend(log.gap.as_ref().map(|gap| format!("not read: {name}: {gap}")));
    }
    let offset = logs.iter().find_map(|log| log.clock_offset).filter(|offset| offset.abs() > CLOCK_IS_RIGHT);
    remarks.extend(offset.map(|offset| {
        let (off, way) =
            (span(offset.saturating_abs().saturating_mul(1000)), if offset < 0 { "behind" } else { "ahead of" });
        format!("the BMC's clock is {off} {way} this host's, and the times are the BMC's")
    }));
    remarks
}

fn object(log: &Log) -> Value {
    let since = match log.since {
        Since::Beginning => "beginning",
        Since::Mark => "mark",
        Since::Broken => "broken",
    };
    json!({
        "log": log.name,
        "since": since,
        "last_id": log.mark.as_ref().map(|mark| &mark.id),
        "clock_offset_seconds": log.clock_offset,
        "overflowed": log.overflowed,
        "gap": log.gap,
        "entries": log.entries.iter().map(entry).collect::<Vec<_>>(),
    })
}

fn entry(entry: &LogEntry) -> Value {
    let (time, since_start) = match entry.time {
        LogTime::Clock(at) => (Some(clock(i64::from(at) * 1000).replace(' ', "T") + "Z"), None),
        LogTime::SinceStart(seconds) => (None, Some(seconds)),
        LogTime::Untold => (None, None),
    };
    let record: String = entry.raw.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({
        "log": entry.log,
        "id": entry.id,
        "time": time,
        "seconds_since_start": since_start,
        "severity": entry.health.word(),
        "message_id": entry.message_id,
        "component": entry.component,
        "message": entry.message,
        "sel_record": entry.event.map(|_| record),
    })
}

fn show(logs: &[Log]) {
    let several = logs.len() > 1;
    let rows: Vec<Vec<String>> = merged(logs)
        .into_iter()
        .map(|entry| {
            let time = match entry.time {
                LogTime::Clock(at) => clock(i64::from(at) * 1000),
                LogTime::SinceStart(seconds) => format!("{} after start", span(i64::from(seconds) * 1000)),
                LogTime::Untold => "-".into(),
            };
            let log = if several { plain_text(&entry.log) } else { "-".into() };
            vec![plain_text(&entry.id), time, log, entry.health.word().into(), plain_text(&entry.message)]
        })
        .collect();
    match rows.is_empty() {
        true => println!("no entries"),
        false => print_told(&["id", "time", "log", "severity", "text"], &rows),
    }
}

/// All logs in one, the newest last. Within a log the order stays; an entry without a time goes with the one before it.
fn merged(logs: &[Log]) -> Vec<&LogEntry> {
    let mut all = Vec::new();
    for log in logs {
        let mut now = 0;
        for entry in &log.entries {
            if let LogTime::Clock(at) = entry.time {
                now = now.max(at);
            }
            all.push((now, entry));
        }
    }
    all.sort_by_key(|(now, _)| *now);
    all.into_iter().map(|(_, entry)| entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_bmc::Health;

    fn log(name: &str, entries: &[(&str, LogTime)]) -> Log {
        let entry = |(id, time): &(&str, LogTime)| LogEntry {
            log: name.into(),
            id: (*id).into(),
            raw: vec![1, 0xfe],
            time: *time,
            health: Health::Ok,
            message_id: None,
            component: None,
            message: "x".into(),
            event: None,
        };
        Log {
            name: name.into(),
            entries: entries.iter().map(entry).collect(),
            since: Since::Beginning,
            mark: entries.last().map(|(id, _)| mark(&format!("{name}={id}"))),
            more: false,
            clock_offset: None,
            overflowed: false,
            gap: None,
        }
    }

    #[test]
    fn logs_are_one_list_by_time_and_what_has_no_time_stays_behind_its_neighbour() {
        let at = LogTime::Clock;
        let logs = [
            log("A", &[("1", at(10)), ("2", LogTime::Untold), ("3", at(30)), ("4", at(5))]),
            log("B", &[("7", LogTime::SinceStart(9)), ("8", at(20))]),
        ];
        let ids: Vec<&str> = merged(&logs).into_iter().map(|entry| entry.id.as_str()).collect();
        assert_eq!(ids, ["7", "1", "2", "8", "3", "4"], "an order within a log is never turned round");
    }

    #[test]
    fn since_names_an_entry_of_the_first_log_or_of_the_one_it_says() {
        let logs = || vec![log("Systems/1/SEL", &[]), log("Managers/1/Log", &[])];
        let names = |marks: &[&str]| {
            let marks: Vec<LogMark> = marks.iter().map(|text| mark(text)).collect();
            named(logs(), &marks).map(|logs| logs.into_iter().map(|log| log.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]).unwrap().len(), 2);
        assert_eq!(names(&["7"]).unwrap(), ["Systems/1/SEL"]);
        assert_eq!(names(&["Managers/1/Log=7"]).unwrap(), ["Managers/1/Log"]);
        let said = names(&["nosuch=7"]).unwrap_err().to_string();
        assert!(said.contains("nosuch") && said.contains("Managers/1/Log"), "{said}");
    }

    #[test]
    fn what_a_reader_has_to_know_is_said() {
        let broken = Log {
            since: Since::Broken,
            overflowed: true,
            gap: Some("cut".into()),
            clock_offset: Some(-7200),
            ..log("SEL", &[])
        };
        let said = remarks(&[broken], &[mark("9")]).join("\n");
        for words in ["no entry 9", "full", "not read: SEL: cut", "2 h behind"] {
            assert!(said.contains(words), "{words}: {said}");
        }
        assert!(remarks(&[Log { clock_offset: Some(3), ..log("SEL", &[]) }], &[]).is_empty());
    }

    #[test]
    fn an_entry_is_an_object_with_null_for_what_was_not_told() {
        let told = object(&log("SEL", &[("1", LogTime::Clock(1_718_082_780)), ("2", LogTime::SinceStart(9))]));
        assert_eq!((&told["log"], &told["since"], &told["last_id"]), (&json!("SEL"), &json!("beginning"), &json!("2")));
        let [first, second] = [&told["entries"][0], &told["entries"][1]];
        assert_eq!((&first["time"], &first["severity"]), (&json!("2024-06-11T05:13:00Z"), &json!("ok")));
        assert_eq!((&second["time"], &second["seconds_since_start"]), (&Value::Null, &json!(9)));
        assert!(first["sel_record"].is_null() && first["component"].is_null(), "{first}");
    }
}
