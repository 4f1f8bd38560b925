//! An attacker on the boot network who knows the protocol, and what it costs him: the machine meant is held and a person
//! called, or nothing happens at all.

use crate::agent::{Agent, in_service, installing, inventory, mac, other_disk, ready, reset};
use crate::bed::{Site, install};
use muster_conductor::plans::{Action, Onward};
use muster_conductor::{BootAnswer, TurnedAway};
use muster_names::{Inventory, MachineId, Millis, SwitchPort};
use muster_store::PermitState;
use muster_wire::{DiskRef, MayProceed, Mode, Permission, Report, Standing};

/// A boot of a stranger's own, which then claims to be somebody else.
async fn claims(site: &Site, body: Inventory) -> (Agent, Standing) {
    let own = inventory("OWN", 250);
    let mut agent = Agent::try_boot(site, &own, true).await.expect("sent to its disk");
    agent.inventory = body;
    let reply = agent.introduce(site).await.unwrap();
    (agent, reply.standing)
}

async fn draining(site: &Site, id: MachineId) {
    site.ask("operator", Action::Release, &[id]).await.unwrap();
    site.ask("operator", Action::AcknowledgeDrain, &[id]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_that_claims_a_machines_macs_gets_none_of_its_order_and_is_seen() {
    let (_folder, site) = Site::sqlite().await;
    let (id, mut real, _, _) = installing(&site, "r1-n1", 1).await;
    let before = site.known(id).await.record;
    let (mut thief, standing) = claims(&site, inventory("r1-S1", 1)).await;
    assert!(matches!(standing, Standing::Discover { .. }), "{standing:?}");
    assert!(matches!(thief.standing(&site).await, Standing::Discover { .. }));
    assert_eq!(site.label(id).await, "stopping");
    let after = site.known(id).await.record;
    assert_eq!((before.inventory_at, before.serial), (after.inventory_at, after.serial));
    // The machine itself is told to stop, and a person is next.
    let Standing::Stop { epoch } = real.standing(&site).await else { panic!() };
    real.say(&site, vec![Report::Stopped { epoch }]).await.unwrap();
    assert_eq!((site.label(id).await, site.tickets(id).await[0].cause.as_str()), ("held", "impostor"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_cannot_change_what_is_known_of_a_machine_in_service() {
    let (_folder, site) = Site::sqlite().await;
    let (id, _, _) = in_service(&site, "bare1", 40).await;
    let before = site.known(id).await.record;
    let mut lie = inventory("bare-S1", 40);
    lie.disks[0].serial = Some("DISK-OF-THE-THIEF".into());
    claims(&site, lie).await;
    let after = site.known(id).await.record;
    assert_eq!((before.inventory, before.model), (after.inventory, after.model));
    assert_eq!(site.label(id).await, "in-service", "and it is not disturbed");
    assert!(site.kinds(id).await.contains(&"impostor-seen".to_owned()));
}

/// Whoever spoofs the MAC fetches a token of his own, and no key is used twice: only that there are two shows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_boots_of_one_machine_that_both_speak_stop_the_install() {
    let (_folder, site) = Site::sqlite().await;
    let (id, mut real, epoch, order) = installing(&site, "r1-n1", 1).await;
    let (mut thief, _) = Agent::boot(&site, &real.inventory, false).await;
    assert_eq!(site.label(id).await, "installing", "a machine may boot twice");
    assert!(matches!(real.may(&site, &real.ask(&order, epoch)).await, Permission::Denied { .. }));
    assert_eq!(site.label(id).await, "stopping");
    // Both are told to stop; the word of the earlier one counts for nothing, the order is closed.
    assert!(matches!(real.standing(&site).await, Standing::Stop { .. }));
    assert!(matches!(thief.may(&site, &thief.ask(&order, epoch)).await, Permission::Denied { .. }));
    assert_eq!(site.orders(id).await[0].permit, PermitState::Closed);
    let Standing::Stop { epoch } = thief.standing(&site).await else { panic!() };
    real.say(&site, vec![Report::Stopped { epoch }]).await.unwrap();
    assert_eq!(site.label(id).await, "stopping");
    thief.say(&site, vec![Report::Stopped { epoch }]).await.unwrap();
    assert_eq!((site.label(id).await, site.tickets(id).await[0].cause.as_str()), ("held", "impostor"));
    let site = site.restarted().await;
    assert_eq!(real.standing(&site).await, Standing::Idle, "a restart forgets no doubt");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_boots_again_for_the_same_order_goes_on() {
    let (_folder, site) = Site::sqlite().await;
    let (id, first, epoch, order) = installing(&site, "r1-n1", 1).await;
    assert_eq!(first.may(&site, &first.ask(&order, epoch)).await, Permission::Granted);
    // A power cut: the first boot is never heard again.
    let (mut second, reply) = Agent::boot(&site, &first.inventory, false).await;
    let Standing::Install { epoch, order } = reply.standing else { panic!("{:?}", reply.standing) };
    assert_eq!(second.may(&site, &second.ask(&order, epoch)).await, Permission::Granted);
    second.say(&site, vec![Agent::installed(&order, epoch)]).await.unwrap();
    assert_eq!(site.label(id).await, "checking");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_token_of_an_earlier_boot_cannot_report_a_wipe() {
    let (_folder, site) = Site::sqlite().await;
    // Taken while the machine was discovered, kept until an owner's data is on it.
    let (id, mut kept) = ready(&site, "r1-n1", 1).await;
    site.ask("operator", Action::Hold { why: "look".into() }, &[id]).await.unwrap();
    site.ask("operator", Action::Resume { to: Onward::Release }, &[id]).await.unwrap();
    let epoch = site.known(id).await.facts.epoch;
    let disks = [DiskRef { wwn: None, serial: Some("DISK0001".into()), size_bytes: 8_000_000_000 }];
    kept.say(&site, vec![Agent::wiped(&disks, epoch)]).await.unwrap();
    assert_eq!(site.label(id).await, "releasing");
    assert!(site.kinds(id).await.contains(&"report-refused".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_the_boot_that_installed_a_machine_is_over_when_it_is_in_service() {
    let (_folder, site) = Site::sqlite().await;
    let (id, mut agent, epoch, order) = installing(&site, "bare1", 40).await;
    agent.may(&site, &agent.ask(&order, epoch)).await;
    agent.say(&site, vec![Agent::installed(&order, epoch)]).await.unwrap();
    let mut resident = Agent::new(&order.resident.token, Mode::Resident, agent.inventory.clone());
    let Standing::Check { epoch } = resident.introduce(&site).await.unwrap().standing else { panic!() };
    resident.say(&site, vec![Agent::checked(&order, epoch)]).await.unwrap();
    assert_eq!(site.label(id).await, "in-service");
    assert!(matches!(agent.say(&site, vec![]).await, Err(TurnedAway::Token)));
    assert_eq!(resident.standing(&site).await, Standing::Idle);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wipe_that_was_not_asked_for_does_not_pass_as_wiped() {
    let (_folder, site) = Site::sqlite().await;
    let (id, _, _) = in_service(&site, "r1-n1", 1).await;
    draining(&site, id).await;
    reset(&site, id).await;
    let (mut agent, reply) = Agent::boot(&site, &inventory("r1-S1", 1), false).await;
    let Standing::Wipe { epoch, order } = reply.standing else { panic!("{:?}", reply.standing) };
    agent.say(&site, vec![Agent::wiped(&order.disks, epoch)]).await.unwrap();
    assert_eq!((site.label(id).await, site.tickets(id).await[0].cause.as_str()), ("held", "wipe-failed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_boot_during_a_wipe_ends_at_a_person_and_the_data_counts_as_there() {
    let (_folder, site) = Site::sqlite().await;
    let (id, _, _) = in_service(&site, "r1-n1", 1).await;
    draining(&site, id).await;
    reset(&site, id).await;
    let (mut real, _) = Agent::boot(&site, &inventory("r1-S1", 1), false).await;
    let (mut thief, reply) = Agent::boot(&site, &inventory("r1-S1", 1), false).await;
    let Standing::Wipe { epoch, order } = reply.standing else { panic!("{:?}", reply.standing) };
    real.standing(&site).await;
    assert_eq!((site.label(id).await, site.tickets(id).await[0].cause.as_str()), ("held", "impostor"));
    thief.say(&site, vec![Agent::wiped(&order.disks, epoch)]).await.unwrap();
    assert_eq!(site.label(id).await, "held");
    assert_eq!(site.known(id).await.state.data, muster_lifecycle::machine::Data::Owned);
}

/// The owner of the installed system is root there: its word must not name the disks of the next wipe.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installed_systems_inventory_changes_no_record() {
    let (_folder, site) = Site::sqlite().await;
    let (id, mut resident, _) = in_service(&site, "r1-n1", 1).await;
    let before = site.known(id).await.record;
    resident.inventory.disks[0].serial = Some("NOTHING".into());
    resident.inventory.system.uuid = Some("ffffffff-ffff-4fff-8fff-ffffffffffff".into());
    resident.inventory.nics.push(muster_names::Nic { mac: Some(mac(99)), ..muster_names::Nic::default() });
    resident.introduce(&site).await.unwrap();
    let after = site.known(id).await.record;
    assert_eq!((before.inventory, before.uuid), (after.inventory, after.uuid));
    let mut tx = site.me.db.read().await.unwrap();
    assert_eq!(muster_store::machines::macs_of(&mut tx, id).await.unwrap(), [mac(1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_whose_bearer_says_it_is_another_machine_is_over() {
    let (_folder, site) = Site::sqlite().await;
    let (one, mut liar) = ready(&site, "r1-n1", 1).await;
    let (two, _) = ready(&site, "r1-n2", 2).await;
    // MACs of one, serial of the other.
    liar.inventory = inventory("r1-S2", 1);
    let reply = liar.introduce(&site).await.unwrap();
    assert_eq!(reply.standing, Standing::Idle);
    assert_eq!((site.label(one).await, site.label(two).await), ("held", "held"));
    assert!(matches!(liar.say(&site, vec![]).await, Err(TurnedAway::Token)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_attempt_after_a_person_has_looked_is_seen_again() {
    let (_folder, site) = Site::sqlite().await;
    let (id, _) = ready(&site, "r1-n1", 1).await;
    claims(&site, inventory("r1-S1", 77)).await;
    assert_eq!(site.label(id).await, "held");
    site.ask("operator", Action::Resume { to: Onward::Discover }, &[id]).await.unwrap();
    assert_eq!(site.label(id).await, "discovering");
    claims(&site, inventory("r1-S1", 77)).await;
    assert_eq!(site.label(id).await, "held");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_with_another_serial_than_it_had_is_not_taken_for_itself() {
    let (_folder, site) = Site::sqlite().await;
    let (id, mut agent) = ready(&site, "r1-n1", 1).await;
    let before = site.known(id).await.record;
    agent.inventory.system.serial = Some("ANOTHER".into());
    agent.introduce(&site).await.unwrap();
    assert_eq!(site.label(id).await, "held");
    assert_eq!(site.known(id).await.record.inventory, before.inventory);
}

/// An inventory that names an expected machine's serial, and then silence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_boot_that_nobody_ordered_never_leads_to_a_power_cycle() {
    let (_folder, site) = Site::sqlite().await;
    let id = site.id("r1-n1").await;
    let (_, reply) = Agent::boot(&site, &inventory("r1-S1", 1), true).await;
    assert!(matches!(reply.standing, Standing::Commission { .. }), "{:?}", reply.standing);
    for _ in 0..10 {
        let late = format!("update subject set deadline = 1 where subject = 'machine/{id}' and deadline > 1");
        crate::bed::raw(&site.place, &late).await;
        tokio::time::sleep(std::time::Duration::from_millis(550)).await;
    }
    assert_eq!((site.label(id).await, site.tickets(id).await[0].cause.as_str()), ("held", "commissioning-failed"));
    assert!(site.acts(id).await.is_empty(), "{:?}", site.acts(id).await);
    assert!(site.power_log(id).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_never_stops_talking_fills_no_log() {
    let (_folder, site) = Site::sqlite().await;
    let (id, mut agent) = ready(&site, "r1-n1", 1).await;
    for _ in 0..10 {
        let more = || Report::Refused { epoch: None, reason: "\u{1b}[2J".repeat(10_000) };
        let reply = agent.say(&site, (0..90).map(|_| more()).collect()).await.unwrap();
        assert!(reply.acked <= agent.seq);
    }
    let log = site.log(Some(id)).await;
    let refused: Vec<_> = log.iter().filter(|row| row.kind == "agent-refused").collect();
    assert!((200..=320).contains(&refused.len()), "{}", refused.len());
    assert!(refused.iter().all(|row| row.body.len() < 4_000 && !row.body.contains("\\u001b")));
    let reply = agent.say(&site, vec![]).await.unwrap();
    assert!(reply.acked < agent.seq, "what was not written down is not acknowledged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inventory_with_more_ports_than_any_machine_is_left_alone() {
    let (_folder, site) = Site::sqlite().await;
    let nic = |n: u32| {
        let [a, b, c, d] = n.to_be_bytes();
        muster_names::Nic { mac: Some(muster_names::Mac([2, 1, a, b, c, d])), ..muster_names::Nic::default() }
    };
    let body = Inventory { nics: (0..5_000).map(nic).collect(), ..inventory("HUGE", 200) };
    let (_, standing) = claims(&site, body).await;
    assert!(matches!(standing, Standing::Discover { .. }), "{standing:?}");
    let mut tx = site.me.db.read().await.unwrap();
    let (all, ours) = (muster_store::machines::count(&mut tx).await, muster_store::machines::count_ours(&mut tx).await);
    assert_eq!(all.unwrap(), ours.unwrap(), "no record was made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_mac_that_asks_over_and_over_is_sent_to_its_disk() {
    let (_folder, site) = Site::sqlite().await;
    let log = site.log(None).await.len();
    let mut agents = 0;
    for _ in 0..100 {
        agents += usize::from(matches!(site.me.boot_answer(mac(201), true).await, BootAnswer::Agent { .. }));
    }
    assert_eq!((agents, site.log(None).await.len()), (30, log));
    assert!(matches!(site.me.boot_answer(mac(202), true).await, BootAnswer::Agent { .. }), "others are served");
    site.me.tidy_once().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_boots_token_is_fetched_no_more_once_it_was_used() {
    let (_folder, site) = Site::sqlite().await;
    let BootAnswer::Agent { nonce, .. } = site.me.boot_answer(mac(1), true).await else { panic!() };
    let file = site.me.boot_file(&nonce).unwrap();
    let text = String::from_utf8_lossy(&file);
    let at = text.find(muster_wire::TOKEN_PREFIX).unwrap();
    let token = text[at..at + muster_wire::TOKEN_PREFIX.len() + 64].to_owned();
    Agent::new(&token, Mode::Ram, inventory("X", 1)).introduce(&site).await.unwrap();
    assert!(site.me.boot_file(&nonce).is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_leased_to_another_mac_asks_in_nobodys_name() {
    use muster_netboot::{Lease, LeaseChange, LeaseState};
    let (_folder, site) = Site::sqlite().await;
    let address: std::net::Ipv4Addr = "10.0.0.50".parse().unwrap();
    let (at, until) = (muster_conductor::now(), Millis(muster_conductor::now().0 + 60_000));
    let lease = Lease { network: "lab".into(), address, mac: mac(1), state: LeaseState::Bound, until, relay: None };
    site.me.commit_leases(&[LeaseChange { at, lease }]).await.unwrap();
    assert!(site.me.may_be_from(mac(1), "lab", address.into()).await.unwrap());
    assert!(!site.me.may_be_from(mac(2), "lab", address.into()).await.unwrap());
    assert!(!site.me.may_be_from(mac(1), "lab", "10.0.0.51".parse().unwrap()).await.unwrap(), "leased to nobody");
}

/// Without a relay any machine can write option 82 itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn option_82_without_a_relay_places_nobody() {
    use muster_netboot::{Said, Sighting, SightingKind};
    let (_folder, site) = Site::sqlite().await;
    let seen = |giaddr: Option<&str>| Sighting {
        giaddr: giaddr.map(|text| text.parse().unwrap()),
        circuit_id: Some(b"Ethernet1/7".to_vec()),
        remote_id: Some(b"leaf1".to_vec()),
        ..Sighting::of(muster_conductor::now(), mac(1), SightingKind::Discover, Said::Noted)
    };
    site.me.saw(seen(None));
    let (id, _) = ready(&site, "r1-n1", 1).await;
    assert!(site.known(id).await.kept.ports.is_empty(), "{:?}", site.known(id).await.kept.ports);
    site.me.saw(Sighting { mac: mac(2), ..seen(Some("10.0.4.1")) });
    let (id, _) = ready(&site, "r1-n2", 2).await;
    let port = SwitchPort { switch: "leaf1".into(), port: "Ethernet1/7".into() };
    assert_eq!(site.known(id).await.kept.ports, [(muster_catalog::Witness::Option82, port)]);
}

/// What is only made up may be looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_of_a_synthetic_model_is_never_powered_installed_or_wiped() {
    let (_folder, site) = Site::sqlite().await;
    let (id, agent) = ready(&site, "r1-n1", 1).await;
    let real = site.me.catalog();
    let synthetic = || {
        let mut catalog = (*real).clone();
        for model in &mut catalog.models {
            model.evidence = muster_catalog::Evidence::Synthetic;
        }
        site.me.set_catalog(catalog);
    };
    synthetic();
    for what in [install(), Action::Discover, Action::Release] {
        let refused = site.ask("operator", what.clone(), &[id]).await.unwrap_err().to_string();
        assert!(refused.contains("synthetic"), "{what:?}: {refused}");
    }
    // Ordered while the model was sound: the rails below look again.
    site.me.set_catalog((*real).clone());
    site.with_bmc(id, |fake| fake.silent = true).await;
    site.ask("operator", install(), &[id]).await.unwrap();
    synthetic();
    site.with_bmc(id, |fake| fake.silent = false).await;
    site.when("the refusal", async || site.label(id).await != "installing").await;
    assert!(site.power_log(id).await.is_empty(), "{:?}", site.power_log(id).await);
    let epoch = site.known(id).await.facts.epoch;
    let ask = MayProceed {
        boot_id: agent.boot_id,
        epoch,
        order: None,
        disks: vec![other_disk()],
        identity: muster_wire::Identity::of(&agent.inventory),
    };
    assert!(matches!(agent.may(&site, &ask).await, Permission::Denied { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_of_a_machine_whose_model_became_synthetic_is_denied() {
    let (_folder, site) = Site::sqlite().await;
    let (_, agent, epoch, order) = installing(&site, "bare1", 40).await;
    let mut catalog = (*site.me.catalog()).clone();
    catalog.models.iter_mut().for_each(|model| model.evidence = muster_catalog::Evidence::Synthetic);
    site.me.set_catalog(catalog);
    let Permission::Denied { reason } = agent.may(&site, &agent.ask(&order, epoch)).await else { panic!("granted") };
    assert!(reason.contains("synthetic"), "{reason}");
}

/// A script that went wrong does not make one large plan: it makes many small ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a6_5_the_eleventh_owner_within_an_hour_needs_a_second_person_though_each_plan_names_one() {
    let (_folder, site) = Site::sqlite().await;
    let mut refused = None;
    for n in 1..=12 {
        let id = site.id(&format!("r1-n{n}")).await;
        site.ask("operator", Action::Adopt, &[id]).await.unwrap();
        match site.ask("script", Action::Release, &[id]).await {
            Ok(_) => assert!(n <= 10, "{n} went through"),
            Err(error) => {
                refused.get_or_insert((n, error.to_string()));
            }
        }
    }
    let (n, why) = refused.unwrap();
    assert!(n == 11 && why.contains("second person"), "{n}: {why}");
    let id = site.id("r1-n12").await;
    site.ask("somebody else", Action::Release, &[id]).await.unwrap();
}
