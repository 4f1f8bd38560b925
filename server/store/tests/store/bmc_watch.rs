//! What BMCs say while they are watched, as both databases keep it.

use crate::bed::NOW;
use crate::rows::a_machine;
use muster_names::{MachineId, Millis};
use muster_store::bmc_events::{self, SubscriptionRow};
use muster_store::bmc_watch::{self, SeenRow, SeriesRow};
use muster_store::{Machine, machines};

const ONE: MachineId = MachineId(7);

fn span(grain: i64, at: i64, body: &str) -> SeriesRow {
    SeriesRow { machine: ONE, grain, at: Millis(at), sensors: 1, body: body.into() }
}

both! {
    async fn the_last_look_replaces_the_one_before_and_odd_bytes_do_no_harm(bed: Bed) {
        let mut tx = bed.write().await;
        for body in ["{\"a\":1}", "{\"b\":\"\0\u{1f4a9}\"}"] {
            bmc_watch::keep_seen(&mut tx, &SeenRow { machine: ONE, at: NOW, body: body.into() }).await.unwrap();
        }
        tx.commit(NOW).await.unwrap();
        let rows = bmc_watch::seen(&mut bed.read().await).await.unwrap();
        assert_eq!(rows, [SeenRow { machine: ONE, at: NOW, body: "{\"b\":\"\u{fffd}\u{1f4a9}\"}".into() }]);
    }

    async fn a_span_that_is_kept_again_is_replaced_and_old_ones_go_by_their_length(bed: Bed) {
        let mut tx = bed.write().await;
        for body in ["[\"CPU\"]", "[\"other\"]"] {
            bmc_watch::keep_sensors(&mut tx, ONE, 1, body, 2).await.unwrap();
        }
        bmc_watch::keep_series(&mut tx, &[span(0, 10, "[1]"), span(0, 20, "[2]"), span(60, 0, "[3]")]).await.unwrap();
        bmc_watch::keep_series(&mut tx, &[span(60, 0, "[4]")]).await.unwrap();
        assert_eq!(bmc_watch::forget_series(&mut tx, 0, Millis(15)).await.unwrap(), 1);
        tx.commit(NOW).await.unwrap();
        let mut tx = bed.read().await;
        let of = async |tx: &mut muster_store::Tx, grain, from, until| {
            let rows = bmc_watch::series(tx, ONE, grain, (Millis(from), Millis(until))).await.unwrap();
            rows.into_iter().map(|row| row.body).collect::<Vec<_>>()
        };
        assert_eq!(of(&mut tx, 0, 0, 100).await, ["[2]"]);
        assert_eq!(of(&mut tx, 60, 0, 100).await, ["[4]"]);
        assert!(of(&mut tx, 0, 0, 20).await.is_empty(), "the end is outside");
        assert_eq!(bmc_watch::sensors(&mut tx, ONE).await.unwrap(), [(1, "[\"CPU\"]".to_owned())]);
        drop(tx);
        let mut tx = bed.write().await;
        for number in 2..=4 {
            bmc_watch::keep_sensors(&mut tx, ONE, number, "[]", 2).await.unwrap();
        }
        let kept = bmc_watch::sensors(&mut tx, ONE).await.unwrap();
        assert_eq!(kept.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(bmc_watch::newest_sensors(&mut tx, ONE).await.unwrap(), Some((4, "[]".to_owned())));
        assert_eq!(bmc_watch::seen_of(&mut tx, ONE).await.unwrap(), None);
    }

    async fn a_log_counts_on_and_keeps_its_newest(bed: Bed) {
        let mut tx = bed.write().await;
        let bodies = |from: i64, to: i64| (from..=to).map(|n| n.to_string()).collect::<Vec<_>>();
        bmc_watch::keep_logged(&mut tx, ONE, NOW, &bodies(1, 3), 4).await.unwrap();
        bmc_watch::keep_logged(&mut tx, MachineId(8), NOW, &bodies(1, 1), 4).await.unwrap();
        bmc_watch::keep_logged(&mut tx, ONE, NOW, &bodies(4, 6), 4).await.unwrap();
        bmc_watch::keep_logged(&mut tx, ONE, NOW, &[], 4).await.unwrap();
        tx.commit(NOW).await.unwrap();
        let mut tx = bed.read().await;
        let rows = bmc_watch::logged(&mut tx, ONE, 0, 100).await.unwrap();
        assert_eq!(rows.iter().map(|row| (row.n, row.body.clone())).collect::<Vec<_>>(), (3..=6).map(|n| (n, n.to_string())).collect::<Vec<_>>());
        assert_eq!(bmc_watch::logged(&mut tx, ONE, 4, 1).await.unwrap()[0].n, 5);
        assert_eq!(bmc_watch::logged(&mut tx, MachineId(8), 0, 100).await.unwrap().len(), 1);
    }

    async fn the_token_of_a_subscription_names_its_machine_until_it_is_forgotten(bed: Bed) {
        let row = |token: &str, destination: Option<&str>| SubscriptionRow {
            machine: ONE,
            address: "https://b".into(),
            token: token.into(),
            destination: destination.map(str::to_owned),
            at: NOW,
            why: destination.is_none().then(|| "it has no event service".to_owned()),
        };
        let mut tx = bed.write().await;
        machines::put(&mut tx, &a_machine(7, "r1-n1")).await.unwrap();
        for row in [row("a", Some("https://h/a")), row("b", None)] {
            bmc_events::put_subscription(&mut tx, &row).await.unwrap();
        }
        tx.commit(NOW).await.unwrap();
        let tx = &mut bed.read().await;
        assert_eq!(bmc_events::subscription_of(tx, ONE).await.unwrap(), Some(row("b", None)));
        assert_eq!(bmc_events::machine_behind(tx, "b").await.unwrap(), Some(ONE));
        assert_eq!(bmc_events::machine_behind(tx, "a").await.unwrap(), None);
        let mut tx = bed.write().await;
        machines::put(&mut tx, &Machine { ours: false, ..a_machine(7, "r1-n1") }).await.unwrap();
        assert_eq!(bmc_events::machine_behind(&mut tx, "b").await.unwrap(), None, "it is not ours any more");
        bmc_events::forget_subscription(&mut tx, ONE).await.unwrap();
        tx.commit(NOW).await.unwrap();
        assert_eq!(bmc_events::subscription_of(&mut bed.read().await, ONE).await.unwrap(), None);
    }
}
