//! Acts: recorded once, claimed by one, never sent again by accident.

use crate::bed::{Bed, NOW, later, machine};
use muster_names::{Epoch, Key, Subject};
use muster_store::{ActState, Again, Claim, End, Error, Kind, NewAct, Owner, Tx, acts, site, subjects};

fn key(number: u128, slot: &str) -> Key {
    Key { of: machine(number), epoch: Epoch(1), slot: slot.into() }
}

fn act(key: Key, weight: &str) -> NewAct {
    NewAct {
        key,
        body: "{\"to\":\"on\"}".into(),
        again: Again::AfterProbe,
        target: "bmc/1".into(),
        owner: Owner::Install,
        weight: weight.into(),
        due: NOW,
    }
}

pub async fn record_wipe(tx: &mut Tx, subject: Subject) -> Result<bool, Error> {
    acts::record_act(tx, &act(Key { of: subject, epoch: Epoch(1), slot: "wipe".into() }, "wipe"), NOW).await
}

async fn with_act(bed: &Bed) -> Key {
    let key = key(1, "power");
    let mut tx = bed.write().await;
    subjects::create(&mut tx, machine(1), "commissioning", "{}", 1, None, NOW).await.unwrap();
    assert!(acts::record_act(&mut tx, &act(key.clone(), "power"), NOW).await.unwrap());
    tx.commit(NOW).await.unwrap();
    key
}

both! {
    async fn an_act_is_recorded_once_and_keeps_its_payload(bed: Bed) {
        let key = with_act(&bed).await;
        let mut other = act(key.clone(), "power");
        other.body = "{\"to\":\"off\"}".into();
        let mut tx = bed.write().await;
        assert!(!acts::record_act(&mut tx, &other, later(1)).await.unwrap());
        let found = acts::get_act(&mut tx, &key).await.unwrap().unwrap();
        assert_eq!((found.body.as_str(), found.state, found.created), ("{\"to\":\"on\"}", ActState::Due, NOW));
        tx.commit(NOW).await.unwrap();
        let error = bed.raw("update act set body = '{}'").await.unwrap_err();
        assert!(error.to_string().contains("rail: an act keeps the payload"), "{error}");
        assert!(bed.raw("delete from act").await.is_err());
    }

    async fn re_driving_a_finished_act_inserts_nothing_and_sends_nothing(bed: Bed) {
        let key = with_act(&bed).await;
        let mut tx = bed.write().await;
        assert!(matches!(acts::claim(&mut tx, &key, "c1", later(100), NOW).await.unwrap(), Claim::Claimed(_)));
        assert!(acts::mark_sent(&mut tx, &key, "c1", "sent", NOW).await.unwrap());
        assert!(acts::finish(&mut tx, &key, "c1", End::Done, "{\"read\":\"on\"}", later(2)).await.unwrap());
        assert!(!acts::record_act(&mut tx, &act(key.clone(), "power"), later(3)).await.unwrap());
        assert!(acts::due_acts(&mut tx, "power", later(1000), 10).await.unwrap().is_empty());
        assert_eq!(acts::claim(&mut tx, &key, "c2", later(900), later(800)).await.unwrap(), Claim::Lost);
        assert!(!acts::postpone(&mut tx, &key, later(5)).await.unwrap());
        assert!(!acts::finish(&mut tx, &key, "c1", End::Failed, "{}", later(4)).await.unwrap());
        tx.commit(NOW).await.unwrap();
        let error = bed.raw("update act set state = 'due'").await.unwrap_err();
        assert!(error.to_string().contains("rail: a finished act"), "{error}");
    }

    async fn two_couriers_claim_at_once_and_one_wins(bed: Bed) {
        let key = with_act(&bed).await;
        let tasks: Vec<_> = (0..8)
            .map(|number| {
                let (store, key) = (bed.store.clone(), key.clone());
                tokio::spawn(async move {
                    let mut tx = store.write().await.unwrap();
                    let claim = acts::claim(&mut tx, &key, &format!("c{number}"), later(100), NOW).await.unwrap();
                    tx.commit(NOW).await.unwrap();
                    matches!(claim, Claim::Claimed(_))
                })
            })
            .collect();
        let mut winners = 0;
        for task in tasks {
            winners += u32::from(task.await.unwrap());
        }
        assert_eq!(winners, 1);
        assert_eq!(acts::get_act(&mut bed.read().await, &key).await.unwrap().unwrap().attempts, 1);
    }

    async fn an_expired_claim_is_taken_over_with_what_the_old_courier_had_done(bed: Bed) {
        let key = with_act(&bed).await;
        let mut tx = bed.write().await;
        acts::claim(&mut tx, &key, "old", later(100), NOW).await.unwrap();
        assert!(acts::mark_sent(&mut tx, &key, "old", "off-sent", later(99)).await.unwrap());
        assert_eq!(acts::claim(&mut tx, &key, "new", later(300), later(99)).await.unwrap(), Claim::Lost, "not yet");
        assert!(acts::expired_acts(&mut tx, "power", later(99), 10).await.unwrap().is_empty());
        assert_eq!(acts::expired_acts(&mut tx, "power", later(100), 10).await.unwrap().len(), 1);
        let Claim::Reclaimed(found) = acts::claim(&mut tx, &key, "new", later(300), later(100)).await.unwrap() else {
            panic!("an expired claim was not taken over");
        };
        assert_eq!((found.state, found.phase.as_str(), found.courier.as_deref()), (ActState::Sent, "off-sent", Some("old")));
        let found = acts::get_act(&mut tx, &key).await.unwrap().unwrap();
        assert_eq!((found.state, found.attempts), (ActState::Sent, 2), "it stays sent until a probe has decided");
        for lost in [
            acts::mark_sent(&mut tx, &key, "old", "x", later(101)).await.unwrap(),
            acts::set_phase(&mut tx, &key, "old", "x").await.unwrap(),
            acts::extend(&mut tx, &key, "old", later(999)).await.unwrap(),
            acts::finish(&mut tx, &key, "old", End::Done, "{}", later(101)).await.unwrap(),
            acts::retry(&mut tx, &key, "old", NOW, "{}").await.unwrap(),
        ] {
            assert!(!lost, "the old courier's word no longer counts");
        }
        assert!(acts::set_phase(&mut tx, &key, "new", "on-sent").await.unwrap());
        assert!(acts::extend(&mut tx, &key, "new", later(500)).await.unwrap());
        tx.commit(NOW).await.unwrap();
    }

    async fn a_courier_whose_time_is_over_may_not_send(bed: Bed) {
        let key = with_act(&bed).await;
        let mut tx = bed.write().await;
        acts::claim(&mut tx, &key, "slow", later(100), NOW).await.unwrap();
        assert!(!acts::mark_sent(&mut tx, &key, "slow", "x", later(100)).await.unwrap());
        tx.commit(NOW).await.unwrap();
    }

    async fn what_may_never_be_repeated_is_not_given_back_once_sent(bed: Bed) {
        let mut tx = bed.write().await;
        for (slot, again, expected) in [("a", Again::Never, false), ("b", Again::Freely, true)] {
            let new = NewAct { again, ..act(key(1, slot), "power") };
            acts::record_act(&mut tx, &new, NOW).await.unwrap();
            acts::claim(&mut tx, &new.key, "c", later(9), NOW).await.unwrap();
            acts::mark_sent(&mut tx, &new.key, "c", "", NOW).await.unwrap();
            assert!(!acts::postpone(&mut tx, &new.key, later(5)).await.unwrap(), "it was sent");
            assert_eq!(acts::retry(&mut tx, &new.key, "c", later(5), "{}").await.unwrap(), expected, "{slot}");
        }
        assert!(acts::finish(&mut tx, &key(1, "a"), "c", End::Unknown, "{}", NOW).await.unwrap());
        assert!(acts::settle_unknown(&mut tx, &key(1, "a"), End::Failed, "{\"probe\":1}", later(7)).await.unwrap());
        assert!(!acts::settle_unknown(&mut tx, &key(1, "b"), End::Done, "{}", NOW).await.unwrap());
        tx.commit(NOW).await.unwrap();
    }

    async fn due_acts_come_with_the_epoch_their_subject_is_in(bed: Bed) {
        let key = with_act(&bed).await;
        let mut tx = bed.write().await;
        acts::record_act(&mut tx, &act(self::key(1, "other"), "password"), NOW).await.unwrap();
        let later_act = NewAct { due: later(50), ..act(self::key(1, "later"), "power") };
        acts::record_act(&mut tx, &later_act, NOW).await.unwrap();
        let due = acts::due_acts(&mut tx, "power", NOW, 10).await.unwrap();
        assert_eq!((due.len(), &due[0].act.key, due[0].current), (1, &key, Some(Epoch(1))));
        subjects::enter(&mut tx, machine(1), "held", "{}", 1, None, NOW).await.unwrap();
        assert_eq!(acts::due_acts(&mut tx, "power", NOW, 10).await.unwrap()[0].current, Some(Epoch(2)));
        assert_eq!(acts::supersede(&mut tx, machine(1), Epoch(2), NOW).await.unwrap(), 3);
        assert!(acts::due_acts(&mut tx, "power", later(99), 10).await.unwrap().is_empty());
        let all = acts::acts_of(&mut tx, machine(1)).await.unwrap();
        assert!(all.iter().all(|act| act.state == ActState::Failed && act.evidence.as_deref() == Some("\"superseded\"")));
        tx.commit(NOW).await.unwrap();
    }

    async fn budgets_see_what_is_in_flight_and_what_was_finished(bed: Bed) {
        let mut tx = bed.write().await;
        for (number, slot) in [(1, "a"), (1, "b"), (2, "a"), (3, "a")] {
            acts::record_act(&mut tx, &act(key(number, slot), "power"), NOW).await.unwrap();
        }
        for (number, slot) in [(1, "a"), (1, "b"), (2, "a")] {
            acts::claim(&mut tx, &key(number, slot), "c", later(9), NOW).await.unwrap();
        }
        acts::mark_sent(&mut tx, &key(1, "b"), "c", "", NOW).await.unwrap();
        acts::finish(&mut tx, &key(2, "a"), "c", End::Failed, "{}", later(20)).await.unwrap();
        assert_eq!(acts::in_flight(&mut tx).await.unwrap().len(), 2);
        assert_eq!(acts::in_flight_of(&mut tx, machine(2)).await.unwrap().len(), 0);
        assert_eq!(acts::finished_since(&mut tx, later(20)).await.unwrap().len(), 1);
        assert_eq!(acts::finished_since(&mut tx, later(21)).await.unwrap().len(), 0);
        assert!(acts::postpone(&mut tx, &key(1, "a"), later(60)).await.unwrap());
        assert_eq!(acts::in_flight(&mut tx).await.unwrap().len(), 1);
        tx.commit(NOW).await.unwrap();
    }

    /// Budgets hold only when claims come one after another.
    async fn a6_4_claims_under_the_ledger_never_exceed_a_budget(bed: Bed) {
        let mut tx = bed.write().await;
        for number in 0..8 {
            acts::record_act(&mut tx, &act(key(number, "a"), "power"), NOW).await.unwrap();
        }
        tx.commit(NOW).await.unwrap();
        let tasks: Vec<_> = (0..8)
            .map(|number| {
                let store = bed.store.clone();
                tokio::spawn(async move {
                    let mut tx = store.write().await.unwrap();
                    assert!(!site::lock_ledger(&mut tx).await.unwrap().frozen);
                    if acts::in_flight(&mut tx).await.unwrap().len() < 3 {
                        acts::claim(&mut tx, &key(number, "a"), "c", later(9), NOW).await.unwrap();
                    }
                    tx.commit(NOW).await.unwrap();
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(acts::in_flight(&mut bed.read().await).await.unwrap().len(), 3);
    }

    async fn a6_3_the_database_refuses_to_destroy_in_any_other_state(bed: Bed) {
        let labels = ["installing", "releasing", "retiring", "commissioning", "ready", "in-service", "held", ""];
        for (number, label) in (0..).zip(labels) {
            for weight in ["wipe", "install"] {
                let mut tx = bed.write().await;
                if subjects::load(&mut tx, machine(number)).await.unwrap().is_none() {
                    subjects::create(&mut tx, machine(number), label, "{}", 1, None, NOW).await.unwrap();
                }
                let recorded = acts::record_act(&mut tx, &act(key(number, weight), weight), NOW).await;
                match number {
                    0..4 => assert!(recorded.unwrap(), "{label}"),
                    _ => assert_eq!(recorded.unwrap_err().kind(), Kind::Refused, "{label}"),
                }
                if number < 4 {
                    tx.commit(NOW).await.unwrap();
                }
            }
        }
        let mut tx = bed.write().await;
        assert!(matches!(record_wipe(&mut tx, machine(99)).await, Err(Error::Rail { .. })), "a subject nobody knows");
    }
}
