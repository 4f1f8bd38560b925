//! What one entry of a log service says: pure, and total on any JSON.
//!
//! Makers differ in nearly every field. Where a field is missing, what stands in for it is taken (the name of the message
//! where there is no text, the raw event where there is no severity), and what stands nowhere is unknown and never fine.

use super::fields::{Fields, target};
use super::{json, time};
use crate::ipmi::states;
use crate::{Health, LogEntry, LogTime};
use serde_json::Value;

const LONGEST_MESSAGE: usize = 1000;
/// Longer than any entry that a person reads.
const LONGEST_RAW: usize = 4096;

/// An entry, and what it is found by later.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    pub entry: LogEntry,
    /// What tells it from another one with its id; not what a BMC changes in an entry later, such as a severity that
    /// becomes "repaired".
    pub print: String,
    /// When the BMC changed it, where it tells that: some count repetitions in the first one.
    pub changed: Option<u32>,
}

/// The entry's own id, or the last word of the path that leads to it.
pub fn id(item: &Value) -> Option<String> {
    let own = item.as_object().and_then(|_| Fields(item).text(&["Id"]));
    own.or_else(|| {
        let path = target(item)?;
        let (_, last) = path.trim_end_matches('/').rsplit_once('/')?;
        (!last.is_empty()).then(|| last.chars().take(256).collect())
    })
}

/// The entry of this log under this id. `zone` stands in where a time has none. `None`: a place that holds no entry.
pub fn read(body: &Value, log: &str, id: &str, zone: Option<i64>) -> Option<Read> {
    let fields = body.is_object().then_some(Fields(body))?;
    let told = fields.text(&["Created", "EventTimestamp"]);
    let created = told.as_deref().and_then(|text| time::seconds(text, zone));
    let message_id = fields.text(&["MessageId"]);
    let message = message(fields, message_id.as_deref());
    if message.is_none() && created.is_none() {
        return None;
    }
    let changed = fields.text(&["Modified"]).or_else(|| fields.oem("Updated"));
    let when = created.map_or_else(|| told.unwrap_or_default(), |at| at.to_string());
    Some(Read {
        print: format!("{when} {}", message_id.as_deref().unwrap_or_default()),
        changed: changed.and_then(|text| time::seconds(&text, zone)),
        entry: LogEntry {
            log: log.to_string(),
            id: id.to_string(),
            raw: serde_json::to_vec(body).ok().filter(|raw| raw.len() <= LONGEST_RAW).unwrap_or_default(),
            time: created.map_or(LogTime::Untold, LogTime::Clock),
            health: health(fields),
            component: component(fields),
            message: message.unwrap_or_else(|| "an entry without text".into()),
            message_id,
            event: None,
        },
    })
}

/// As the BMC words it; where it leaves that to a registry, the message's name with what belongs into it.
fn message(fields: Fields<'_>, message_id: Option<&str>) -> Option<String> {
    let own = fields.get("Message").and_then(|value| json::text(value, "")).map(|text| line(&text));
    own.filter(|text| !text.is_empty()).or_else(|| {
        let args: Vec<String> = fields.list("MessageArgs").filter_map(|value| json::text(value, "")).collect();
        match (message_id?, args.join(", ")) {
            (name, args) if args.is_empty() => Some(line(name)),
            (name, args) => Some(line(&format!("{name} ({args})"))),
        }
    })
}

/// On one line, without what gives orders to a terminal or turns text around.
fn line(text: &str) -> String {
    let plain = |c: char| match c {
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' => None,
        c if c.is_control() || c.is_whitespace() || matches!(c, '\u{2028}' | '\u{2029}') => Some(' '),
        c => Some(c),
    };
    let text: String = text.chars().filter_map(plain).take(4 * LONGEST_MESSAGE).collect();
    text.split(' ')
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(LONGEST_MESSAGE)
        .collect()
}

fn health(fields: Fields<'_>) -> Health {
    match fields.text(&["Severity", "MessageSeverity"]).map(|word| word.to_ascii_lowercase()).as_deref() {
        Some("ok" | "informational") => Health::Ok,
        Some("warning" | "caution") => Health::Warning,
        Some("critical" | "fatal") => Health::Critical,
        _ => raw_health(fields).unwrap_or_default(),
    }
}

/// Where the entry is a SEL record with its bytes beside it and no severity: by the tables of IPMI.
fn raw_health(fields: Fields<'_>) -> Option<Health> {
    let byte = |name: &str| {
        let text = fields.oem(&format!("RawEventData/{name}"))?;
        u8::from_str_radix(text.trim_start_matches("0x").trim_start_matches("0X"), 16).ok()
    };
    let (kind, event, first) = (byte("SensorType")?, byte("EventDirAndType")?, byte("EventData1")?);
    let (_, health) = states::state(kind, event & 0x7f, first & 0x0f)?;
    let ended = event & 0x80 != 0;
    Some(if ended && health > Health::Unknown { Health::Ok } else { health })
}

/// The sensor's type, else the part that the entry points to, else what its maker files it under.
fn component(fields: Fields<'_>) -> Option<String> {
    let sensor = fields.text(&["SensorType"]).filter(|kind| !kind.eq_ignore_ascii_case("oem"));
    let told = sensor.or_else(|| fields.text(&["OemSensorType"])).or_else(|| {
        let origin = target(fields.get("Links/OriginOfCondition").or_else(|| fields.get("OriginOfCondition"))?)?;
        Some(origin.trim_start_matches("/redfish/v1/").trim_end_matches('/').chars().take(256).collect())
    });
    told.or_else(|| fields.oem("ClassDescription")).or_else(|| fields.oem("Category"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn told(body: Value) -> LogEntry {
        read(&body, "L", "1", None).unwrap().entry
    }

    #[test]
    fn an_entry_is_told_with_time_severity_part_and_text() {
        let one =
            told(json!({"Created": "2024-06-11T00:13:00-05:00", "Severity": "Critical", "SensorType": "Temperature",
            "MessageId": "Base.1.0.Hot", "Message": " Too\r\n\u{1b}[31mhot\u{202e} "}));
        assert_eq!((one.log.as_str(), one.id.as_str(), one.time), ("L", "1", LogTime::Clock(1_718_082_780)));
        assert_eq!((one.health, one.component.as_deref()), (Health::Critical, Some("Temperature")));
        assert_eq!((one.message.as_str(), one.message_id.as_deref()), ("Too [31mhot", Some("Base.1.0.Hot")));
        assert!(String::from_utf8(one.raw).unwrap().contains("Base.1.0.Hot"));
    }

    #[test]
    fn b7_13_where_a_field_is_missing_what_stands_in_for_it_is_taken() {
        let one = told(
            json!({"MessageId": "R.1.0.Started", "MessageArgs": ["1.66", 7], "Oem": {"Any": {"ClassDescription": "Fan"}}}),
        );
        assert_eq!((one.message.as_str(), one.time), ("R.1.0.Started (1.66, 7)", LogTime::Untold));
        assert_eq!((one.health, one.component.as_deref()), (Health::Unknown, Some("Fan")));
        let one = told(json!({"Message": "x", "SensorType": "OEM", "MessageSeverity": "Warning",
            "Links": {"OriginOfCondition": {"@odata.id": "/redfish/v1/Chassis/1/"}}}));
        assert_eq!((one.health, one.component.as_deref()), (Health::Warning, Some("Chassis/1")));
        let one = told(json!({"Created": "2024-06-11T05:13:00Z", "Message": " "}));
        assert_eq!(one.message, "an entry without text");
    }

    #[test]
    fn an_event_without_a_severity_is_judged_by_its_bytes() {
        let with = |kind: &str, event: &str, first: &str| {
            let raw = json!({"SensorType": kind, "EventDirAndType": event, "EventData1": first});
            told(json!({"Message": "x", "Oem": {"Any": {"RawEventData": raw}}})).health
        };
        assert_eq!(with("0x08", "0x6F", "0xA1"), Health::Critical, "a supply's failure");
        assert_eq!(with("0x08", "0xEF", "0xA1"), Health::Ok, "and its end");
        for unknown in [with("0xCA", "0x6F", "0x18"), with("0x08", "", "0xA1"), with("x", "0x6F", "0xA1")] {
            assert_eq!(unknown, Health::Unknown);
        }
    }

    #[test]
    fn a_place_that_holds_no_entry_is_none() {
        let empty = json!({"Id": "1", "Created": "0000-00-00T00:00:00Z", "MessageId": "NULL", "Severity": "OK"});
        assert_eq!(read(&empty, "L", "1", None), None);
        for odd in [json!(null), json!("x"), json!([]), json!({})] {
            assert_eq!(read(&odd, "L", "1", None), None, "{odd}");
        }
    }

    #[test]
    fn an_entry_without_an_id_is_called_as_its_path_ends() {
        assert_eq!(id(&json!({"Id": 7, "@odata.id": "/redfish/v1/E/9"})).as_deref(), Some("7"));
        assert_eq!(id(&json!({"@odata.id": "/redfish/v1/E/9/"})).as_deref(), Some("9"));
        assert_eq!(id(&json!("/redfish/v1/E/9")).as_deref(), Some("9"));
        assert_eq!((id(&json!({})), id(&json!(null)), id(&json!({"@odata.id": "/"}))), (None, None, None));
    }

    proptest! {
        #[test]
        fn no_entry_panics_and_every_text_is_bounded_and_plain(text in "\\PC{0,40}", long in 0_usize..3000, control: char, number: f64) {
            let message = format!("{text}{control}{}", "x".repeat(long));
            for value in [json!(message), json!(number), json!([message]), json!({"State": message}), json!(null)] {
                let body = json!({"Id": value, "Created": value, "Severity": value, "Message": value, "MessageId": value,
                    "MessageArgs": value, "SensorType": value, "Links": value, "Modified": value,
                    "Oem": {"a": value, "b": {"Updated": value, "RawEventData": value}}});
                let _ = id(&value);
                if let Some(read) = read(&body, "L", "1", Some(0)) {
                    prop_assert!(read.entry.message.chars().count() <= LONGEST_MESSAGE);
                    prop_assert!(!read.entry.message.chars().any(char::is_control), "{:?}", read.entry.message);
                    prop_assert!(read.entry.raw.len() <= LONGEST_RAW);
                }
            }
        }
    }
}
