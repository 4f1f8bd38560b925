//! Each quirk of a BMC that speaks Redfish, against a BMC that has it: what is sent with the quirk, and that the same BMC
//! is not served without.

#![allow(clippy::unwrap_used, clippy::panic)]

use muster_bmc::{
    Bmcs, BootDevice, BootOrder, Error, Hardware, Kind, PowerAction, PowerSet, Protocol, Quirk, Secret, Settings,
    Target, Trust,
};
use muster_catalog::Catalog;
use muster_names::{FirmwareMode, Power};
use muster_tests::redfish_sim::{Habit, RedfishSim, system};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const PXE_ONCE: BootOrder = BootOrder { device: BootDevice::Pxe, mode: FirmwareMode::Uefi, once: true };
const UEFI: &str = "UEFI";

async fn plain(habits: Vec<Habit>, quirks: &[Quirk]) -> (RedfishSim, Bmcs, Target) {
    let sim = RedfishSim::start(habits, None).await;
    let mut target = Target::new(Protocol::Redfish, format!("http://{}", sim.address), "admin", Secret::new("secret"));
    target.trust = Trust::Plain;
    target.quirks = quirks.to_vec();
    (sim, Bmcs::new(Settings::default()), target)
}

/// The fault in its words, which an [`Error`] has in its source.
fn said(error: &Error) -> String {
    error.fault().to_string()
}

#[tokio::test]
async fn b7_5_a_mode_that_is_read_only_is_not_sent_and_has_to_be_right() {
    for (quirks, served) in
        [(&[Quirk::FullBootPatch][..], false), (&[Quirk::FullBootPatch, Quirk::BootModeElsewhere], true)]
    {
        let (sim, bmcs, target) = plain(vec![Habit::ModeIsReadOnly], quirks).await;
        sim.state().set("Boot", json!({"BootSourceOverrideMode": UEFI}));
        assert_eq!(bmcs.set_boot(&target, PXE_ONCE).await.is_ok(), served, "{quirks:?}");
    }
    let (sim, bmcs, target) = plain(vec![Habit::ModeIsReadOnly], &[Quirk::BootModeElsewhere]).await;
    let error = bmcs.set_boot(&target, PXE_ONCE).await.unwrap_err();
    assert!(
        error.kind() == Kind::Refused && !error.may_have_happened() && said(&error).contains("Legacy"),
        "{error:?}"
    );
    assert_eq!(sim.state().count("PATCH", ""), 0, "a mode that is wrong is told before anything is sent");
}

#[tokio::test]
async fn b7_5_an_override_that_cannot_last_is_set_once_and_says_so() {
    let lasting = BootOrder { once: false, ..PXE_ONCE };
    let (_sim, bmcs, target) = plain(vec![Habit::KnowsOnlyOnce], &[]).await;
    assert!(bmcs.set_boot(&target, lasting).await.is_err());
    let (sim, bmcs, target) = plain(vec![Habit::KnowsOnlyOnce], &[Quirk::BootOnceOnly]).await;
    assert_eq!(bmcs.set_boot(&target, lasting).await.unwrap().once, Some(true));
    assert_eq!(sim.state().get("/Boot/BootSourceOverrideEnabled"), "Once");
}

#[tokio::test]
async fn b7_4_an_override_goes_to_the_settings_that_show_none_where_nothing_else_takes_it() {
    for quirks in [&[][..], &[Quirk::BootInSettings]] {
        let (sim, bmcs, target) = plain(vec![Habit::BootInSettings], quirks).await;
        let set = bmcs.set_boot(&target, PXE_ONCE).await;
        assert_eq!(set.is_ok(), !quirks.is_empty(), "{set:?}");
        assert_eq!(sim.state().count("PATCH", "/SD"), quirks.len());
        if let Ok(set) = set {
            assert_eq!(set.device, Some(BootDevice::Pxe), "read back where it shows");
        }
    }
}

#[tokio::test]
async fn b7_6_an_override_waits_for_the_end_of_the_self_test() {
    for (quirks, sent) in [(&[][..], 1), (&[Quirk::NoBootInPost], 0)] {
        let (sim, bmcs, target) = plain(vec![Habit::RefusesInPost], quirks).await;
        sim.state().set("PowerState", json!("On"));
        sim.state().set("BootProgress", json!({"LastState": "MemoryInitializationStarted"}));
        let error = bmcs.set_boot(&target, PXE_ONCE).await.unwrap_err();
        assert_eq!((error.kind(), error.may_have_happened()), (Kind::Later, false), "{error:?}");
        assert_eq!(sim.state().count("PATCH", "").min(1), sent, "{quirks:?}");
        sim.state().set("BootProgress", json!({"LastState": "OSRunning"}));
        assert_eq!(bmcs.set_boot(&target, PXE_ONCE).await.unwrap().device, Some(BootDevice::Pxe));
    }
}

#[tokio::test]
async fn b7_4_a_job_in_the_way_is_named_with_the_next_step_and_not_deleted() {
    let (sim, bmcs, target) = plain(vec![Habit::WaitsForJob("Scheduled")], &[Quirk::BootAfterJobs]).await;
    let error = bmcs.set_boot(&target, PXE_ONCE).await.unwrap_err();
    let words = said(&error);
    assert!(words.contains("JID_7 (Configure: BIOS, Scheduled)") && words.contains("next boot"), "{words}");
    assert_eq!((error.kind(), error.may_have_happened()), (Kind::Refused, false));
    assert_eq!(sim.state().count("DELETE", "Jobs"), 0);
    let (_sim, bmcs, target) = plain(vec![Habit::WaitsForJob("Completed")], &[Quirk::BootAfterJobs]).await;
    assert!(bmcs.set_boot(&target, PXE_ONCE).await.is_ok());
}

#[tokio::test]
async fn b7_5_what_is_disabled_is_not_disabled_again() {
    let (sim, bmcs, target) = plain(vec![Habit::RefusesNoChange], &[]).await;
    let none = BootOrder { device: BootDevice::None, ..PXE_ONCE };
    assert_eq!(bmcs.set_boot(&target, none).await.unwrap().device, Some(BootDevice::None));
    assert_eq!(sim.state().count("PATCH", ""), 0);
    bmcs.set_boot(&target, PXE_ONCE).await.unwrap();
    bmcs.set_boot(&target, none).await.unwrap();
    assert_eq!(sim.state().get("/Boot/BootSourceOverrideEnabled"), "Disabled");
}

#[tokio::test]
async fn b7_5_a_bmc_that_wants_all_fields_gets_them_to_disable_too() {
    let (sim, bmcs, target) = plain(vec![Habit::DemandsFullBoot], &[Quirk::FullBootPatch]).await;
    bmcs.set_boot(&target, PXE_ONCE).await.unwrap();
    bmcs.set_boot(&target, BootOrder { device: BootDevice::None, ..PXE_ONCE }).await.unwrap();
    assert_eq!(sim.state().count("PATCH", ""), 2);
    assert_eq!(sim.state().get("/Boot/BootSourceOverrideEnabled"), "Disabled");
}

#[tokio::test]
async fn b7_9_a_restart_that_is_none_is_off_and_on() {
    for action in [PowerAction::Reset, PowerAction::Cycle] {
        let (sim, bmcs, target) = plain(vec![Habit::RestartsWarm, Habit::BusyAfterOff], &[Quirk::RestartByOffOn]).await;
        sim.state().set("PowerState", json!("On"));
        assert_eq!(bmcs.set_power(&target, action).await.unwrap(), PowerSet::Taken);
        assert_eq!(sim.state().resets, ["ForceOff", "On", "On"], "busy for a moment after having switched off");
        assert_eq!(bmcs.power(&target).await.unwrap(), Power::On);
    }
    let (sim, bmcs, target) = plain(vec![Habit::RestartsWarm], &[]).await;
    sim.state().set("PowerState", json!("On"));
    bmcs.set_power(&target, PowerAction::Reset).await.unwrap();
    assert_eq!(sim.state().resets, ["ForceRestart"]);
}

#[tokio::test]
async fn b7_9_a_restart_that_does_not_come_on_again_says_that_it_is_off() {
    let (sim, bmcs, target) = plain(vec![Habit::StaysOff], &[Quirk::RestartByOffOn]).await;
    sim.state().set("PowerState", json!("On"));
    let error = bmcs.set_power(&target, PowerAction::Reset).await.unwrap_err();
    assert!(error.may_have_happened() && said(&error).contains("switched off"), "{error:?}");
    assert_eq!(bmcs.power(&target).await.unwrap(), Power::Off);
}

#[tokio::test]
async fn b7_1_a_baseboard_beside_the_machine_is_never_switched() {
    let (sim, bmcs, mut target) = plain(vec![], &[]).await;
    sim.state().systems.insert("HGX_Baseboard_0".into(), system("SN-1"));
    assert_eq!(bmcs.set_power(&target, PowerAction::On).await.unwrap_err().label(), "declined", "two, and which?");
    target.quirks = vec![Quirk::BaseboardBeside];
    bmcs.close(&target).await;
    assert_eq!(bmcs.set_power(&target, PowerAction::On).await.unwrap(), PowerSet::Taken);
    assert_eq!(sim.state().count("POST", "HGX_Baseboard_0"), 0);
    assert_eq!(sim.state().count("POST", "Systems/1/"), 1);
}

/// The profiles of this repository.
fn profiles() -> Catalog {
    let folder = muster_tests::tree::root().join("firmware-profiles/bmcs");
    let files: Vec<(String, String)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let name = format!("firmware-profiles/bmcs/{}", entry.file_name().to_string_lossy());
            (name, std::fs::read_to_string(entry.path()).unwrap())
        })
        .collect();
    muster_catalog::read(&files).unwrap_or_else(|slips| panic!("{slips:?}"))
}

async fn read(tree: BTreeMap<String, Value>) -> Hardware {
    let (sim, bmcs, target) = plain(vec![], &[]).await;
    sim.state().tree = tree;
    bmcs.inspect(&target, &profiles(), &|_| {}).await.unwrap()
}

#[tokio::test]
async fn a_recorded_bmc_that_is_read_is_known_by_its_profile() {
    let Some(folder) = std::env::var_os("MUSTER_CAPTURES") else {
        eprintln!("skipped: MUSTER_CAPTURES names no folder of recordings");
        return;
    };
    for (name, profile) in [
        ("dell_r750", Some("dell-idrac-9")),
        ("hpe_dl380a_gen11", Some("hpe-ilo-6")),
        ("supermicro_x10", Some("supermicro-x10-x11")),
        ("dmtf_rackmount1", None),
    ] {
        let file = std::path::Path::new(&folder).join(format!("redfish/{name}.json.gz"));
        let out = std::process::Command::new("gzip").arg("-dc").arg(file).output().unwrap();
        let told = read(serde_json::from_slice(&out.stdout).unwrap()).await;
        assert_eq!(told.bmc.profile.as_deref(), profile, "{name}");
    }
}

#[tokio::test]
async fn drives_and_ports_in_a_makers_own_places_are_read_by_its_profiles_links() {
    let link = |path: &str| json!({"@odata.id": format!("/redfish/v1{path}")});
    let links =
        json!({"SmartStorage": link("/Systems/1/SmartStorage"), "NetworkAdapters": link("/Systems/1/Adapters")});
    let tree = [
        ("", json!({"Vendor": "HPE", "Systems": link("/Systems"), "Managers": link("/Managers")})),
        ("/Systems", json!({"Members": [link("/Systems/1")]})),
        ("/Systems/1", json!({"SerialNumber": "S1", "Manufacturer": "HPE", "Oem": {"Hpe": {"Links": links}}})),
        ("/Managers", json!({"Members": [link("/Managers/1")]})),
        ("/Managers/1", json!({"Model": "iLO 5", "FirmwareVersion": "iLO 5 v2.72"})),
        ("/Systems/1/SmartStorage", json!({"Links": {"ArrayControllers": link("/Arrays")}})),
        ("/Arrays", json!({"Members": [link("/Arrays/0")]})),
        ("/Arrays/0", json!({"Model": "P408i-a", "Links": {"PhysicalDrives": link("/Disks")}})),
        ("/Disks", json!({"Members": [link("/Disks/0")]})),
        ("/Disks/0", json!({"Location": "1I:1:1", "SerialNumber": "D1", "Model": "EG", "CapacityMiB": 1_144_641})),
        ("/Systems/1/Adapters", json!({"Members": [link("/Systems/1/Adapters/1")]})),
        ("/Systems/1/Adapters/1", json!({"Name": "331i", "PhysicalPorts": [{"MacAddress": "02:00:00:00:00:01"}]})),
    ];
    let told = read(tree.map(|(path, body)| (format!("/redfish/v1{path}"), body)).into()).await;
    assert_eq!(told.bmc.profile.as_deref(), Some("hpe-ilo-5"));
    let drives: Vec<_> = told.drives.iter().map(|drive| (drive.bay.as_deref(), drive.serial.as_deref())).collect();
    assert_eq!(drives, [(Some("1I:1:1"), Some("D1"))]);
    let macs: Vec<_> = told.nics.iter().filter_map(|nic| nic.mac).map(|mac| mac.to_string()).collect();
    assert_eq!(macs, ["02:00:00:00:00:01"], "{:?}", told.gaps);
}
