//! What Redfish tells of temperatures, fans, voltages and power: `Thermal` and `Power` of the machine's chassis, or its
//! `Sensors` where a newer BMC has nothing else.
//!
//! A sensor that its BMC calls absent or disabled has no value, whatever number stands beside it: some write zero.

use super::{Turn, json};
use crate::{Fault, Health, Reading, ReadingKind, Thresholds};
use serde_json::Value;
use std::collections::BTreeSet;

const CHASSIS: &str = "/redfish/v1/Chassis";
/// Far above what any machine has.
const MOST_CHASSIS: usize = 64;
const MOST_SENSORS: usize = 1024;

/// Every sensor of the chassis that hold the machine; of all chassis where the machine names none.
pub async fn sensors(turn: &Turn<'_>) -> Result<Vec<Reading>, Fault> {
    let (_, system) = turn.system().await?;
    let named = system.body.pointer("/Links/Chassis").and_then(Value::as_array);
    let mut chassis: Vec<String> = named.into_iter().flatten().filter_map(|link| json::link(link, "")).collect();
    if chassis.is_empty() {
        let root = turn.connection.root(turn.lane).await?.body;
        let all = json::link(&root, "/Chassis").unwrap_or_else(|| CHASSIS.to_string());
        chassis = json::members(&turn.get(&all).await?.body);
    }
    let (mut readings, mut read) = (Vec::new(), BTreeSet::new());
    for path in chassis.into_iter().take(MOST_CHASSIS) {
        let Some(body) = optional(turn, &path, &mut read).await? else { continue };
        let before = readings.len();
        for link in ["/Thermal", "/Power"] {
            if let Some(path) = json::link(&body, link)
                && let Some(body) = optional(turn, &path, &mut read).await?
            {
                readings.extend(listed(&body));
            }
        }
        if readings.len() == before
            && let Some(path) = json::link(&body, "/Sensors")
            && let Some(body) = optional(turn, &path, &mut read).await?
        {
            for path in json::members(&body).into_iter().take(MOST_SENSORS) {
                let body = optional(turn, &path, &mut read).await?;
                readings.extend(body.as_ref().and_then(single));
            }
        }
    }
    if read.is_empty() {
        return Err(Fault::NotOffered("a chassis, and so no sensors".into()));
    }
    Ok(readings)
}

/// A resource that may be missing, though something links to it; and each once.
async fn optional(turn: &Turn<'_>, path: &str, read: &mut BTreeSet<String>) -> Result<Option<Value>, Fault> {
    if !read.insert(path.to_string()) {
        return Ok(None);
    }
    match turn.get(path).await {
        Ok(answer) => Ok(Some(answer.body)),
        Err(Fault::NotOffered(_)) => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// A list of `Thermal` or `Power`: what is in it, and where the number stands. Earlier schemas name fans otherwise.
const LISTS: [(&str, ReadingKind, &[&str], Option<&str>); 5] = [
    ("Temperatures", ReadingKind::Temperature, &["/ReadingCelsius"], Some("celsius")),
    ("Fans", ReadingKind::Fan, &["/Reading", "/ReadingRPM", "/CurrentReading"], None),
    ("Voltages", ReadingKind::Voltage, &["/ReadingVolts"], Some("volts")),
    ("PowerControl", ReadingKind::Power, &["/PowerConsumedWatts"], Some("watts")),
    (
        "PowerSupplies",
        ReadingKind::PowerSupply,
        &["/PowerOutputWatts", "/LastPowerOutputWatts", "/PowerInputWatts"],
        Some("watts"),
    ),
];

/// What `Thermal` and `Power` list.
fn listed(body: &Value) -> Vec<Reading> {
    let mut readings = Vec::new();
    for (list, kind, numbers, unit) in LISTS {
        let items: Vec<&Value> = body.get(list).and_then(Value::as_array).into_iter().flatten().collect();
        let called = |item: &Value| json::text(item, "/Name").or_else(|| json::text(item, "/FanName"));
        for (place, item) in items.iter().enumerate().filter(|(_, item)| item.is_object()) {
            let alike = items.iter().filter(|other| called(other) == called(item)).count();
            let number = json::text(item, "/MemberId").unwrap_or_else(|| place.to_string());
            let name = match called(item) {
                Some(name) if alike == 1 => name,
                Some(name) => format!("{name} {number}"),
                None => format!("{list} {number}"),
            };
            let told = ["/ReadingUnits", "/Units"].iter().find_map(|field| json::text(item, field));
            let unit = unit.map(str::to_string).or_else(|| told.map(|told| self::unit(&told)));
            let unit = unit.or_else(|| (kind == ReadingKind::Fan).then(|| "rpm".to_string()));
            readings.push(reading(item, name, kind, numbers, unit));
        }
    }
    readings
}

/// A resource of `Sensors`.
fn single(body: &Value) -> Option<Reading> {
    let name = json::text(body, "/Name").or_else(|| json::text(body, "/Id"))?;
    let kind = match json::text(body, "/ReadingType").unwrap_or_default().as_str() {
        "Temperature" => ReadingKind::Temperature,
        "Voltage" => ReadingKind::Voltage,
        "Current" => ReadingKind::Current,
        "Power" => ReadingKind::Power,
        "Rotational" => ReadingKind::Fan,
        _ => match json::text(body, "/ReadingUnits").unwrap_or_default().as_str() {
            "Cel" => ReadingKind::Temperature,
            "V" => ReadingKind::Voltage,
            "A" => ReadingKind::Current,
            "W" => ReadingKind::Power,
            "RPM" | "{rev}/min" => ReadingKind::Fan,
            _ => ReadingKind::Other,
        },
    };
    let unit = json::text(body, "/ReadingUnits").map(|told| unit(&told));
    Some(reading(body, name, kind, &["/Reading"], unit))
}

fn reading(item: &Value, name: String, kind: ReadingKind, numbers: &[&str], unit: Option<String>) -> Reading {
    let state = json::text(item, "/Status/State");
    let is_there = state.as_deref().is_none_or(|state| !matches!(state, "Absent" | "Disabled" | "UnavailableOffline"));
    let number = numbers.iter().find_map(|field| json::text(item, field)?.parse::<f64>().ok());
    let health = match json::text(item, "/Status/Health").as_deref() {
        _ if !is_there => Health::Unknown,
        Some("OK") => Health::Ok,
        Some("Warning") => Health::Warning,
        Some("Critical") => Health::Critical,
        _ => Health::Unknown,
    };
    Reading {
        name,
        kind,
        value: number.filter(|number| is_there && number.is_finite()),
        unit,
        state: state.filter(|state| state != "Enabled").into_iter().collect(),
        health,
        thresholds: if is_there { thresholds(item) } else { Thresholds::default() },
    }
}

/// As `Thermal` and `Power` have them, or as a sensor of its own has.
fn thresholds(item: &Value) -> Thresholds {
    let told = |listed: &str, own: &str| {
        let places = [format!("/{listed}"), format!("/Thresholds/{own}/Reading")];
        let number = places.iter().find_map(|place| json::text(item, place)?.parse::<f64>().ok());
        number.filter(|number| number.is_finite())
    };
    Thresholds {
        lower_fatal: told("LowerThresholdFatal", "LowerFatal"),
        lower_critical: told("LowerThresholdCritical", "LowerCritical"),
        lower_warning: told("LowerThresholdNonCritical", "LowerCaution"),
        upper_warning: told("UpperThresholdNonCritical", "UpperCaution"),
        upper_critical: told("UpperThresholdCritical", "UpperCritical"),
        upper_fatal: told("UpperThresholdFatal", "UpperFatal"),
    }
}

/// The units of the standard in the words that IPMI's have here.
fn unit(told: &str) -> String {
    let word = match told {
        "Cel" => "celsius",
        "V" => "volts",
        "A" => "amperes",
        "W" => "watts",
        "RPM" | "{rev}/min" => "rpm",
        "%" | "Percent" => "percent",
        "Hz" => "hertz",
        "J" => "joules",
        other => return other.to_ascii_lowercase(),
    };
    word.to_string()
}

/// For the fuzzer: every reader of this file on any JSON.
pub fn parse(body: &Value) {
    let _ = (listed(body), single(body));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn b7_13_lists_are_read_in_old_and_new_spelling() {
        let body = json!({
            "Temperatures": [{"Name": "CPU1 Temp", "ReadingCelsius": 37, "Status": {"State": "Enabled", "Health": "OK"}}],
            "Fans": [
                {"Name": "Fan 1", "Reading": 23, "ReadingUnits": "Percent", "Status": {"Health": "Warning"}},
                {"FanName": "Fan 2", "ReadingRPM": "5400 "},
                {"FanName": "Fan 3", "CurrentReading": 30, "Units": "Percent"}],
            "Voltages": [null, {"MemberId": "7", "ReadingVolts": 12.1}],
            "PowerSupplies": [
                {"Name": "Supply", "MemberId": "0", "LastPowerOutputWatts": 222, "Status": {"Health": "Critical"}},
                {"Name": "Supply", "MemberId": "1", "PowerInputWatts": 240}],
            "PowerControl": {"PowerConsumedWatts": 3},
        });
        let told: Vec<_> = listed(&body).into_iter().map(|one| (one.name, one.value, one.unit, one.health)).collect();
        let row =
            |name: &str, value, unit: &str, health| (name.to_string(), Some(value), Some(unit.to_string()), health);
        let expected = [
            row("CPU1 Temp", 37.0, "celsius", Health::Ok),
            row("Fan 1", 23.0, "percent", Health::Warning),
            row("Fan 2", 5400.0, "rpm", Health::Unknown),
            row("Fan 3", 30.0, "percent", Health::Unknown),
            row("Voltages 7", 12.1, "volts", Health::Unknown),
            row("Supply 0", 222.0, "watts", Health::Critical),
            row("Supply 1", 240.0, "watts", Health::Unknown),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_is_absent_has_no_value_though_a_zero_stands_there() {
        let body = json!({"Fans": [{"Name": "FAN1", "Reading": 0, "LowerThresholdFatal": 0, "Status": {"State": "Absent", "Health": "OK"}}]});
        let [fan] = listed(&body).try_into().unwrap();
        assert_eq!(fan.thresholds, Thresholds::default());
        assert_eq!((fan.value, fan.health, fan.state), (None, Health::Unknown, vec!["Absent".to_string()]));
    }

    #[test]
    fn a_sensor_of_its_own_is_read_with_its_kind() {
        let body = json!({"Name": "Ambient", "Reading": 22.5, "ReadingUnits": "Cel", "Status": {"Health": "OK"}});
        let one = single(&body).unwrap();
        assert_eq!((one.kind, one.value, one.unit.as_deref()), (ReadingKind::Temperature, Some(22.5), Some("celsius")));
        assert_eq!(one.thresholds, Thresholds::default());
        let body = json!({"Id": "p", "Reading": null, "ReadingType": "Power", "ReadingUnits": "W"});
        assert_eq!(single(&body).map(|one| (one.kind, one.value)), Some((ReadingKind::Power, None)));
        assert_eq!(single(&json!([])), None);
    }

    #[test]
    fn thresholds_are_read_as_either_schema_has_them() {
        let fan = json!({"Fans": [{"Name": "F", "LowerThresholdCritical": "600", "LowerThresholdNonCritical": 840.5,
            "UpperThresholdFatal": null}]});
        let [fan] = listed(&fan).try_into().unwrap();
        let expected = Thresholds { lower_critical: Some(600.0), lower_warning: Some(840.5), ..Thresholds::default() };
        assert_eq!(fan.thresholds, expected);
        let own =
            json!({"Name": "T", "Thresholds": {"UpperCaution": {"Reading": 40}, "UpperCritical": {"Reading": 45}}});
        let expected = Thresholds { upper_warning: Some(40.0), upper_critical: Some(45.0), ..Thresholds::default() };
        assert_eq!(single(&own).unwrap().thresholds, expected);
    }

    proptest! {
        #[test]
        fn no_field_of_another_type_panics(list in 0_usize..5, field in "\\PC*", number: f64) {
            let (list, ..) = LISTS[list];
            for item in [json!(field), json!([number]), json!({"Name": number, "Reading": field, "Status": number})] {
                let _ = (listed(&json!({list: [item, item], "Fans": item})), single(&item));
            }
        }
    }
}
