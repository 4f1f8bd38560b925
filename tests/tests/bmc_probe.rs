//! What a BMC is tried for once: how it wants to be written to, and which keys it hides until it is restarted.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use muster_bmc::{Bmcs, BootDevice, BootOrder, Learnt, Protocol, Quirk, Secret, Settings, Target, Trust, WriteHabit};
use muster_names::FirmwareMode;
use muster_tests::ipmi_sim::{IpmiSim, Traits};
use muster_tests::redfish_sim::{Habit, RedfishSim, recorded};
use serde_json::json;
use std::time::Duration;

const PXE_ONCE: BootOrder = BootOrder { device: BootDevice::Pxe, mode: FirmwareMode::Uefi, once: true };

async fn redfish(habits: Vec<Habit>) -> (RedfishSim, Bmcs, Target) {
    let sim = RedfishSim::start(habits, None).await;
    sim.state().set("LogServices", json!({"@odata.id": "/redfish/v1/Systems/1/LogServices"}));
    let mut target = Target::new(Protocol::Redfish, format!("http://{}", sim.address), "admin", Secret::new("secret"));
    target.trust = Trust::Plain;
    (sim, Bmcs::new(Settings { rest: Duration::from_millis(50), ..Settings::default() }), target)
}

#[tokio::test]
async fn b7_3_how_a_bmc_wants_to_be_written_to_is_found_out_and_nothing_is_changed() {
    use Habit::{ChokesOnIfMatch, DemandsFullBoot, DemandsIfMatch, EmptyTag, WantsBareTag};
    for (habits, habit) in [
        (vec![], WriteHabit::Either),
        (vec![WantsBareTag], WriteHabit::Either),
        (vec![DemandsFullBoot], WriteHabit::Either),
        (vec![ChokesOnIfMatch], WriteHabit::Refused),
        (vec![EmptyTag], WriteHabit::Untagged),
        (vec![DemandsIfMatch], WriteHabit::Needed),
        (vec![DemandsIfMatch, WantsBareTag], WriteHabit::NeededBare),
        (vec![DemandsIfMatch, WantsBareTag, DemandsFullBoot], WriteHabit::NeededBare),
    ] {
        for enabled in ["Once", "Disabled"] {
            let (sim, bmcs, target) = redfish(habits.clone()).await;
            let held = json!({"BootSourceOverrideEnabled": enabled, "BootSourceOverrideTarget": "BiosSetup",
                "BootSourceOverrideMode": "Legacy"});
            sim.state().set("Boot", held.clone());
            let found = bmcs.probe_write(&target).await;
            assert_eq!(found.unwrap_or_else(|error| panic!("{habits:?}: {error:?}")), habit, "{habits:?} {enabled}");
            assert_eq!(sim.state().get("/Boot"), held, "{habits:?}: it is as it was");
        }
    }
}

#[tokio::test]
async fn b7_3_what_was_learnt_spares_the_next_bmc_of_its_kind_the_refusals() {
    for habit in [Habit::DemandsIfMatch, Habit::ChokesOnIfMatch] {
        let (sim, bmcs, mut target) = redfish(vec![habit.clone()]).await;
        let learnt = Learnt { if_match: Some(bmcs.probe_write(&target).await.unwrap()), ..Learnt::default() };
        target.quirks = learnt.quirks();
        let before = sim.state().count("PATCH", "");
        bmcs.set_boot(&target, PXE_ONCE).await.unwrap();
        assert_eq!(sim.state().count("PATCH", "") - before, 1, "{habit:?}: taken at once");
    }
}

#[tokio::test]
async fn b7_3_a_refusal_that_is_not_about_the_tag_is_said_and_nothing_is_learnt() {
    let (sim, bmcs, target) = redfish(vec![Habit::RefusesNoChange]).await;
    let error = bmcs.probe_write(&target).await.unwrap_err();
    assert!(error.label() == "declined" && error.fault().to_string().contains("PropertyValueConflict"), "{error:?}");
    sim.state().habits = vec![Habit::DemandsIfMatch, Habit::ChokesOnIfMatch];
    let error = bmcs.probe_write(&target).await.unwrap_err();
    assert!(error.fault().to_string().contains("in every form"), "{error:?}");
    sim.state().set("Boot", json!({}));
    assert_eq!(bmcs.probe_write(&target).await.unwrap_err().label(), "not-offered");
    sim.state().habits = vec![];
    sim.state().set("PowerState", json!("On"));
    sim.state().set("BootProgress", json!({"LastState": "MemoryInitializationStarted"}));
    let mut target = target;
    target.quirks = vec![Quirk::NoBootInPost];
    assert_eq!(bmcs.probe_write(&target).await.unwrap_err().label(), "busy", "not in the self-test");
}

#[tokio::test]
async fn b7_13_keys_that_come_with_a_restart_of_the_bmc_are_told_before_and_not_after() {
    let (sim, bmcs, target) = redfish(vec![]).await;
    assert_eq!(bmcs.missing(&target).await.unwrap(), [""; 0]);
    sim.state().manager.hides = vec!["/PowerState", "/Boot/BootSourceOverrideTarget", "/SerialNumber"];
    let before = bmcs.missing(&target).await.unwrap();
    assert_eq!(before, ["PowerState", "SerialNumber", "Boot.BootSourceOverrideTarget"]);
    bmcs.reset_bmc(&target).await.unwrap();
    tokio::time::sleep(Duration::from_millis(80)).await;
    assert_eq!(bmcs.missing(&target).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn over_ipmi_there_is_no_tag_and_no_key_to_miss() {
    let sim = IpmiSim::start(Traits::default()).await;
    let target = Target::new(Protocol::Ipmi, sim.address.to_string(), "admin", Secret::new("secret"));
    let bmcs = Bmcs::new(Settings::default());
    assert_eq!(bmcs.probe_write(&target).await.unwrap(), WriteHabit::NotApplicable);
    assert_eq!(bmcs.missing(&target).await.unwrap(), [""; 0]);
    assert_eq!(sim.state().logins, 0, "it is not even asked");
}

#[tokio::test]
async fn of_recorded_machines_it_is_told_what_they_hide() {
    for (name, hidden) in [("dell_r750", &[][..]), ("hpe_dl380a_gen11", &[]), ("supermicro_x10", &["SerialNumber"])] {
        let Some(tree) = recorded(name) else { continue };
        let (sim, bmcs, target) = redfish(vec![]).await;
        sim.state().tree = tree;
        assert_eq!(bmcs.missing(&target).await.unwrap(), hidden, "{name}");
    }
}
