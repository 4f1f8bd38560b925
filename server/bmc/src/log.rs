//! A BMC's event log, whatever protocol it is read by.
//!
//! A reader keeps the [`LogMark`] of the last entry it has stored and reads on from there. Ids begin anew when a log is
//! cleared and old entries go when it wraps, so that a mark is an id *and* what stood there: where that is not found
//! any more, the log is read from its beginning and says so ([`Since::Broken`]). Nothing here clears a log.
//!
//! IPMI knows one log. Redfish knows any number: the one for hardware events stands first, and what two of them tell alike
//! is told once, in the first.

use crate::Health;
use serde::{Deserialize, Serialize};

/// The last entry that somebody has read of one log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LogMark {
    /// [`Log::name`]; empty for the first log that the BMC has, which is the hardware's.
    pub log: String,
    /// [`LogEntry::id`].
    pub id: String,
    /// What stood there: tells the entry from a later one with the same id. Empty where nobody knows; then whatever has
    /// the id is taken for it.
    pub print: String,
}

/// One log, as far as it was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Log {
    /// `SEL` over IPMI; over Redfish whose log it is and its id, `Systems/1/IML`.
    pub name: String,
    /// Oldest first. Over Redfish an entry that the BMC has changed since the mark was set (some count repetitions in the
    /// first one) comes again under its id.
    pub entries: Vec<LogEntry>,
    pub since: Since,
    /// Read on from here. `None`: the log is empty.
    pub mark: Option<LogMark>,
    /// There is more than was read in one go.
    pub more: bool,
    /// The BMC's clock minus ours, in seconds; `None` where it does not tell its time.
    pub clock_offset: Option<i64>,
    /// Entries were lost because it was full, as the BMC says.
    pub overflowed: bool,
    /// What of it was not read, and why.
    pub gap: Option<String>,
}

/// How what was read is connected with the mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Since {
    /// No mark was given: read from the beginning.
    Beginning,
    /// What follows the mark, without a gap.
    Mark,
    /// The mark is gone, the log was cleared or has wrapped: read from the beginning, and entries may be missing.
    Broken,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogEntry {
    /// [`Log::name`].
    pub log: String,
    /// Of the BMC; unique within its log until that is cleared.
    pub id: String,
    /// As it came: 16 bytes of a SEL, JSON over Redfish; empty where that is longer than 4 KiB.
    pub raw: Vec<u8>,
    pub time: LogTime,
    pub health: Health,
    /// The name of the message in its registry, as the BMC has it (Redfish).
    pub message_id: Option<String>,
    /// What it is about: the type of the sensor, or the part as the BMC names it.
    pub component: Option<String>,
    /// For a person: bounded, on one line and without control characters.
    pub message: String,
    pub event: Option<SelEvent>,
}

/// When it happened. The BMC's clock is seldom right: [`Log::clock_offset`] says by how much it is off now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogTime {
    /// Seconds since 1970 by the BMC's clock, which over IPMI is often local time.
    Clock(u32),
    /// Seconds since the BMC started: its clock was not set then.
    SinceStart(u32),
    Untold,
}

/// The fields of a SEL's system event record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelEvent {
    /// Slave address or software id, and in the high byte channel and LUN.
    pub generator: u16,
    pub sensor_type: u8,
    pub sensor: u8,
    /// 01h thresholds, 02h to 0ch generic, 6fh by sensor type.
    pub event_type: u8,
    pub offset: u8,
    /// It has ended.
    pub deassert: bool,
    pub data: [u8; 3],
}

/// Adds the next part of each log. False: there was none.
pub(crate) fn grow(logs: &mut [Log], parts: Vec<Log>) -> bool {
    let mut grown = false;
    for part in parts {
        let Some(log) = logs.iter_mut().find(|log| log.name == part.name) else { continue };
        // One that was cleared in between begins anew, and is not told twice.
        if log.more && part.since == Since::Mark {
            grown |= !part.entries.is_empty();
            log.entries.extend(part.entries);
            (log.mark, log.more) = (part.mark, part.more);
        } else {
            log.more = false;
        }
    }
    grown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(id: &str) -> Log {
        let entry = LogEntry {
            log: "SEL".into(),
            id: id.into(),
            raw: vec![],
            time: LogTime::Untold,
            health: Health::Ok,
            message_id: None,
            component: None,
            message: String::new(),
            event: None,
        };
        let (entries, since) = (vec![entry], Since::Mark);
        Log {
            name: "SEL".into(),
            entries,
            since,
            mark: None,
            more: false,
            clock_offset: None,
            overflowed: false,
            gap: None,
        }
    }

    #[test]
    fn a_long_log_is_put_together_of_its_parts_and_a_cleared_one_is_not() {
        let mut logs = [Log { more: true, ..log("1") }];
        assert!(grow(&mut logs, vec![log("2")]) && logs[0].entries.len() == 2 && !logs[0].more);
        logs[0].more = true;
        assert!(!grow(&mut logs, vec![Log { since: Since::Broken, ..log("3") }]) && logs[0].entries.len() == 2);
    }
}
