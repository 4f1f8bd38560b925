//! Plan, approve, execute.

use crate::agent::{in_service, installing, ready};
use crate::bed::{Site, catalog, image, install};
use muster_conductor::plans::{Action, PlanRequest, Planned};
use muster_names::{Architecture, Digest, MachineId, TargetSet};
use muster_store::Kind;

async fn plan(site: &Site, by: &str, what: Action, ids: &[MachineId]) -> Planned {
    let targets = TargetSet::new(ids.to_vec()).unwrap();
    site.me.plan(by.into(), PlanRequest { what, targets }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_names_everything_and_changes_nothing() {
    let (_folder, site) = Site::sqlite().await;
    let (id, _) = ready(&site, "r1-n1", 1).await;
    let log = site.log(None).await.len();
    let planned = plan(&site, "operator", install(), &[id]).await;
    assert_eq!((planned.count, planned.destructive, planned.needs_approval), (1, true, false));
    assert_eq!(planned.targets[0].leads_to.as_deref(), Some("installing"));
    assert_eq!(planned.targets[0].disk.as_ref().unwrap().serial.as_deref(), Some("DISK0001"));
    assert_eq!((site.log(None).await.len(), site.label(id).await), (log, "ready"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_is_refused_when_the_world_has_changed_and_can_then_be_made_again() {
    let (_folder, site) = Site::sqlite().await;
    let (id, _) = ready(&site, "bare1", 40).await;
    let stale = plan(&site, "operator", install(), &[id]).await;
    site.ask("operator", Action::Hold { why: "wait".into() }, &[id]).await.unwrap();
    let error = site.me.execute("operator".into(), stale.digest).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("has changed"), "{error}");
    assert!(site.orders(id).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_wish_made_again_is_a_plan_of_its_own() {
    let (_folder, site) = Site::sqlite().await;
    let (id, _) = ready(&site, "bare1", 40).await;
    let first = plan(&site, "operator", install(), &[id]).await;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let second = plan(&site, "operator", install(), &[id]).await;
    // Else a plan older than a quarter of an hour could never be made anew while the world stands still.
    assert_ne!(first.digest, second.digest);
    assert_ne!(second.digest, plan(&site, "another", install(), &[id]).await.digest);
    site.me.execute("operator".into(), second.digest).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_was_executed_is_done_once() {
    let (_folder, site) = Site::sqlite().await;
    let (id, _) = ready(&site, "r1-n1", 1).await;
    let planned = plan(&site, "operator", install(), &[id]).await;
    let (a, b) = tokio::join!(
        site.me.execute("operator".into(), planned.digest),
        site.me.execute("operator".into(), planned.digest)
    );
    assert_eq!(a.unwrap().orders.len() + b.unwrap().orders.len(), 1);
    assert!(site.me.execute("operator".into(), planned.digest).await.unwrap().orders.is_empty());
    assert_eq!(site.orders(id).await.len(), 1);
    assert!(site.me.execute("operator".into(), Digest([9; 32])).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a6_5_eleven_destructive_targets_need_a_second_person_and_the_author_is_not_one() {
    let (_folder, site) = Site::sqlite().await;
    let mut ids = Vec::new();
    for n in 1..=11 {
        ids.push(ready(&site, &format!("r1-n{n}"), n).await.0);
    }
    let ten = plan(&site, "alice", Action::Release, &ids[..10]).await;
    assert!(!ten.needs_approval);
    let eleven = plan(&site, "alice", Action::Release, &ids).await;
    assert!(eleven.needs_approval);
    let digest = eleven.digest;
    assert!(site.me.execute("alice".into(), digest).await.is_err());
    assert!(site.me.execute("bob".into(), digest).await.is_err(), "executing is not approving");
    assert!(site.me.approve("alice".into(), digest, 11).await.is_err(), "her own plan");
    assert!(site.me.approve("bob".into(), digest, 10).await.is_err(), "the wrong count");
    assert!(site.me.execute("alice".into(), digest).await.is_err());
    assert_eq!(site.label(ids[0]).await, "ready");
    site.me.approve("bob".into(), digest, 11).await.unwrap();
    assert_eq!(site.me.execute("alice".into(), digest).await.unwrap().machines.len(), 11);
    assert_eq!(site.label(ids[10]).await, "releasing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a6_5_a_destructive_plan_across_racks_needs_a_second_person() {
    let (_folder, site) = Site::sqlite().await;
    let (one, _) = ready(&site, "r1-n1", 1).await;
    let (two, _) = ready(&site, "r2-n1", 21).await;
    assert!(plan(&site, "alice", install(), &[one, two]).await.needs_approval);
    assert!(!plan(&site, "alice", Action::Hold { why: "w".into() }, &[one, two]).await.needs_approval);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_machine_that_cannot_be_part_of_it_keeps_the_whole_plan_from_running() {
    let (_folder, site) = Site::sqlite().await;
    let (one, _) = ready(&site, "r1-n1", 1).await;
    let two = site.id("r1-n2").await;
    let planned = plan(&site, "operator", install(), &[one, two]).await;
    assert!(!planned.executable);
    assert!(site.me.execute("operator".into(), planned.digest).await.is_err());
    assert_eq!((site.label(one).await, site.orders(one).await.len()), ("ready", 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a6_7_only_a_hold_is_executed_while_frozen() {
    let (_folder, site) = Site::sqlite().await;
    let (id, _) = ready(&site, "r1-n1", 1).await;
    site.me.freeze(true, "ops".into(), "power works".into()).await.unwrap();
    let error = site.ask("operator", install(), &[id]).await.unwrap_err();
    assert!(error.to_string().contains("power works"), "{error}");
    site.ask("operator", Action::Hold { why: "w".into() }, &[id]).await.unwrap();
    assert_eq!(site.label(id).await, "held");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_in_service_is_not_installed_over_without_the_word_reimage() {
    let (_folder, site) = Site::sqlite().await;
    let (id, _, _) = in_service(&site, "bare1", 40).await;
    assert!(site.ask("operator", install(), &[id]).await.is_err());
    let reimage = match install() {
        Action::Install { image, users, network, user_data, .. } => {
            Action::Install { image, users, network, user_data, reimage: true }
        }
        other => other,
    };
    let planned = plan(&site, "operator", reimage, &[id]).await;
    assert_eq!(planned.data_bearing, 1);
    site.me.execute("operator".into(), planned.digest).await.unwrap();
    assert_eq!(site.label(id).await, "draining", "the owner is asked to leave first");
    site.ask("operator", Action::CancelInstall, &[id]).await.unwrap();
    assert_eq!(site.label(id).await, "in-service", "nothing was begun, so the owner stays");
    assert!(site.known(id).await.facts.order.is_none() && site.tickets(id).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_machine_goes_where_a_person_sends_it_and_its_ticket_closes() {
    let (_folder, site) = Site::sqlite().await;
    let (id, _, _) = in_service(&site, "bare1", 40).await;
    site.ask("tech", Action::Hold { why: "a smell of smoke".into() }, &[id]).await.unwrap();
    assert_eq!((site.label(id).await, site.tickets(id).await.len()), ("held", 1));
    site.ask("operator", Action::Resume { to: muster_conductor::plans::Onward::Serve }, &[id]).await.unwrap();
    assert_eq!((site.label(id).await, site.tickets(id).await.len()), ("in-service", 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i7_the_sites_cloud_config_does_not_stand_in_the_log() {
    let (_folder, site) = Site::sqlite().await;
    let (id, _) = ready(&site, "bare1", 40).await;
    let what = match install() {
        Action::Install { image, users, network, reimage, .. } => {
            let user_data = "#cloud-config\npassword: correct-horse\n".into();
            Action::Install { image, users, network, user_data, reimage }
        }
        other => other,
    };
    site.ask("operator", what, &[id]).await.unwrap();
    for row in site.log(None).await {
        assert!(!row.body.contains("correct-horse"), "{}", row.body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_with_an_open_order_takes_no_second_one() {
    let (_folder, site) = Site::sqlite().await;
    let (id, ..) = installing(&site, "bare1", 40).await;
    assert!(site.ask("operator", install(), &[id]).await.is_err());
    assert_eq!(site.orders(id).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_for_another_architecture_is_not_ordered() {
    let (_folder, site) = Site::sqlite().await;
    let (id, _) = ready(&site, "r1-n1", 1).await;
    let mut built = image(&catalog());
    built.image.os.architecture = Architecture::Arm64;
    site.me.set_images(vec![built]);
    let planned = plan(&site, "operator", install(), &[id]).await;
    assert!(format!("{planned:?}").contains("is for arm64, and this machine is x86-64"), "{planned:?}");
    let refused = site.me.execute("operator".into(), planned.digest).await;
    assert!(refused.is_err() && site.orders(id).await.is_empty());
}
