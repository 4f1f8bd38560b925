//! The plain tables: machines, tokens, tickets, plans, settings, boots.

use crate::bed::{NOW, event, later, machine};
use muster_names::{Digest, Epoch, Mac, MachineId, OrderId, Place, TicketId};
use muster_store::{
    AgentMode, Approved, BootEntry, BootPort, BootToken, Bound, Error, Freeze, Kind, Machine, Opened, Plan, Token,
    boot_tokens, boots, machines, plans, site, tickets, tokens,
};

pub fn a_machine(id: u128, name: &str) -> Machine {
    Machine {
        id: MachineId(id),
        name: name.into(),
        serial: Some("S1".into()),
        uuid: Some("same".into()),
        ours: true,
        place: Some(Place { site: "fra".into(), rack: "r1".into(), u: 7 }),
        model: Some("compute".into()),
        bmc: None,
        inventory: Some("{}".into()),
        inventory_at: Some(NOW),
        agent: None,
        created: NOW,
        data: "{}".into(),
    }
}

fn mac(last: u8) -> Mac {
    Mac([0x52, 0x54, 0, 0, 0, last])
}

fn a_boot_token(hash: u8, created: i64) -> BootToken {
    BootToken {
        sha256: Digest([hash; 32]),
        machine: Some(MachineId(1)),
        mac: mac(1),
        nonce: "n1".into(),
        epoch: Some(Epoch(3)),
        order: Some(OrderId(9)),
        mode: AgentMode::Ram,
        created: later(created),
        expires: later(100),
        revoked: None,
        key: None,
        bound_at: None,
    }
}

both! {
    async fn a_machine_is_found_by_everything_it_is_known_by(bed: Bed) {
        let mut tx = bed.write().await;
        let (one, mut two) = (a_machine(1, "node-a"), a_machine(2, "Node-b"));
        machines::put(&mut tx, &one).await.unwrap();
        machines::put(&mut tx, &two).await.unwrap();
        machines::set_macs(&mut tx, one.id, &[mac(2), mac(1), mac(2)]).await.unwrap();
        two.place = None;
        two.ours = false;
        machines::put(&mut tx, &Machine { created: later(5), ..two.clone() }).await.unwrap();
        assert_eq!(machines::get(&mut tx, two.id).await.unwrap(), Some(two.clone()), "the first creation stands");
        assert_eq!(machines::by_name(&mut tx, "node-a").await.unwrap(), Some(one.clone()));
        assert_eq!(machines::by_mac(&mut tx, mac(1)).await.unwrap(), Some(one.clone()));
        assert_eq!(machines::by_mac(&mut tx, mac(9)).await.unwrap(), None);
        assert_eq!(machines::by_uuid(&mut tx, "same").await.unwrap().len(), 2, "cloned UUIDs are told, not hidden");
        assert_eq!(machines::by_serial(&mut tx, "S1").await.unwrap().len(), 2);
        let place = one.place.clone().unwrap();
        assert_eq!(machines::by_place(&mut tx, &place).await.unwrap(), std::slice::from_ref(&one));
        assert_eq!(machines::macs_of(&mut tx, one.id).await.unwrap(), [mac(1), mac(2)]);
        assert_eq!(machines::all_macs(&mut tx).await.unwrap(), [(mac(1), one.id), (mac(2), one.id)]);
        assert_eq!(machines::count(&mut tx).await.unwrap(), 2);
        tx.commit(NOW).await.unwrap();
    }

    async fn a_mac_belongs_to_one_machine(bed: Bed) {
        let mut tx = bed.write().await;
        for (id, name) in [(1, "a"), (2, "b")] {
            machines::put(&mut tx, &a_machine(id, name)).await.unwrap();
        }
        machines::set_macs(&mut tx, MachineId(1), &[mac(1), mac(2)]).await.unwrap();
        machines::set_macs(&mut tx, MachineId(2), &[mac(3)]).await.unwrap();
        let error = machines::set_macs(&mut tx, MachineId(2), &[mac(4), mac(2)]).await.unwrap_err();
        assert!(matches!(error, Error::MacTaken { by: MachineId(1), .. }), "{error}");
        assert_eq!(machines::macs_of(&mut tx, MachineId(2)).await.unwrap(), [mac(3)], "nothing has changed");
        machines::set_macs(&mut tx, MachineId(1), &[mac(1)]).await.unwrap();
        machines::set_macs(&mut tx, MachineId(2), &[mac(4), mac(2)]).await.unwrap();
        let error = machines::put(&mut tx, &a_machine(3, "a")).await.unwrap_err();
        assert_eq!(error.label(), "exists");
        tx.commit(NOW).await.unwrap();
    }

    async fn pages_of_machines_miss_none(bed: Bed) {
        let mut tx = bed.write().await;
        let names = ["b-10", "a", "B-1", "ä", "b-9", "_x", "10", "9"];
        for (id, name) in (1..).zip(names) {
            machines::put(&mut tx, &a_machine(id, name)).await.unwrap();
        }
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let page = machines::list(&mut tx, &after, 3).await.unwrap();
            let Some(last) = page.last() else { break };
            after = last.name.clone();
            seen.extend(page.into_iter().map(|machine| machine.name));
        }
        seen.sort();
        let mut wanted = names.map(String::from);
        wanted.sort();
        assert_eq!(seen, wanted);
    }

    async fn a_token_is_found_by_its_hash_and_can_be_revoked(bed: Bed) {
        let mut tx = bed.write().await;
        let token = Token {
            id: "t1".into(),
            name: "ann".into(),
            role: "operator".into(),
            sha256: Digest([7; 32]),
            created: NOW,
            expires: Some(later(100)),
            revoked: None,
        };
        tokens::put(&mut tx, &token).await.unwrap();
        assert!(tokens::put(&mut tx, &token).await.is_err());
        let found = tokens::by_hash(&mut tx, Digest([7; 32])).await.unwrap().unwrap();
        assert_eq!(found, token);
        assert!(found.is_valid(later(99)) && !found.is_valid(later(100)));
        assert!(tokens::revoke(&mut tx, "t1", later(1)).await.unwrap());
        assert!(!tokens::revoke(&mut tx, "t1", later(2)).await.unwrap());
        assert!(!tokens::list(&mut tx).await.unwrap()[0].is_valid(later(1)));
        assert!(tokens::by_hash(&mut tx, Digest([8; 32])).await.unwrap().is_none());
        tx.commit(NOW).await.unwrap();
    }

    async fn a5_1_a_boot_token_belongs_to_the_first_key_that_uses_it(bed: Bed) {
        let mut tx = bed.write().await;
        for (hash, created) in [(1, 0), (2, 0), (3, 50)] {
            boot_tokens::put(&mut tx, &a_boot_token(hash, created)).await.unwrap();
        }
        let hash = Digest([1; 32]);
        assert_eq!(boot_tokens::bind_key(&mut tx, hash, b"key one", later(1)).await.unwrap(), Bound::New);
        assert_eq!(boot_tokens::bind_key(&mut tx, hash, b"key one", later(2)).await.unwrap(), Bound::Same);
        assert_eq!(boot_tokens::bind_key(&mut tx, hash, b"key two", later(2)).await.unwrap(), Bound::Other);
        let expected = BootToken { key: Some(b"key one".to_vec()), bound_at: Some(later(1)), ..a_boot_token(1, 0) };
        assert_eq!(boot_tokens::lookup(&mut tx, hash).await.unwrap(), Some(expected));
        let late = boot_tokens::bind_key(&mut tx, Digest([2; 32]), b"k", later(100)).await.unwrap();
        assert_eq!(late, Bound::Expired);
        assert_eq!(boot_tokens::bind_key(&mut tx, Digest([9; 32]), b"k", NOW).await.unwrap(), Bound::Unknown);
        assert_eq!(boot_tokens::revoke_boot_tokens(&mut tx, MachineId(1), later(50), later(60)).await.unwrap(), 2);
        assert_eq!(boot_tokens::bind_key(&mut tx, hash, b"key one", later(61)).await.unwrap(), Bound::Expired);
        assert_eq!(boot_tokens::bind_key(&mut tx, Digest([3; 32]), b"k", later(61)).await.unwrap(), Bound::New);
        boot_tokens::put(&mut tx, &BootToken { machine: None, ..a_boot_token(4, 0) }).await.unwrap();
        assert!(boot_tokens::assign(&mut tx, Digest([4; 32]), MachineId(5)).await.unwrap());
        assert!(!boot_tokens::assign(&mut tx, Digest([4; 32]), MachineId(6)).await.unwrap());
        tx.commit(NOW).await.unwrap();
    }

    async fn a_machine_is_in_one_boot_at_a_time_and_the_later_one_shows_that_the_earlier_is_over(bed: Bed) {
        let mut tx = bed.write().await;
        let resident = BootToken { mode: AgentMode::Resident, ..a_boot_token(4, 0) };
        let other = BootToken { machine: Some(MachineId(2)), ..a_boot_token(5, 0) };
        for token in [a_boot_token(1, 0), a_boot_token(2, 0), a_boot_token(3, 0), resident, other] {
            boot_tokens::put(&mut tx, &token).await.unwrap();
        }
        let hash = |n: u8| Digest([n; 32]);
        boot_tokens::bind_key(&mut tx, hash(1), b"one", later(1)).await.unwrap();
        boot_tokens::bind_key(&mut tx, hash(4), b"four", later(9)).await.unwrap();
        boot_tokens::bind_key(&mut tx, hash(5), b"five", later(9)).await.unwrap();
        assert!(!boot_tokens::overtaken(&mut tx, hash(1)).await.unwrap(), "by nothing that was not used, or is no boot");
        boot_tokens::bind_key(&mut tx, hash(2), b"two", later(2)).await.unwrap();
        boot_tokens::bind_key(&mut tx, hash(3), b"three", later(2)).await.unwrap();
        let mut found = Vec::new();
        for n in 1..=5 {
            found.push(boot_tokens::overtaken(&mut tx, hash(n)).await.unwrap());
        }
        assert_eq!(found, [true, true, false, false, false], "of two in one moment exactly one is the newer");
        assert!(boot_tokens::revoke(&mut tx, hash(3), later(3)).await.unwrap());
        assert!(!boot_tokens::revoke(&mut tx, hash(3), later(3)).await.unwrap());
        assert!(!boot_tokens::overtaken(&mut tx, hash(2)).await.unwrap(), "not by one that was revoked");
        assert_eq!(boot_tokens::revoke_ram(&mut tx, MachineId(1), later(4)).await.unwrap(), 2);
        assert_eq!(boot_tokens::lookup(&mut tx, hash(4)).await.unwrap().unwrap().revoked, None);
        tx.commit(NOW).await.unwrap();
    }

    async fn tokens_that_nobody_used_do_not_stay_for_ever(bed: Bed) {
        let mut tx = bed.write().await;
        for hash in 1..=3 {
            boot_tokens::put(&mut tx, &a_boot_token(hash, 0)).await.unwrap();
        }
        boot_tokens::bind_key(&mut tx, Digest([1; 32]), b"one", later(1)).await.unwrap();
        boot_tokens::bind_key(&mut tx, Digest([2; 32]), b"two", later(1)).await.unwrap();
        boot_tokens::revoke(&mut tx, Digest([2; 32]), later(2)).await.unwrap();
        assert_eq!(boot_tokens::forget(&mut tx, later(1)).await.unwrap(), 0);
        assert_eq!(boot_tokens::forget(&mut tx, later(101)).await.unwrap(), 2);
        assert!(boot_tokens::lookup(&mut tx, Digest([1; 32])).await.unwrap().is_some());
        tx.commit(NOW).await.unwrap();
    }

    async fn strangers_do_not_count_as_ours(bed: Bed) {
        let mut tx = bed.write().await;
        machines::put(&mut tx, &a_machine(1, "ours")).await.unwrap();
        machines::put(&mut tx, &Machine { ours: false, ..a_machine(2, "seen") }).await.unwrap();
        assert_eq!((machines::count(&mut tx).await.unwrap(), machines::count_ours(&mut tx).await.unwrap()), (2, 1));
    }

    async fn one_ticket_is_open_for_a_cause_and_it_closes_with_proof(bed: Bed) {
        let mut tx = bed.write().await;
        let (one, two, three) = (TicketId(1), TicketId(2), TicketId(3));
        let opened = tickets::open_ticket(&mut tx, one, machine(1), "disk", "Swap disk 3", "{}", NOW).await.unwrap();
        assert_eq!(opened, Opened::New(one));
        let again = tickets::open_ticket(&mut tx, two, machine(1), "disk", "Swap!", "{}", later(1)).await.unwrap();
        assert_eq!(again, Opened::Already(one));
        tickets::open_ticket(&mut tx, two, machine(2), "disk", "Swap", "{}", later(1)).await.unwrap();
        assert!(tickets::note_ticket(&mut tx, machine(2), "disk", "Swap disk 4", "{\"n\":4}").await.unwrap());
        assert!(!tickets::note_ticket(&mut tx, machine(2), "fan", "Swap", "{}").await.unwrap());
        let noted = tickets::get(&mut tx, two).await.unwrap().unwrap();
        assert_eq!((noted.title.as_str(), noted.body.as_str()), ("Swap disk 4", "{\"n\":4}"));
        assert!(tickets::close_ticket(&mut tx, machine(1), "disk", "{\"seen\":1}", later(2)).await.unwrap());
        assert!(!tickets::close_ticket(&mut tx, machine(1), "disk", "{}", later(3)).await.unwrap());
        let reopened = tickets::open_ticket(&mut tx, three, machine(1), "disk", "Again", "{}", later(4)).await.unwrap();
        assert_eq!(reopened, Opened::New(three), "a new fault is a new ticket");
        let closed = tickets::get(&mut tx, one).await.unwrap().unwrap();
        assert_eq!((closed.closed, closed.proof.as_deref()), (Some(later(2)), Some("{\"seen\":1}")));
        assert_eq!(tickets::list_open(&mut tx).await.unwrap().iter().map(|t| t.id).collect::<Vec<_>>(), [two, three]);
        assert_eq!(tickets::list_all(&mut tx, 10).await.unwrap().len(), 3);
        assert_eq!(tickets::list_of(&mut tx, machine(1), 10).await.unwrap().len(), 2);
        tx.commit(NOW).await.unwrap();
    }

    async fn a6_2_a_plan_is_approved_by_others_and_executed_once(bed: Bed) {
        let mut tx = bed.write().await;
        let digest = Digest([5; 32]);
        let plan = Plan {
            digest,
            action: "wipe".into(),
            body: "{\"machines\":[1]}".into(),
            by: "ann".into(),
            created: NOW,
            approvals: vec![],
            executed_at: None,
        };
        assert_eq!(plans::put(&mut tx, &plan).await.unwrap(), plan);
        let later_plan = Plan { created: later(5), by: "bob".into(), ..plan.clone() };
        assert_eq!(plans::put(&mut tx, &later_plan).await.unwrap(), plan, "the same digest refreshes nothing");
        assert_eq!(plans::approve(&mut tx, digest, "ann", later(1)).await.unwrap(), Approved::Own);
        assert_eq!(plans::approve(&mut tx, digest, "bob", later(1)).await.unwrap(), Approved::New);
        assert_eq!(plans::approve(&mut tx, digest, "bob", later(2)).await.unwrap(), Approved::Already);
        assert_eq!(plans::get(&mut tx, digest).await.unwrap().unwrap().approvals.len(), 1);
        assert!(plans::executed_since(&mut tx, "ann", NOW).await.unwrap().is_empty());
        assert!(plans::mark_executed(&mut tx, digest, later(3)).await.unwrap());
        assert_eq!(plans::executed_since(&mut tx, "ann", later(2)).await.unwrap().len(), 1);
        assert!(plans::executed_since(&mut tx, "ann", later(3)).await.unwrap().is_empty());
        assert!(plans::executed_since(&mut tx, "bob", NOW).await.unwrap().is_empty());
        assert!(!plans::mark_executed(&mut tx, digest, later(4)).await.unwrap());
        assert_eq!(plans::approve(&mut tx, digest, "cy", later(5)).await.unwrap(), Approved::TooLate);
        assert_eq!(plans::approve(&mut tx, Digest([6; 32]), "cy", NOW).await.unwrap(), Approved::Unknown);
        tx.commit(NOW).await.unwrap();
    }

    async fn a6_7_the_freeze_flag_is_one_row_that_every_claim_reads(bed: Bed) {
        let mut tx = bed.write().await;
        assert!(!site::frozen(&mut tx).await.unwrap().frozen);
        let freeze = Freeze { frozen: true, by: "ann".into(), why: "smoke".into(), at: NOW };
        site::set_frozen(&mut tx, &freeze).await.unwrap();
        tx.commit(NOW).await.unwrap();
        let mut tx = bed.read().await;
        assert_eq!(site::frozen(&mut tx).await.unwrap(), freeze);
        assert_eq!(site::lock_ledger(&mut tx).await.unwrap_err().kind(), Kind::Bug);
        assert_eq!(site::lock_ledger(&mut bed.write().await).await.unwrap(), freeze);
    }

    async fn a_setting_is_kept_and_changed(bed: Bed) {
        let mut tx = bed.write().await;
        assert_eq!(site::setting(&mut tx, "key").await.unwrap(), None);
        for value in ["one", "two"] {
            site::set_setting(&mut tx, "key", value).await.unwrap();
            assert_eq!(site::setting(&mut tx, "key").await.unwrap().as_deref(), Some(value));
        }
    }

    async fn the_boots_of_ports_are_kept_in_their_slots_and_the_oldest_go(bed: Bed) {
        let entry = |last: u8, n: i64, slot: i64, at: i64, body: &str| BootEntry {
            mac: mac(last), n, ring: 0, slot, at: later(at), body: body.into(),
        };
        let port = |last: u8, n: i64, newest: i64| BootPort {
            mac: mac(last), n, newest: later(newest), course: "{}".into(), seen: 7, logged: 9,
        };
        let mut tx = bed.write().await;
        assert!(boots::ports(&mut tx, [mac(1)]).await.unwrap().is_empty());
        boots::keep_ports(&mut tx, &[]).await.unwrap();
        boots::keep_entries(&mut tx, &[]).await.unwrap();
        boots::keep_ports(&mut tx, &[port(1, 1, 5), port(2, 1, 6)]).await.unwrap();
        boots::keep_ports(&mut tx, &[port(1, 2, 8)]).await.unwrap();
        let found = boots::ports(&mut tx, [mac(1), mac(2), mac(3)]).await.unwrap();
        assert_eq!(found.into_values().collect::<Vec<_>>(), [port(1, 2, 8), port(2, 1, 6)]);
        let first = [entry(1, 1, 0, 3, "a \0 b"), entry(1, 1, 1, 2, "b"), entry(2, 1, 0, 1, "c"), entry(1, 1, 1, 4, "d")];
        boots::keep_entries(&mut tx, &first).await.unwrap();
        boots::keep_entries(&mut tx, &[entry(1, 2, 0, 9, "e"), entry(1, 1, 0, 3, "f")]).await.unwrap();
        tx.commit(NOW).await.unwrap();
        let mut tx = bed.write().await;
        let told = boots::of_mac(&mut tx, mac(1)).await.unwrap();
        let told: Vec<_> = told.iter().map(|e| (e.n, e.slot, e.body.as_str())).collect();
        assert_eq!(told, [(1, 0, "f"), (1, 1, "d"), (2, 0, "e")], "a slot written again is replaced");
        boots::forget_boots(&mut tx, mac(1), 1).await.unwrap();
        assert_eq!(boots::of_mac(&mut tx, mac(1)).await.unwrap(), [entry(1, 2, 0, 9, "e")]);
        assert_eq!(boots::forget(&mut tx, later(7)).await.unwrap(), 1, "the one not seen for long");
        assert!(boots::of_mac(&mut tx, mac(2)).await.unwrap().is_empty());
        assert_eq!(boots::ports(&mut tx, [mac(1), mac(2)]).await.unwrap().len(), 1);
    }

    async fn of_a_flood_of_macs_the_newest_are_kept(bed: Bed) {
        let ports: Vec<_> = (0..50)
            .map(|last| BootPort {
                mac: mac(last), n: 1, newest: later(i64::from(last)), course: "{}".into(), seen: 1, logged: 0,
            })
            .collect();
        let entries: Vec<_> = (0..50)
            .map(|last| BootEntry {
                mac: mac(last), n: 1, ring: 0, slot: 0, at: later(i64::from(last)), body: "{}".into(),
            })
            .collect();
        let mut tx = bed.write().await;
        boots::keep_ports(&mut tx, &ports).await.unwrap();
        boots::keep_entries(&mut tx, &entries).await.unwrap();
        assert_eq!(boots::keep_newest(&mut tx, 100).await.unwrap(), 0);
        assert_eq!(boots::keep_newest(&mut tx, 10).await.unwrap(), 40);
        assert!(boots::of_mac(&mut tx, mac(39)).await.unwrap().is_empty());
        assert_eq!(boots::of_mac(&mut tx, mac(40)).await.unwrap().len(), 1);
    }

    async fn the_newest_events_of_a_subject_come_first(bed: Bed) {
        let mut tx = bed.write().await;
        for (subject, cause) in [(1, "a"), (2, "b"), (1, "c"), (1, "d")] {
            tx.append(event(machine(subject), cause)).await.unwrap();
        }
        tx.commit(NOW).await.unwrap();
        let found = muster_store::events::newest_of(&mut bed.read().await, machine(1), 2).await.unwrap();
        assert_eq!(found.iter().map(|one| one.cause.0.as_str()).collect::<Vec<_>>(), ["d", "c"]);
    }
}
