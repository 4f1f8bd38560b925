//! Which of a BMC's log services holds what befalls the hardware, and which is not worth the asking.
//!
//! No field says so: makers file the same events under `Sel`, `IML`, `Log1` or `EventLog`, and beside them logins, journals
//! and dumps. The order is by what type and names say; what they do not say keeps its place behind. A log with events comes
//! first and is read whole, others as far as it costs a read or two, and what is no list of events is left alone.

use super::fields::{Fields, target};
use super::time;
use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};

/// How near a log is to the hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// The hardware's own log, by its name.
    Named,
    /// By its type.
    Typed,
    /// It may have events of the hardware among others.
    Likely,
    /// Logins, changes of settings, whatever else.
    Beside,
    /// Dumps, journals, console output: no list of events.
    Foreign,
}

/// One log service.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    pub name: String,
    pub rank: Rank,
    /// Where its entries are.
    pub entries: String,
    pub clock: Clock,
    /// It keeps the oldest entries when it is full, and has room for so many.
    pub stops_at: Option<u64>,
}

/// What is known of the clock that a log's times were made by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// Theirs minus ours, in seconds.
    pub offset: Option<i64>,
    /// Seconds east of Greenwich.
    pub zone: Option<i64>,
}

impl Clock {
    /// Of a manager or a log service that was read just now.
    pub fn read(body: &Value) -> Self {
        let ours = SystemTime::now().duration_since(UNIX_EPOCH).ok().and_then(|now| i64::try_from(now.as_secs()).ok());
        Self::at(body, ours)
    }

    fn at(body: &Value, ours: Option<i64>) -> Self {
        let fields = Fields(body);
        let told = fields.text(&["DateTime"]);
        let zone = fields.text(&["DateTimeLocalOffset"]).and_then(|text| time::offset(&text));
        let theirs = told.as_deref().and_then(|text| time::seconds(text, zone));
        Self { offset: theirs.map(i64::from).zip(ours).map(|(theirs, ours)| theirs - ours), zone }
    }

    /// This one, and what it does not tell from another.
    pub fn or(self, other: Self) -> Self {
        Self { offset: self.offset.or(other.offset), zone: self.zone.or(other.zone) }
    }
}

impl Service {
    /// The service at this path. `manager` is the clock of the BMC as a whole.
    pub fn read(path: &str, body: &Value, manager: Clock) -> Self {
        let fields = Fields(body);
        let links = ["Entries", "Links/Entries"];
        let entries = links.iter().find_map(|name| target(fields.get(name)?));
        let keeps = fields.text(&["OverWritePolicy"]).is_some_and(|policy| policy == "NeverOverWrites");
        Self {
            name: name(path),
            rank: rank(path, fields),
            entries: entries.unwrap_or_else(|| format!("{}/Entries", path.trim_end_matches('/'))),
            clock: manager.or(Clock::read(body)),
            stops_at: fields.count(&["MaxNumberOfRecords"]).filter(|most| keeps && *most > 0),
        }
    }
}

/// What a log is called here: whose it is and its id. The path, where it is not built as usual.
pub fn name(path: &str) -> String {
    let path = path.trim_end_matches('/');
    let short = path.strip_prefix("/redfish/v1/").unwrap_or(path);
    short.replacen("/LogServices/", "/", 1).chars().take(256).collect()
}

const FOREIGN: [&str; 9] =
    ["dump", "postcode", "journal", "hostlog", "console", "telemetry", "crash", "debug", "diagnostic"];
const BESIDE: [&str; 7] = ["security", "audit", "access", "login", "lifecycle", "command", "maintenance"];
const NAMED: [&str; 5] =
    ["integratedmanagementlog", "systemeventlog", "healtheventlog", "hardwareeventlog", "platformeventlog"];
const LIKELY: [&str; 6] = ["event", "platform", "hardware", "fault", "systemlog", "activelog"];

fn rank(path: &str, fields: Fields<'_>) -> Rank {
    let id = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let called = fields.text(&["Name"]).unwrap_or_default();
    let kind = fields.text(&["LogEntryType"]).unwrap_or_default().to_ascii_lowercase();
    let words: String = format!("{id} {called}").to_ascii_lowercase().split(['_', '-', ' ']).collect();
    let has = |list: &[&str]| list.iter().any(|word| words.contains(word));
    match kind.as_str() {
        _ if matches!(id.as_str(), "sel" | "iml") => Rank::Named,
        _ if has(&FOREIGN) => Rank::Foreign,
        "sel" => Rank::Typed,
        _ if has(&BESIDE) => Rank::Beside,
        _ if has(&NAMED) => Rank::Named,
        // A manager's events are logins for the most part; where they are not, its log is a SEL or the only one.
        _ if path.contains("/Managers/") => Rank::Beside,
        "event" | "multiple" => Rank::Likely,
        _ if has(&LIKELY) => Rank::Likely,
        _ => Rank::Beside,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn ranked(path: &str, name: &str, kind: Value) -> Rank {
        Service::read(path, &json!({"Name": name, "LogEntryType": kind}), Clock::default()).rank
    }

    #[test]
    fn b7_14_the_hardwares_log_is_found_under_the_names_that_makers_give_it() {
        let sel = || json!("SEL");
        for (path, name, kind, rank) in [
            ("/redfish/v1/Managers/iDRAC.Embedded.1/LogServices/Sel", "SEL Log Service", sel(), Rank::Named),
            ("/redfish/v1/Managers/iDRAC.Embedded.1/LogServices/FaultList", "FaultListEntries", sel(), Rank::Typed),
            (
                "/redfish/v1/Managers/1/LogServices/Lclog",
                "LifeCycle Controller Log Service",
                json!("OEM"),
                Rank::Beside,
            ),
            ("/redfish/v1/Systems/1/LogServices/IML/", "Integrated Management Log", json!(null), Rank::Named),
            ("/redfish/v1/Systems/1/LogServices/Event", "Event", json!(null), Rank::Likely),
            ("/redfish/v1/Systems/1/LogServices/SL", "Security Log", json!(null), Rank::Beside),
            ("/redfish/v1/Managers/1/LogServices/IEL", "Event Log of the BMC", json!(null), Rank::Beside),
            ("/redfish/v1/Systems/1/LogServices/Log1", "Health Event Log Service", json!(null), Rank::Named),
            ("/redfish/v1/Systems/system/LogServices/EventLog", "Event Log Service", json!("Event"), Rank::Likely),
            (
                "/redfish/v1/Managers/bmc/LogServices/Journal",
                "Open BMC Journal Log Service",
                json!("Event"),
                Rank::Foreign,
            ),
            ("/redfish/v1/Systems/system/LogServices/PostCodes", "POST Code Log Service", json!(7), Rank::Foreign),
            ("/redfish/v1/Chassis/1/LogServices/X", "", json!([]), Rank::Beside),
        ] {
            assert_eq!(ranked(path, name, kind), rank, "{path}");
        }
    }

    #[test]
    fn a_log_is_called_by_whose_it_is() {
        assert_eq!(name("/redfish/v1/Systems/1/LogServices/IML/"), "Systems/1/IML");
        assert_eq!(name("/odd"), "/odd");
    }

    #[test]
    fn b7_13_the_clocks_difference_is_told_in_its_zone_or_not_at_all() {
        let ours = Some(1_718_082_000);
        let clock = |body: Value| Clock::at(&body, ours);
        let told = clock(json!({"DateTime": "2024-06-11T00:13:00-05:00", "DateTimeLocalOffset": "-05:00"}));
        assert_eq!(told, Clock { offset: Some(780), zone: Some(-18_000) });
        let without = clock(json!({"DateTime": "2024-06-11T00:13:00", "DateTimeLocalOffset": "-05:00"}));
        assert_eq!(without, told);
        for unknown in
            [json!({"DateTime": "2024-06-11T00:13:00"}), json!({"DateTime": "1970-01-01T00:00:09Z"}), json!(7)]
        {
            assert_eq!(clock(unknown.clone()).offset, None, "{unknown}");
        }
        assert_eq!(Clock::default().or(told), told);
    }

    #[test]
    fn only_a_log_that_stops_when_it_is_full_loses_what_is_new() {
        let stops = |policy: &str, most: Value| {
            Service::read("/x", &json!({"OverWritePolicy": policy, "MaxNumberOfRecords": most}), Clock::default())
                .stops_at
        };
        assert_eq!(stops("NeverOverWrites", json!("512")), Some(512));
        assert_eq!((stops("WrapsWhenFull", json!(512)), stops("NeverOverWrites", json!(0))), (None, None));
    }

    proptest! {
        #[test]
        fn no_service_panics(path in "\\PC*", text in "\\PC*", number: f64) {
            for value in [json!(text), json!(number), json!([text]), json!({"@odata.id": text})] {
                let body = json!({"Name": value, "LogEntryType": value, "Entries": value, "DateTime": value,
                    "DateTimeLocalOffset": value, "MaxNumberOfRecords": value, "OverWritePolicy": value});
                let _ = (Service::read(&path, &body, Clock::default()), Service::read(&path, &value, Clock::default()));
            }
        }
    }
}
