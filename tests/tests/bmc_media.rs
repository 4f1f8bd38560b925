//! The second and third ways into a machine, at a simulated BMC: UEFI HTTP boot from an address, and virtual media.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use muster_bmc::{
    Bmcs, BootDevice, BootOrder, Error, Fault, Inserted, Kind, Protocol, Secret, Settings, Target, Trust,
};
use muster_names::FirmwareMode;
use muster_tests::redfish_sim::{Habit, RedfishSim, Slot};
use serde_json::json;

const HTTP: BootOrder = BootOrder { device: BootDevice::Http, mode: FirmwareMode::Uefi, once: true };
const CD: BootOrder = BootOrder { device: BootDevice::Cd, ..HTTP };
const LOADER: &str = "http://10.77.0.1:8080/boot/ipxe.efi";
const DISC: &str = "http://10.77.0.1:8080/boot/ipxe.iso";

async fn sim(habits: Vec<Habit>) -> (RedfishSim, Bmcs, Target) {
    let sim = RedfishSim::start(habits, None).await;
    sim.state().slots_of_media = vec![Slot::of("Floppy", &["Floppy", "USBStick"]), Slot::of("UsbCd", &["CD", "DVD"])];
    let mut target = Target::new(Protocol::Redfish, format!("http://{}", sim.address), "admin", Secret::new("secret"));
    target.trust = Trust::Plain;
    (sim, Bmcs::new(Settings::default()), target)
}

fn slot(sim: &RedfishSim, id: &str) -> Slot {
    sim.state().slots_of_media.iter().find(|slot| slot.id == id).unwrap().clone()
}

#[tokio::test]
async fn b7_4_an_address_goes_where_the_bmc_has_room_for_one() {
    let (sim, bmcs, target) = sim(vec![]).await;
    bmcs.set_boot_from(&target, HTTP, Some(LOADER)).await.unwrap();
    assert_eq!(sim.state().get("/Boot/HttpBootUri"), json!(null), "none was sent that it does not know");
    let mut boot = sim.state().get("/Boot");
    boot["HttpBootUri"] = json!(null);
    sim.state().set("Boot", boot);
    let set = bmcs.set_boot_from(&target, HTTP, Some(LOADER)).await.unwrap();
    assert_eq!((set.device, set.once), (Some(BootDevice::Http), Some(true)));
    assert_eq!(sim.state().get("/Boot/HttpBootUri"), json!(LOADER));
    sim.state().habits.push(Habit::ForgetsUri);
    let other = "http://10.77.0.1:8080/boot/other.efi";
    let said = bmcs.set_boot_from(&target, HTTP, Some(other)).await.unwrap_err().fault().to_string();
    assert!(said.contains(LOADER) && said.contains(other), "{said}");
}

#[tokio::test]
async fn a_bmc_without_http_boot_refuses_it_clearly_and_nothing_was_done() {
    let (sim, bmcs, target) = sim(vec![]).await;
    let before = sim.state().get("/Boot");
    let mut boot = before.clone();
    boot["BootSourceOverrideTarget@Redfish.AllowableValues"] = json!(["None", "Pxe", "Hdd", "UsbCd"]);
    sim.state().set("Boot", boot.clone());
    let error = bmcs.set_boot_from(&target, HTTP, Some(LOADER)).await.unwrap_err();
    assert_eq!((error.kind(), error.may_have_happened()), (Kind::Refused, false));
    assert!(error.fault().to_string().contains("UefiHttp as a boot source; it lists None, Pxe, Hdd, UsbCd"));
    assert_eq!(sim.state().get("/Boot"), boot);
    assert_eq!(sim.state().count("PATCH", "Systems"), 0);
    // A disc drive by another name is one.
    let set = bmcs.set_boot(&target, CD).await.unwrap();
    assert_eq!((set.device, sim.state().get("/Boot/BootSourceOverrideTarget")), (Some(BootDevice::Cd), json!("UsbCd")));
    sim.state().set("Boot", before);
    sim.state().habits.push(Habit::RefusesHttp);
    let error = bmcs.set_boot_from(&target, HTTP, Some(LOADER)).await.unwrap_err();
    assert_eq!((error.kind(), error.may_have_happened()), (Kind::Refused, false));
}

#[tokio::test]
async fn ipmi_has_no_word_for_either_and_is_not_asked() {
    let bmcs = Bmcs::new(Settings::default());
    let target = Target::new(Protocol::Ipmi, "127.0.0.1:9", "u", Secret::new("p"));
    for error in [
        bmcs.media(&target).await.unwrap_err(),
        bmcs.insert(&target, DISC).await.unwrap_err(),
        bmcs.eject(&target, DISC).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.may_have_happened()), (Kind::Refused, false));
        assert!(error.fault().to_string().contains("virtual media over IPMI"), "{error}");
    }
}

#[tokio::test]
async fn b7_11_a_disc_is_inserted_read_back_and_ejected_whatever_the_bmc_is_like() {
    use Habit::{
        EjectsFirst, InsertsByTask, InsertsLate, MediaByPatch, MediaUnderSystem, RequiresMethod, WantsProtocol,
    };
    for habits in [
        vec![],
        vec![MediaByPatch],
        vec![MediaByPatch, Habit::DemandsIfMatch],
        vec![MediaUnderSystem],
        vec![WantsProtocol],
        vec![RequiresMethod],
        vec![InsertsByTask],
        vec![InsertsLate],
        vec![EjectsFirst],
        vec![MediaUnderSystem, RequiresMethod, WantsProtocol, EjectsFirst],
    ] {
        let (sim, bmcs, target) = sim(habits.clone()).await;
        let inserted = bmcs.insert(&target, DISC).await.unwrap_or_else(|error| panic!("{habits:?} {error:?}"));
        assert_eq!(inserted, Inserted { slot: "UsbCd".into() }, "{habits:?}");
        assert_eq!(slot(&sim, "UsbCd").image.as_deref(), Some(DISC), "{habits:?}");
        // An image of ours is ejected before the next one, and never stays beside it.
        bmcs.insert(&target, DISC).await.unwrap();
        let log = sim.state().media_log.clone();
        assert_eq!(log[1..], ["eject UsbCd".to_string(), format!("insert UsbCd {DISC}")], "{habits:?}");
        assert!(bmcs.eject(&target, DISC).await.unwrap());
        assert!(!bmcs.eject(&target, DISC).await.unwrap(), "once is enough");
        let told = bmcs.media(&target).await.unwrap();
        let told: Vec<_> = told.iter().map(|one| (one.slot.as_str(), one.disc, one.inserted)).collect();
        assert_eq!(told, [("Floppy", false, Some(false)), ("UsbCd", true, Some(false))], "{habits:?}");
    }
}

#[tokio::test]
async fn b7_11_a_medium_of_somebody_else_is_never_ejected() {
    let (sim, bmcs, target) = sim(vec![]).await;
    sim.state().slots_of_media[1] = Slot::of("UsbCd", &["CD"]).with("nfs://10.9.9.9/rescue.iso");
    let error = bmcs.insert(&target, DISC).await.unwrap_err();
    assert_eq!((error.kind(), error.may_have_happened()), (Kind::Refused, false));
    assert!(error.fault().to_string().contains("UsbCd holds nfs://10.9.9.9/rescue.iso"), "{}", error.fault());
    assert!(!bmcs.eject(&target, DISC).await.unwrap());
    assert!(sim.state().media_log.is_empty());
    sim.state().slots_of_media.push(Slot::of("Second", &["DVD"]));
    assert_eq!(bmcs.insert(&target, DISC).await.unwrap().slot, "Second");
    assert_eq!(slot(&sim, "UsbCd").image.as_deref(), Some("nfs://10.9.9.9/rescue.iso"));
}

#[tokio::test]
async fn b7_11_a_bmc_that_says_inserted_and_holds_nothing_is_found_out() {
    let (_sim, bmcs, target) = sim(vec![Habit::InsertsNothing]).await;
    let error = bmcs.insert(&target, DISC).await.unwrap_err();
    assert_eq!((error.kind(), error.may_have_happened()), (Kind::Refused, false));
    let said = error.fault().to_string();
    assert!(said.contains("UsbCd holds nothing though it says inserted") && said.contains(DISC), "{said}");
}

#[tokio::test]
async fn a_lost_answer_may_have_inserted_it_and_a_second_call_settles_it() {
    let (sim, bmcs, target) = sim(vec![Habit::DropsInsertReply]).await;
    let error = bmcs.insert(&target, DISC).await.unwrap_err();
    assert!(error.may_have_happened() && matches!(error, Error::InsertMedium { .. }), "{error:?}");
    sim.state().habits.clear();
    bmcs.insert(&target, DISC).await.unwrap();
    let log = sim.state().media_log.clone();
    assert_eq!(log.len(), 3, "{log:?}");
}

#[tokio::test]
async fn a_bmc_without_slots_for_discs_says_what_it_has() {
    let (sim, bmcs, target) = sim(vec![]).await;
    sim.state().slots_of_media.truncate(1);
    let error = bmcs.insert(&target, DISC).await.unwrap_err();
    assert!(matches!(error.fault(), Fault::NotOffered(said) if said.contains("it has Floppy")), "{error:?}");
    sim.state().slots_of_media.clear();
    let error = bmcs.insert(&target, DISC).await.unwrap_err();
    assert!(matches!(error.fault(), Fault::NotOffered(said) if said == "virtual media"), "{error:?}");
}
