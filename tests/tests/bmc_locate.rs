//! The locate light and the restart of a BMC, over both protocols.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use muster_bmc::{Bmcs, Kind, Protocol, Secret, Settings, Target, Trust};
use muster_names::Power;
use muster_tests::ipmi_peers::{ipmitool, needs};
use muster_tests::ipmi_sim::{IpmiSim, Mishap, Traits};
use muster_tests::redfish_sim::{Habit, RedfishSim};
use serde_json::{Value, json};
use std::time::Duration;

fn brisk() -> Settings {
    Settings { answer: Duration::from_millis(150), rest: Duration::from_millis(200), ..Settings::default() }
}

async fn redfish(habits: Vec<Habit>) -> (RedfishSim, Bmcs, Target) {
    let sim = RedfishSim::start(habits, None).await;
    let mut target = Target::new(Protocol::Redfish, format!("http://{}", sim.address), "admin", Secret::new("secret"));
    target.trust = Trust::Plain;
    (sim, Bmcs::new(brisk()), target)
}

async fn ipmi() -> (IpmiSim, Bmcs, Target) {
    let sim = IpmiSim::start(Traits::default()).await;
    let target = Target::new(Protocol::Ipmi, sim.address.to_string(), "admin", Secret::new("secret"));
    (sim, Bmcs::new(brisk()), target)
}

// ---- the light

#[tokio::test]
async fn a_light_is_switched_and_read_back_whichever_word_the_bmc_has_for_it() {
    let active = || json!({"LocationIndicatorActive": false});
    let lamp = |state: &str| json!({"IndicatorLED": state});
    let dell = json!({"IndicatorLED": "Lit", "Oem": {"Dell": {}}});
    for (habits, system, chassis, on, off) in [
        (vec![], active(), json!({"LocationIndicatorActive": false}), json!(true), json!(false)),
        (vec![], lamp("Off"), Value::Null, json!("Blinking"), json!("Off")),
        (vec![Habit::LampDoesNotBlink], lamp("Off"), Value::Null, json!("Lit"), json!("Off")),
        (vec![Habit::LampIsNeverOff], dell, Value::Null, json!("Blinking"), json!("Lit")),
        (vec![Habit::DemandsIfMatch], lamp("Off"), Value::Null, json!("Blinking"), json!("Off")),
    ] {
        let (sim, bmcs, target) = redfish(habits.clone()).await;
        for (name, value) in system.as_object().unwrap() {
            sim.state().set(name, value.clone());
        }
        sim.state().lights = chassis;
        let name = if system.get("IndicatorLED").is_some() { "IndicatorLED" } else { "LocationIndicatorActive" };
        assert_eq!(bmcs.locate(&target).await.unwrap(), Some(false), "{system} {habits:?}");
        for (wanted, word) in [(true, &on), (false, &off)] {
            bmcs.set_locate(&target, wanted).await.unwrap_or_else(|error| panic!("{system} {habits:?}: {error:?}"));
            assert_eq!(&sim.state().get(&format!("/{name}")), word);
            assert_eq!(bmcs.locate(&target).await.unwrap(), Some(wanted));
        }
        let sent = sim.state().count("PATCH", "");
        bmcs.set_locate(&target, false).await.unwrap();
        assert_eq!(sim.state().count("PATCH", ""), sent, "what is so already is not sent");
    }
}

#[tokio::test]
async fn a_light_of_the_chassis_is_found_where_the_system_has_none() {
    let (sim, bmcs, target) = redfish(vec![]).await;
    sim.state().set("Links", json!({"Chassis": [{"@odata.id": "/redfish/v1/Chassis/1"}]}));
    sim.state().set("IndicatorLED", json!("Off"));
    sim.state().lights = json!({"LocationIndicatorActive": true});
    assert_eq!(bmcs.locate(&target).await.unwrap(), Some(true), "the newer word goes first");
    bmcs.set_locate(&target, false).await.unwrap();
    assert_eq!(sim.state().lights["LocationIndicatorActive"], false);
    assert_eq!(sim.state().get("/IndicatorLED"), "Off");
}

#[tokio::test]
async fn a_light_that_is_not_there_or_does_not_follow_is_said() {
    let (_sim, bmcs, target) = redfish(vec![]).await;
    assert_eq!(bmcs.locate(&target).await.unwrap(), None);
    let error = bmcs.set_locate(&target, true).await.unwrap_err();
    assert_eq!((error.label(), error.may_have_happened()), ("not-offered", false), "{error:?}");
    let (sim, bmcs, target) = redfish(vec![Habit::ForgetsLight]).await;
    sim.state().set("LocationIndicatorActive", json!(false));
    let error = bmcs.set_locate(&target, true).await.unwrap_err();
    assert!(error.kind() == Kind::Refused && error.fault().to_string().contains("reads back off"), "{error:?}");
}

#[tokio::test]
async fn a_light_is_switched_over_ipmi_and_ipmitool_sees_it() {
    needs("ipmitool", "ipmitool");
    let (sim, bmcs, target) = ipmi().await;
    assert_eq!(bmcs.locate(&target).await.unwrap(), Some(false));
    bmcs.set_locate(&target, true).await.unwrap();
    assert_eq!((bmcs.locate(&target).await.unwrap(), sim.state().light), (Some(true), 2));
    let port = sim.address.port();
    // ipmitool has no word for reading it; it switches, and we see it.
    let said = ipmitool("17", port, "chassis identify 0").await;
    assert!(said.contains("off"), "{said}");
    assert_eq!(bmcs.locate(&target).await.unwrap(), Some(false));
    ipmitool("17", port, "chassis identify force").await;
    assert_eq!(bmcs.locate(&target).await.unwrap(), Some(true));
    bmcs.set_locate(&target, false).await.unwrap();
    assert_eq!(sim.state().light, 0);
    sim.plan([Mishap::Code(0xc7)]);
    let error = bmcs.set_locate(&target, true).await.unwrap_err();
    assert_eq!((error.label(), error.may_have_happened()), ("not-offered", false), "{error:?}");
    sim.state().light = 2;
    sim.plan([Mishap::Code(0xc7)]);
    bmcs.set_locate(&target, false).await.unwrap();
    assert_eq!(sim.state().light, 0, "off is one byte to those who know no second");
}

// ---- the restart

#[tokio::test]
async fn a_bmc_is_restarted_gently_once_and_rests_until_it_is_back() {
    let (sim, bmcs, target) = redfish(vec![]).await;
    bmcs.power(&target).await.unwrap();
    bmcs.reset_bmc(&target).await.unwrap();
    assert_eq!(sim.state().manager.resets, ["GracefulRestart"]);
    let asked = sim.state().seen.len();
    let error = bmcs.power(&target).await.unwrap_err();
    assert_eq!((error.kind(), error.label()), (Kind::Unreachable, "resting"), "{error:?}");
    assert_eq!(sim.state().seen.len(), asked, "nothing is sent meanwhile, no DELETE of a session either");
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(bmcs.power(&target).await.unwrap(), Power::Off);
    assert_eq!(sim.state().logins, 2, "by a new session");
}

#[tokio::test]
async fn a_bmc_that_knows_one_word_for_its_restart_or_tells_none_is_sent_that() {
    for (words, sent) in [(json!(["ForceRestart"]), "ForceRestart"), (Value::Null, "GracefulRestart")] {
        let (sim, bmcs, target) = redfish(vec![]).await;
        sim.state().manager.words = words;
        sim.state().set("Links", json!({}));
        bmcs.reset_bmc(&target).await.unwrap();
        assert_eq!(sim.state().manager.resets, [sent]);
    }
    let (sim, bmcs, target) = redfish(vec![]).await;
    sim.state().manager.words = json!(["PowerCycle"]);
    let error = bmcs.reset_bmc(&target).await.unwrap_err();
    assert_eq!((error.label(), error.may_have_happened()), ("not-offered", false), "{error:?}");
    assert_eq!(sim.state().count("POST", "Manager.Reset"), 0);
    assert!(bmcs.power(&target).await.is_ok(), "one that was not restarted does not rest");
}

#[tokio::test]
async fn a5_6_a_bmc_that_does_not_know_its_users_while_it_starts_is_no_failed_login() {
    let (sim, bmcs, target) = redfish(vec![]).await;
    (sim.state().manager.away_for, sim.state().manager.forgets_users_for) = (1, 2);
    bmcs.reset_bmc(&target).await.unwrap();
    let mut labels = Vec::new();
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        match bmcs.power(&target).await {
            Ok(power) => {
                assert_eq!(power, Power::Off);
                assert!(!labels.contains(&"login") && !labels.contains(&"logins-held"), "{labels:?}");
                return;
            }
            Err(error) => labels.push(error.label()),
        }
    }
    panic!("it did not come back: {labels:?}");
}

#[tokio::test]
async fn a_restart_whose_answer_is_lost_is_sent_once_and_may_have_happened() {
    let (sim, bmcs, target) = redfish(vec![Habit::DropsRestartReply]).await;
    let error = bmcs.reset_bmc(&target).await.unwrap_err();
    assert_eq!((error.kind(), error.may_have_happened()), (Kind::Unreachable, true), "{error:?}");
    assert_eq!(sim.state().count("POST", "Manager.Reset"), 1);
    assert_eq!(bmcs.power(&target).await.unwrap_err().label(), "resting");

    let (sim, bmcs, target) = ipmi().await;
    bmcs.power(&target).await.unwrap();
    sim.plan([Mishap::LoseReply]);
    let error = bmcs.reset_bmc(&target).await.unwrap_err();
    assert_eq!((error.kind(), error.may_have_happened()), (Kind::Unreachable, true), "{error:?}");
    assert_eq!(sim.state().carried_out(0x06, 0x02), 1);
    assert_eq!(bmcs.power(&target).await.unwrap_err().label(), "resting");
}

#[tokio::test]
async fn a_bmc_is_restarted_over_ipmi_and_its_records_are_read_anew() {
    let (sim, bmcs, target) = ipmi().await;
    sim.state().store = muster_tests::ipmi_sim::store();
    bmcs.sensors(&target).await.unwrap();
    let read = |sim: &IpmiSim| sim.state().carried_out(0x0a, 0x23);
    let before = read(&sim);
    bmcs.sensors(&target).await.unwrap();
    assert_eq!(read(&sim), before, "they are kept");
    bmcs.reset_bmc(&target).await.unwrap();
    assert_eq!(bmcs.power(&target).await.unwrap_err().label(), "resting");
    tokio::time::sleep(Duration::from_millis(250)).await;
    bmcs.sensors(&target).await.unwrap();
    assert!(read(&sim) > before && sim.state().logins == 2);
    sim.plan([Mishap::Code(0xd4)]);
    let error = bmcs.reset_bmc(&target).await.unwrap_err();
    assert!(error.kind() == Kind::Refused && !error.may_have_happened(), "{error:?}");
    assert!(bmcs.power(&target).await.is_ok(), "one that refused does not rest");
}
