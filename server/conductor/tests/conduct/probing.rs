//! A BMC is tried once for all of its kind.

use crate::agent;
use crate::bed::{Fake, Site, folder};
use crate::nobodys::{Greets, Peculiar};
use muster_catalog::Protocol;
use muster_conductor::plans::Action;
use muster_conductor::{Entry, Manifest, WriteHabit};
use muster_diagnosis::Budgets;
use muster_names::{MachineId, Subject};
use muster_store::{ActRow, ActState, acts, bmc_adoption};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

async fn ended(site: &Site, id: MachineId) -> ActRow {
    let last = async || {
        let rows = acts::acts_of(&mut site.me.db.read().await.unwrap(), Subject::Bmc(id)).await.unwrap();
        rows.into_iter().rfind(|row| row.weight == "probe")
    };
    site.when("the end of the probe", async || last().await.is_some_and(|row| row.finished.is_some())).await;
    last().await.unwrap()
}

async fn peculiar(site: &Site, id: MachineId, hides: &[&str], habit: Option<WriteHabit>) {
    let hides = hides.iter().map(|key| (*key).to_owned()).collect();
    site.with_bmc(id, |fake| fake.peculiar = Peculiar { hides, away: 0, habit }).await;
}

#[tokio::test]
async fn what_one_bmc_does_is_known_of_its_kind_and_no_other_is_restarted_for_it() {
    let (_folder, site) = Site::sqlite().await;
    let one = site.id("r2-n1").await;
    peculiar(&site, one, &["PowerState", "Never"], Some(WriteHabit::Needed)).await;
    site.ask("kim", Action::ProbeBmc, &[one]).await.unwrap();
    assert_eq!(ended(&site, one).await.state, ActState::Done);
    let known = site.me.learnt_bmcs().await.unwrap();
    assert_eq!(known.len(), 1);
    let learnt = json!({ "if-match": "needed", "keys-after-reset": ["PowerState"] });
    assert_eq!((known[0].kind.as_str(), &known[0].learnt), ("Acme/One/1.0", &learnt));
    assert_eq!(site.power_log(one).await, ["restart-bmc", "probe-write"]);
    // One that is adopted later is of a kind that was tried.
    let greets = Greets { protocol: Protocol::Redfish, serial: Some("NEW-1".into()), sku: None, pin: None };
    site.bmcs.of("https://10.9.0.5", |fake| {
        *fake = Fake { password: "label".into(), greets: Some(greets), ..Fake::default() };
        fake.peculiar = Peculiar { hides: vec!["PowerState".into()], away: 0, habit: Some(WriteHabit::Refused) };
    });
    let entries: Vec<Entry> =
        serde_json::from_value(json!([{ "address": "10.9.0.5", "user": "admin", "password": "label" }])).unwrap();
    let look = site.me.take_manifest("kim".into(), Manifest { entries: entries.clone(), digest: None }).await.unwrap();
    let taken = Manifest { entries, digest: Some(look.digest) };
    site.me.take_manifest("kim".into(), taken).await.unwrap();
    site.me.adopt_bmcs_once().await.unwrap();
    let two = site.id("new-1").await;
    assert_eq!(ended(&site, two).await.state, ActState::Done);
    let log = site.power_log(two).await;
    assert!(!log.iter().any(|what| what == "restart-bmc" || what == "probe-write"), "{log:?}");
    let mut tx = site.me.db.read().await.unwrap();
    assert_eq!(bmc_adoption::kind_of(&mut tx, two).await.unwrap().as_deref(), Some("Acme/One/1.0"));
}

#[tokio::test]
async fn a_machine_that_serves_somebody_is_not_tried() {
    let (_folder, site) = Site::sqlite().await;
    let (id, _agent, _order) = agent::in_service(&site, "r1-n1", 1).await;
    let said = site.ask("kim", Action::ProbeBmc, &[id]).await.unwrap_err().to_string();
    assert!(said.contains("owner's data"), "{said}");
}

#[tokio::test]
async fn while_everything_is_frozen_no_bmc_is_tried() {
    let (_folder, place) = folder();
    let site = Site::open(place, Arc::default(), Budgets::default(), false).await;
    let id = site.id("r2-n1").await;
    peculiar(&site, id, &["PowerState"], Some(WriteHabit::Either)).await;
    site.ask("kim", Action::ProbeBmc, &[id]).await.unwrap();
    site.me.freeze(true, "kim".into(), "look".into()).await.unwrap();
    let cancel = CancellationToken::new();
    let going = tokio::spawn(muster_conductor::couriers(site.me.clone(), cancel.clone()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(site.power_log(id).await.is_empty());
    site.me.freeze(false, "kim".into(), "go on".into()).await.unwrap();
    assert_eq!(ended(&site, id).await.state, ActState::Done);
    cancel.cancel();
    going.await.unwrap();
}

#[tokio::test]
async fn a_bmc_that_does_not_answer_is_tried_again_later_and_teaches_nothing_wrong() {
    let (_folder, site) = Site::sqlite().await;
    let id = site.id("r2-n1").await;
    peculiar(&site, id, &[], None).await;
    site.ask("kim", Action::ProbeBmc, &[id]).await.unwrap();
    site.when("the first try", async || site.power_log(id).await == ["probe-write"]).await;
    assert!(site.me.learnt_bmcs().await.unwrap().is_empty());
}
