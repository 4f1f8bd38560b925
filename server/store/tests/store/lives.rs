//! States, epochs and deadlines.

use crate::bed::{NOW, later, machine};
use muster_names::{CaseId, Epoch, MachineId, Subject};
use muster_store::{Error, Kind, subjects};

both! {
    async fn an_epoch_counts_states_entered_and_settling_enters_none(bed: Bed) {
        let mut tx = bed.write().await;
        let first = subjects::create(&mut tx, machine(1), "expected", "{\"a\":1}", 3, Some(later(9)), NOW).await;
        assert_eq!(first.unwrap(), Epoch(1));
        assert_eq!(subjects::settle(&mut tx, machine(1), "{\"a\":2}", 4).await.unwrap(), Epoch(1));
        let stored = subjects::load(&mut tx, machine(1)).await.unwrap().unwrap();
        assert_eq!((stored.state.as_str(), stored.version, stored.label.as_str()), ("{\"a\":2}", 4, "expected"));
        assert_eq!((stored.deadline, stored.entered), (Some(later(9)), NOW), "looking again extends nothing");
        let second = subjects::enter(&mut tx, machine(1), "ready", "{}", 4, None, later(3)).await.unwrap();
        assert_eq!(second, Epoch(2));
        tx.commit(NOW).await.unwrap();
        let stored = subjects::load(&mut bed.read().await, machine(1)).await.unwrap().unwrap();
        assert_eq!((stored.epoch, stored.deadline, stored.entered), (Epoch(2), None, later(3)));
    }

    async fn a_subject_is_created_once_and_entered_only_when_it_exists(bed: Bed) {
        let mut tx = bed.write().await;
        subjects::create(&mut tx, machine(1), "expected", "{}", 1, None, NOW).await.unwrap();
        let again = subjects::create(&mut tx, machine(1), "ready", "{}", 1, None, NOW).await.unwrap_err();
        assert_eq!((again.kind(), again.label()), (Kind::Later, "exists"));
        let missing = subjects::enter(&mut tx, machine(2), "ready", "{}", 1, None, NOW).await;
        assert!(matches!(missing, Err(Error::Missing { .. })));
        tx.commit(NOW).await.unwrap();
    }

    async fn deadlines_come_due_in_order_and_are_cleared_only_in_their_epoch(bed: Bed) {
        let mut tx = bed.write().await;
        for (number, deadline) in [(1, Some(later(30))), (2, Some(later(10))), (3, None), (4, Some(later(99)))] {
            subjects::create(&mut tx, machine(number), "x", "{}", 1, deadline, NOW).await.unwrap();
        }
        let due = subjects::due(&mut tx, later(30), 10).await.unwrap();
        assert_eq!(due, [(machine(2), Epoch(1)), (machine(1), Epoch(1))]);
        assert_eq!(subjects::due(&mut tx, later(30), 1).await.unwrap().len(), 1);
        assert!(!subjects::clear_deadline(&mut tx, machine(2), Epoch(7)).await.unwrap());
        assert!(subjects::clear_deadline(&mut tx, machine(2), Epoch(1)).await.unwrap());
        assert_eq!(subjects::due(&mut tx, later(30), 10).await.unwrap(), [(machine(1), Epoch(1))]);
        tx.commit(NOW).await.unwrap();
    }

    async fn subjects_are_listed_by_kind_in_pages_and_counted_by_label(bed: Bed) {
        let mut tx = bed.write().await;
        for number in [3, 1, 2, 0xabc, u128::MAX] {
            let label = if number < 3 { "ready" } else { "held" };
            subjects::create(&mut tx, machine(number), label, "{}", 1, None, NOW).await.unwrap();
        }
        subjects::create(&mut tx, Subject::Case(CaseId(1)), "open", "{}", 1, None, NOW).await.unwrap();
        tx.commit(NOW).await.unwrap();
        let mut tx = bed.read().await;
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let page = subjects::list(&mut tx, "machine", &after, 2).await.unwrap();
            let Some((last, _)) = page.last() else { break };
            after = last.key();
            all.extend(page.into_iter().map(|(subject, _)| subject));
        }
        let wanted = [1, 2, 3, 0xabc, u128::MAX].map(|number| Subject::Machine(MachineId(number)));
        assert_eq!(all, wanted);
        let counts = subjects::count_by_label(&mut tx, "machine").await.unwrap();
        assert_eq!(counts, [("held".to_owned(), 3), ("ready".to_owned(), 2)]);
    }

    async fn two_who_load_the_same_state_to_write_decide_one_after_the_other(bed: Bed) {
        let mut tx = bed.write().await;
        subjects::create(&mut tx, machine(1), "counting", "0", 1, None, NOW).await.unwrap();
        tx.commit(NOW).await.unwrap();
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let store = bed.store.clone();
                tokio::spawn(async move {
                    for _ in 0..5 {
                        let mut tx = store.write().await.unwrap();
                        let stored = subjects::load(&mut tx, machine(1)).await.unwrap().unwrap();
                        let next = stored.state.parse::<i64>().unwrap() + 1;
                        subjects::enter(&mut tx, machine(1), "counting", &next.to_string(), 1, None, NOW).await.unwrap();
                        tx.commit(NOW).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let stored = subjects::load(&mut bed.read().await, machine(1)).await.unwrap().unwrap();
        assert_eq!((stored.state.as_str(), stored.epoch), ("40", Epoch(41)));
    }
}
