//! A machine read whole through its BMC, over real connections.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use muster_bmc::{Bmcs, Hardware, Kind, Protocol, Secret, Settings, Target, Trust};
use muster_catalog::Catalog;
use muster_tests::redfish_sim::{Habit, Identity, RedfishSim};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

fn link(path: &str) -> Value {
    json!({"@odata.id": format!("/redfish/v1{path}")})
}

/// A machine with so many memory modules.
fn tree(modules: usize) -> BTreeMap<String, Value> {
    let members = |paths: Vec<String>| json!({"Members": paths.iter().map(|path| link(path)).collect::<Vec<_>>()});
    let mut tree = BTreeMap::from([
        ("".to_string(), json!({"Systems": link("/Systems"), "Links": {"Sessions": link("/SessionService/Sessions")}})),
        ("/Systems".into(), members(vec!["/Systems/1".into()])),
        (
            "/Systems/1".into(),
            json!({"Manufacturer": "ACME", "SerialNumber": "S1", "PowerState": "On", "Memory": link("/M")}),
        ),
        ("/M".into(), members((0..modules).map(|at| format!("/M/{at}")).collect())),
    ]);
    for at in 0..modules {
        let module = json!({"DeviceLocator": format!("A{at}"), "SerialNumber": format!("M{at}"), "CapacityMiB": 1024});
        tree.insert(format!("/M/{at}"), module);
    }
    tree.into_iter().map(|(path, body)| (format!("/redfish/v1{path}"), body)).collect()
}

async fn serving(habits: Vec<Habit>, modules: usize) -> (RedfishSim, Bmcs, Target) {
    let sim = RedfishSim::start(habits, None).await;
    sim.state().tree = tree(modules);
    let mut target = Target::new(Protocol::Redfish, format!("http://{}", sim.address), "admin", Secret::new("secret"));
    target.trust = Trust::Plain;
    (sim, Bmcs::new(Settings::default()), target)
}

async fn inspect(bmcs: &Bmcs, target: &Target) -> Result<Hardware, muster_bmc::Error> {
    bmcs.inspect(target, &Catalog::default(), &|_| {}).await
}

#[tokio::test]
async fn a_machine_is_read_in_one_session_that_is_given_back() {
    for habits in [vec![], vec![Habit::NoSessions]] {
        let (sim, bmcs, target) = serving(habits, 40).await;
        let reads = AtomicUsize::new(0);
        let told =
            bmcs.inspect(&target, &Catalog::default(), &|done| reads.store(done, Ordering::SeqCst)).await.unwrap();
        assert_eq!((told.serial.as_deref(), told.memory.len()), (Some("S1"), 40));
        assert_eq!(told.gaps, []);
        assert!(reads.load(Ordering::SeqCst) > 40);
        bmcs.close_all().await;
        assert_eq!(sim.state().open_sessions(), 0);
        assert!(sim.state().logins <= 1);
    }
}

#[tokio::test]
async fn the_key_behind_the_address_is_told_to_be_pinned() {
    let identity = Identity::new();
    let sim = RedfishSim::start(vec![], Some(&identity)).await;
    sim.state().tree = tree(1);
    let target = Target::new(Protocol::Redfish, sim.address.to_string(), "admin", Secret::new("secret"));
    let told = inspect(&Bmcs::new(Settings::default()), &target).await.unwrap();
    assert_eq!(told.bmc.tls_pin, Some(identity.pin));
}

#[tokio::test]
async fn a5_6_a_wrong_password_ends_the_reading_at_once() {
    let (sim, bmcs, mut target) = serving(vec![], 3).await;
    target.password = Secret::new("wrong");
    let error = inspect(&bmcs, &target).await.unwrap_err();
    assert_eq!((error.label(), error.kind()), ("login", Kind::Refused));
    assert_eq!(sim.state().count("POST", "Sessions"), 1, "one try, and no second for the next resource");
}

#[tokio::test]
async fn one_answer_that_is_cut_short_is_a_gap_and_the_rest_is_read() {
    let (sim, bmcs, target) = serving(vec![], 4).await;
    sim.state().cut.push("/redfish/v1/M/2".into());
    let told = inspect(&bmcs, &target).await.unwrap();
    assert_eq!(told.memory.len(), 3);
    let [gap] = told.gaps.as_slice() else { panic!("{:?}", told.gaps) };
    assert_eq!(gap.at, "/redfish/v1/M/2");
    assert!(gap.reason.contains("JSON"), "{}", gap.reason);
}

#[tokio::test]
async fn b7_6_a_bmc_that_is_not_well_for_a_moment_is_asked_again() {
    let (sim, bmcs, target) = serving(vec![], 4).await;
    inspect(&bmcs, &target).await.unwrap();
    sim.state().moods.extend([(503, Value::Null), (500, Value::Null)]);
    assert_eq!(inspect(&bmcs, &target).await.unwrap().memory.len(), 4);
}

#[tokio::test]
async fn b7_2_a_session_that_ends_in_the_middle_is_renewed() {
    let (sim, bmcs, target) = serving(vec![], 4).await;
    inspect(&bmcs, &target).await.unwrap();
    sim.state().restart();
    assert_eq!(inspect(&bmcs, &target).await.unwrap().memory.len(), 4);
    assert_eq!(sim.state().logins, 2);
}

#[tokio::test]
async fn an_address_where_nobody_answers_is_said_to_be_unreachable() {
    let mut target = Target::new(Protocol::Redfish, "http://127.0.0.1:1", "admin", Secret::new("secret"));
    target.trust = Trust::Plain;
    let error = inspect(&Bmcs::new(Settings::default()), &target).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable);
}
