//! The first write is asked for, and any doubt is a no.

use crate::agent::{Agent, digest, in_service, installing, inventory, other_disk, ready};
use crate::bed::{Site, install};
use muster_conductor::TurnedAway;
use muster_conductor::plans::Action;
use muster_names::{BootId, Epoch, MachineId, OrderId, Subject};
use muster_store::{ActState, PermitState};
use muster_wire::{InstallFailure, MayProceed, Permission, Report, Standing};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_is_denied_on_any_doubt_and_granted_when_there_is_none() {
    let (_folder, site) = Site::sqlite().await;
    let (id, agent, epoch, order) = installing(&site, "r1-n1", 1).await;
    let good = agent.ask(&order, epoch);
    let with = |change: &dyn Fn(&mut MayProceed)| {
        let mut ask = good.clone();
        change(&mut ask);
        ask
    };
    let doubts: Vec<(&str, MayProceed)> = vec![
        ("another disk", with(&|ask| ask.disks = vec![other_disk()])),
        ("a second disk", with(&|ask| ask.disks.push(other_disk()))),
        ("no disk", with(&|ask| ask.disks.clear())),
        ("the disk of another size", with(&|ask| ask.disks[0].size_bytes += 1)),
        ("another serial", with(&|ask| ask.identity.serial = Some("r1-S2".into()))),
        ("another uuid", with(&|ask| ask.identity.uuid = None)),
        ("another MAC", with(&|ask| ask.identity.macs = vec![crate::agent::mac(99)])),
        ("no order", with(&|ask| ask.order = None)),
        ("another order", with(&|ask| ask.order = Some(OrderId(7)))),
        ("an earlier epoch", with(&|ask| ask.epoch = Epoch(epoch.0 - 1))),
        ("a later epoch", with(&|ask| ask.epoch = Epoch(epoch.0 + 1))),
        ("another boot", with(&|ask| ask.boot_id = BootId(7))),
    ];
    for (doubt, ask) in doubts {
        assert!(matches!(agent.may(&site, &ask).await, Permission::Denied { .. }), "{doubt}");
    }
    assert_eq!(site.orders(id).await[0].permit, PermitState::Open);
    assert_eq!(agent.may(&site, &good).await, Permission::Granted);
    assert_eq!(agent.may(&site, &good).await, Permission::Granted, "a lost answer is asked for again");
    let writes = site.acts(id).await.into_iter().filter(|act| act.key.slot == "write").count();
    assert_eq!(writes, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_left_over_from_an_earlier_boot_never_writes() {
    let (_folder, site) = Site::sqlite().await;
    let (id, mut old) = ready(&site, "r1-n1", 1).await;
    site.ask("operator", install(), &[id]).await.unwrap();
    let order = site.orders(id).await[0].clone();
    let body: serde_json::Value = serde_json::from_str(&order.body).unwrap();
    let epoch = site.known(id).await.facts.epoch;
    assert_eq!(old.standing(&site).await, Standing::Idle);
    // It even guesses everything right.
    let ask = MayProceed {
        boot_id: old.boot_id,
        epoch,
        order: Some(order.id),
        disks: vec![serde_json::from_value(body["disk"].clone()).unwrap()],
        identity: serde_json::from_value(body["identity"].clone()).unwrap(),
    };
    assert!(matches!(old.may(&site, &ask).await, Permission::Denied { .. }));
    assert_eq!(site.orders(id).await[0].permit, PermitState::Open);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_written_while_frozen_and_again_after_it() {
    let (_folder, site) = Site::sqlite().await;
    let (id, agent, epoch, order) = installing(&site, "r1-n1", 1).await;
    site.me.freeze(true, "ops".into(), "power works".into()).await.unwrap();
    let Permission::Waits { reason } = agent.may(&site, &agent.ask(&order, epoch)).await else { panic!("granted") };
    assert!(reason.contains("power works"), "{reason}");
    assert_eq!(site.me.rail_of(Subject::Machine(id), epoch), Some(reason), "people are told too");
    site.me.freeze(false, "ops".into(), "done".into()).await.unwrap();
    assert_eq!(agent.may(&site, &agent.ask(&order, epoch)).await, Permission::Granted);
    assert_eq!(site.me.rail_of(Subject::Machine(id), epoch), None);
    site.me.freeze(true, "ops".into(), "again".into()).await.unwrap();
    assert!(matches!(agent.may(&site, &agent.ask(&order, epoch)).await, Permission::Waits { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_order_is_stopped_closed_and_never_written() {
    let (_folder, site) = Site::sqlite().await;
    let (id, mut agent, epoch, order) = installing(&site, "r1-n1", 1).await;
    assert_eq!(agent.may(&site, &agent.ask(&order, epoch)).await, Permission::Granted);
    site.ask("operator", Action::CancelInstall, &[id]).await.unwrap();
    assert!(matches!(agent.may(&site, &agent.ask(&order, epoch)).await, Permission::Denied { .. }));
    let Standing::Stop { epoch } = agent.standing(&site).await else { panic!() };
    assert!(matches!(agent.may(&site, &agent.ask(&order, epoch)).await, Permission::Denied { .. }));
    let write = || async { site.acts(id).await.into_iter().find(|act| act.key.slot == "write").unwrap().state };
    assert_eq!(write().await, ActState::Sent, "until the agent says that it has stopped, it may write");
    agent.say(&site, vec![Report::Stopped { epoch: Epoch(epoch.0 - 1) }]).await.unwrap();
    assert_eq!((site.label(id).await, write().await), ("stopping", ActState::Sent));
    agent.say(&site, vec![Report::Stopped { epoch }]).await.unwrap();
    assert_eq!((site.label(id).await, write().await), ("ready", ActState::Done));
    let order = site.orders(id).await.remove(0);
    assert_eq!((order.permit, order.outcome.as_deref()), (PermitState::Closed, Some("failed: cancelled")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_is_not_the_ordered_one_holds_the_machine_at_once() {
    let (_folder, site) = Site::sqlite().await;
    let (id, mut agent, epoch, order) = installing(&site, "r1-n1", 1).await;
    agent.may(&site, &agent.ask(&order, epoch)).await;
    let failure = InstallFailure::DigestMismatch { expected: digest(1), found: digest(2) };
    let reply = agent.say(&site, vec![Report::InstallFailed { epoch, order: order.order, failure }]).await.unwrap();
    assert_eq!((site.label(id).await, reply.standing), ("held", Standing::Idle));
    let tickets = site.tickets(id).await;
    assert_eq!(tickets.len(), 1);
    assert_eq!(tickets[0].cause, "install-refused");
    let closed = site.orders(id).await.remove(0);
    assert_eq!((closed.permit, closed.outcome.as_deref()), (PermitState::Closed, Some("failed: install-refused")));
    assert!(site.acts(id).await.iter().all(|act| act.state == ActState::Done), "{:?}", site.acts(id).await);
    // A person looks and sends it on: the ticket closes, nothing of the failed order stays behind.
    site.ask("operator", Action::Resume { to: muster_conductor::plans::Onward::Discover }, &[id]).await.unwrap();
    assert!(site.tickets(id).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_install_that_failed_is_tried_again_and_ends_at_a_person() {
    let (_folder, site) = Site::sqlite().await;
    let (id, mut agent, mut epoch, mut order) = installing(&site, "bare1", 40).await;
    let attempts = site.known(id).await.facts.limits.attempts;
    for attempt in 1..=attempts {
        assert_eq!(agent.may(&site, &agent.ask(&order, epoch)).await, Permission::Granted, "attempt {attempt}");
        let failure = InstallFailure::Network { reason: "the cable".into() };
        let reply = agent.say(&site, vec![Report::InstallFailed { epoch, order: order.order, failure }]).await.unwrap();
        match reply.standing {
            Standing::Install { epoch: next, order: again } if attempt < attempts => (epoch, order) = (next, again),
            Standing::Idle if attempt == attempts => {}
            standing => panic!("attempt {attempt}: {standing:?}"),
        }
    }
    assert_eq!(site.tickets(id).await[0].cause, "install-failed");
    assert_eq!(site.orders(id).await[0].permit, PermitState::Closed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_without_asking_does_not_pass_as_installed() {
    let (_folder, site) = Site::sqlite().await;
    let (id, mut agent, epoch, order) = installing(&site, "bare1", 40).await;
    agent.say(&site, vec![Agent::installed(&order, epoch)]).await.unwrap();
    assert_eq!(site.label(id).await, "held");
    assert_eq!(site.orders(id).await[0].permit, PermitState::Closed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_turn_changes_nothing() {
    let (_folder, site) = Site::sqlite().await;
    let (id, mut agent, epoch, order) = installing(&site, "bare1", 40).await;
    agent.may(&site, &agent.ask(&order, epoch)).await;
    let turn = agent.turn(vec![Agent::installed(&order, epoch)], 0);
    let first = site.me.turn(agent.caller.clone(), turn.clone()).await.unwrap();
    let log = site.log(None).await.len();
    for _ in 0..3 {
        assert_eq!(site.me.turn(agent.caller.clone(), turn.clone()).await.unwrap(), first);
    }
    assert_eq!(site.log(None).await.len(), log);
    let site = site.restarted().await;
    assert_eq!(site.me.turn(agent.caller.clone(), turn.clone()).await.unwrap(), first, "a restart forgets nothing");
    let reports = |kinds: Vec<String>| kinds.iter().filter(|kind| *kind == "install-reported").count();
    assert_eq!((site.label(id).await, reports(site.kinds(id).await)), ("checking", 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_token_with_another_key_holds_the_machine_with_a_ticket() {
    let (_folder, site) = Site::sqlite().await;
    let (id, mut agent) = ready(&site, "r1-n1", 1).await;
    let mut thief = Agent::new(&agent.token, muster_wire::Mode::Ram, agent.inventory.clone());
    assert!(matches!(thief.introduce(&site).await, Err(TurnedAway::OtherKey)));
    assert_eq!(site.label(id).await, "held");
    assert_eq!(site.tickets(id).await[0].cause, "impostor");
    assert!(matches!(thief.say(&site, vec![]).await, Err(TurnedAway::OtherKey)));
    assert!(agent.say(&site, vec![]).await.is_ok(), "the first key still gets its answers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_key_during_an_install_stops_the_write_before_anything_else() {
    let (_folder, site) = Site::sqlite().await;
    let (id, mut agent, epoch, order) = installing(&site, "bare1", 40).await;
    agent.may(&site, &agent.ask(&order, epoch)).await;
    let mut thief = Agent::new(&agent.token, muster_wire::Mode::Ram, agent.inventory.clone());
    assert!(matches!(thief.introduce(&site).await, Err(TurnedAway::OtherKey)));
    assert_eq!(site.label(id).await, "stopping");
    let Standing::Stop { epoch } = agent.standing(&site).await else { panic!() };
    agent.say(&site, vec![Report::Stopped { epoch }]).await.unwrap();
    assert_eq!((site.label(id).await, site.orders(id).await[0].permit), ("held", PermitState::Closed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_nobody_is_turned_away_without_a_trace() {
    let (_folder, site) = Site::sqlite().await;
    let log = site.log(None).await.len();
    let mut stranger = Agent::new("mstr_nobody", muster_wire::Mode::Ram, inventory("r1-S1", 1));
    assert!(matches!(stranger.introduce(&site).await, Err(TurnedAway::Token)));
    assert_eq!(site.log(None).await.len(), log);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resident_agent_may_never_write() {
    let (_folder, site) = Site::sqlite().await;
    let (id, mut resident, order) = in_service(&site, "bare1", 40).await;
    site.ask("operator", Action::Release, &[id]).await.unwrap();
    site.ask("operator", Action::AcknowledgeDrain, &[id]).await.unwrap();
    assert_eq!(resident.standing(&site).await, Standing::Idle);
    let mut ask = resident.ask(&order, site.known(id).await.facts.epoch);
    ask.order = None;
    assert!(matches!(resident.may(&site, &ask).await, Permission::Denied { .. }));
    // Nor does it pass for an agent in RAM by saying so, or say that the disks were wiped.
    resident.mode = muster_wire::Mode::Ram;
    let epoch = site.known(id).await.facts.epoch;
    let reply = resident.say(&site, vec![Agent::wiped(std::slice::from_ref(&order.disk), epoch)]).await.unwrap();
    assert_eq!((site.label(id).await, reply.standing), ("releasing", Standing::Idle));
    assert!(matches!(resident.may(&site, &ask).await, Permission::Denied { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_budget_is_asked_again_and_breaks_no_order() {
    let (_folder, place) = crate::bed::folder();
    let mut budgets = muster_diagnosis::Budgets::default();
    budgets.install.concurrent = 1;
    let site = Site::open(place, std::sync::Arc::default(), budgets, true).await;
    let (first, mut one, epoch, order) = installing(&site, "bare1", 40).await;
    assert_eq!(one.may(&site, &one.ask(&order, epoch)).await, Permission::Granted);
    let (second, two, other, waiting) = installing(&site, "r1-n1", 1).await;
    let ask = two.ask(&waiting, other);
    let Permission::Waits { reason } = two.may(&site, &ask).await else { panic!("it did not wait") };
    assert!(reason.contains("install budget"), "{reason}");
    assert_eq!(states(&site, &[first, second]).await, ["installing", "installing"]);
    one.say(&site, vec![Agent::installed(&order, epoch)]).await.unwrap();
    assert_eq!(two.may(&site, &ask).await, Permission::Granted);
}

async fn states(site: &Site, ids: &[MachineId]) -> Vec<&'static str> {
    let mut states = Vec::new();
    for id in ids {
        states.push(site.label(*id).await);
    }
    states
}
