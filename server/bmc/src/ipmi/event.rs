//! What a SEL record says (IPMI 2.0, section 32): pure, and total on any bytes.
//!
//! The sixteen bytes are kept beside what is read of them: makers put DIMM, bus and device into the event data in ways
//! of their own, and a later reading of it can only be better than the first.

use super::record::{Records, Sensor};
use super::{convert, states};
use crate::{Health, LogEntry, LogMark, LogTime, SelEvent};

pub const LENGTH: usize = 16;
/// The name of the one log that IPMI knows.
pub const SEL: &str = "SEL";
const EVENT: u8 = 0x02;
const TIMED_OEM: std::ops::RangeInclusive<u8> = 0xc0..=0xdf;
/// Below it a timestamp counts from the BMC's start.
const CLOCK_SET: u32 = 0x2000_0000;

pub fn id(number: u16) -> String {
    format!("{number:04x}")
}

/// The id in a mark, if it is one of ours.
pub fn number(mark: &LogMark) -> Option<u16> {
    u16::from_str_radix(&mark.id, 16).ok().filter(|_| is_of_sel(mark))
}

pub fn is_of_sel(mark: &LogMark) -> bool {
    mark.log == SEL || mark.log.is_empty()
}

pub fn print(record: &[u8; LENGTH]) -> String {
    record.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether the record with the mark's id is the one that was marked: an id alone comes again after a clear.
pub fn is_marked(mark: &LogMark, found: Option<&[u8; LENGTH]>) -> bool {
    found.is_some_and(|record| mark.print.is_empty() || print(record) == mark.print)
}

pub fn mark(record: &[u8; LENGTH]) -> LogMark {
    let [low, high, ..] = record;
    LogMark { log: SEL.into(), id: id(u16::from_le_bytes([*low, *high])), print: print(record) }
}

fn time(record: &[u8; LENGTH]) -> LogTime {
    let [_, _, kind, a, b, c, d, ..] = record;
    if *kind != EVENT && !TIMED_OEM.contains(kind) {
        return LogTime::Untold;
    }
    match u32::from_le_bytes([*a, *b, *c, *d]) {
        u32::MAX => LogTime::Untold,
        at if at < CLOCK_SET => LogTime::SinceStart(at),
        at => LogTime::Clock(at),
    }
}

fn event(record: &[u8; LENGTH]) -> Option<SelEvent> {
    let [_, _, EVENT, _, _, _, _, low, high, _, sensor_type, sensor, kind, first, second, third] = *record else {
        return None;
    };
    Some(SelEvent {
        generator: u16::from_le_bytes([low, high]),
        sensor_type,
        sensor,
        event_type: kind & 0x7f,
        offset: first & 0x0f,
        deassert: kind & 0x80 != 0,
        data: [first, second, third],
    })
}

/// The record in words, with its sensor's name where `records` has it.
pub fn entry(record: &[u8; LENGTH], records: &Records) -> LogEntry {
    let [low, high, kind, ..] = record;
    let event = event(record);
    let (message, health) = match &event {
        Some(event) => words(event, records),
        None => {
            let body = print(record).get(6..).unwrap_or_default().to_string();
            (format!("record of type {kind:02x}h: {body}"), Health::Unknown)
        }
    };
    let id = id(u16::from_le_bytes([*low, *high]));
    let component = event.as_ref().and_then(|event| states::type_name(event.sensor_type)).map(str::to_string);
    LogEntry {
        log: SEL.into(),
        id,
        raw: record.to_vec(),
        time: time(record),
        health,
        message_id: None,
        component,
        message,
        event,
    }
}

fn find<'a>(event: &SelEvent, records: &'a Records) -> Option<&'a Sensor> {
    let [owner, place] = event.generator.to_le_bytes();
    let lun = place & 0x03;
    records.sensors.iter().find(|one| (one.owner, one.lun, one.number) == (owner, lun, event.sensor))
}

fn words(event: &SelEvent, records: &Records) -> (String, Health) {
    let sensor = find(event, records);
    let kind =
        states::type_name(event.sensor_type).map_or_else(|| format!("type {:02x}h", event.sensor_type), Into::into);
    let name = sensor.map_or_else(|| format!("sensor {:02x}h", event.sensor), |sensor| records.name(sensor));
    let known = states::state(event.sensor_type, event.event_type, event.offset);
    let (state, health) = known.unwrap_or_else(|| {
        let [_, second, third] = event.data;
        (format!("event {:02x}h.{:x} {second:02x}h {third:02x}h", event.event_type, event.offset), Health::Unknown)
    });
    let measured = sensor.and_then(|sensor| measured(event, sensor)).unwrap_or_default();
    let ended = if event.deassert { ", ended" } else { "" };
    let health = if event.deassert && known_bad(health) { Health::Ok } else { health };
    (format!("{kind} {name}: {state}{measured}{ended}"), health)
}

fn known_bad(health: Health) -> bool {
    health > Health::Unknown
}

/// A threshold event carries reading and threshold, where the upper bits of its first byte say so.
fn measured(event: &SelEvent, sensor: &Sensor) -> Option<String> {
    let [first, reading, threshold] = event.data;
    let analog = sensor.analog.filter(|analog| event.event_type == 0x01 && !analog.varies())?;
    let unit = convert::unit(sensor.units).unwrap_or_default();
    let value = |raw: u8, told: bool| analog.value(raw).filter(|_| told);
    match (value(reading, first >> 6 == 0b01), value(threshold, first >> 4 & 0b11 == 0b01)) {
        (Some(reading), Some(threshold)) => Some(format!(", {reading} {unit} (threshold {threshold})")),
        (Some(reading), None) => Some(format!(", {reading} {unit}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SUPPLY_FAILED: [u8; LENGTH] =
        [0x2a, 0, 2, 0x10, 0x20, 0x30, 0x60, 0x20, 0, 4, 0x08, 0x30, 0x6f, 0x01, 0xff, 0xff];

    #[test]
    fn an_event_is_told_in_words_and_kept_in_bytes() {
        let told = entry(&SUPPLY_FAILED, &Records::default());
        assert_eq!((told.id.as_str(), told.time), ("002a", LogTime::Clock(0x6030_2010)));
        assert_eq!(told.raw, SUPPLY_FAILED);
        assert_eq!((told.message.as_str(), told.health), ("power supply sensor 30h: failure", Health::Critical));
        let event = told.event.unwrap();
        assert_eq!((event.sensor_type, event.sensor, event.offset, event.deassert), (8, 0x30, 1, false));
        assert_eq!((told.log.as_str(), told.component.as_deref()), ("SEL", Some("power supply")));
        let mut over = SUPPLY_FAILED;
        over[12] |= 0x80;
        let told = entry(&over, &Records::default());
        assert_eq!((told.message.as_str(), told.health), ("power supply sensor 30h: failure, ended", Health::Ok));
    }

    #[test]
    fn b8_7_a_time_before_the_clock_was_set_is_marked() {
        let at = |bytes: [u8; 4]| {
            let mut record = SUPPLY_FAILED;
            record[3..7].copy_from_slice(&bytes);
            entry(&record, &Records::default()).time
        };
        assert_eq!(at([0x05, 0, 0, 0]), LogTime::SinceStart(5));
        assert_eq!(at([0xff, 0xff, 0xff, 0x1f]), LogTime::SinceStart(0x1fff_ffff));
        assert_eq!(at([0, 0, 0, 0x20]), LogTime::Clock(0x2000_0000));
        assert_eq!(at([0xff; 4]), LogTime::Untold);
    }

    #[test]
    fn b8_7_an_id_that_comes_again_after_a_clear_is_not_taken_for_the_marked_one() {
        let mark = mark(&SUPPLY_FAILED);
        assert_eq!(number(&mark), Some(0x2a));
        assert!(is_marked(&mark, Some(&SUPPLY_FAILED)));
        let mut later = SUPPLY_FAILED;
        later[3] += 1;
        assert!(!is_marked(&mark, Some(&later)) && !is_marked(&mark, None));
        let by_id = LogMark { print: String::new(), ..mark.clone() };
        assert!(is_marked(&by_id, Some(&later)) && !is_marked(&by_id, None));
        assert_eq!(number(&LogMark { log: "Lclog".into(), ..mark.clone() }), None);
        assert_eq!(number(&LogMark { log: String::new(), ..mark.clone() }), Some(0x2a), "the only log is the first");
        assert_eq!(number(&LogMark { id: "x".into(), ..mark }), None);
    }

    #[test]
    fn an_oem_record_keeps_its_bytes_and_says_what_it_is() {
        let mut record = SUPPLY_FAILED;
        record[2] = 0xc1;
        let told = entry(&record, &Records::default());
        assert_eq!(told.message, "record of type c1h: 1020306020000408306f01ffff");
        assert_eq!((told.time, told.event), (LogTime::Clock(0x6030_2010), None));
        record[2] = 0xe0;
        assert_eq!(entry(&record, &Records::default()).time, LogTime::Untold);
    }

    proptest! {
        #[test]
        fn no_record_panics_and_each_is_found_by_its_own_mark(record: [u8; LENGTH]) {
            let told = entry(&record, &Records::default());
            prop_assert_eq!(number(&mark(&record)).map(id), Some(told.id));
            prop_assert!(is_marked(&mark(&record), Some(&record)));
        }
    }
}
