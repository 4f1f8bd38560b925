//! The permit: one disk, one way, never back.

use crate::bed::{Bed, NOW, later};
use muster_names::{Epoch, ImageId, MachineId, Millis, OrderId};
use muster_store::{Error, Order, Permit, PermitState, orders};

fn order(id: u128, machine: u128) -> Order {
    Order {
        id: OrderId(id),
        machine: MachineId(machine),
        image: ImageId("debian-12".into()),
        body: "{}".into(),
        permit: PermitState::Open,
        started_disk: None,
        started_epoch: None,
        started_at: None,
        outcome: None,
        created: Millis(NOW.0 + id as i64),
        closed_at: None,
        by: "ann".into(),
    }
}

const DISK: &str = "{\"serial\":\"S1\",\"size\":1}";

async fn start(bed: &Bed, disk: &str) -> Permit {
    let mut tx = bed.write().await;
    let permit = orders::permit_start(&mut tx, OrderId(1), disk, Epoch(4), NOW).await.unwrap();
    tx.commit(NOW).await.unwrap();
    permit
}

async fn with_order(bed: &Bed) {
    let mut tx = bed.write().await;
    orders::put(&mut tx, &order(1, 7)).await.unwrap();
    tx.commit(NOW).await.unwrap();
}

both! {
    async fn a_started_permit_is_given_again_for_the_same_disk_only(bed: Bed) {
        with_order(&bed).await;
        assert_eq!(start(&bed, DISK).await, Permit::Started);
        assert_eq!(start(&bed, DISK).await, Permit::Again);
        assert_eq!(start(&bed, "{ \"size\": 1, \"serial\": \"S1\" }").await, Permit::Again, "the same value");
        assert!(matches!(start(&bed, "{\"serial\":\"S2\",\"size\":1}").await, Permit::Refused(_)));
        let found = orders::get(&mut bed.read().await, OrderId(1)).await.unwrap().unwrap();
        assert_eq!((found.permit, found.started_disk.as_deref()), (PermitState::Started, Some(DISK)));
        assert_eq!((found.started_epoch, found.started_at), (Some(Epoch(4)), Some(NOW)));
    }

    async fn a_closed_permit_never_reopens(bed: Bed) {
        with_order(&bed).await;
        start(&bed, DISK).await;
        let mut tx = bed.write().await;
        assert!(orders::permit_close(&mut tx, OrderId(1), "installed", later(1)).await.unwrap());
        assert!(!orders::permit_close(&mut tx, OrderId(1), "failed", later(2)).await.unwrap());
        assert!(orders::put(&mut tx, &order(1, 7)).await.is_err());
        tx.commit(NOW).await.unwrap();
        assert!(matches!(start(&bed, DISK).await, Permit::Refused(why) if why.contains("installed")));
        for text in [
            "update install_order set permit = 'open'",
            "update install_order set permit = 'started'",
            "delete from install_order",
        ] {
            let error = bed.raw(text).await.unwrap_err();
            assert!(error.to_string().contains("rail: "), "{text}: {error}");
        }
    }

    async fn a_started_permit_steps_neither_back_nor_to_another_disk(bed: Bed) {
        with_order(&bed).await;
        start(&bed, DISK).await;
        for text in ["update install_order set permit = 'open'", "update install_order set started_disk = '{}'"] {
            assert!(bed.raw(text).await.unwrap_err().to_string().contains("rail: a started permit"), "{text}");
        }
        let mut changed = order(1, 7);
        changed.image = ImageId("other".into());
        assert!(orders::put(&mut bed.write().await, &changed).await.is_err(), "the image is being written");
    }

    async fn an_unknown_order_permits_nothing(bed: Bed) {
        assert!(matches!(start(&bed, DISK).await, Permit::Refused(_)));
    }

    async fn a_machine_has_one_open_order(bed: Bed) {
        with_order(&bed).await;
        let mut tx = bed.write().await;
        let error = orders::put(&mut tx, &order(2, 7)).await.unwrap_err();
        assert!(matches!(error, Error::OrderOpen { by: OrderId(1), .. }), "{error}");
        orders::put(&mut tx, &order(3, 8)).await.unwrap();
        let mut changed = order(1, 7);
        changed.image = ImageId("debian-13".into());
        orders::put(&mut tx, &changed).await.unwrap();
        let open = orders::open_order_of(&mut tx, MachineId(7)).await.unwrap().unwrap();
        assert_eq!(open, changed, "what has not started may still change");
        assert_eq!(orders::list_open(&mut tx).await.unwrap().len(), 2);
        orders::permit_close(&mut tx, OrderId(1), "revoked", NOW).await.unwrap();
        assert!(orders::open_order_of(&mut tx, MachineId(7)).await.unwrap().is_none());
        orders::put(&mut tx, &order(2, 7)).await.unwrap();
        let all = orders::list_of(&mut tx, MachineId(7), 10).await.unwrap();
        assert_eq!(all.iter().map(|order| order.id.0).collect::<Vec<_>>(), [2, 1]);
        tx.commit(NOW).await.unwrap();
    }

    async fn two_disks_ask_at_once_and_one_is_permitted(bed: Bed) {
        with_order(&bed).await;
        let tasks: Vec<_> = (0..6)
            .map(|number| {
                let store = bed.store.clone();
                tokio::spawn(async move {
                    let mut tx = store.write().await.unwrap();
                    let disk = format!("\"{number}\"");
                    let permit = orders::permit_start(&mut tx, OrderId(1), &disk, Epoch(1), NOW).await.unwrap();
                    tx.commit(NOW).await.unwrap();
                    permit
                })
            })
            .collect();
        let mut started = 0;
        for task in tasks {
            match task.await.unwrap() {
                Permit::Started => started += 1,
                Permit::Again => panic!("another disk was taken for the same"),
                Permit::Refused(_) => {}
            }
        }
        assert_eq!(started, 1);
    }
}
