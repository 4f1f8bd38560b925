//! What a visit to a BMC means beside the one before: what is known now, and what of it is news.
//!
//! News goes to the event log, so there is a bound to what one visit may write there: a BMC that logs a thousand entries a
//! minute is told of in a dozen events, and read whole in its own ring.

use super::Visit;
use muster_bmc::{Health, Log, LogEntry, LogMark, Reading, Since};
use muster_names::{Millis, Power};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Visits in a row without an answer before a BMC is said to be silent: one is a lost packet or a BMC that restarts.
const SILENT_AFTER: u32 = 2;
/// Events that one visit writes about sensors, and about entries of logs.
const MOST_NEWS: usize = 12;
/// Sensors that are not well are remembered so far.
const MOST_UNWELL: usize = 256;
/// Logs that a BMC has.
const MOST_MARKS: usize = 64;
/// Seconds that a BMC's clock may be off.
const CLOCK: u64 = 300;

/// What is known of one BMC.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Seen {
    pub reach: Reach,
    /// When it last answered.
    pub answered: Option<Millis>,
    pub power: Power,
    /// How many sensors said that they are well.
    pub well: usize,
    /// Of the sensors that are not well, by name.
    pub unwell: BTreeMap<String, Unwell>,
    /// Its clock minus ours, in seconds.
    pub clock_offset: Option<i64>,
    /// Its logs were read so far.
    pub marks: Vec<LogMark>,
    /// What it did not tell at the last visit, and why.
    pub gaps: Vec<String>,
}

/// Whether it answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "word")]
pub enum Reach {
    /// It was not visited yet.
    #[default]
    Unvisited,
    Answers,
    /// For so many visits.
    Silent {
        visits: u32,
        why: String,
    },
    /// A password that is wrong, another key than before: for a person.
    Refuses {
        why: String,
    },
}

impl Reach {
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unvisited => "unvisited",
            Self::Answers => "answers",
            Self::Silent { .. } => "silent",
            Self::Refuses { .. } => "refuses",
        }
    }

    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Silent { why, .. } | Self::Refuses { why } => Some(why),
            Self::Unvisited | Self::Answers => None,
        }
    }

    /// Visits in a row that came to nothing.
    pub fn failures(&self) -> u32 {
        match self {
            Self::Silent { visits, .. } => *visits,
            // Each try costs the account one of the few that a BMC forgives.
            Self::Refuses { .. } => super::schedule::REFUSED,
            Self::Unvisited | Self::Answers => 0,
        }
    }
}

/// A sensor that is not well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Unwell {
    pub health: Health,
    pub state: Vec<String>,
}

impl Seen {
    /// The worst of its sensors; unknown where none says that it is well.
    pub fn health(&self) -> Health {
        let worst = self.unwell.values().map(|one| one.health).max();
        worst.unwrap_or(if self.well > 0 { Health::Ok } else { Health::Unknown })
    }
}

/// Something that the event log is told.
#[derive(Clone, Debug, PartialEq)]
pub struct News {
    pub kind: &'static str,
    pub body: Value,
}

/// What is known after this visit, and what of it is news.
pub fn judge(before: &Seen, visit: &Visit, now: Millis) -> (Seen, Vec<News>) {
    let (mut seen, mut news) = (before.clone(), Vec::new());
    match &visit.power {
        Err(error) if error.later => {
            let visits = match &before.reach {
                Reach::Silent { visits, .. } => visits.saturating_add(1),
                _ => 1,
            };
            if visits == SILENT_AFTER {
                news.push(News { kind: "bmc-fell-silent", body: json!({"why": error.reason}) });
            }
            seen.reach = Reach::Silent { visits, why: error.reason.clone() };
            return (seen, news);
        }
        Err(error) => {
            if !matches!(before.reach, Reach::Refuses { .. }) {
                news.push(News { kind: "bmc-refused", body: json!({"why": error.reason}) });
            }
            seen.reach = Reach::Refuses { why: error.reason.clone() };
            return (seen, news);
        }
        Ok(power) => {
            let was_told = match &before.reach {
                Reach::Silent { visits, .. } => *visits >= SILENT_AFTER,
                Reach::Refuses { .. } => true,
                Reach::Unvisited | Reach::Answers => false,
            };
            if was_told {
                news.push(News { kind: "bmc-answered", body: json!({"power": power}) });
            }
            let both = ![before.power, *power].contains(&Power::Unknown);
            if both && before.power != *power {
                news.push(News { kind: "bmc-power-changed", body: json!({"from": before.power, "to": power}) });
            }
            if *power != Power::Unknown {
                seen.power = *power;
            }
            (seen.reach, seen.answered) = (Reach::Answers, Some(now));
        }
    }
    seen.gaps.clear();
    match &visit.readings {
        // The fans of a machine that is off stand still.
        Ok(_) if seen.power == Power::Off => {}
        Ok(readings) => {
            seen.well = readings.iter().filter(|one| one.health == Health::Ok).count();
            seen.unwell = unwell(readings);
            changes(&before.unwell, &seen.unwell, readings, &mut news);
        }
        Err(error) => seen.gaps.push(error.reason.clone()),
    }
    match &visit.logs {
        Ok(logs) => read(before, logs, &mut seen, &mut news),
        Err(error) => seen.gaps.push(error.reason.clone()),
    }
    (seen, news)
}

fn unwell(readings: &[Reading]) -> BTreeMap<String, Unwell> {
    let bad = readings.iter().filter(|one| matches!(one.health, Health::Warning | Health::Critical));
    let mut found: BTreeMap<String, Unwell> = BTreeMap::new();
    for one in bad.take(MOST_UNWELL) {
        let worst = found.get(&one.name).is_none_or(|other| other.health < one.health);
        if worst {
            found.insert(one.name.clone(), Unwell { health: one.health, state: one.state.clone() });
        }
    }
    found
}

fn changes(
    before: &BTreeMap<String, Unwell>,
    after: &BTreeMap<String, Unwell>,
    readings: &[Reading],
    news: &mut Vec<News>,
) {
    let reading = |name: &str| readings.iter().find(|one| one.name == name);
    let worse = after.iter().filter(|(name, now)| before.get(*name).is_none_or(|was| was.health != now.health));
    let worse = worse.map(|(name, now)| (name, now.health, now.state.clone()));
    // Gone from the list is not the same as well.
    let better = before.keys().filter(|name| !after.contains_key(*name)).map(|name| {
        let health = reading(name).map_or(Health::Unknown, |one| one.health);
        (name, health, Vec::new())
    });
    let mut all: Vec<_> = worse.chain(better).collect();
    all.sort_by_key(|(_, health, _)| std::cmp::Reverse(*health));
    let more = all.len().saturating_sub(MOST_NEWS);
    for (name, health, state) in all.into_iter().take(MOST_NEWS) {
        let value = reading(name).and_then(|one| one.value);
        let unit = reading(name).and_then(|one| one.unit.clone());
        let body = json!({"sensor": name, "health": health, "state": state, "value": value, "unit": unit});
        news.push(News { kind: "bmc-sensor-changed", body });
    }
    if more > 0 {
        news.push(News { kind: "bmc-sensors-changed", body: json!({"more": more}) });
    }
}

fn read(before: &Seen, logs: &[Log], seen: &mut Seen, news: &mut Vec<News>) {
    for log in logs {
        if log.since == Since::Broken {
            news.push(News { kind: "bmc-log-restarted", body: json!({"log": log.name, "entries": log.entries.len()}) });
        }
        if let Some(gap) = &log.gap {
            seen.gaps.push(format!("{}: {gap}", log.name));
        }
        if let Some(mark) = &log.mark {
            seen.marks.retain(|old| old.log != mark.log);
            seen.marks.push(mark.clone());
        }
    }
    // A BMC that calls its logs another name each time.
    let many = seen.marks.len().saturating_sub(MOST_MARKS);
    seen.marks.drain(..many);
    // What was logged before anybody watched is history.
    let new = logs.iter().filter(|log| log.since != Since::Beginning).flat_map(|log| &log.entries);
    let bad = |entry: &&LogEntry| matches!(entry.health, Health::Warning | Health::Critical);
    let told: Vec<&LogEntry> = new.filter(bad).collect();
    for entry in told.iter().take(MOST_NEWS) {
        let body = json!({
            "log": entry.log, "id": entry.id, "health": entry.health, "component": entry.component, "message": entry.message,
        });
        news.push(News { kind: "bmc-logged", body });
    }
    if told.len() > MOST_NEWS {
        news.push(News { kind: "bmc-logged-more", body: json!({"more": told.len() - MOST_NEWS}) });
    }
    seen.clock_offset = logs.iter().find_map(|log| log.clock_offset).or(before.clock_offset);
    let off = |offset: Option<i64>| offset.map(|offset| offset.unsigned_abs() > CLOCK);
    if let Some(now) = off(seen.clock_offset)
        && off(before.clock_offset).unwrap_or(false) != now
    {
        news.push(News { kind: "bmc-clock-changed", body: json!({"seconds": seen.clock_offset, "off": now}) });
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
