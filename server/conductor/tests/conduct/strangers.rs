//! Who a machine is: strangers, clones, and what nobody marked as ours.

use crate::agent::{Agent, inventory, ready};
use crate::bed::{Site, install};
use muster_conductor::plans::Action;
use muster_wire::Standing;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_machines_with_one_serial_never_share_a_life() {
    let (_folder, site) = Site::sqlite().await;
    let (id, _) = ready(&site, "r1-n1", 1).await;
    let (mut clone, reply) = Agent::boot(&site, &inventory("r1-S1", 77), true).await;
    assert!(matches!(reply.standing, Standing::Discover { .. }), "{:?}", reply.standing);
    assert_eq!(site.label(id).await, "held");
    assert_eq!(site.tickets(id).await[0].cause, "impostor");
    let record = site.known(id).await.record;
    assert_eq!(record.uuid, inventory("r1-S1", 1).system.uuid, "the clone's inventory became the machine's");
    assert!(matches!(clone.standing(&site).await, Standing::Discover { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_observed_machine_is_only_looked_at() {
    let (_folder, site) = Site::sqlite().await;
    let (mut agent, reply) = Agent::boot(&site, &inventory("FOREIGN", 66), true).await;
    assert_eq!(reply.standing, Standing::Idle);
    let name = format!("observed-{}", crate::agent::mac(66).dashed());
    let id = site.id(&name).await;
    assert_eq!(site.label(id).await, "observed");
    for what in [install(), Action::Discover, Action::Release] {
        assert!(site.ask("operator", what.clone(), &[id]).await.is_err(), "{what:?}");
    }
    assert!(Agent::try_boot(&site, &inventory("FOREIGN", 66), false).await.is_none());
    assert_eq!(agent.standing(&site).await, Standing::Idle);
    assert!(site.acts(id).await.is_empty());
    assert!(site.bmcs.all().iter().all(|(_, fake)| fake.log.is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_of_another_model_than_its_layout_says_waits_for_a_person() {
    let (_folder, site) = Site::sqlite().await;
    let mut body = inventory("r1-S1", 1);
    body.system.product = Some("Another Box".into());
    Agent::boot(&site, &body, true).await;
    let id = site.id("r1-n1").await;
    assert_eq!(site.label(id).await, "unidentified");
    assert!(!site.known(id).await.kept.differences.is_empty());
    assert_eq!(site.tickets(id).await[0].cause, "unidentified");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_one_machine_does_not_speak_for_another() {
    let (_folder, site) = Site::sqlite().await;
    let (one, agent) = ready(&site, "r1-n1", 1).await;
    let (two, _) = ready(&site, "r1-n2", 2).await;
    let before = site.known(two).await.record.inventory_at;
    let mut liar = agent.clone();
    liar.inventory = inventory("r1-S2", 2);
    liar.introduce(&site).await.unwrap();
    assert_eq!(site.known(two).await.record.inventory_at, before);
    assert_eq!((site.label(one).await, site.label(two).await), ("held", "ready"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_boot_that_no_state_wants_ends_at_the_machines_own_disk() {
    let (_folder, site) = Site::sqlite().await;
    let (_, agent) = ready(&site, "r1-n1", 1).await;
    for dedicated in [true, false] {
        assert!(Agent::try_boot(&site, &agent.inventory, dedicated).await.is_none(), "dedicated {dedicated}");
    }
    assert!(
        Agent::try_boot(&site, &inventory("X", 200), false).await.is_none(),
        "a stranger on a network that is shared"
    );
}
