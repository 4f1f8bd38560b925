//! Schema versions: numbered files, each applied once, in order, whole or not at all.
//!
//! Tables are one text for both databases; only the triggers (the database's own refusals) are written twice. A step
//! that was published is never edited: the next number changes what it made.

use crate::error::Error;
use crate::sql::{Sql, cells, sql, two};
use crate::store::Store;
use crate::tx::Tx;

struct Step {
    tables: &'static str,
    lite: &'static str,
    pg: &'static str,
}

/// Step 1 is the first entry.
const MAIN: &[Step] = &[
    Step {
        tables: include_str!("../migrations/0001-start.sql"),
        lite: include_str!("../migrations/0001-start.sqlite.sql"),
        pg: include_str!("../migrations/0001-start.postgres.sql"),
    },
    Step { tables: include_str!("../migrations/0002-reservations.sql"), lite: "", pg: "" },
    Step { tables: include_str!("../migrations/0003-boots.sql"), lite: "", pg: "" },
    Step { tables: include_str!("../migrations/0004-bmc-passwords.sql"), lite: "", pg: "" },
    Step { tables: include_str!("../migrations/0005-bmc-watch.sql"), lite: "", pg: "" },
    Step { tables: include_str!("../migrations/0006-bmc-adoption.sql"), lite: "", pg: "" },
    Step { tables: include_str!("../migrations/0007-bmc-events.sql"), lite: "", pg: "" },
];

/// Leases are a database of their own on SQLite.
const LEASES: &[Step] = &[
    Step { tables: include_str!("../migrations/leases-0001.sql"), lite: "", pg: "" },
    Step { tables: include_str!("../migrations/leases-0002.sql"), lite: "", pg: "" },
];

const VERSIONS: Sql = sql(
    "make the table of schema versions",
    "create table if not exists schema_version (part text primary key, number bigint not null)",
);
// Daemons that start together wait for one another. The number is arbitrary and for ever.
const ALONE: Sql = two("lock the schema", "", "select pg_advisory_xact_lock(774114920815)");
const FOUND: Sql = sql("read the schema's version", "select number from schema_version where part = $1");
const KEEP: Sql = sql(
    "keep the schema's version",
    "insert into schema_version (part, number) values ($1, $2) on conflict (part) do update set number = excluded.number",
);

pub(crate) async fn bring_up(store: &Store) -> Result<(), Error> {
    apply(store.write().await?, "main", MAIN).await?;
    apply(store.lease_tx().await?, "leases", LEASES).await
}

/// Whether the tables are those of this program; looks, and brings nothing up.
pub(crate) async fn is_current(store: &Store) -> Result<(), Error> {
    compare(store.read().await?, "main", MAIN).await?;
    compare(store.lease_tx().await?, "leases", LEASES).await
}

async fn compare(mut tx: Tx, part: &'static str, steps: &[Step]) -> Result<(), Error> {
    let found = tx.one(FOUND, cells![part]).await?.map(|row| row.int("number")).transpose()?.unwrap_or(0);
    let known = i64::try_from(steps.len()).unwrap_or(i64::MAX);
    match found.cmp(&known) {
        std::cmp::Ordering::Less => return Err(Error::Older { part, found, known }),
        std::cmp::Ordering::Greater => return Err(Error::Newer { part, found, known }),
        std::cmp::Ordering::Equal => {}
    }
    Ok(())
}

async fn apply(mut tx: Tx, part: &'static str, steps: &[Step]) -> Result<(), Error> {
    tx.script(ALONE).await?;
    tx.script(VERSIONS).await?;
    let found = match tx.one(FOUND, cells![part]).await? {
        Some(row) => row.int("number")?,
        None => 0,
    };
    let mut known = 0;
    for step in steps {
        known += 1;
        if known > found {
            tx.script(sql("make the tables", step.tables)).await?;
            tx.script(two("make the triggers", step.lite, step.pg)).await?;
            tracing::info!(part, version = known, "schema brought up");
        }
    }
    if found > known {
        return Err(Error::Newer { part, found, known });
    }
    tx.run(KEEP, cells![part, known]).await?;
    tx.end().await
}
