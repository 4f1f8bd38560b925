//! A daemon that dies and comes back loses no event, writes no disk twice and wakes whoever waits.

use crate::agent::{Agent, in_service, installing, inventory, ready};
use crate::bed::{Site, install};
use muster_conductor::now;
use muster_conductor::plans::Action;
use muster_netboot::{Said, Sighting, SightingKind};
use muster_store::PermitState;
use muster_wire::{Permission, Standing};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_in_the_middle_of_an_install_begins_no_second_one() {
    let (_folder, site) = Site::sqlite().await;
    let (id, mut agent, epoch, order) = installing(&site, "r1-n1", 1).await;
    let events = site.log(None).await;
    // Before the first write: the agent asks a daemon that has just come back, without a turn in between.
    let site = site.restarted().await;
    assert_eq!(agent.may(&site, &agent.ask(&order, epoch)).await, Permission::Granted);
    let site = site.restarted().await;
    agent.doing = Some(epoch);
    let Standing::Install { epoch: again, order: same } = agent.standing(&site).await else { panic!() };
    assert_eq!((again, same.order, &same.disk), (epoch, order.order, &order.disk));
    assert_eq!(agent.may(&site, &agent.ask(&order, epoch)).await, Permission::Granted, "the same disk, still");
    agent.say(&site, vec![Agent::installed(&order, epoch)]).await.unwrap();
    assert_eq!(site.label(id).await, "checking");
    assert_eq!(site.orders(id).await.len(), 1);
    assert_eq!(site.log(None).await[..events.len()], events);
    assert_eq!(site.states(id).await.iter().filter(|state| *state == "installing").count(), 1);
    site.log_is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_tokens_of_an_order_served_before_and_after_a_restart_lead_to_its_machine() {
    let (_folder, site) = Site::sqlite().await;
    let (_, agent, epoch, before) = installing(&site, "bare1", 40).await;
    let site = site.restarted().await;
    let mut agent = agent;
    let Standing::Install { order: after, .. } = agent.standing(&site).await else { panic!() };
    assert_ne!(before.resident.token, after.resident.token);
    agent.may(&site, &agent.ask(&before, epoch)).await;
    agent.say(&site, vec![Agent::installed(&before, epoch)]).await.unwrap();
    for token in [&before.resident.token, &after.resident.token] {
        let mut resident = Agent::new(token, muster_wire::Mode::Resident, agent.inventory.clone());
        assert!(matches!(resident.introduce(&site).await.unwrap().standing, Standing::Check { .. }));
    }
}

/// The write in flight is the agent's own: a daemon that starts anew takes nothing from it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_in_flight_outlives_the_daemon_that_permitted_it() {
    let (_folder, site) = Site::sqlite().await;
    let (id, agent, epoch, order) = installing(&site, "r1-n1", 1).await;
    assert_eq!(agent.may(&site, &agent.ask(&order, epoch)).await, Permission::Granted);
    let before = site.act(id, "write").await.unwrap();
    let site = site.restarted().await;
    assert_eq!(site.act(id, "write").await.unwrap(), before);
}

/// A layout may know a machine by its port alone, and a relay tells the port once, at the boot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_relay_saw_a_machine_and_how_it_booted_is_known_after_a_restart() {
    let (_folder, site) = Site::sqlite().await;
    let inventory = inventory("r1-S1", 1);
    let boot = inventory.macs().next().unwrap();
    let mut seen = Sighting::of(now(), boot, SightingKind::Discover, Said::Noted);
    seen.giaddr = Some([10, 0, 0, 2].into());
    (seen.circuit_id, seen.remote_id) = (Some(b"Ethernet1/7".to_vec()), Some(b"tor-1".to_vec()));
    site.me.saw(seen);
    let mut agent = Agent::try_boot(&site, &inventory, true).await.unwrap();
    site.when("the sighting", async || !site.me.boots_of_mac(boot).await.unwrap().boots.is_empty()).await;
    let site = site.restarted().await;
    agent.introduce(&site).await.unwrap();
    let known = site.known(site.id("r1-n1").await).await;
    let port = muster_names::SwitchPort { switch: "tor-1".into(), port: "Ethernet1/7".into() };
    assert_eq!(known.kept.ports, [(muster_catalog::Witness::Option82, port)]);
    assert_eq!(known.kept.boot_mac, Some(boot));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resident_agent_is_known_again_after_a_restart() {
    let (_folder, site) = Site::sqlite().await;
    let (id, mut resident, _) = in_service(&site, "bare1", 40).await;
    let site = site.restarted().await;
    assert_eq!(resident.standing(&site).await, Standing::Idle);
    assert_eq!((site.label(id).await, site.orders(id).await[0].permit), ("in-service", PermitState::Closed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_poll_is_woken_by_what_is_new_and_by_nothing_else() {
    let (_folder, site) = Site::sqlite().await;
    let (id, mut agent) = ready(&site, "bare1", 40).await;
    let turn = agent.turn(Vec::new(), 20_000);
    let (me, caller) = (site.me.clone(), agent.caller.clone());
    let waiting = tokio::spawn(async move { (me.turn(caller, turn).await.unwrap(), Instant::now()) });
    // Another machine's changes are not this one's.
    ready(&site, "r1-n1", 1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    let asked = Instant::now();
    site.ask("operator", install(), &[id]).await.unwrap();
    let (reply, woken) = waiting.await.unwrap();
    assert!(matches!(reply.standing, Standing::Install { .. }), "{:?}", reply.standing);
    assert!(woken.duration_since(asked) < Duration::from_secs(1), "{:?}", woken.duration_since(asked));
}

/// The change may fall at any moment of the poll: before its first look, between look and wait, while it waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_change_slips_between_a_long_polls_look_and_its_wait() {
    let (_folder, site) = Site::sqlite().await;
    let (id, mut agent) = ready(&site, "bare1", 40).await;
    for round in 0..40_u64 {
        let turn = agent.turn(Vec::new(), 20_000);
        let (me, caller) = (site.me.clone(), agent.caller.clone());
        let waiting = tokio::spawn(async move { me.turn(caller, turn).await.unwrap() });
        tokio::time::sleep(Duration::from_micros(round * 300)).await;
        site.ask("operator", install(), &[id]).await.unwrap();
        let reply = tokio::time::timeout(Duration::from_secs(3), waiting).await.expect("slept through it").unwrap();
        let Standing::Install { .. } = reply.standing else { panic!("round {round}: {:?}", reply.standing) };
        site.ask("operator", Action::CancelInstall, &[id]).await.unwrap();
        let Standing::Stop { epoch } = agent.standing(&site).await else { panic!() };
        agent.say(&site, vec![muster_wire::Report::Stopped { epoch }]).await.unwrap();
    }
}
