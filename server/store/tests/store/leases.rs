//! Leases: durable before the answer, and one holder for each address.

use crate::bed::{NOW, later};
use muster_names::{Mac, Millis};
use muster_store::{LeaseRow, LeaseState, Outcome, Store, commit_leases, holder, leases_at, load_leases};
use std::net::Ipv4Addr;

fn row(address: u8, mac: u8, until: Millis) -> LeaseRow {
    LeaseRow {
        network: "provision".into(),
        address: Ipv4Addr::new(10, 77, 0, address),
        mac: Mac([0x52, 0x54, 0, 0, 0xff, mac]),
        until,
        state: LeaseState::Leased,
        seen: NOW,
        client: r#"{"host":"a\u0000b","circuit":"00ff"}"#.into(),
    }
}

use Outcome::{Conflict, Granted};

both! {
    async fn an_address_has_one_holder_until_its_lease_is_over(bed: Bed) {
        let store = &bed.store;
        assert_eq!(commit_leases(store, &[row(5, 1, later(100)), row(6, 2, later(100))], NOW).await.unwrap(), [Granted, Granted]);
        assert_eq!(commit_leases(store, &[row(5, 9, later(200))], later(99)).await.unwrap(), [Conflict]);
        assert_eq!(commit_leases(store, &[row(5, 1, later(150))], later(99)).await.unwrap(), [Granted], "its own");
        assert_eq!(commit_leases(store, &[row(5, 9, later(300))], later(150)).await.unwrap(), [Granted], "expired");
        assert_eq!(load_leases(store).await.unwrap(), [row(5, 9, later(300)), row(6, 2, later(100))]);
    }

    async fn addresses_tell_what_is_written_of_them(bed: Bed) {
        let store = &bed.store;
        commit_leases(store, &[row(5, 1, later(100)), row(6, 2, later(100))], NOW).await.unwrap();
        let key = |address: u8| ("provision".to_owned(), Ipv4Addr::new(10, 77, 0, address));
        assert_eq!(leases_at(store, &[key(6), key(7)]).await.unwrap(), [row(6, 2, later(100))]);
        assert_eq!(leases_at(store, &[("elsewhere".to_owned(), key(5).1)]).await.unwrap(), []);
    }

    async fn an_address_tells_who_holds_it_just_now(bed: Bed) {
        let store = &bed.store;
        let released = LeaseRow { state: LeaseState::Released, ..row(6, 2, later(100)) };
        commit_leases(store, &[row(5, 1, later(100)), released], NOW).await.unwrap();
        let of = async |network: &str, address: u8, now| {
            holder(store, network, Ipv4Addr::new(10, 77, 0, address), now).await.unwrap()
        };
        assert_eq!(of("provision", 5, later(99)).await, Some(row(5, 1, NOW).mac));
        assert_eq!(of("provision", 5, later(100)).await, None, "over");
        assert_eq!(of("provision", 6, NOW).await, None, "given back");
        assert_eq!(of("bmc", 5, NOW).await, None, "of another network");
    }

    async fn the_same_address_of_another_network_is_another_one(bed: Bed) {
        let other = LeaseRow { network: "bmc".into(), ..row(5, 2, later(100)) };
        let batch = [row(5, 1, later(100)), other];
        assert_eq!(commit_leases(&bed.store, &batch, NOW).await.unwrap(), [Granted, Granted]);
    }

    async fn a_released_address_is_free_and_a_declined_one_is_nobodys(bed: Bed) {
        let store = &bed.store;
        let released = LeaseRow { state: LeaseState::Released, ..row(5, 1, later(100)) };
        let declined = LeaseRow { state: LeaseState::Declined, ..row(6, 1, later(100)) };
        assert_eq!(commit_leases(store, &[released, declined], NOW).await.unwrap(), [Granted, Granted]);
        let wishes = [row(5, 2, later(200)), row(6, 2, later(200)), row(6, 1, later(200))];
        assert_eq!(commit_leases(store, &wishes, later(1)).await.unwrap(), [Granted, Conflict, Conflict]);
        assert_eq!(commit_leases(store, &wishes[1..2], later(100)).await.unwrap(), [Granted]);
    }

    async fn a_batch_with_one_address_twice_is_decided_in_order(bed: Bed) {
        let store = &bed.store;
        let batch = [
            row(5, 1, later(100)),
            row(5, 2, later(100)),
            row(5, 1, later(150)),
            LeaseRow { state: LeaseState::Released, ..row(5, 1, later(150)) },
            row(5, 2, later(170)),
            row(7, 3, later(100)),
        ];
        let outcomes = commit_leases(store, &batch, NOW).await.unwrap();
        assert_eq!(outcomes, [Granted, Conflict, Granted, Granted, Granted, Granted]);
        assert_eq!(load_leases(store).await.unwrap()[0], row(5, 2, later(170)));
        assert_eq!(commit_leases(store, &[], NOW).await.unwrap(), []);
    }

    async fn the_same_batch_again_gets_the_same_answer(bed: Bed) {
        let batch: Vec<LeaseRow> = (1..200).map(|number| row(number, number, later(100))).collect();
        let first = commit_leases(&bed.store, &batch, NOW).await.unwrap();
        assert_eq!(commit_leases(&bed.store, &batch, NOW).await.unwrap(), first);
        assert!(first.iter().all(|outcome| *outcome == Granted));
    }

    async fn what_a_client_sends_cannot_fail_the_batch(bed: Bed) {
        let hostile = LeaseRow { client: "\"\0'\\\u{1}$1".into(), ..row(5, 1, later(100)) };
        assert_eq!(commit_leases(&bed.store, &[hostile], NOW).await.unwrap(), [Granted]);
        assert_eq!(load_leases(&bed.store).await.unwrap()[0].client, "\"\u{fffd}'\\\u{1}$1");
    }

    async fn four_committers_never_give_an_address_to_two(bed: Bed) {
        let tasks: Vec<_> = (1..5u8)
            .map(|committer| {
                let store = bed.store.clone();
                tokio::spawn(async move {
                    let mut mine = Vec::new();
                    for start in 0..5 {
                        let batch: Vec<_> = (0..40).map(|n| row(start * 20 + n, committer, later(100))).rev().collect();
                        let outcomes = commit_leases(&store, &batch, NOW).await.unwrap();
                        mine.extend(batch.into_iter().zip(outcomes).filter(|(_, o)| *o == Granted).map(|(r, _)| r.address));
                    }
                    mine.sort();
                    mine.dedup();
                    mine
                })
            })
            .collect();
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await.unwrap());
        }
        let granted = all.len();
        all.sort();
        all.dedup();
        assert_eq!((all.len(), granted), (120, 120));
    }

    async fn leases_outlive_the_process_and_do_not_wait_for_the_writer(bed: Bed) {
        let _writer = bed.write().await;
        commit_leases(&bed.store, &[row(5, 1, later(100))], NOW).await.unwrap();
        let again = Store::open(&bed.place);
        drop(_writer);
        assert_eq!(load_leases(&again.await.unwrap()).await.unwrap().len(), 1);
    }
}
