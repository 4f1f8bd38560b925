//! Passwords of BMCs: one in force, one on its way, and the table itself holds that.

use crate::bed::NOW;
use muster_names::MachineId;
use muster_store::passwords::{self, PasswordState};

const ONE: MachineId = MachineId(7);

both! {
    async fn a5_5_a_password_is_in_force_only_after_it_was_sent_and_then_the_one_before_is_a_former_one(bed: Bed) {
        let mut tx = bed.write().await;
        for number in 1..=2 {
            assert!(passwords::put(&mut tx, ONE, number, ("10.0.0.5", "admin"), "sealed", NOW).await.unwrap());
            assert!(!passwords::settle(&mut tx, MachineId(8), number, NOW).await.unwrap(), "another machine's");
            assert!(!passwords::settle(&mut tx, ONE, number, NOW).await.unwrap(), "it was not sent");
            let sent = (PasswordState::Made, PasswordState::Sent);
            assert!(passwords::step(&mut tx, ONE, number, sent, None).await.unwrap());
            assert!(!passwords::step(&mut tx, ONE, number, sent, None).await.unwrap(), "it was sent already");
            assert!(passwords::settle(&mut tx, ONE, number, NOW).await.unwrap());
        }
        tx.commit(NOW).await.unwrap();
        let mut tx = bed.store.read().await.unwrap();
        let states: Vec<PasswordState> = passwords::of(&mut tx, ONE).await.unwrap().iter().map(|row| row.state).collect();
        assert_eq!(states, [PasswordState::Former, PasswordState::Current]);
        let current = passwords::current(&mut tx).await.unwrap();
        assert_eq!(current.iter().map(|row| (row.number, row.settled)).collect::<Vec<_>>(), [(2, Some(NOW))]);
    }

    async fn there_is_one_on_its_way_at_most(bed: Bed) {
        let mut tx = bed.write().await;
        assert!(passwords::put(&mut tx, ONE, 1, ("10.0.0.5", "admin"), "sealed", NOW).await.unwrap());
        assert!(!passwords::put(&mut tx, ONE, 2, ("10.0.0.5", "admin"), "sealed", NOW).await.unwrap());
        assert!(passwords::forget(&mut tx, ONE, NOW).await.unwrap());
        assert!(!passwords::forget(&mut tx, ONE, NOW).await.unwrap(), "there is nothing left to forget");
        assert!(passwords::put(&mut tx, ONE, 2, ("10.0.0.5", "admin"), "sealed", NOW).await.unwrap());
        let states: Vec<PasswordState> = passwords::of(&mut tx, ONE).await.unwrap().iter().map(|row| row.state).collect();
        assert_eq!(states, [PasswordState::Dropped, PasswordState::Made]);
    }
}
