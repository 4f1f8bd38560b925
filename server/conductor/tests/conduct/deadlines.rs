//! Time runs out: every wait ends, and alone it ends at a person.

use crate::agent::{Agent, in_service, installing, inventory, ready, reset};
use crate::bed::{Site, raw};
use muster_conductor::plans::Action;
use muster_names::{Digest, MachineId, Millis};
use muster_store::{ActState, PermitState};
use muster_wire::{Permission, Report, Standing};

/// The deadline of the state the machine is in passes now.
async fn late(site: &Site, id: MachineId) {
    raw(&site.place, &format!("update subject set deadline = 1 where subject = 'machine/{id}' and deadline > 1")).await;
}

/// The deadline of the state the machine is in passes in five seconds, after the next look of its courier.
async fn soon(site: &Site, id: MachineId) -> Millis {
    let deadline = Millis(muster_conductor::now().0 + 5_000);
    raw(&site.place, &format!("update subject set deadline = {} where subject = 'machine/{id}'", deadline.0)).await;
    deadline
}

async fn deadline(site: &Site, id: MachineId) -> Millis {
    site.known(id).await.stored.deadline.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_rail_holds_back_is_not_given_up_for_being_late() {
    let (_folder, site) = Site::sqlite().await;
    let id = site.id("r1-n1").await;
    site.ask("operator", Action::Discover, &[id]).await.unwrap();
    site.me.freeze(true, "ops".into(), "power works".into()).await.unwrap();
    let near = soon(&site, id).await;
    site.when("the clock to stand", async || deadline(&site, id).await.0 > near.0 + 60_000).await;
    site.me.freeze(false, "ops".into(), "done".into()).await.unwrap();
    reset(&site, id).await;
    assert_eq!(site.states(id).await.iter().filter(|state| *state == "discovering").count(), 1);
    // From here on the machine's own time runs.
    late(&site, id).await;
    site.when("the second attempt", async || site.states(id).await.len() > 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_waits_for_its_turn_is_not_given_up_for_being_late() {
    let (_folder, site) = Site::sqlite().await;
    let (id, agent, epoch, order) = installing(&site, "r1-n1", 1).await;
    site.me.freeze(true, "ops".into(), "power works".into()).await.unwrap();
    let near = soon(&site, id).await;
    assert!(matches!(agent.may(&site, &agent.ask(&order, epoch)).await, Permission::Waits { .. }));
    assert!(deadline(&site, id).await.0 > near.0 + 60_000);
    // One that does not ask again has gone silent, and time runs on. It was never allowed to write: it is begun again.
    late(&site, id).await;
    site.when("the next attempt", async || site.known(id).await.facts.epoch.0 == epoch.0 + 1).await;
    assert_eq!(site.label(id).await, "installing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bmc_that_hides_its_power_puts_no_deadline_off() {
    let (_folder, site) = Site::sqlite().await;
    let id = site.id("r1-n1").await;
    site.with_bmc(id, |fake| fake.hides = true).await;
    site.ask("operator", Action::Discover, &[id]).await.unwrap();
    soon(&site, id).await;
    site.when("the second attempt", async || site.states(id).await.iter().filter(|s| *s == "discovering").count() == 2)
        .await;
    assert!(site.power_log(id).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_install_that_takes_too_long_is_stopped_before_anything_else_and_held() {
    let (_folder, site) = Site::sqlite().await;
    let (id, mut agent, epoch, order) = installing(&site, "r1-n1", 1).await;
    assert_eq!(agent.may(&site, &agent.ask(&order, epoch)).await, Permission::Granted);
    late(&site, id).await;
    site.until(id, "stopping").await;
    assert!(matches!(agent.may(&site, &agent.ask(&order, epoch)).await, Permission::Denied { .. }));
    let power = site.power_log(id).await;
    let Standing::Stop { epoch } = agent.standing(&site).await else { panic!() };
    agent.say(&site, vec![Report::Stopped { epoch }]).await.unwrap();
    assert_eq!((site.label(id).await, site.tickets(id).await.remove(0).cause), ("held", "install-failed".into()));
    assert_eq!((site.orders(id).await.remove(0).permit, site.power_log(id).await), (PermitState::Closed, power));
    assert!(site.in_flight().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_install_whose_boot_was_lost_is_begun_again_by_itself_until_its_attempts_are_used_up() {
    let (_folder, site) = Site::sqlite().await;
    let (id, first, epoch, order) = installing(&site, "r1-n1", 1).await;
    // It was told to install and never asked to write: that agent is gone.
    for attempt in 2..=3 {
        late(&site, id).await;
        let again = async || site.known(id).await.facts.epoch.0 == epoch.0 + attempt - 1;
        site.when("the next attempt", again).await;
        reset(&site, id).await;
        assert_eq!(site.label(id).await, "installing");
    }
    assert_eq!(site.power_log(id).await, ["boot agent", "off", "on"].repeat(3));
    assert!(matches!(first.may(&site, &first.ask(&order, epoch)).await, Permission::Denied { .. }));
    let (agent, reply) = Agent::boot(&site, &first.inventory, false).await;
    let Standing::Install { epoch, order: same } = reply.standing else { panic!("{:?}", reply.standing) };
    assert_eq!((same.order, site.orders(id).await.len()), (order.order, 1), "the same order");
    assert_eq!(agent.may(&site, &agent.ask(&same, epoch)).await, Permission::Granted);
    late(&site, id).await;
    site.until(id, "stopping").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_does_not_stop_is_switched_off_and_never_on() {
    let (_folder, site) = Site::sqlite().await;
    let (id, agent, epoch, order) = installing(&site, "r1-n1", 1).await;
    assert_eq!(agent.may(&site, &agent.ask(&order, epoch)).await, Permission::Granted);
    site.ask("operator", Action::CancelInstall, &[id]).await.unwrap();
    assert_eq!(site.act(id, "power-off").await.unwrap().state, ActState::Due, "the agent is asked first");
    raw(&site.place, "update act set due = 1 where slot = 'power-off'").await;
    site.until(id, "ready").await;
    assert_eq!(site.power_log(id).await, ["boot agent", "off", "on", "off"]);
    assert!(site.in_flight().await.is_empty());
    assert!(matches!(agent.may(&site, &agent.ask(&order, epoch)).await, Permission::Denied { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_that_cannot_be_proved_ends_at_a_person() {
    let (_folder, site) = Site::sqlite().await;
    let (id, ..) = installing(&site, "r1-n1", 1).await;
    site.with_bmc(id, |fake| fake.silent = true).await;
    site.ask("operator", Action::CancelInstall, &[id]).await.unwrap();
    late(&site, id).await;
    site.until(id, "held").await;
    assert_eq!(site.tickets(id).await[0].cause, "stop-failed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a6_10_a_wipe_that_takes_too_long_is_held_without_any_power_action() {
    let (_folder, site) = Site::sqlite().await;
    let (id, old) = ready(&site, "r1-n1", 1).await;
    site.ask("operator", Action::Release, &[id]).await.unwrap();
    reset(&site, id).await;
    let (mut agent, reply) = Agent::boot(&site, &old.inventory, false).await;
    let Standing::Wipe { epoch, order } = reply.standing else { panic!("{:?}", reply.standing) };
    let power = site.power_log(id).await;
    late(&site, id).await;
    site.until(id, "held").await;
    assert_eq!(site.tickets(id).await[0].cause, "wipe-failed");
    // Its report comes after all: it is evidence, and changes nothing.
    let reply = agent.say(&site, vec![Agent::wiped(&order.disks, epoch)]).await.unwrap();
    assert_eq!((site.label(id).await, reply.standing), ("held", Standing::Idle));
    assert_eq!(site.power_log(id).await, power);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_never_answers_a_discovery_ends_at_a_person() {
    let (_folder, site) = Site::sqlite().await;
    let id = site.id("r1-n1").await;
    site.ask("operator", Action::Discover, &[id]).await.unwrap();
    let attempts = usize::from(site.known(id).await.facts.limits.attempts);
    for _ in 0..attempts {
        reset(&site, id).await;
        late(&site, id).await;
        let before = site.states(id).await.len();
        site.when("the next state", async || site.states(id).await.len() > before || site.label(id).await == "held")
            .await;
    }
    site.until(id, "held").await;
    assert_eq!(site.tickets(id).await[0].cause, "discovery-failed");
    assert_eq!(site.states(id).await.iter().filter(|state| *state == "discovering").count(), attempts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_that_never_comes_or_does_not_pass_ends_at_a_person_with_the_difference() {
    let (_folder, site) = Site::sqlite().await;
    let (id, mut agent, epoch, order) = installing(&site, "bare1", 40).await;
    agent.may(&site, &agent.ask(&order, epoch)).await;
    agent.say(&site, vec![Agent::installed(&order, epoch)]).await.unwrap();
    let mut resident = Agent::new(&order.resident.token, muster_wire::Mode::Resident, inventory("bare-S1", 40));
    resident.introduce(&site).await.unwrap();
    late(&site, id).await;
    site.when("the second attempt", async || site.states(id).await.iter().filter(|s| *s == "checking").count() == 2)
        .await;
    for _ in 0..2 {
        let Standing::Check { epoch } = resident.standing(&site).await else { panic!() };
        let Report::Checked(mut checked) = Agent::checked(&order, epoch) else { panic!() };
        checked.hostname = "localhost".into();
        resident.say(&site, vec![Report::Checked(checked)]).await.unwrap();
    }
    assert_eq!((site.label(id).await, site.tickets(id).await.remove(0).cause), ("held", "check-failed".into()));
    assert_eq!(site.known(id).await.kept.quality[0].path, "hostname");
    // A report that nobody asked for does not hide what was found.
    resident.say(&site, vec![Agent::checked(&order, epoch)]).await.unwrap();
    assert_eq!(site.known(id).await.kept.quality[0].path, "hostname");
    assert_eq!(site.orders(id).await[0].outcome.as_deref(), Some("failed: check-failed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_machine_whose_record_does_not_read_stops_no_other_machines_clock() {
    let (_folder, site) = Site::sqlite().await;
    let (one, two) = (site.id("r1-n1").await, site.id("r2-n1").await);
    site.ask("operator", Action::Discover, &[one, two]).await.unwrap();
    raw(&site.place, &format!("update machine set data = 'damaged' where id = '{one}'")).await;
    late(&site, one).await;
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    let before = site.states(two).await.len();
    late(&site, two).await;
    site.when("the other's deadline", async || site.states(two).await.len() > before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_does_not_leave_in_time_is_not_driven_out() {
    let (_folder, site) = Site::sqlite().await;
    let (id, ..) = in_service(&site, "bare1", 40).await;
    site.ask("operator", Action::Release, &[id]).await.unwrap();
    late(&site, id).await;
    site.until(id, "held").await;
    assert_eq!(site.tickets(id).await[0].cause, "drain-refused");
    assert!(site.known(id).await.state.data == muster_lifecycle::machine::Data::Owned);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a6_2_a_plan_older_than_a_quarter_of_an_hour_is_not_executed() {
    let (_folder, site) = Site::sqlite().await;
    let (id, _) = ready(&site, "bare1", 40).await;
    let digest = Digest([5; 32]);
    let body = format!(r#"{{"what":{{"action":"release"}},"targets":["{id}"]}}"#);
    let mut tx = site.me.db.write().await.unwrap();
    let plan = muster_store::Plan {
        digest,
        action: "release".into(),
        body,
        by: "operator".into(),
        created: Millis(muster_conductor::now().0 - 15 * 60_000 - 1_000),
        approvals: Vec::new(),
        executed_at: None,
    };
    muster_store::plans::put(&mut tx, &plan).await.unwrap();
    tx.commit(muster_conductor::now()).await.unwrap();
    let error = site.me.execute("operator".into(), digest).await.unwrap_err();
    assert!(error.to_string().contains("older than 15 minutes"), "{error}");
    assert_eq!(site.label(id).await, "ready");
}
