//! Leases over IPv6: the promises of the others, kept by a table of their own.

use crate::bed::{NOW, later};
use muster_names::{Mac, Millis};
use muster_store::{Lease6Row, LeaseState, Outcome, Store, commit_leases6, holder6, load_leases6};
use std::net::Ipv6Addr;

fn at(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, number)
}

fn row(address: u16, mac: u8, until: Millis) -> Lease6Row {
    Lease6Row {
        network: "provision".into(),
        address: at(address),
        mac: Mac([0x52, 0x54, 0, 0, 0xff, mac]),
        until,
        state: LeaseState::Leased,
        seen: NOW,
        client: r#"{"duid":"00030001525400770101"}"#.into(),
    }
}

use Outcome::{Conflict, Granted};

both! {
    async fn an_ipv6_address_has_one_holder_until_its_lease_is_over(bed: Bed) {
        let store = &bed.store;
        assert_eq!(commit_leases6(store, &[row(6, 2, later(100)), row(5, 1, later(100))], NOW).await.unwrap(), [Granted, Granted]);
        assert_eq!(commit_leases6(store, &[row(5, 9, later(200)), row(7, 9, later(9))], later(99)).await.unwrap(), [Conflict, Granted]);
        assert_eq!(commit_leases6(store, &[row(5, 1, later(150))], later(99)).await.unwrap(), [Granted], "its own");
        assert_eq!(commit_leases6(store, &[row(5, 9, later(300))], later(150)).await.unwrap(), [Granted], "expired");
        let rows = load_leases6(store).await.unwrap();
        assert_eq!(rows, [row(5, 9, later(300)), row(6, 2, later(100)), row(7, 9, later(9))]);
        assert_eq!(commit_leases6(store, &[], NOW).await.unwrap(), []);
    }

    async fn an_ipv6_address_given_back_is_free_and_a_declined_one_is_nobodys(bed: Bed) {
        let store = &bed.store;
        let released = Lease6Row { state: LeaseState::Released, ..row(5, 1, later(100)) };
        let declined = Lease6Row { state: LeaseState::Declined, ..row(6, 1, later(100)) };
        assert_eq!(commit_leases6(store, &[released, declined], NOW).await.unwrap(), [Granted, Granted]);
        let wishes = [row(5, 2, later(200)), row(6, 1, later(200))];
        assert_eq!(commit_leases6(store, &wishes, later(1)).await.unwrap(), [Granted, Conflict]);
        assert_eq!(commit_leases6(store, &wishes[1..], later(100)).await.unwrap(), [Granted]);
    }

    async fn an_ipv6_address_tells_who_holds_it_just_now(bed: Bed) {
        let store = &bed.store;
        let released = Lease6Row { state: LeaseState::Released, ..row(6, 2, later(100)) };
        commit_leases6(store, &[row(5, 1, later(100)), released], NOW).await.unwrap();
        let of = async |network: &str, address: u16, now| holder6(store, network, at(address), now).await.unwrap();
        assert_eq!(of("provision", 5, later(99)).await, Some(row(5, 1, NOW).mac));
        assert_eq!(of("provision", 5, later(100)).await, None, "over");
        assert_eq!(of("provision", 6, NOW).await, None, "given back");
        assert_eq!(of("bmc", 5, NOW).await, None, "of another network");
    }

    async fn the_same_ipv6_batch_again_gets_the_same_answer_also_after_a_restart(bed: Bed) {
        let batch: Vec<Lease6Row> = (1..200).map(|number| row(number, 1, later(100))).collect();
        let first = commit_leases6(&bed.store, &batch, NOW).await.unwrap();
        let again = Store::open(&bed.place).await.unwrap();
        assert_eq!(commit_leases6(&again, &batch, NOW).await.unwrap(), first);
        assert_eq!(load_leases6(&again).await.unwrap().len(), 199);
    }

    async fn four_committers_never_give_an_ipv6_address_to_two(bed: Bed) {
        let tasks: Vec<_> = (1..5u8)
            .map(|committer| {
                let store = bed.store.clone();
                tokio::spawn(async move {
                    let batch: Vec<_> = (0..120).map(|n| row(n, committer, later(100))).rev().collect();
                    let outcomes = commit_leases6(&store, &batch, NOW).await.unwrap();
                    outcomes.into_iter().filter(|outcome| *outcome == Granted).count()
                })
            })
            .collect();
        let mut granted = 0;
        for task in tasks {
            granted += task.await.unwrap();
        }
        assert_eq!(granted, 120);
    }
}
