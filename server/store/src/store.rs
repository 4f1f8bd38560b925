//! Opening the database and handing out transactions.
//!
//! SQLite has one writer connection, which callers queue for, and several readers that never block it; leases live in a
//! file of their own, because an ACK waits for their sync and must not wait for the rest. PostgreSQL has one pool.

use crate::error::Error;
use crate::migrate;
use crate::tx::Tx;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use std::fmt;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

/// Where the data is.
#[derive(Clone, PartialEq, Eq)]
pub enum Place {
    /// A folder for `muster.db` and `leases.db`; it is made, readable by its owner alone, where it is missing.
    Sqlite(PathBuf),
    /// A connection URL: `postgres://user:password@host/database`, or `?host=/run/postgresql` for a socket.
    Postgres(String),
}

/// Shows no password.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(dir) => write!(f, "sqlite in {}", dir.display()),
            Self::Postgres(url) => {
                let after = url.split_once("://").map_or(url.as_str(), |(_, after)| after);
                write!(f, "postgres at {}", after.rsplit_once('@').map_or(after, |(_, host)| host))
            }
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The database. Cloning is cheap and shares the connections.
#[derive(Clone, Debug)]
pub struct Store {
    pools: Pools,
}

#[derive(Clone, Debug)]
enum Pools {
    /// `looks`: nothing is ever written.
    Lite {
        writer: SqlitePool,
        readers: SqlitePool,
        leases: SqlitePool,
        looks: bool,
    },
    Pg(PgPool),
}

/// How long a caller queues for a connection before the database counts as away.
const QUEUE: Duration = Duration::from_secs(30);
/// How long a lock held by a foreign process (a backup) is waited for.
const BUSY: Duration = Duration::from_secs(10);
const READERS: u32 = 4;
const PG_CONNECTIONS: u32 = 12;

impl Store {
    /// Opens the database and brings its schema up to date. A database of a newer program is refused unchanged.
    pub async fn open(place: &Place) -> Result<Self, Error> {
        let failed = |source| Error::Open { place: place.to_string(), source };
        let pools = match place {
            Place::Sqlite(dir) => {
                make(dir)?;
                let main = dir.join("muster.db");
                let writer = lite(&main, 1, false).await.map_err(failed)?;
                let leases = lite(&dir.join("leases.db"), 1, false).await.map_err(failed)?;
                let readers = lite(&main, READERS, true).await.map_err(failed)?;
                Pools::Lite { writer, readers, leases, looks: false }
            }
            Place::Postgres(url) => Pools::Pg(postgres(url).await.map_err(failed)?),
        };
        let store = Self { pools };
        migrate::bring_up(&store).await?;
        Ok(store)
    }

    /// Opens a database that is there for looking alone: nothing is made, brought up or written, and a daemon may serve
    /// from it at the same time. `None` when there is none.
    pub async fn look(place: &Place) -> Result<Option<Self>, Error> {
        let failed = |source| Error::Open { place: place.to_string(), source };
        let pools = match place {
            Place::Sqlite(dir) => {
                let (main, leases) = (dir.join("muster.db"), dir.join("leases.db"));
                if !main.exists() || !leases.exists() {
                    return Ok(None);
                }
                let readers = looking(&main).await.map_err(failed)?;
                let leases = looking(&leases).await.map_err(failed)?;
                Pools::Lite { writer: readers.clone(), readers, leases, looks: true }
            }
            Place::Postgres(url) => {
                let options = PgConnectOptions::from_str(url).map_err(failed)?;
                let options =
                    options.options([("default_transaction_read_only", "on")]).application_name("muster-look");
                Pools::Pg(PgPoolOptions::new().max_connections(1).connect_with(options).await.map_err(failed)?)
            }
        };
        let store = Self { pools };
        migrate::is_current(&store).await?;
        Ok(Some(store))
    }

    /// Begins a transaction that may write. On SQLite there is one at a time: callers queue here.
    pub async fn write(&self) -> Result<Tx, Error> {
        match &self.pools {
            Pools::Lite { writer, .. } => writer.begin_with("begin immediate").await.map(|tx| Tx::lite(tx, true)),
            Pools::Pg(pool) => pool.begin().await.map(|tx| Tx::pg(tx, true)),
        }
        .map_err(|source| Error::Begin { source })
    }

    /// Begins a transaction that reads one state of the database and never blocks a writer.
    pub async fn read(&self) -> Result<Tx, Error> {
        match &self.pools {
            Pools::Lite { readers, .. } => readers.begin_with("begin").await.map(|tx| Tx::lite(tx, false)),
            Pools::Pg(pool) => {
                pool.begin_with("begin isolation level repeatable read, read only").await.map(|tx| Tx::pg(tx, false))
            }
        }
        .map_err(|source| Error::Begin { source })
    }

    /// A transaction on the leases alone.
    pub(crate) async fn lease_tx(&self) -> Result<Tx, Error> {
        match &self.pools {
            Pools::Lite { leases, looks: true, .. } => {
                leases.begin_with("begin").await.map(|tx| Tx::lite(tx, false)).map_err(|source| Error::Begin { source })
            }
            Pools::Lite { leases, .. } => leases
                .begin_with("begin immediate")
                .await
                .map(|tx| Tx::lite(tx, true))
                .map_err(|source| Error::Begin { source }),
            Pools::Pg(_) => self.write().await,
        }
    }

    /// Closes all connections, after the transactions that are open.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Lite { writer, readers, leases, .. } => {
                readers.close().await;
                leases.close().await;
                writer.close().await;
            }
            Pools::Pg(pool) => pool.close().await,
        }
    }
}

/// Orders hold a site's cloud-config, so nobody else reads the folder: one that was made with other rights, by hand or
/// under a lax umask, is closed.
fn make(dir: &Path) -> Result<(), Error> {
    let failed = |source| Error::Folder { dir: dir.to_owned(), source };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    let mode = std::fs::metadata(dir).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).map_err(failed)?;
    }
    Ok(())
}

async fn lite(file: &Path, connections: u32, reads_only: bool) -> Result<SqlitePool, sqlx::Error> {
    let mut options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(!reads_only)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY)
        .foreign_keys(true);
    if reads_only {
        options = options.pragma("query_only", "on");
    }
    SqlitePoolOptions::new()
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(QUEUE)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_with(options)
        .await
}

/// A connection that cannot write. Without the files of a running daemon beside it nobody writes, and then SQLite need
/// not make those files either.
async fn looking(file: &Path) -> Result<SqlitePool, sqlx::Error> {
    let mut wal = file.as_os_str().to_owned();
    wal.push("-wal");
    let alone = !Path::new(&wal).exists();
    let options = SqliteConnectOptions::new().filename(file).read_only(true).immutable(alone).busy_timeout(BUSY);
    SqlitePoolOptions::new().max_connections(1).acquire_timeout(QUEUE).connect_with(options).await
}

async fn postgres(url: &str) -> Result<PgPool, sqlx::Error> {
    let options = PgConnectOptions::from_str(url)?.application_name("muster");
    PgPoolOptions::new()
        .max_connections(PG_CONNECTIONS)
        .acquire_timeout(QUEUE)
        .after_connect(|connection, _| {
            Box::pin(async move {
                // A daemon that hangs inside a transaction must not hang the others for longer than this.
                let limits = "set lock_timeout = '10s'; set idle_in_transaction_session_timeout = '60s'";
                sqlx::raw_sql(limits).execute(connection).await.map(drop)
            })
        })
        .connect_with(options)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_shows_no_password() {
        let place = Place::Postgres("postgres://muster:s3cr@t@db.example/muster".into());
        assert_eq!(format!("{place} {place:?}"), "postgres at db.example/muster postgres at db.example/muster");
        assert_eq!(Place::Postgres("nonsense".into()).to_string(), "postgres at nonsense");
    }
}
