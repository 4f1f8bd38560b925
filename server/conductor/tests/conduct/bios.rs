//! BIOS attributes are set on machines that serve nobody, once, and whatever dies in between is settled by a look.

use crate::agent::{in_service, ready};
use crate::bed::{Fate, Site, folder, install, raw, settings};
use muster_conductor::plans::{Action, PlanRequest};
use muster_conductor::{Firmware, Running};
use muster_diagnosis::{BiosVerdict, Budgets, FirmwareVerdict};
use muster_names::{MachineId, Subject, TargetSet};
use muster_store::{ActRow, ActState, tickets};
use std::sync::Arc;

async fn rows(site: &Site, id: MachineId) -> Vec<ActRow> {
    site.acts(id).await.into_iter().filter(|row| row.weight == "bios").collect()
}

async fn ended(site: &Site, id: MachineId) -> ActRow {
    let over = async || rows(site, id).await.last().is_some_and(|row| row.finished.is_some());
    site.when("the settings' end", over).await;
    rows(site, id).await.pop().unwrap()
}

async fn apply(site: &Site, id: MachineId) -> ActRow {
    site.ask("kim", Action::ApplyBios, &[id]).await.unwrap();
    ended(site, id).await
}

/// What was sent to its BMC, readings aside.
async fn sent(site: &Site, id: MachineId) -> Vec<String> {
    site.power_log(id).await.into_iter().filter(|word| word != "read-bios").collect()
}

async fn open(site: &Site, id: MachineId) -> Vec<String> {
    let mut tx = site.me.db.read().await.unwrap();
    let all = tickets::list_open(&mut tx).await.unwrap();
    all.into_iter().filter(|ticket| ticket.subject == Subject::Bmc(id)).map(|ticket| ticket.title).collect()
}

#[tokio::test]
async fn what_differs_and_is_proven_is_set_for_the_next_boot_and_nothing_is_restarted() {
    let (_folder, site) = Site::sqlite().await;
    let (id, _) = ready(&site, "r2-n1", 1).await;
    let targets = TargetSet::new(vec![id]).unwrap();
    let planned = site.me.plan("kim".into(), PlanRequest { what: Action::ApplyBios, targets }).await.unwrap();
    assert_eq!(planned.targets[0].sets, ["c-states off (CStates = Disabled)", "turbo on (Turbo = Enabled)"]);
    assert_eq!(apply(&site, id).await.state, ActState::Done);
    assert_eq!(sent(&site, id).await, ["set CStates=Disabled"], "turbo is on already, and NUMA is a guess");
    assert!(site.kinds(id).await.contains(&"bios-set".to_owned()) && site.label(id).await == "ready");
    let report = site.me.firmware(vec![id]).await.unwrap();
    let verdicts: Vec<BiosVerdict> =
        report.machines[0].plan.as_ref().unwrap().bios.iter().map(|line| line.verdict).collect();
    assert_eq!(verdicts, [BiosVerdict::Pending, BiosVerdict::AsWanted, BiosVerdict::NotProven]);
    assert_eq!(apply(&site, id).await.state, ActState::Done, "asked again it looks");
    assert_eq!(sent(&site, id).await.len(), 1, "and sends nothing");
    site.log_is_sound().await;
}

#[tokio::test]
async fn a_machine_whose_state_does_not_allow_it_is_refused_with_the_reason_and_the_next_step() {
    let (_folder, site) = Site::sqlite().await;
    let refused = async |name: &str| {
        let id = site.id(name).await;
        site.ask("kim", Action::ApplyBios, &[id]).await.unwrap_err().to_string()
    };
    assert!(refused("r2-n1").await.contains("discover it first"));
    let held = site.id("r2-n2").await;
    site.ask("kim", Action::Hold { why: "look".into() }, &[held]).await.unwrap();
    assert!(refused("r2-n2").await.contains("discover it first"), "held, and nobody ever looked at it");
    let (id, _, _) = in_service(&site, "r2-n1", 1).await;
    assert!(refused("r2-n1").await.contains("in service: release it first"));
    site.ask("kim", Action::Hold { why: "look".into() }, &[id]).await.unwrap();
    site.until(id, "held").await;
    assert!(refused("r2-n1").await.contains("an owner's data"));
    ready(&site, "r1-n1", 3).await;
    assert!(refused("r1-n1").await.contains("over IPMI"));
    assert!(refused("bare1").await.contains("nobody named its BMC"));
    assert!(rows(&site, id).await.is_empty() && !sent(&site, id).await.iter().any(|word| word.starts_with("set ")));
}

#[tokio::test]
async fn killed_at_any_step_the_next_run_looks_and_ends_it() {
    for (fate, sends) in [(Fate::HangsBefore, 2), (Fate::HangsAfter, 1)] {
        let (_folder, site) = Site::sqlite().await;
        let (id, _) = ready(&site, "r2-n1", 1).await;
        site.with_bmc(id, |fake| fake.fates = vec![fate]).await;
        site.ask("kim", Action::ApplyBios, &[id]).await.unwrap();
        site.when("it is sent", async || !sent(&site, id).await.is_empty()).await;
        assert_eq!(rows(&site, id).await[0].state, ActState::Sent, "written down before its first byte");
        let site = site.restarted().await;
        assert_eq!(ended(&site, id).await.state, ActState::Done, "{fate:?}");
        assert_eq!(sent(&site, id).await.len(), sends, "{fate:?}");
    }
}

#[tokio::test]
async fn killed_before_anything_was_sent_it_goes_on_and_a_machine_that_moved_on_is_left_alone() {
    let (_folder, place) = folder();
    let site = Site::open(place, Arc::default(), Budgets::default(), false).await;
    let (one, _) = ready(&site, "r2-n1", 1).await;
    let (two, _) = ready(&site, "r2-n2", 2).await;
    for id in [one, two] {
        site.ask("kim", Action::ApplyBios, &[id]).await.unwrap();
    }
    let again = site.ask("kim", Action::ApplyBios, &[one]).await.unwrap_err().to_string();
    assert!(again.contains("wait until that has ended"), "{again}");
    site.ask("kim", install(), &[two]).await.unwrap();
    let site = site.restarted().await;
    assert_eq!(ended(&site, one).await.state, ActState::Done);
    assert_eq!(ended(&site, two).await.state, ActState::Failed, "superseded");
    assert!(!sent(&site, two).await.iter().any(|word| word.starts_with("set ")));
}

#[tokio::test]
async fn a_lost_answer_is_settled_by_a_look() {
    let (_folder, site) = Site::sqlite().await;
    let (id, _) = ready(&site, "r2-n1", 1).await;
    site.with_bmc(id, |fake| fake.fates = vec![Fate::AnswerLost]).await;
    site.ask("kim", Action::ApplyBios, &[id]).await.unwrap();
    later(&site, id, 1).await;
    assert_eq!(ended(&site, id).await.state, ActState::Done);
    assert_eq!(sent(&site, id).await.len(), 1);
}

/// Waits until so many tries were made and lets the time until the next one pass.
async fn later(site: &Site, id: MachineId, tries: usize) {
    let waits = async || {
        sent(site, id).await.len() == tries
            && site.me.rail_of(Subject::Machine(id), site.known(id).await.facts.epoch).is_some()
    };
    site.when("it waits to look again", waits).await;
    raw(&site.place, "update act set until = until - 600000 where weight = 'bios'").await;
}

#[tokio::test]
async fn a_bmc_that_says_success_and_does_nothing_is_named_in_a_ticket_that_success_closes() {
    let (_folder, site) = Site::sqlite().await;
    let (id, _) = ready(&site, "r2-n1", 1).await;
    site.with_bmc(id, |fake| fake.fates = vec![Fate::Swallowed; 9]).await;
    site.ask("kim", Action::ApplyBios, &[id]).await.unwrap();
    later(&site, id, 1).await;
    later(&site, id, 2).await;
    let row = ended(&site, id).await;
    assert!(row.state == ActState::Failed && row.evidence.unwrap().contains("Swallowed"));
    let [title] = open(&site, id).await.try_into().unwrap();
    assert!(title.contains("given up after 3 tries") && title.contains("apply-bios"), "{title}");
    assert_eq!(site.label(id).await, "ready", "no state depends on it");
    site.with_bmc(id, |fake| fake.fates.clear()).await;
    assert_eq!(apply(&site, id).await.state, ActState::Done);
    assert!(open(&site, id).await.is_empty());
}

#[tokio::test]
async fn what_its_bmc_does_not_take_is_told_and_what_it_takes_is_set() {
    let (_folder, site) = Site::sqlite().await;
    let (id, _) = ready(&site, "r2-n1", 1).await;
    site.with_bmc(id, |fake| {
        fake.bios = settings(&[("CStates", "Enabled"), ("Turbo", "Disabled")]);
        fake.bios.settings.get_mut("Turbo").unwrap().read_only = true;
    })
    .await;
    let row = apply(&site, id).await;
    let evidence = row.evidence.unwrap();
    assert!(row.state == ActState::Done && evidence.contains("read-only"), "{evidence}");
    assert_eq!(sent(&site, id).await, ["set CStates=Disabled"]);
    site.with_bmc(id, |fake| fake.bios = settings(&[("Other", "x")])).await;
    let row = apply(&site, id).await;
    assert!(row.state == ActState::Failed && row.evidence.unwrap().contains("no attribute CStates"));
}

#[tokio::test]
async fn another_makers_bmc_than_the_models_is_never_written_to() {
    let (_folder, site) = Site::sqlite().await;
    let (id, _) = ready(&site, "r2-n1", 1).await;
    site.with_bmc(id, |fake| fake.runs.profile = Some("somebody-elses".into())).await;
    let row = apply(&site, id).await;
    assert!(row.state == ActState::Failed && row.evidence.unwrap().contains("known as somebody-elses"));
    assert!(sent(&site, id).await.is_empty());
    site.with_bmc(id, |fake| fake.runs.profile = Some("openipmi-sim".into())).await;
    assert_eq!(apply(&site, id).await.state, ActState::Done);
}

#[tokio::test]
async fn the_red_button_holds_settings_back_and_many_machines_need_a_second_person() {
    let (_folder, site) = Site::sqlite().await;
    let (id, _) = ready(&site, "r2-n1", 1).await;
    let targets = TargetSet::new(vec![id]).unwrap();
    let planned = site.me.plan("kim".into(), PlanRequest { what: Action::ApplyBios, targets }).await.unwrap();
    assert!(!planned.needs_approval && !planned.destructive);
    site.me.freeze(true, "kim".into(), "drill".into()).await.unwrap();
    let said = site.me.execute("kim".into(), planned.digest).await.unwrap_err().to_string();
    assert!(said.contains("frozen"), "{said}");
    let mut ids = vec![id];
    ids.push(site.id("r1-n1").await);
    let request = PlanRequest { what: Action::ApplyBios, targets: TargetSet::new(ids).unwrap() };
    assert!(site.me.plan("kim".into(), request).await.unwrap().needs_approval, "two racks");
}

#[tokio::test]
async fn one_dead_bmc_costs_its_own_line_of_the_report() {
    let (_folder, site) = Site::sqlite().await;
    let mut ids = Vec::new();
    for name in ["r2-n1", "r2-n2", "r1-n1", "bare1"] {
        ids.push(site.id(name).await);
    }
    let firmware = |version: &str| {
        let told = |state: Option<&str>, version: &str| Firmware {
            component: Some("BIOS".into()),
            version: Some(version.into()),
            state: state.map(str::to_owned),
        };
        Running { firmware: vec![told(None, version), told(Some("StandbySpare"), "9.9")], ..Running::default() }
    };
    site.with_bmc(ids[0], |fake| fake.runs = firmware("2.1")).await;
    site.with_bmc(ids[1], |fake| fake.silent = true).await;
    site.with_bmc(ids[2], |fake| fake.runs = firmware("2.4")).await;
    let report = site.me.firmware(ids).await.unwrap();
    let [one, dead, other, bare] = report.machines.as_slice() else { panic!("{report:?}") };
    let verdicts = |machine: &muster_conductor::MachineFirmware| {
        machine.plan.as_ref().unwrap().firmware.iter().map(|line| line.verdict).collect::<Vec<_>>()
    };
    assert_eq!(verdicts(one), [FirmwareVerdict::Differs], "what stands by runs on nobody");
    assert_eq!(verdicts(other), [FirmwareVerdict::AsWanted]);
    assert_eq!((dead.plan.clone(), dead.error.as_deref(), dead.later), (None, Some("no answer"), true));
    assert!(bare.error.as_deref().is_some_and(|why| why.contains("nobody named its BMC")) && !bare.later);
    let [model] = report.models.as_slice() else { panic!("{:?}", report.models) };
    assert!(
        model.words.starts_with("2 of 4 machines differ: ") && model.words.ends_with("2 could not be read"),
        "{}",
        model.words
    );
    assert!(model.words.contains("bios 2.1 -> 2.4 on 1"), "{}", model.words);
}
