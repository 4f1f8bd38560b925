//! Opening, reopening, and refusing what a newer program wrote.

use crate::bed::{NOW, event, machine};
use muster_names::Seq;
use muster_store::{Error, Kind, Place, Store, events};

both! {
    async fn a_database_opened_again_goes_on_where_it_was(bed: Bed) {
        let mut tx = bed.write().await;
        tx.append(event(machine(1), "a")).await.unwrap();
        tx.commit(NOW).await.unwrap();
        bed.store.close().await;
        assert!(bed.store.write().await.unwrap_err_or_panic().is_unavailable());
        let store = Store::open(&bed.place).await.unwrap();
        let mut tx = store.write().await.unwrap();
        tx.append(event(machine(1), "b")).await.unwrap();
        assert_eq!(tx.commit(NOW).await.unwrap().appended, [Seq(2)]);
        assert!(events::verify(&mut store.read().await.unwrap(), Seq(0), 10).await.unwrap().unwrap().whole);
    }

    async fn a_database_of_a_newer_program_is_refused_unchanged(bed: Bed) {
        bed.raw("update schema_version set number = 900 where part = 'main'").await.unwrap();
        let error = Store::open(&bed.place).await.unwrap_err();
        assert!(matches!(error, Error::Newer { part: "main", found: 900, .. }), "{error}");
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.to_string().contains("start the newer program"), "{error}");
    }

    async fn who_only_looks_reads_beside_a_daemon_and_can_write_nothing(bed: Bed) {
        let mut tx = bed.write().await;
        tx.append(event(machine(1), "a")).await.unwrap();
        tx.commit(NOW).await.unwrap();
        let looking = Store::look(&bed.place).await.unwrap().unwrap();
        assert_eq!(events::events(&mut looking.read().await.unwrap(), Seq(0), 10, None).await.unwrap().len(), 1);
        assert!(muster_store::load_leases(&looking).await.unwrap().is_empty());
        let refused = async {
            let mut tx = looking.write().await?;
            tx.append(event(machine(1), "b")).await?;
            tx.commit(NOW).await
        };
        assert!(refused.await.is_err(), "it wrote");
        bed.raw("update schema_version set number = 1 where part = 'main'").await.unwrap();
        let error = Store::look(&bed.place).await.unwrap_err_or_panic();
        assert!(matches!(error, Error::Older { part: "main", found: 1, .. }), "{error}");
    }

    async fn daemons_that_start_together_make_the_schema_once(bed: Bed) {
        let place = match &bed.place {
            Place::Sqlite(dir) => Place::Sqlite(dir.join("fresh")),
            Place::Postgres(_) => crate::bed::fresh_postgres().await,
        };
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let place = place.clone();
                tokio::spawn(async move { Store::open(&place).await.map(drop) })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
    }
}

trait UnwrapErr {
    fn unwrap_err_or_panic(self) -> Error;
}

impl<T> UnwrapErr for Result<T, Error> {
    /// `unwrap_err` without asking the value to print itself.
    fn unwrap_err_or_panic(self) -> Error {
        self.err().expect("it should have failed")
    }
}

#[test]
fn looking_where_nothing_is_makes_nothing() {
    crate::bed::run(async {
        let dir = std::env::temp_dir().join(format!("muster-store-look-{}", std::process::id()));
        assert!(Store::look(&Place::Sqlite(dir.clone())).await.unwrap().is_none());
        assert!(!dir.exists());
        Store::open(&Place::Sqlite(dir.clone())).await.unwrap().close().await;
        let names = || {
            let mut names: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let before = names();
        Store::look(&Place::Sqlite(dir.clone())).await.unwrap().unwrap().close().await;
        let after = names();
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(before, after, "a file was made beside a database that nobody has open");
    });
}

/// A data folder made by hand or under a lax umask would let everybody read a site's cloud-config.
#[test]
fn the_data_folder_is_closed_to_everybody_else_however_it_was_made() {
    use std::os::unix::fs::PermissionsExt as _;
    crate::bed::run(async {
        let dir = std::env::temp_dir().join(format!("muster-store-open-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
        Store::open(&Place::Sqlite(dir.clone())).await.unwrap().close().await;
        let mode = std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777;
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(mode, 0o700);
    });
}

#[test]
fn a_database_that_is_not_there_is_unavailable() {
    crate::bed::run(async {
        let error = Store::open(&Place::Sqlite("/proc/nowhere".into())).await.unwrap_err_or_panic();
        assert!(error.is_unavailable(), "{error}");
        let nobody = Place::Postgres("postgres:///x?host=/tmp/no-such-muster-socket&user=x".into());
        let error = Store::open(&nobody).await.unwrap_err_or_panic();
        assert!(error.is_unavailable(), "{error}");
    });
}
