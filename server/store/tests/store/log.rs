//! The event log: gap-free, in commit order, once for each cause, and provably unchanged.

use crate::bed::{NOW, event, later, machine, persist};
use muster_names::{Seq, Subject};
use muster_store::{Appended, Committed, Error, Kind, Store, events, subjects};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

both! {
    async fn numbers_are_gap_free_under_eight_writers_and_a_reader_never_skips_one(bed: Bed) {
        let done = Arc::new(AtomicBool::new(false));
        let reader = tokio::spawn({
            let (store, done) = (bed.store.clone(), done.clone());
            async move {
                let mut last = 0;
                loop {
                    let finished = done.load(Ordering::SeqCst);
                    let mut tx = store.read().await.unwrap();
                    for row in events::events(&mut tx, Seq(last), 1000, None).await.unwrap() {
                        assert_eq!(row.seq.0, last + 1, "a number was skipped");
                        last = row.seq.0;
                    }
                    if finished {
                        return last;
                    }
                    tokio::task::yield_now().await;
                }
            }
        });
        let writers: Vec<_> = (0..8u128)
            .map(|writer| {
                let store = bed.store.clone();
                tokio::spawn(async move {
                    let mut numbers = Vec::new();
                    for round in 0..12 {
                        let committed = persist(|| append(store.clone(), writer, round)).await;
                        assert_eq!(committed.appended.last(), Some(&committed.last));
                        numbers.extend(committed.appended);
                    }
                    numbers
                })
            })
            .collect();
        let mut numbers = Vec::new();
        for writer in writers {
            let own = writer.await.unwrap();
            assert!(own.is_sorted(), "one writer's events are in its own order");
            numbers.extend(own);
        }
        done.store(true, Ordering::SeqCst);
        numbers.sort();
        assert_eq!(numbers, (1..=8 * 24).map(Seq).collect::<Vec<_>>());
        assert_eq!(reader.await.unwrap(), 8 * 24);
        let mut tx = bed.read().await;
        let checked = events::verify(&mut tx, Seq(0), 10_000).await.unwrap().unwrap();
        assert_eq!((checked.upto, checked.rows, checked.whole), (Seq(192), 192, true));
    }

    async fn a_cause_is_recorded_once(bed: Bed) {
        let mut tx = bed.write().await;
        assert_eq!(tx.append(event(machine(1), "boot/1")).await.unwrap(), Appended::New);
        assert_eq!(tx.append(event(machine(1), "boot/1")).await.unwrap(), Appended::Seen, "in the same transaction");
        assert_eq!(tx.append(event(machine(2), "boot/1")).await.unwrap(), Appended::New, "another subject");
        assert_eq!(tx.commit(NOW).await.unwrap().appended, [Seq(1), Seq(2)]);
        let mut tx = bed.write().await;
        assert_eq!(tx.append(event(machine(1), "boot/1")).await.unwrap(), Appended::Seen, "in a later one");
        let committed = tx.commit(NOW).await.unwrap();
        assert_eq!((committed.last, committed.appended), (Seq(2), vec![]));
    }

    async fn what_was_appended_reads_back_by_number_and_by_subject(bed: Bed) {
        let mut tx = bed.write().await;
        for (number, cause) in [(1, "a"), (2, "b"), (1, "c")] {
            tx.append(event(machine(number), cause)).await.unwrap();
        }
        tx.append(event(Subject::Site, "d")).await.unwrap();
        tx.commit(later(5)).await.unwrap();
        let mut tx = bed.read().await;
        let all = events::events(&mut tx, Seq(0), 10, None).await.unwrap();
        assert_eq!(all.len(), 4);
        assert_eq!(all[0].body, event(machine(1), "a").body, "every character comes back");
        let of_one = events::events(&mut tx, Seq(0), 10, Some(machine(1))).await.unwrap();
        assert_eq!(of_one.iter().map(|row| row.seq.0).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(events::events(&mut tx, Seq(1), 1, None).await.unwrap()[0].seq, Seq(2));
        let head = events::head(&mut tx).await.unwrap();
        assert_eq!((head.seq, head.hash, head.at), (Seq(4), all[3].hash, later(5)));
    }

    async fn a_savepoint_rolled_back_drops_its_events_and_its_changes(bed: Bed) {
        let mut tx = bed.write().await;
        tx.append(event(machine(1), "kept")).await.unwrap();
        tx.savepoint().await.unwrap();
        tx.append(event(machine(1), "outer")).await.unwrap();
        subjects::create(&mut tx, machine(1), "expected", "{}", 1, None, NOW).await.unwrap();
        tx.savepoint().await.unwrap();
        tx.append(event(machine(1), "inner")).await.unwrap();
        tx.release().await.unwrap();
        tx.rollback_to().await.unwrap();
        assert!(subjects::load(&mut tx, machine(1)).await.unwrap().is_none());
        tx.savepoint().await.unwrap();
        assert_eq!(tx.append(event(machine(1), "outer")).await.unwrap(), Appended::New, "it was never recorded");
        tx.release().await.unwrap();
        assert!(matches!(tx.release().await, Err(Error::NoSavepoint { .. })));
        assert_eq!(tx.commit(NOW).await.unwrap().appended, [Seq(1), Seq(2)]);
        let rows = events::events(&mut bed.read().await, Seq(0), 10, None).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.cause.0.as_str()).collect::<Vec<_>>(), ["kept", "outer"]);
    }

    async fn a_failed_statement_undoes_one_savepoint_and_spares_the_rest(bed: Bed) {
        let mut tx = bed.write().await;
        tx.savepoint().await.unwrap();
        subjects::create(&mut tx, machine(1), "ready", "{}", 1, None, NOW).await.unwrap();
        tx.release().await.unwrap();
        tx.savepoint().await.unwrap();
        tx.append(event(machine(1), "lost")).await.unwrap();
        let error = crate::acts::record_wipe(&mut tx, machine(1)).await.unwrap_err();
        assert_eq!((error.kind(), error.label()), (Kind::Refused, "rail"), "{error}");
        assert!(matches!(subjects::load(&mut tx, machine(1)).await, Err(Error::Poisoned { .. })));
        tx.rollback_to().await.unwrap();
        assert_eq!(subjects::load(&mut tx, machine(1)).await.unwrap().unwrap().label, "ready");
        assert_eq!(tx.commit(NOW).await.unwrap().appended, []);
    }

    async fn a_transaction_whose_statement_failed_does_not_commit(bed: Bed) {
        let mut tx = bed.write().await;
        subjects::create(&mut tx, machine(1), "ready", "{}", 1, None, NOW).await.unwrap();
        crate::acts::record_wipe(&mut tx, machine(1)).await.unwrap_err();
        assert!(matches!(tx.commit(NOW).await, Err(Error::Poisoned { .. })));
        assert!(subjects::load(&mut bed.read().await, machine(1)).await.unwrap().is_none());
    }

    async fn a_statement_cut_short_is_not_committed_as_if_it_had_run(bed: Bed) {
        // On a busy machine the database may have answered before the statement can be cut short.
        let tx = loop {
            let mut tx = bed.write().await;
            let cut = tokio::select! {
                biased;
                _ = subjects::create(&mut tx, machine(1), "ready", "{}", 1, None, NOW) => false,
                () = std::future::ready(()) => true,
            };
            if cut {
                break tx;
            }
        };
        assert!(matches!(tx.commit(NOW).await, Err(Error::Poisoned { .. })));
        let mut tx = bed.write().await;
        assert!(subjects::load(&mut tx, machine(1)).await.unwrap().is_none());
        tx.commit(NOW).await.unwrap();
    }

    async fn a_transaction_that_is_dropped_writes_nothing(bed: Bed) {
        let mut tx = bed.write().await;
        subjects::create(&mut tx, machine(1), "ready", "{}", 1, None, NOW).await.unwrap();
        tx.append(event(machine(1), "a")).await.unwrap();
        drop(tx);
        let mut tx = bed.write().await;
        assert!(subjects::load(&mut tx, machine(1)).await.unwrap().is_none());
        assert_eq!(tx.commit(NOW).await.unwrap().last, Seq(0));
    }

    async fn a_reader_neither_waits_for_a_writer_nor_writes(bed: Bed) {
        let mut writer = bed.write().await;
        subjects::create(&mut writer, machine(1), "ready", "{}", 1, None, NOW).await.unwrap();
        let mut reader = bed.read().await;
        assert!(subjects::load(&mut reader, machine(1)).await.unwrap().is_none());
        writer.commit(NOW).await.unwrap();
        assert!(subjects::load(&mut reader, machine(1)).await.unwrap().is_none(), "it reads one state throughout");
        assert!(subjects::create(&mut reader, machine(2), "ready", "{}", 1, None, NOW).await.is_err());
        let mut reader = bed.read().await;
        assert!(subjects::load(&mut reader, machine(1)).await.unwrap().is_some());
        assert!(matches!(reader.append(event(machine(1), "a")).await, Err(Error::ReadOnly { .. })));
    }

    async fn a_text_with_nul_is_refused_before_the_database_sees_it(bed: Bed) {
        let mut tx = bed.write().await;
        let mut wrong = event(machine(1), "a");
        wrong.actor = "a\0b".into();
        assert!(matches!(tx.append(wrong).await, Err(Error::Nul { .. })));
        let error = subjects::create(&mut tx, machine(1), "a\0b", "{}", 1, None, NOW).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        tx.commit(NOW).await.unwrap();
    }

    async fn the_database_refuses_to_change_or_delete_an_event(bed: Bed) {
        twelve(&bed).await;
        for text in ["update log set actor = 'nobody' where seq = 3", "delete from log where seq = 3"] {
            let error = bed.raw(text).await.unwrap_err();
            assert!(error.to_string().contains("rail: the event log is append-only"), "{error}");
        }
    }

    async fn a5_12_the_chain_shows_a_deleted_event(bed: Bed) {
        twelve(&bed).await;
        bed.disarm("log", &["log_no_update", "log_no_delete"]).await;
        bed.raw("delete from log where seq = 7").await.unwrap();
        let broken = verify(&bed, 5).await.unwrap_err();
        assert_eq!(broken.seq, Seq(7), "{}", broken.why);
        bed.raw("update log set seq = seq - 1 where seq = 8").await.unwrap();
        assert_eq!(verify(&bed, 5).await.unwrap_err().seq, Seq(7), "closing the gap does not help");
    }

    async fn a5_12_the_chain_shows_a_deleted_end(bed: Bed) {
        twelve(&bed).await;
        bed.disarm("log", &["log_no_update", "log_no_delete"]).await;
        bed.raw("delete from log where seq = 12").await.unwrap();
        assert_eq!(verify(&bed, 5).await.unwrap_err().seq, Seq(12));
        bed.raw("update log_head set seq = 11").await.unwrap();
        assert_eq!(verify(&bed, 5).await.unwrap_err().seq, Seq(11), "the head's hash is another");
    }

    async fn a5_12_the_chain_shows_a_changed_event_whatever_was_changed(bed: Bed) {
        twelve(&bed).await;
        bed.disarm("log", &["log_no_update", "log_no_delete"]).await;
        for change in ["actor = 'x'", "body = '{}'", "kind = 'x'", "at = 1", "epoch = 9", "cause = 'x'"] {
            bed.raw(&format!("create table kept as select * from log; update log set {change} where seq = 6"))
                .await
                .unwrap();
            assert_eq!(verify(&bed, 4).await.unwrap_err().seq, Seq(6), "{change}");
            bed.raw("delete from log; insert into log select * from kept; drop table kept").await.unwrap();
            verify(&bed, 4).await.unwrap();
        }
    }

    async fn a5_12_the_chain_shows_two_events_that_changed_places(bed: Bed) {
        twelve(&bed).await;
        bed.disarm("log", &["log_no_update", "log_no_delete"]).await;
        bed.raw("update log set seq = 99 where seq = 3; update log set seq = 3 where seq = 4; update log set seq = 4 where seq = 99")
            .await
            .unwrap();
        assert_eq!(verify(&bed, 100).await.unwrap_err().seq, Seq(3));
    }
}

async fn append(store: Store, writer: u128, round: i32) -> Result<Committed, Error> {
    let mut tx = store.write().await?;
    for part in 0..=round % 3 {
        tx.append(event(machine(writer), &format!("{round}.{part}"))).await?;
    }
    tx.commit(NOW).await
}

async fn twelve(bed: &crate::bed::Bed) {
    for number in 0..12 {
        let mut tx = bed.write().await;
        tx.append(event(machine(number), "started")).await.unwrap();
        tx.commit(NOW).await.unwrap();
    }
    assert_eq!(verify(bed, 5).await.unwrap(), 12);
}

/// Walks the whole chain in steps.
async fn verify(bed: &crate::bed::Bed, step: u32) -> Result<u64, muster_store::Broken> {
    let mut tx = bed.read().await;
    let (mut after, mut rows) = (Seq(0), 0);
    loop {
        let checked = events::verify(&mut tx, after, step).await.unwrap()?;
        (after, rows) = (checked.upto, rows + checked.rows);
        if checked.whole {
            return Ok(rows);
        }
    }
}
