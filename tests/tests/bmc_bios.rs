//! Firmware and BIOS settings over real connections: read of simulated BMCs and of recorded trees, and set for the next boot.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use arc_swap::ArcSwap;
use muster_bmc::{BiosSet, Bmcs, Error, Kind, Protocol, Secret, Settings, Target, Trust};
use muster_catalog::{BootSource, Catalog, read};
use muster_conductor::plans::{Action, PlanRequest};
use muster_conductor::{BmcHand, Conductor, Hands, SiteKey, Vault, couriers, weigh};
use muster_diagnosis::Budgets;
use muster_names::{Subject, TargetSet};
use muster_store::{Place, Store, acts, machines};
use muster_tests::data_files::data_files;
use muster_tests::redfish_sim::{BiosStore, Habit, RedfishSim, recorded};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const TREES: [&str; 4] = ["dell_r750", "dmtf_rackmount1", "hpe_dl380a_gen11", "supermicro_x10"];

async fn serving(habits: Vec<Habit>) -> (RedfishSim, Bmcs, Target) {
    let sim = RedfishSim::start(habits, None).await;
    sim.state().bios = Some(BiosStore::of(&json!({"CStates": "Enabled", "Turbo": "Enabled", "Cores": 4})));
    let mut target = Target::new(Protocol::Redfish, format!("http://{}", sim.address), "admin", Secret::new("secret"));
    target.trust = Trust::Plain;
    (sim, Bmcs::new(Settings::default()), target)
}

fn values(all: &[(&str, &str)]) -> BTreeMap<String, String> {
    all.iter().map(|(name, value)| ((*name).to_string(), (*value).to_string())).collect()
}

fn off() -> BTreeMap<String, String> {
    values(&[("CStates", "Disabled"), ("Cores", "8")])
}

fn said(error: &Error) -> String {
    error.fault().to_string()
}

#[tokio::test]
async fn b7_4_attributes_go_to_the_settings_resource_are_read_back_and_nothing_is_restarted() {
    let (sim, bmcs, target) = serving(vec![]).await;
    assert_eq!(bmcs.set_bios(&target, &off()).await.unwrap(), BiosSet::Taken);
    let told = bmcs.bios(&target, false).await.unwrap();
    let states = &told.settings["CStates"];
    assert_eq!((states.value.as_str(), states.pending.as_deref()), ("Enabled", Some("Disabled")));
    assert_eq!(told.settings["Turbo"].pending, None);
    assert_eq!(bmcs.set_bios(&target, &off()).await.unwrap(), BiosSet::AlreadySo, "it looks before it sends");
    let state = sim.state();
    let patches = &state.bios.as_ref().unwrap().patches;
    assert_eq!(patches, &[json!({"Attributes": {"CStates": "Disabled", "Cores": 8}})], "what was asked and no more");
    assert_eq!((state.resets.len(), state.count("POST", "Actions")), (0, 0));
}

#[tokio::test]
async fn b7_3_whatever_a_bmc_wants_of_if_match_its_settings_are_set() {
    for habit in [Habit::DemandsIfMatch, Habit::ChokesOnIfMatch, Habit::WantsBareTag, Habit::EmptyTag] {
        let (_sim, bmcs, target) = serving(vec![habit.clone()]).await;
        assert_eq!(bmcs.set_bios(&target, &off()).await.unwrap(), BiosSet::Taken, "{habit:?}");
    }
}

#[tokio::test]
async fn b7_10_a_bmc_that_says_success_and_holds_nothing_is_named() {
    let (_sim, bmcs, target) = serving(vec![Habit::ForgetsBios]).await;
    let error = bmcs.set_bios(&target, &off()).await.unwrap_err();
    assert_eq!((error.label(), error.kind(), error.may_have_happened()), ("bios-differs", Kind::Refused, true));
    let words = said(&error);
    assert!(words.contains("expected CStates = Disabled, Cores = 8") && words.contains("CStates = Enabled"), "{words}");
}

#[tokio::test]
async fn b7_7_a_job_that_waits_for_the_next_boot_is_not_waited_for_and_one_that_failed_is_told() {
    let (sim, bmcs, target) = serving(vec![Habit::BiosByJob]).await;
    let begun = Instant::now();
    assert_eq!(bmcs.set_bios(&target, &off()).await.unwrap(), BiosSet::Taken);
    assert!(begun.elapsed() < Duration::from_secs(20));
    let apply = sim.state().bios.as_ref().unwrap().patches[0]["@Redfish.SettingsApplyTime"].clone();
    assert_eq!(apply, json!({"ApplyTime": "OnReset"}), "never at once");
    let (_sim, bmcs, target) = serving(vec![Habit::BiosJobFails]).await;
    let error = bmcs.set_bios(&target, &off()).await.unwrap_err();
    assert!(said(&error).contains("the lifecycle controller is busy") && !error.may_have_happened(), "{error:?}");
}

#[tokio::test]
async fn what_a_bmc_refuses_or_does_not_have_is_told_and_leaves_nothing_open() {
    let (_sim, bmcs, target) = serving(vec![Habit::BiosLocked]).await;
    let error = bmcs.set_bios(&target, &off()).await.unwrap_err();
    assert!(said(&error).contains("PropertyNotWritable") && !error.may_have_happened(), "{error:?}");
    let (sim, bmcs, target) = serving(vec![]).await;
    let error = bmcs.set_bios(&target, &values(&[("Nosuch", "x")])).await.unwrap_err();
    assert!(said(&error).contains("an attribute Nosuch") && sim.state().count("PATCH", "") == 0, "{error:?}");
    sim.state().bios = None;
    let error = bmcs.bios(&target, false).await.unwrap_err();
    assert_eq!((error.label(), error.kind()), ("not-offered", Kind::Refused));
}

#[tokio::test]
async fn a_lost_answer_is_settled_by_looking_and_nothing_is_sent_twice() {
    let (sim, bmcs, target) = serving(vec![Habit::DropsBiosReply]).await;
    let error = bmcs.set_bios(&target, &off()).await.unwrap_err();
    assert!(error.may_have_happened(), "{error:?}");
    assert_eq!(bmcs.set_bios(&target, &off()).await.unwrap(), BiosSet::AlreadySo);
    assert_eq!(sim.state().bios.as_ref().unwrap().patches.len(), 1);
}

#[tokio::test]
async fn over_ipmi_settings_are_neither_told_nor_taken_and_nobody_logs_in() {
    let target = Target::new(Protocol::Ipmi, "127.0.0.1:1", "admin", Secret::new("secret"));
    let bmcs = Bmcs::new(Settings::default());
    let begun = Instant::now();
    for error in [bmcs.bios(&target, true).await.unwrap_err(), bmcs.set_bios(&target, &off()).await.unwrap_err()] {
        assert!(said(&error).contains("over IPMI") && error.kind() == Kind::Refused, "{error:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "nothing was sent");
}

#[tokio::test]
async fn what_the_registry_says_of_an_attribute_is_told_with_it() {
    let (sim, bmcs, target) = serving(vec![]).await;
    let offered = json!([{"ValueName": "Enabled"}, {"ValueName": "Disabled"}]);
    sim.state().bios.as_mut().unwrap().registry =
        vec![json!({"AttributeName": "Turbo", "Type": "Enumeration", "ReadOnly": true, "Value": offered})];
    let told = bmcs.bios(&target, false).await.unwrap();
    let turbo = &told.settings["Turbo"];
    assert!(turbo.read_only && turbo.offered.as_ref().is_some_and(|values| values.len() == 2), "{turbo:?}");
    // A registry that is cut short costs what it tells and nothing else.
    sim.state().cut.push("/redfish/v1/Registries/entries".into());
    let told = bmcs.bios(&target, false).await.unwrap();
    assert!(!told.settings["Turbo"].read_only && told.settings.len() == 3);
}

async fn replayed(name: &str) -> Option<(RedfishSim, Bmcs, Target)> {
    let Some(tree) = recorded(name) else {
        eprintln!("skipped: MUSTER_CAPTURES names no folder of recordings");
        return None;
    };
    let (sim, bmcs, target) = serving(vec![]).await;
    sim.state().bios = None;
    sim.state().tree = tree;
    Some((sim, bmcs, target))
}

fn catalog() -> Catalog {
    read(&data_files()).unwrap_or_else(|slips| panic!("{slips:?}"))
}

#[tokio::test]
async fn the_firmware_of_a_recorded_machine_is_what_the_whole_inventory_tells_with_fewer_reads() {
    let catalog = catalog();
    for name in TREES {
        let Some((sim, bmcs, target)) = replayed(name).await else { return };
        let whole = bmcs.inspect(&target, &catalog, &|_| {}).await.unwrap();
        let reads = sim.state().seen.len();
        let running = bmcs.firmware(&target, &catalog, &|_| {}).await.unwrap();
        let fewer = sim.state().seen.len() - reads;
        assert_eq!((running.firmware, running.profile), (whole.firmware, whole.bmc.profile), "{name}");
        assert!(fewer < reads, "{name}: {fewer} of {reads}");
    }
}

#[tokio::test]
async fn the_settings_of_recorded_machines_are_read_as_far_as_they_are_there() {
    let Some((_sim, bmcs, target)) = replayed("dell_r750").await else { return };
    let dell = bmcs.bios(&target, true).await.unwrap();
    assert_eq!(dell.settings["BootMode"].value, "Uefi");
    assert_eq!(dell.settings["BootMode"].offered.as_deref(), Some(&["Bios".to_string(), "Uefi".to_string()][..]));
    assert!(dell.settings["ProcCStates"].read_only && !dell.settings["SysProfile"].read_only);
    assert_eq!(dell.settings.len(), 453, "two are null");
    assert_eq!(
        dell.boot_order.as_deref().map(|order| order[..2].to_vec()),
        Some(vec![BootSource::Http, BootSource::Disk])
    );

    let Some((_sim, bmcs, target)) = replayed("dmtf_rackmount1").await else { return };
    let mockup = bmcs.bios(&target, true).await.unwrap();
    let turbo = &mockup.settings["ProcTurboMode"];
    assert_eq!((turbo.value.as_str(), turbo.pending.as_deref()), ("Enabled", Some("Disabled")));
    assert_eq!((mockup.settings["ProcCoreDisable"].value.as_str(), mockup.boot_order), ("0", None));

    let Some((_sim, bmcs, target)) = replayed("hpe_dl380a_gen11").await else { return };
    let hpe = bmcs.bios(&target, true).await.unwrap();
    assert_eq!((hpe.settings["Sriov"].value.as_str(), hpe.settings.len()), ("Enabled", 300));
    assert!(hpe.settings.values().all(|setting| setting.pending.is_none()), "its settings resource was not recorded");

    let Some((_sim, bmcs, target)) = replayed("supermicro_x10").await else { return };
    let error = bmcs.bios(&target, true).await.unwrap_err();
    assert_eq!((error.label(), error.kind()), ("not-offered", Kind::Refused));
}

#[tokio::test]
async fn the_recorded_machine_of_a_model_is_as_its_model_wants_it_and_another_one_differs() {
    let catalog = catalog();
    let model = catalog.model("compute").unwrap();
    let Some((sim, bmcs, target)) = replayed("dell_r750").await else { return };
    let running = bmcs.firmware(&target, &catalog, &|_| {}).await.unwrap();
    let bios = bmcs.bios(&target, true).await.unwrap();
    let (plan, notes) = weigh(&catalog, model, Some(&running), Ok(&bios));
    assert!(!plan.differs() && notes.is_empty(), "{plan:#?} {notes:?}");
    assert_eq!((plan.firmware.len(), plan.bios.len()), (2, 9));

    let path = "/redfish/v1/Systems/System.Embedded.1/Bios";
    sim.state().tree.get_mut(path).unwrap()["Attributes"]["SysProfile"] = json!("PerfPerWattOptimizedDapc");
    let bios = bmcs.bios(&target, true).await.unwrap();
    let (plan, _) = weigh(&catalog, model, Some(&running), Ok(&bios));
    let line = plan.bios.iter().find(|line| line.attribute == "power-profile").unwrap();
    assert_eq!(line.writes.as_deref(), Some("PerfOptimized"), "{line:?}");

    let Some((_sim, bmcs, target)) = replayed("hpe_dl380a_gen11").await else { return };
    let running = bmcs.firmware(&target, &catalog, &|_| {}).await.unwrap();
    let bios = bmcs.bios(&target, true).await.unwrap();
    let (plan, notes) = weigh(&catalog, model, Some(&running), Ok(&bios));
    assert!(plan.differs() && plan.bios.iter().all(|line| line.writes.is_none()), "{plan:#?}");
    assert!(notes.iter().any(|note| note.contains("known as hpe-ilo-6")), "{notes:?}");
}

/// Every value of a recorded Bios resource, one after the other, is something else: what is left is read.
#[tokio::test]
async fn bent_settings_end_in_what_can_be_read_or_in_a_fault() {
    for bent in [json!(null), json!([]), json!("x"), json!({"Attributes": 7}), json!({"Attributes": {"A": {"B": 1}}})] {
        let (sim, bmcs, target) = serving(vec![]).await;
        sim.state().tree.insert("/redfish/v1/Systems/1/Bios".into(), bent.clone());
        if let Ok(told) = bmcs.bios(&target, true).await {
            assert!(told.settings.is_empty(), "{bent}");
        }
        let (sim, bmcs, target) = serving(vec![]).await;
        sim.state().tree.insert("/redfish/v1/Systems/1/Bios/Settings".into(), bent.clone());
        let told = bmcs.bios(&target, true).await.unwrap();
        assert!(told.settings.values().all(|setting| setting.pending.is_none()), "{bent}");
        assert!(bmcs.set_bios(&target, &off()).await.is_err(), "{bent}: nobody can tell what was taken");
    }
}

/// The repository's data, with a wish in one model and the name of it in its profile, and one machine with this BMC.
fn with_machine(address: &str) -> Catalog {
    let mut files = data_files();
    let row = "\n[[bios]]\nattribute = \"c-states\"\nname = \"CStates\"\nvalues = { on = \"Enabled\", off = \"Disabled\" }\n\
               evidence = { documented = \"https://example.org/\" }\n";
    for (name, text) in &mut files {
        match name.as_str() {
            "firmware-profiles/models/qemu-q35.toml" => text.push_str("\n[bios]\nc-states = \"off\"\n"),
            "firmware-profiles/bmcs/openipmi-sim.toml" => text.push_str(row),
            _ => {}
        }
    }
    let rack = format!(
        "site = \"test\"\nrack = \"r1\"\nevidence = \"declared\"\nunits = 42\n[[machine]]\nname = \"n1\"\nu = 1\n\
         model = \"qemu-q35\"\nserial = \"S1\"\nbmc = {{ protocol = \"redfish\", address = \"{address}\", user = \"admin\", \
         password-file = \"bmc\" }}\n"
    );
    files.push(("rack-layouts/test/r1.toml".into(), rack));
    read(&files).unwrap_or_else(|slips| panic!("{slips:?}"))
}

#[tokio::test]
async fn from_a_plan_to_the_bmc_what_is_wanted_waits_there_for_the_next_boot() {
    let (sim, _, _) = serving(vec![]).await;
    let dir = std::env::temp_dir().join(format!("muster-bmc-bios-{}", std::process::id()));
    std::fs::create_dir_all(dir.join("secrets")).unwrap();
    std::fs::write(dir.join("secrets/bmc"), "secret").unwrap();
    let catalog = with_machine(&format!("http://{}", sim.address));
    let db = Store::open(&Place::Sqlite(dir.clone())).await.unwrap();
    let vault = Arc::new(Vault::new(db.clone(), SiteKey::read(&"5a".repeat(32)).unwrap()));
    let in_force = Arc::new(ArcSwap::from_pointee(catalog.clone()));
    let hand = Arc::new(BmcHand::new(vault.clone(), dir.join("secrets"), in_force, None));
    let hands = Hands::of(hand, vault);
    let settings = muster_conductor::Settings {
        agent_url: "https://10.0.0.1:8443".into(),
        boot_http: "http://10.0.0.1:8080".into(),
        ca_pem: "a certificate".into(),
        bmc_accounts: false,
        events_to: None,
        name: "daemon".into(),
        tapes: muster_conductor::console::Tapes { folder: dir.join("console"), kept: 1 << 20 },
    };
    let cancel = CancellationToken::new();
    let (me, running) = Conductor::new(db.clone(), settings, hands, catalog, Budgets::default(), &cancel);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(running.scribe);
    me.follow_layouts().await.unwrap();
    tasks.spawn(couriers(me.clone(), cancel.clone()));

    // Somebody looked at it, and a person holds it.
    let mut tx = db.write().await.unwrap();
    let mut record = machines::by_name(&mut tx, "n1").await.unwrap().unwrap();
    record.inventory = Some("{}".into());
    machines::put(&mut tx, &record).await.unwrap();
    tx.commit(muster_conductor::now()).await.unwrap();
    let request = |what| PlanRequest { what, targets: TargetSet::new(vec![record.id]).unwrap() };
    for what in [Action::Hold { why: "settings".into() }, Action::ApplyBios] {
        let planned = me.plan("kim".into(), request(what)).await.unwrap();
        me.execute("kim".into(), planned.digest).await.unwrap();
    }
    let begun = Instant::now();
    loop {
        let mut tx = db.read().await.unwrap();
        let rows = acts::acts_of(&mut tx, Subject::Machine(record.id)).await.unwrap();
        match rows.iter().find(|row| row.weight == "bios") {
            Some(row) if row.finished.is_some() => break assert_eq!(row.state.word(), "done", "{row:?}"),
            row => assert!(begun.elapsed() < Duration::from_secs(60), "no end: {row:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    {
        let state = sim.state();
        let store = state.bios.as_ref().unwrap();
        assert_eq!((store.patches.len(), &store.pending["CStates"]), (1, &json!("Disabled")));
        assert_eq!(
            (state.resets.len(), &store.attributes["CStates"]),
            (0, &json!("Enabled")),
            "not before its next boot"
        );
    }
    tasks.abort_all();
    while tasks.join_next().await.is_some() {}
    db.close().await;
    std::fs::remove_dir_all(dir).unwrap();
}
