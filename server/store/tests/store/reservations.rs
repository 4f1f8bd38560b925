//! Reservations: one address of a MAC, one MAC of an address, whoever writes first.

use crate::bed::NOW;
use muster_names::{Mac, MachineId};
use muster_store::reservations::{self, Reservation};
use std::net::Ipv4Addr;

fn kept(address: u8, mac: u8, machine: u128) -> Reservation {
    Reservation {
        address: Ipv4Addr::new(10, 77, 0, address),
        mac: Mac([0x52, 0x54, 0, 0, 0, mac]),
        machine: MachineId(machine),
    }
}

both! {
    async fn an_address_is_kept_for_one_mac_and_a_mac_has_one_address(bed: Bed) {
        let mut tx = bed.write().await;
        assert!(reservations::put(&mut tx, &kept(5, 1, 7)).await.unwrap());
        assert!(reservations::put(&mut tx, &kept(5, 1, 7)).await.unwrap(), "the same again");
        assert!(!reservations::put(&mut tx, &kept(5, 2, 8)).await.unwrap(), "another MAC's");
        assert!(reservations::put(&mut tx, &kept(6, 1, 7)).await.unwrap(), "it moves");
        assert!(reservations::put(&mut tx, &kept(5, 2, 8)).await.unwrap(), "free since then");
        tx.commit(NOW).await.unwrap();
        let mut tx = bed.store.read().await.unwrap();
        assert_eq!(reservations::all(&mut tx).await.unwrap(), [kept(5, 2, 8), kept(6, 1, 7)]);
        assert_eq!(reservations::of_machine(&mut tx, MachineId(7)).await.unwrap(), [kept(6, 1, 7)]);
        assert_eq!(reservations::of_mac(&mut tx, kept(0, 2, 0).mac).await.unwrap(), Some(kept(5, 2, 8)));
        assert_eq!(reservations::at(&mut tx, kept(7, 0, 0).address).await.unwrap(), None);
    }

    async fn what_a_machine_had_is_free_again(bed: Bed) {
        let mut tx = bed.write().await;
        for one in [kept(5, 1, 7), kept(6, 2, 7), kept(8, 3, 9)] {
            assert!(reservations::put(&mut tx, &one).await.unwrap());
        }
        reservations::drop_of(&mut tx, MachineId(7)).await.unwrap();
        assert_eq!(reservations::all(&mut tx).await.unwrap(), [kept(8, 3, 9)]);
    }
}
