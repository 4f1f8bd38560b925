//! The whole life, from a rack layout to service and back, on both databases.

use crate::agent::{Agent, in_service, inventory, reset};
use crate::bed::{Site, install};
use crate::postgres;
use muster_conductor::plans::Action;
use muster_conductor::{AgentProgram, TurnedAway};
use muster_names::{Digest, Power};
use muster_store::{PermitState, Place};
use muster_wire::{Mode, Permission, Report, Standing};
use std::sync::Arc;

async fn whole_life(site: &Site) {
    let id = site.id("r1-n1").await;
    let body = inventory("r1-S1", 1);
    assert_eq!(site.label(id).await, "expected");
    assert!(
        Agent::try_boot(site, &body, false).await.is_none(),
        "nobody asked for it, and the network is not dedicated"
    );
    site.with_bmc(id, |fake| fake.power = Power::Off).await;

    // A person asks for it: the BMC leads it into the boot image.
    site.ask("operator", Action::Discover, &[id]).await.unwrap();
    reset(site, id).await;
    assert_eq!(site.power_log(id).await, ["boot agent", "on"]);
    let (mut agent, reply) = Agent::boot(site, &body, true).await;
    let Standing::Commission { epoch, .. } = reply.standing else { panic!("{:?}", reply.standing) };
    assert_eq!(site.known(id).await.record.model.as_deref(), Some("qemu-q35"));
    let reply =
        agent.say(site, vec![Report::Commissioned { epoch, figures: vec![], bmc_account: None }]).await.unwrap();
    assert_eq!((site.label(id).await, reply.standing), ("ready", Standing::Idle));

    let program = AgentProgram { path: "/boot/muster-agent".into(), digest: Digest([7; 32]) };
    site.me.set_agent_program(Some(program));
    // Installed by an order: the agent of the earlier boot is told nothing, the ordered boot everything.
    let executed = site.ask("operator", install(), &[id]).await.unwrap();
    assert_eq!(agent.standing(site).await, Standing::Idle);
    reset(site, id).await;
    assert_eq!(site.power_log(id).await, ["boot agent", "on", "boot agent", "off", "on"]);
    let (mut agent, reply) = Agent::boot(site, &body, false).await;
    let Standing::Install { epoch, order } = reply.standing else { panic!("{:?}", reply.standing) };
    assert_eq!(executed.orders, [order.order]);
    assert_eq!(order.image.url, "http://10.0.0.1:8080/images/debian-12/disk.raw.zst");
    assert_eq!(order.resident.agent_url.as_deref(), Some("http://10.0.0.1:8080/boot/muster-agent"));
    assert_eq!(order.resident.agent_digest, Some(Digest([7; 32])));
    assert_eq!(agent.may(site, &agent.ask(&order, epoch)).await, Permission::Granted);
    assert_eq!(site.orders(id).await[0].permit, PermitState::Started);
    agent.say(site, vec![Agent::installed(&order, epoch)]).await.unwrap();
    assert_eq!(site.label(id).await, "checking");
    reset(site, id).await;
    assert_eq!(site.power_log(id).await.last_chunk::<3>().unwrap(), &["boot disk", "off", "on"]);
    assert!(Agent::try_boot(site, &body, true).await.is_none(), "it boots its own disk now");

    let mut resident = Agent::new(&order.resident.token, Mode::Resident, body.clone());
    let Standing::Check { epoch } = resident.introduce(site).await.unwrap().standing else { panic!() };
    let reply = resident.say(site, vec![Agent::checked(&order, epoch)]).await.unwrap();
    assert_eq!((site.label(id).await, reply.standing), ("in-service", Standing::Idle));
    assert_eq!(reply.ask_again_ms, 60_000);
    let closed = site.orders(id).await.remove(0);
    assert_eq!((closed.permit, closed.outcome.as_deref()), (PermitState::Closed, Some("installed")));

    // Given back: drained, wiped, and nothing of the former life leads anywhere.
    site.ask("operator", Action::Release, &[id]).await.unwrap();
    assert_eq!(site.label(id).await, "draining");
    site.ask("operator", Action::AcknowledgeDrain, &[id]).await.unwrap();
    reset(site, id).await;
    let (mut agent, reply) = Agent::boot(site, &body, false).await;
    let Standing::Wipe { epoch, order } = reply.standing else { panic!("{:?}", reply.standing) };
    let mut ask = agent.ask(&install_order(&order), epoch);
    ask.order = None;
    assert_eq!(agent.may(site, &ask).await, Permission::Granted);
    let reply = agent.say(site, vec![Agent::wiped(&order.disks, epoch)]).await.unwrap();
    assert_eq!((site.label(id).await, reply.standing), ("ready", Standing::Idle));
    assert!(matches!(resident.say(site, vec![]).await, Err(TurnedAway::Token)), "the resident token still works");

    let states = site.states(id).await;
    let path =
        ["expected", "discovering", "commissioning", "ready", "installing", "checking", "in-service", "draining"];
    assert_eq!(states[..8], path);
    assert_eq!(states[8..], ["releasing", "ready"]);
    assert!(site.in_flight().await.is_empty(), "{:?}", site.in_flight().await);
    assert!(site.tickets(id).await.is_empty());
    site.log_is_sound().await;
}

/// The parts of an install order that `Agent::ask` reads, of a wipe order.
fn install_order(wipe: &muster_wire::WipeOrder) -> muster_wire::InstallOrder {
    let catalog = crate::bed::catalog();
    muster_wire::InstallOrder {
        order: muster_names::OrderId(0),
        machine: wipe.machine,
        identity: wipe.identity.clone(),
        disk: wipe.disks[0].clone(),
        image: crate::bed::image(&catalog).reference(),
        seed: muster_wire::Seed {
            hostname: String::new(),
            users: vec![],
            network: muster_wire::NetworkConfig::default(),
            user_data: String::new(),
        },
        resident: muster_wire::Resident {
            server: String::new(),
            ca_pem: String::new(),
            token: String::new(),
            agent_url: None,
            agent_digest: None,
        },
        firmware_mode: muster_names::FirmwareMode::Uefi,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_lives_from_its_rack_layout_to_service_and_back_to_ready() {
    let (_folder, site) = Site::sqlite().await;
    whole_life(&site).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_lives_the_same_life_on_postgresql() {
    if !postgres::postgres_is_wanted() {
        return;
    }
    let place: Place = postgres::fresh_postgres().await;
    let site = Site::open(place, Arc::default(), muster_diagnosis::Budgets::default(), true).await;
    whole_life(&site).await;
    let (place, _) = site.kill().await;
    postgres::drop_postgres(&place).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_without_a_bmc_lives_by_the_boots_it_makes_itself() {
    let (_folder, site) = Site::sqlite().await;
    let (id, _, _) = in_service(&site, "bare1", 40).await;
    assert!(site.acts(id).await.iter().all(|act| act.key.slot == "write"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_in_ram_is_installed_after_its_wipe_without_another_boot_when_it_has_no_bmc() {
    let (_folder, site) = Site::sqlite().await;
    let (id, _, _) = in_service(&site, "bare1", 40).await;
    site.ask("operator", Action::Release, &[id]).await.unwrap();
    site.ask("operator", Action::AcknowledgeDrain, &[id]).await.unwrap();
    let (mut agent, reply) = Agent::boot(&site, &inventory("bare-S1", 40), false).await;
    let Standing::Wipe { epoch, order } = reply.standing else { panic!("{:?}", reply.standing) };
    let mut ask = agent.ask(&install_order(&order), epoch);
    ask.order = None;
    assert_eq!(agent.may(&site, &ask).await, Permission::Granted);
    agent.say(&site, vec![Agent::wiped(&order.disks, epoch)]).await.unwrap();
    assert_eq!(site.label(id).await, "ready");
    site.ask("operator", install(), &[id]).await.unwrap();
    assert!(matches!(agent.standing(&site).await, Standing::Install { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repaired_machine_without_an_owner_does_not_repair_for_ever() {
    let (_folder, site) = Site::sqlite().await;
    let (id, old) = crate::agent::ready(&site, "r1-n1", 1).await;
    site.ask("tech", Action::ReportFault { text: "a fan is loud".into() }, &[id]).await.unwrap();
    assert_eq!(site.label(id).await, "repairing");
    site.until(id, "commissioning").await;
    let mut agent = old;
    let Standing::Commission { epoch, .. } = agent.standing(&site).await else { panic!() };
    agent.say(&site, vec![Report::Commissioned { epoch, figures: vec![], bmc_account: None }]).await.unwrap();
    assert_eq!(site.label(id).await, "ready", "{:?}", site.states(id).await);
    assert!(site.known(id).await.kept.case.is_none());
}
