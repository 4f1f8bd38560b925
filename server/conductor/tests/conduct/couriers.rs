//! Acts and their rails: what waits says why, what is over is never sent, and nothing is held up for ever.

use crate::agent::{ready, reset};
use crate::bed::{Bmcs, Folder, Site, folder, install};
use muster_conductor::now;
use muster_conductor::plans::Action;
use muster_diagnosis::Budgets;
use muster_names::{Key, MachineId, Millis, Power, Subject};
use muster_store::{ActState, acts};
use std::sync::Arc;
use std::time::Duration;

async fn pause(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

async fn rail(site: &Site, id: MachineId) -> Option<String> {
    site.me.rail_of(Subject::Machine(id), site.known(id).await.facts.epoch)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_act_that_waits_says_which_rail_holds_it_and_goes_when_it_lets_go() {
    let (_folder, site) = Site::sqlite().await;
    let (id, _) = ready(&site, "r1-n1", 1).await;
    site.with_bmc(id, |fake| fake.hides = true).await;
    site.ask("operator", install(), &[id]).await.unwrap();
    site.when("a rail", async || rail(&site, id).await.is_some_and(|rail| rail.contains("unknown is not off"))).await;
    site.with_bmc(id, |fake| (fake.hides, fake.silent) = (false, true)).await;
    site.when("a rail", async || rail(&site, id).await.is_some_and(|rail| rail.contains("does not answer"))).await;
    site.me.freeze(true, "ops".into(), "power works".into()).await.unwrap();
    site.with_bmc(id, |fake| fake.silent = false).await;
    site.when("a rail", async || rail(&site, id).await.is_some_and(|rail| rail.contains("power works"))).await;
    assert!(site.power_log(id).await.is_empty());
    site.me.freeze(false, "ops".into(), "done".into()).await.unwrap();
    reset(&site, id).await;
    assert_eq!((rail(&site, id).await, site.power_log(id).await.len()), (None, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn machines_of_one_rack_take_turns_and_all_come_to_theirs() {
    let (_folder, site) = Site::sqlite().await;
    let mut ids = Vec::new();
    for n in 1..=3 {
        ids.push(ready(&site, &format!("r1-n{n}"), n).await.0);
    }
    site.ask("operator", install(), &ids).await.unwrap();
    for id in &ids {
        reset(&site, *id).await;
    }
    for id in ids {
        assert_eq!(site.power_log(id).await, ["boot agent", "off", "on"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_freeze_in_the_middle_stops_before_the_next_order_and_goes_on_from_there() {
    let (_folder, site) = Site::sqlite().await;
    let (id, _) = ready(&site, "r1-n1", 1).await;
    site.with_bmc(id, |fake| fake.slow = Duration::from_millis(700)).await;
    site.ask("operator", install(), &[id]).await.unwrap();
    site.when("the first phase", async || site.act(id, "boot").await.is_some_and(|act| act.phase == "set-boot")).await;
    site.me.freeze(true, "ops".into(), "power works".into()).await.unwrap();
    pause(6_000).await;
    assert_eq!(site.power_log(id).await, ["boot agent"]);
    assert!(rail(&site, id).await.is_some_and(|rail| rail.contains("power works")), "{:?}", rail(&site, id).await);
    site.me.freeze(false, "ops".into(), "done".into()).await.unwrap();
    reset(&site, id).await;
    let log = site.power_log(id).await;
    assert_eq!(log[log.len() - 2..], ["off", "on"]);
    assert_eq!(log.iter().filter(|word| *word == "off").count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_act_of_a_state_that_is_over_is_never_sent_and_holds_nothing_up() {
    let (_folder, site) = Site::sqlite().await;
    let (id, _) = ready(&site, "r1-n1", 1).await;
    let (other, _) = ready(&site, "r1-n2", 2).await;
    site.with_bmc(id, |fake| fake.slow = Duration::from_millis(1500)).await;
    site.ask("operator", install(), &[id]).await.unwrap();
    site.when("the first phase", async || site.act(id, "boot").await.is_some_and(|act| act.phase == "set-boot")).await;
    let key = site.act(id, "boot").await.unwrap().key;
    site.ask("operator", Action::CancelInstall, &[id]).await.unwrap();
    let over = async || site.acts(id).await.iter().any(|act| act.key == key && act.finished.is_some());
    site.when("the end of the act", over).await;
    assert_eq!(site.power_log(id).await, ["boot agent"], "it was power-cycled for an order that is cancelled");
    // The rack's only turn is free again.
    site.ask("operator", install(), &[other]).await.unwrap();
    reset(&site, other).await;
}

/// An act as a daemon that was killed left it some time ago.
async fn left_behind(phase: &str, power: Power) -> (Folder, Site, MachineId, Key) {
    left_behind_until(phase, power, -500).await
}

/// The same with a claim that ends so many milliseconds from now.
async fn left_behind_until(phase: &str, power: Power, until: i64) -> (Folder, Site, MachineId, Key) {
    let (folder, place) = folder();
    let bmcs: Arc<Bmcs> = Arc::default();
    let site = Site::open(place, bmcs, Budgets::default(), false).await;
    let (id, _) = ready(&site, "r1-n1", 1).await;
    site.with_bmc(id, |fake| fake.power = power).await;
    site.ask("operator", install(), &[id]).await.unwrap();
    let key = site.act(id, "boot").await.unwrap().key;
    let (place, bmcs) = site.kill().await;
    let store = muster_store::Store::open(&place).await.unwrap();
    let mut tx = store.write().await.unwrap();
    let long_ago = Millis(now().0 - 1_000);
    acts::claim(&mut tx, &key, "daemon-a", Millis(now().0 + until), Millis(now().0)).await.unwrap();
    if !phase.is_empty() {
        assert!(acts::mark_sent(&mut tx, &key, "daemon-a", phase, long_ago).await.unwrap());
    }
    tx.commit(now()).await.unwrap();
    store.close().await;
    (folder, Site::open(place, bmcs, Budgets::default(), true).await, id, key)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_daemon_claimed_and_did_not_send_is_carried_on_at_once() {
    let (_folder, site, id, _) = left_behind_until("", Power::On, 120_000).await;
    reset(&site, id).await;
    assert_eq!(site.power_log(id).await, ["boot agent", "off", "on"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_daemon_sent_is_given_time_to_happen_and_restarts_do_not_lengthen_it() {
    let (_folder, site, id, key) = left_behind_until("on", Power::On, 120_000).await;
    let first = site.act(id, "boot").await.unwrap().until.unwrap();
    assert!(first.0 > now().0 + 5_000 && first.0 <= now().0 + 15_000, "{} at {}", first.0, now().0);
    let site = site.restarted().await;
    assert_eq!(site.act(id, "boot").await.unwrap().until, Some(first));
    site.when("the end of the act", async || site.act(id, "boot").await.is_some_and(|act| act.finished.is_some()))
        .await;
    assert_eq!(site.act(id, "boot").await.unwrap().key, key);
    assert!(site.power_log(id).await.is_empty(), "it was on already");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_in_the_middle_of_an_act_carries_on_from_its_phase() {
    for (phase, power, expected) in [
        ("", Power::On, vec!["boot agent", "off", "on"]),
        ("set-boot", Power::On, vec!["boot agent", "off", "on"]),
        // The boot device is set anew: a BMC may have forgotten it since.
        ("off", Power::On, vec!["boot agent", "off", "on"]),
        ("off", Power::Off, vec!["boot agent", "on"]),
        ("on", Power::Off, vec!["boot agent", "on"]),
        // The On of the daemon that died took effect: a second cycle would reset the agent that is booting.
        ("on", Power::On, vec![]),
    ] {
        let (_folder, site, id, _) = left_behind(phase, power).await;
        reset(&site, id).await;
        assert_eq!(site.power_log(id).await, expected, "phase {phase:?}, power {power:?}");
        site.log_is_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_courier_left_of_a_state_that_is_over_is_ended_without_an_order() {
    for phase in ["", "off"] {
        let (_folder, site, id, key) = left_behind(phase, Power::Unknown).await;
        // Its power is unknown, so the rail holds the act; meanwhile the order is cancelled.
        pause(1_500).await;
        site.ask("operator", Action::CancelInstall, &[id]).await.unwrap();
        let over = async || {
            let act = site.acts(id).await.into_iter().find(|act| act.key == key).unwrap();
            matches!(act.state, ActState::Failed | ActState::Unknown)
        };
        site.when("the end of the act", over).await;
        assert!(site.power_log(id).await.is_empty());
        assert!(site.in_flight().await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_act_that_cannot_be_carried_on_is_looked_at_now_and_then_not_in_a_tight_loop() {
    let (_folder, site, id, _) = left_behind("off", Power::Unknown).await;
    pause(3_500).await;
    let epoch = site.known(id).await.facts.epoch;
    assert!(site.me.rail_of(Subject::Machine(id), epoch).is_some());
    let looks = site.with_bmc(id, |fake| fake.readings).await;
    assert!(looks <= 4, "its power was read {looks} times within 3.5 s");
}
