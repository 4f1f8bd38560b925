//! The Redfish client against a BMC with the bad habits of real ones.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use muster_bmc::{
    Authority, Bmcs, BootDevice, BootOrder, Fault, Kind, Pin, PowerAction, PowerSet, Protocol, Quirk, Secret, Settings,
    Target, Trust,
};
use muster_names::{FirmwareMode, Power};
use muster_tests::redfish_sim::{Habit, Identity, RedfishSim, Site, system};
use serde_json::json;
use std::time::Duration;

const PXE_ONCE: BootOrder = BootOrder { device: BootDevice::Pxe, mode: FirmwareMode::Uefi, once: true };

fn brisk() -> Settings {
    Settings { confirm_gap: Duration::from_millis(20), ..Settings::default() }
}

async fn plain(habits: Vec<Habit>) -> (RedfishSim, Bmcs, Target) {
    let sim = RedfishSim::start(habits, None).await;
    let mut target = Target::new(Protocol::Redfish, format!("http://{}", sim.address), "admin", Secret::new("secret"));
    target.trust = Trust::Plain;
    (sim, Bmcs::new(brisk()), target)
}

fn tls(sim: &RedfishSim) -> Target {
    Target::new(Protocol::Redfish, sim.address.to_string(), "admin", Secret::new("secret"))
}

#[tokio::test]
async fn power_is_read_switched_and_confirmed() {
    let (sim, bmcs, target) = plain(vec![]).await;
    assert_eq!(bmcs.power(&target).await.unwrap(), Power::Off);
    assert_eq!(bmcs.set_power(&target, PowerAction::Off).await.unwrap(), PowerSet::AlreadySo);
    assert_eq!(bmcs.set_power(&target, PowerAction::On).await.unwrap(), PowerSet::Taken);
    assert!(bmcs.confirm_power(&target, Power::On).await.unwrap());
    assert!(!bmcs.confirm_power(&target, Power::Off).await.unwrap());
    sim.state().set("PowerState", json!("PoweringOff"));
    assert_eq!(bmcs.power(&target).await.unwrap(), Power::Unknown);
    assert_eq!(sim.state().count("POST", "Reset"), 1);
}

#[tokio::test]
async fn b7_2_one_session_serves_all_and_is_deleted_at_the_end() {
    let (sim, bmcs, target) = plain(vec![]).await;
    let all = (0..6).map(|_| {
        let (bmcs, target) = (bmcs.clone(), target.clone());
        tokio::spawn(async move { bmcs.power(&target).await })
    });
    for asked in all.collect::<Vec<_>>() {
        assert_eq!(asked.await.unwrap().unwrap(), Power::Off);
    }
    assert_eq!(sim.state().logins, 1);
    assert_eq!(sim.state().open_sessions(), 1);
    bmcs.close_all().await;
    assert_eq!(sim.state().open_sessions(), 0);
}

#[tokio::test]
async fn b7_2_a_session_that_ran_out_is_renewed_once() {
    let (sim, bmcs, target) = plain(vec![]).await;
    bmcs.power(&target).await.unwrap();
    sim.state().restart();
    assert_eq!(bmcs.set_power(&target, PowerAction::On).await.unwrap(), PowerSet::Taken);
    assert_eq!(sim.state().logins, 2);
}

#[tokio::test]
async fn b7_1_a_system_that_is_hidden_until_its_list_was_read_is_found_again_after_a_restart() {
    let (sim, bmcs, target) = plain(vec![Habit::HidesUntilListed]).await;
    assert_eq!(bmcs.power(&target).await.unwrap(), Power::Off);
    sim.state().restart();
    assert_eq!(bmcs.power(&target).await.unwrap(), Power::Off);
    assert_eq!(sim.state().logins, 2);
}

#[tokio::test]
async fn a_bmc_that_takes_connections_and_says_nothing_is_given_up_and_holds_up_no_other() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let kept = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.push(stream);
        }
    });
    let (_sim, _, target) = plain(vec![]).await;
    let bmcs = Bmcs::new(Settings { deadline: Duration::from_millis(500), queue: Duration::from_secs(9), ..brisk() });
    let mute = Target { address: format!("http://{address}"), ..target.clone() };
    let begun = std::time::Instant::now();
    let answers = async { (bmcs.power(&target).await.unwrap(), begun.elapsed()) };
    let is_mute = async { (bmcs.power(&mute).await.unwrap_err(), begun.elapsed()) };
    let ((power, well), (error, given_up)) = tokio::join!(answers, is_mute);
    assert_eq!(power, Power::Off);
    assert!(well < given_up / 2 && given_up < Duration::from_secs(9), "{well:?} {given_up:?}");
    assert!(matches!(error.kind(), Kind::Later | Kind::Unreachable) && !error.may_have_happened(), "{error:?}");
    kept.abort();
}

#[tokio::test]
async fn b7_2_an_idle_session_is_deleted() {
    let (sim, _, target) = plain(vec![]).await;
    let bmcs = Bmcs::new(Settings { idle_close: Duration::from_millis(90), ..brisk() });
    bmcs.power(&target).await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(sim.state().open_sessions(), 0);
}

#[tokio::test]
async fn b7_3_every_kind_of_etag_ends_in_the_override() {
    use Habit::{ChokesOnIfMatch, DemandsIfMatch, EmptyTag, WantsBareTag};
    let kinds = [
        (vec![], vec![]),
        (vec![DemandsIfMatch], vec![]),
        (vec![DemandsIfMatch], vec![Quirk::NeedsIfMatch]),
        (vec![DemandsIfMatch, WantsBareTag], vec![]),
        (vec![ChokesOnIfMatch], vec![]),
        (vec![ChokesOnIfMatch], vec![Quirk::NoIfMatch]),
        (vec![EmptyTag], vec![]),
    ];
    for (habits, quirks) in kinds {
        let (sim, bmcs, mut target) = plain(habits.clone()).await;
        target.quirks = quirks;
        let set = bmcs.set_boot(&target, PXE_ONCE).await.unwrap_or_else(|error| panic!("{habits:?}: {error:?}"));
        assert_eq!((set.device, set.mode, set.once), (Some(BootDevice::Pxe), Some(FirmwareMode::Uefi), Some(true)));
        assert_eq!(sim.state().get("/Boot/BootSourceOverrideTarget"), "Pxe");
        bmcs.close(&target).await;
    }
}

#[tokio::test]
async fn b7_5_a_bmc_that_wants_all_fields_gets_them() {
    for quirks in [vec![], vec![Quirk::FullBootPatch]] {
        let (sim, bmcs, mut target) = plain(vec![Habit::DemandsFullBoot]).await;
        sim.state().set("Boot", json!({"BootSourceOverrideMode": "UEFI"}));
        target.quirks = quirks.clone();
        bmcs.set_boot(&target, PXE_ONCE).await.unwrap();
        assert_eq!(sim.state().count("PATCH", ""), 2 - quirks.len());
    }
}

#[tokio::test]
async fn b7_10_an_override_that_does_not_read_back_is_an_error() {
    let (_sim, bmcs, target) = plain(vec![Habit::ForgetsBoot]).await;
    let error = bmcs.set_boot(&target, PXE_ONCE).await.unwrap_err();
    assert!(matches!(error.fault(), Fault::BootDiffers { .. }) && error.may_have_happened(), "{error:?}");
}

#[tokio::test]
async fn an_override_is_cleared() {
    let (sim, bmcs, target) = plain(vec![]).await;
    bmcs.set_boot(&target, BootOrder { device: BootDevice::Http, ..PXE_ONCE }).await.unwrap();
    assert_eq!(bmcs.get_boot(&target).await.unwrap().device, Some(BootDevice::Http));
    bmcs.set_boot(&target, BootOrder { device: BootDevice::None, ..PXE_ONCE }).await.unwrap();
    assert_eq!(sim.state().get("/Boot/BootSourceOverrideEnabled"), "Disabled");
}

#[tokio::test]
async fn b7_6_a_reading_is_asked_again_and_a_mutation_is_not() {
    let (sim, bmcs, target) = plain(vec![]).await;
    bmcs.power(&target).await.unwrap();
    sim.state().moods.extend([(503, json!({})), (500, json!({}))]);
    assert_eq!(bmcs.power(&target).await.unwrap(), Power::Off);
    // The reading before the act, then the act.
    let off = sim.state().systems["1"].clone();
    let mut off = off;
    off["Actions"]["#ComputerSystem.Reset"]["target"] = json!("/redfish/v1/Systems/1/Actions/ComputerSystem.Reset");
    sim.state().moods.extend([(200, off), (503, json!({}))]);
    let error = bmcs.set_power(&target, PowerAction::On).await.unwrap_err();
    assert_eq!((error.kind(), error.may_have_happened()), (Kind::Later, true), "{error:?}");
    assert_eq!(sim.state().count("POST", "Reset"), 1);
}

#[tokio::test]
async fn a_reset_whose_reply_is_lost_may_have_happened() {
    let (sim, bmcs, target) = plain(vec![Habit::DropsResetReply]).await;
    let error = bmcs.set_power(&target, PowerAction::On).await.unwrap_err();
    assert_eq!((error.kind(), error.may_have_happened()), (Kind::Unreachable, true), "{error:?}");
    assert_eq!(sim.state().count("POST", "Reset"), 1, "sent once");
}

#[tokio::test]
async fn a_reset_type_that_is_not_offered_is_not_sent() {
    let (sim, bmcs, target) = plain(vec![]).await;
    let reset = json!({"#ComputerSystem.Reset": {"ResetType@Redfish.AllowableValues": ["On"]}});
    sim.state().set("Actions", reset);
    sim.state().set("PowerState", json!("On"));
    let error = bmcs.set_power(&target, PowerAction::Off).await.unwrap_err();
    assert_eq!((error.label(), error.may_have_happened()), ("not-offered", false));
    assert_eq!(sim.state().count("POST", "Reset"), 0);
}

#[tokio::test]
async fn b7_7_a_task_is_followed_to_its_end() {
    let (_sim, bmcs, target) = plain(vec![Habit::ResetByTask("Completed")]).await;
    assert_eq!(bmcs.set_power(&target, PowerAction::On).await.unwrap(), PowerSet::Taken);
    let (_sim, bmcs, target) = plain(vec![Habit::ResetByTask("Exception")]).await;
    let error = bmcs.set_power(&target, PowerAction::On).await.unwrap_err();
    assert_eq!((error.label(), error.may_have_happened()), ("declined", false));
    let (_sim, bmcs, target) = plain(vec![Habit::TaskNowhere]).await;
    let error = bmcs.set_power(&target, PowerAction::On).await.unwrap_err();
    assert_eq!((error.label(), error.may_have_happened()), ("garbled", true));
}

#[tokio::test]
async fn b7_1_one_of_several_systems_is_found_by_serial_or_uuid_and_never_guessed() {
    let (sim, bmcs, mut target) = plain(vec![]).await;
    let mut second = system(" SN-2  ");
    second["PowerState"] = json!("On");
    second["UUID"] = json!("11111111-2222-3333-4444-555555555555");
    sim.state().systems.insert("2".into(), second);
    assert_eq!(bmcs.power(&target).await.unwrap_err().label(), "declined");
    for (name, power) in
        [("sn-2", Power::On), ("SN-1", Power::Off), ("11111111-2222-3333-4444-555555555555", Power::On)]
    {
        target.system = Some(name.into());
        assert_eq!(bmcs.power(&target).await.unwrap(), power, "{name}");
    }
    target.system = Some("SN-9".into());
    assert_eq!(bmcs.power(&target).await.unwrap_err().kind(), Kind::Refused);
    assert_eq!(sim.state().logins, 1);
}

#[tokio::test]
async fn a_lone_system_with_another_serial_is_not_the_one() {
    let (_sim, bmcs, mut target) = plain(vec![]).await;
    target.system = Some("SN-OTHER".into());
    assert_eq!(bmcs.set_power(&target, PowerAction::On).await.unwrap_err().label(), "declined");
}

#[tokio::test]
async fn a5_6_a_wrong_password_is_tried_twice_and_then_held() {
    let (sim, bmcs, mut target) = plain(vec![]).await;
    target.password = Secret::new("wrong");
    for label in ["login", "login", "logins-held", "logins-held"] {
        let error = bmcs.power(&target).await.unwrap_err();
        assert_eq!((error.kind(), error.label()), (Kind::Refused, label));
    }
    assert_eq!(sim.state().credentials, 2);
}

#[tokio::test]
async fn taken_slots_mean_later_and_are_no_failed_login() {
    let (sim, bmcs, target) = plain(vec![]).await;
    sim.state().slots = 0;
    for _ in 0..4 {
        let error = bmcs.power(&target).await.unwrap_err();
        assert_eq!((error.kind(), error.label()), (Kind::Later, "no-slot"));
    }
}

#[tokio::test]
async fn a5_10_a_bmc_without_sessions_is_told_the_user_with_each_request() {
    let (sim, bmcs, mut target) = plain(vec![Habit::NoSessions]).await;
    assert_eq!(bmcs.power(&target).await.unwrap(), Power::Off);
    assert!(sim.state().basics > 0);
    target.password = Secret::new("wrong");
    for label in ["login", "login", "logins-held"] {
        assert_eq!(bmcs.power(&target).await.unwrap_err().label(), label);
    }
}

#[tokio::test]
async fn a5_10_once_there_was_a_session_basic_authentication_is_never_fallen_back_to() {
    let (sim, bmcs, target) = plain(vec![]).await;
    assert_eq!(bmcs.power(&target).await.unwrap(), Power::Off);
    sim.state().habits = vec![Habit::NoSessions];
    sim.state().restart();
    // Nor is it with the next connection.
    for _ in 0..3 {
        assert_eq!(bmcs.power(&target).await.unwrap_err().label(), "not-offered");
        assert_eq!(sim.state().basics, 0);
        bmcs.close(&target).await;
    }
}

/// Requests, and credentials among them, that reached it.
fn asked(sim: &RedfishSim) -> (usize, usize) {
    let state = sim.state();
    (state.seen.len(), state.credentials)
}

#[tokio::test]
async fn a5_9_a_foreign_key_gets_no_credential() {
    let (real, stranger) = (Identity::new(), Identity::new());
    let sim = RedfishSim::start(vec![], Some(&stranger)).await;
    let bmcs = Bmcs::new(brisk());
    let mut target = tls(&sim);
    target.trust = Trust::Pinned(Pin::read(&real.pin).unwrap());
    let error = bmcs.set_power(&target, PowerAction::On).await.unwrap_err();
    assert_eq!((error.kind(), error.label(), error.may_have_happened()), (Kind::Refused, "foreign-key", false));
    assert!(matches!(error.fault(), Fault::ForeignKey { found, .. } if found.to_string() == stranger.pin));
    assert_eq!(asked(&sim), (0, 0));
}

#[tokio::test]
async fn a5_9_the_key_seen_first_is_held_on_to() {
    let (real, stranger) = (Identity::new(), Identity::new());
    let sim = RedfishSim::start(vec![], Some(&real)).await;
    let (bmcs, target) = (Bmcs::new(brisk()), tls(&sim));
    let identity = bmcs.identify(&target).await.unwrap();
    assert_eq!(identity.tls_pin.unwrap().to_string(), real.pin);
    assert_eq!((identity.serial.as_deref(), identity.firmware.as_deref()), (Some("SN-1"), Some("4.2")));
    bmcs.close(&target).await;
    let address = sim.address;
    drop(sim);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let sim = RedfishSim::start_at(address, vec![], Some(&stranger)).await;
    assert_eq!(bmcs.power(&target).await.unwrap_err().label(), "foreign-key");
    assert_eq!(asked(&sim), (0, 0));
}

#[tokio::test]
async fn a_pinned_key_is_served_and_plain_http_is_not_without_leave() {
    let real = Identity::new();
    let sim = RedfishSim::start(vec![], Some(&real)).await;
    let bmcs = Bmcs::new(brisk());
    let mut target = tls(&sim);
    target.trust = Trust::Pinned(Pin::read(&real.pin).unwrap());
    assert_eq!(bmcs.power(&target).await.unwrap(), Power::Off);
    target.address = format!("http://{}", sim.address);
    assert_eq!(bmcs.power(&target).await.unwrap_err().label(), "plain-http");
}

// ---- the site's authority

fn under(site: &Site) -> Bmcs {
    Bmcs::new(Settings { authority: Some(Authority::read(&site.pem()).unwrap()), ..brisk() })
}

fn pinned(sim: &RedfishSim, identity: &Identity) -> Target {
    let mut target = tls(sim);
    target.trust = Trust::Pinned(Pin::read(&identity.pin).unwrap());
    target
}

#[tokio::test]
async fn a5_9_what_the_sites_authority_signed_is_taken_although_the_key_is_new() {
    let (site, before) = (Site::new(), Identity::new());
    let renewed = site.signs("127.0.0.1");
    let sim = RedfishSim::start(vec![], Some(&renewed)).await;
    let (bmcs, target) = (under(&site), pinned(&sim, &before));
    assert_eq!(bmcs.power(&target).await.unwrap(), Power::Off);
    let key = bmcs.identify(&target).await.unwrap().tls_pin;
    assert_eq!(key.unwrap().to_string(), renewed.pin, "the key to pin from now on");
    // Without the authority it is a foreign key.
    assert_eq!(Bmcs::new(brisk()).power(&target).await.unwrap_err().label(), "foreign-key");
}

#[tokio::test]
async fn a5_9_a_key_seen_first_gives_way_to_the_authority_and_to_nobody_else() {
    let (site, before) = (Site::new(), Identity::new());
    let mut sim = RedfishSim::start(vec![], Some(&before)).await;
    let (bmcs, target, address) = (under(&site), tls(&sim), sim.address);
    bmcs.power(&target).await.unwrap();
    let renewed = site.signs("127.0.0.1");
    for (identity, taken) in [(&renewed, true), (&before, false), (&Identity::new(), false), (&renewed, true)] {
        bmcs.close(&target).await;
        drop(sim);
        tokio::time::sleep(Duration::from_millis(50)).await;
        sim = RedfishSim::start_at(address, vec![], Some(identity)).await;
        match bmcs.power(&target).await {
            Ok(_) => assert!(taken),
            Err(error) => assert!(!taken && error.label() == "foreign-key" && asked(&sim) == (0, 0), "{error:?}"),
        }
    }
}

#[tokio::test]
async fn a5_9_beside_the_authority_a_foreign_key_gets_no_credential() {
    let (site, real) = (Site::new(), Identity::new());
    let other = site.signs("127.0.0.2");
    let named = site.signs("bmc.example");
    for (stranger, who) in [
        (Identity::new(), "self-made"),
        (other, "signed for another address"),
        (named, "signed for a name"),
        (Site::new().signs("127.0.0.1"), "signed by somebody else"),
    ] {
        let sim = RedfishSim::start(vec![], Some(&stranger)).await;
        let error = under(&site).power(&pinned(&sim, &real)).await.unwrap_err();
        assert_eq!((error.kind(), error.label()), (Kind::Refused, "foreign-key"), "{who}: {error:?}");
        assert_eq!((asked(&sim), sim.state().basics), ((0, 0), 0), "{who}");
    }
}

#[tokio::test]
async fn a5_9_a_bmc_that_is_called_by_name_is_vouched_for_by_name() {
    let (site, before) = (Site::new(), Identity::new());
    for (signed, taken) in [("localhost", true), ("127.0.0.1", false)] {
        let sim = RedfishSim::start(vec![], Some(&site.signs(signed))).await;
        let mut target = pinned(&sim, &before);
        target.address = format!("localhost:{}", sim.address.port());
        let told = under(&site).power(&target).await;
        assert_eq!(told.as_ref().map_err(|error| error.label()).err(), (!taken).then_some("foreign-key"), "{told:?}");
    }
}

#[tokio::test]
async fn a5_9_a_pinned_key_needs_no_authority() {
    let (site, real) = (Site::new(), Identity::new());
    let sim = RedfishSim::start(vec![], Some(&real)).await;
    let (bmcs, target) = (under(&site), pinned(&sim, &real));
    assert_eq!(bmcs.power(&target).await.unwrap(), Power::Off);
    assert_eq!(bmcs.identify(&target).await.unwrap().tls_pin.unwrap().to_string(), real.pin);
}
