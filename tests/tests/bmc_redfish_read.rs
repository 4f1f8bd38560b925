//! What the Redfish client reads of sensors, from our simulator and from recorded trees that it serves.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use muster_bmc::{Bmcs, Health, Protocol, Reading, ReadingKind, Secret, Settings, Target, Trust};
use muster_tests::redfish_sim::RedfishSim;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;

async fn serve(chassis: &[&str], tree: BTreeMap<String, Value>) -> (RedfishSim, Bmcs, Target) {
    let sim = RedfishSim::start(vec![], None).await;
    let links: Vec<Value> = chassis.iter().map(|path| json!({"@odata.id": path})).collect();
    sim.state().set("Links", json!({"Chassis": links}));
    sim.state().tree = tree;
    let mut target = Target::new(Protocol::Redfish, format!("http://{}", sim.address), "admin", Secret::new("secret"));
    target.trust = Trust::Plain;
    (sim, Bmcs::new(Settings::default()), target)
}

fn tree(value: Value) -> BTreeMap<String, Value> {
    serde_json::from_value(value).unwrap()
}

fn link(path: &str) -> Value {
    json!({"@odata.id": path})
}

#[tokio::test]
async fn sensors_come_from_the_machines_own_chassis_and_from_newer_lists_where_there_is_nothing_else() {
    let served = tree(json!({
        "/redfish/v1/Chassis/1": {"Thermal": link("/redfish/v1/Chassis/1/Thermal"), "Sensors": link("/redfish/v1/Chassis/1/Sensors"),
            "Power": link("/redfish/v1/Chassis/1/Power")},
        "/redfish/v1/Chassis/1/Thermal": {"Fans": [{"Name": "Fan 1", "Reading": 4200, "ReadingUnits": "RPM", "Status": {"Health": "OK"}}]},
        "/redfish/v1/Chassis/2": {"Sensors": link("/redfish/v1/Chassis/2/Sensors")},
        "/redfish/v1/Chassis/2/Sensors": {"Members": [link("/redfish/v1/Chassis/2/Sensors/a"), link("/redfish/v1/Chassis/2/Sensors/gone")]},
        "/redfish/v1/Chassis/2/Sensors/a": {"Name": "Inlet", "Reading": 21.5, "ReadingUnits": "Cel"},
        "/redfish/v1/Chassis/9": {"Thermal": link("/redfish/v1/Chassis/1/Thermal")},
    }));
    let (sim, bmcs, target) = serve(&["/redfish/v1/Chassis/1", "/redfish/v1/Chassis/2"], served).await;
    let readings = bmcs.sensors(&target).await.unwrap();
    let told: Vec<_> = readings.iter().map(|one| (one.name.as_str(), one.kind, one.value)).collect();
    assert_eq!(told, [("Fan 1", ReadingKind::Fan, Some(4200.0)), ("Inlet", ReadingKind::Temperature, Some(21.5))]);
    assert_eq!(sim.state().count("GET", "Chassis/1/Sensors"), 0);
    assert_eq!(sim.state().count("GET", "Chassis/9"), 0, "a neighbour's chassis");
}

#[tokio::test]
async fn a_machine_without_a_chassis_has_no_sensors_and_says_so() {
    let (_sim, bmcs, target) =
        serve(&[], BTreeMap::from([("/redfish/v1/Chassis".into(), json!({"Members": []}))])).await;
    assert_eq!(bmcs.sensors(&target).await.unwrap_err().label(), "not-offered");
}

/// Recorded trees, with how many readings have a value in each.
#[tokio::test]
async fn recorded_trees_tell_every_temperature_fan_and_voltage_once() {
    let Ok(captures) = std::env::var("MUSTER_CAPTURES") else {
        eprintln!("skipped: MUSTER_CAPTURES does not name a folder");
        return;
    };
    let files = std::fs::read_dir(format!("{captures}/redfish")).unwrap();
    let mut tried = 0;
    for file in files.map(|file| file.unwrap().path()).filter(|path| path.to_string_lossy().ends_with(".json.gz")) {
        let unpacked = Command::new("zcat").arg(&file).output().unwrap().stdout;
        let recorded: BTreeMap<String, Value> = serde_json::from_slice(&unpacked).unwrap();
        let is_item = |path: &str, under: &str| {
            path.strip_prefix(under).is_some_and(|rest| !rest.is_empty() && !rest.contains('/'))
        };
        let chassis: Vec<String> =
            recorded.keys().filter(|path| is_item(path, "/redfish/v1/Chassis/")).cloned().collect();
        let chassis: Vec<&str> = chassis.iter().map(String::as_str).collect();
        let expected: usize = recorded
            .iter()
            .filter(|(path, _)| path.ends_with("/Thermal") || path.ends_with("/Power"))
            .flat_map(|(_, body)| {
                ["Temperatures", "Fans", "Voltages", "PowerSupplies", "PowerControl"].map(|list| &body[list])
            })
            .filter_map(Value::as_array)
            .map(Vec::len)
            .sum();
        let (_sim, bmcs, target) = serve(&chassis, recorded.clone()).await;
        let readings = bmcs.sensors(&target).await.unwrap();
        let listed: Vec<&Reading> = readings.iter().collect();
        assert!(listed.len() >= expected && expected > 0, "{}: {} of {expected}", file.display(), listed.len());
        for one in listed {
            let absent = one.state.iter().any(|state| state == "Absent");
            assert!(!absent || (one.value.is_none() && one.health == Health::Unknown), "{one:?}");
        }
        tried += 1;
    }
    assert!(tried > 0, "no recorded trees in {captures}");
}
