//! BMCs before they are anybody's, as both databases keep them.

use crate::bed::NOW;
use muster_names::{Mac, MachineId, Millis};
use muster_store::bmc_adoption::{self, AwaitedRow, AwaitedState, FoundRow, PinRow};

const ONE: MachineId = MachineId(7);

fn answered(address: &str, mac: Option<u8>, seen: i64) -> FoundRow {
    let mac = mac.map(|last| Mac([2, 0, 0, 0, 0, last]));
    FoundRow { address: address.into(), mac, first_seen: Millis(seen), seen: Millis(seen), body: "{}".into() }
}

fn awaited(id: &str, due: i64) -> AwaitedRow {
    AwaitedRow {
        id: id.into(),
        state: AwaitedState::Awaited,
        due: Millis(due),
        made: NOW,
        machine: None,
        body: "{\"user\":\"\0\"}".into(),
        sealed: "1:a:b:c".into(),
    }
}

both! {
    async fn a_bmc_that_moves_is_found_once_and_at_its_new_address(bed: Bed) {
        let mut tx = bed.write().await;
        for row in [answered("10.0.0.5", Some(5), 1), answered("10.0.0.6", None, 2), answered("10.0.0.7", Some(5), 3)] {
            bmc_adoption::put_found(&mut tx, &row).await.unwrap();
        }
        let again = answered("10.0.0.6", None, 9);
        bmc_adoption::put_found(&mut tx, &again).await.unwrap();
        tx.commit(NOW).await.unwrap();
        let mut tx = bed.read().await;
        let found = bmc_adoption::found(&mut tx).await.unwrap();
        let told: Vec<_> = found.iter().map(|row| (row.address.as_str(), row.first_seen.0, row.seen.0)).collect();
        assert_eq!(told, [("10.0.0.6", 2, 9), ("10.0.0.7", 3, 3)]);
        let by_mac = bmc_adoption::found_by_mac(&mut tx, Mac([2, 0, 0, 0, 0, 5])).await.unwrap();
        assert_eq!(by_mac, bmc_adoption::found_at(&mut tx, "10.0.0.7").await.unwrap());
        drop(tx);
        let mut tx = bed.write().await;
        assert_eq!(bmc_adoption::forget_found(&mut tx, Millis(5)).await.unwrap(), 1);
        assert_eq!(bmc_adoption::count_found(&mut tx).await.unwrap(), 1);
    }

    async fn who_is_awaited_is_looked_for_when_it_is_due_and_not_once_it_is_adopted(bed: Bed) {
        let mut tx = bed.write().await;
        for row in [awaited("mac/a", 20), awaited("mac/b", 10), awaited("mac/c", 99)] {
            bmc_adoption::put_awaited(&mut tx, &row).await.unwrap();
        }
        let adopted = AwaitedRow { state: AwaitedState::Adopted, machine: Some(ONE), sealed: String::new(), ..awaited("mac/a", 20) };
        bmc_adoption::put_awaited(&mut tx, &adopted).await.unwrap();
        let due = bmc_adoption::due_awaited(&mut tx, Millis(50), 10).await.unwrap();
        assert_eq!(due.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["mac/b"]);
        assert_eq!(bmc_adoption::awaited(&mut tx).await.unwrap().len(), 3);
        let kept = bmc_adoption::awaited_of(&mut tx, "mac/a").await.unwrap().unwrap();
        assert_eq!((kept.machine, kept.sealed.as_str()), (Some(ONE), ""));
        assert!(bmc_adoption::drop_awaited(&mut tx, "mac/c").await.unwrap());
        assert!(!bmc_adoption::drop_awaited(&mut tx, "mac/c").await.unwrap());
        tx.commit(NOW).await.unwrap();
    }

    async fn a_key_and_what_was_learnt_are_replaced_and_never_doubled(bed: Bed) {
        let mut tx = bed.write().await;
        for pin in ["aa", "bb"] {
            let row = PinRow { machine: ONE, pin: pin.into(), serial: Some("S".into()), at: NOW, actor: "x".into() };
            bmc_adoption::put_pin(&mut tx, &row).await.unwrap();
            bmc_adoption::put_learnt(&mut tx, "maker/model/1.0", NOW, pin).await.unwrap();
        }
        assert_eq!(bmc_adoption::pin_of(&mut tx, ONE).await.unwrap().unwrap().pin, "bb");
        assert_eq!(bmc_adoption::learnt(&mut tx, "maker/model/1.0").await.unwrap().as_deref(), Some("bb"));
        assert_eq!(bmc_adoption::learnt_for(&mut tx, ONE).await.unwrap(), None);
        bmc_adoption::put_kind(&mut tx, ONE, "another").await.unwrap();
        bmc_adoption::put_kind(&mut tx, ONE, "maker/model/1.0").await.unwrap();
        assert_eq!(bmc_adoption::kind_of(&mut tx, ONE).await.unwrap().as_deref(), Some("maker/model/1.0"));
        assert_eq!(bmc_adoption::learnt_for(&mut tx, ONE).await.unwrap().as_deref(), Some("bb"));
        assert_eq!(bmc_adoption::all_learnt(&mut tx).await.unwrap().len(), 1);
        assert!(bmc_adoption::drop_pin(&mut tx, ONE).await.unwrap());
        assert_eq!(bmc_adoption::pin_of(&mut tx, ONE).await.unwrap(), None);
        tx.commit(NOW).await.unwrap();
    }
}
