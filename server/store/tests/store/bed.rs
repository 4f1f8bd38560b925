//! A fresh database for each test: a folder for SQLite, a database of a private cluster for PostgreSQL.
//!
//! All processes of one test run share a cluster, which listens on a socket in its own folder only. Each of them holds
//! a lock that dies with it, however it dies; a shell waits until nobody holds one, then stops PostgreSQL and removes
//! the folder.

use muster_names::{Cause, Epoch, MachineId, Millis, Subject};
use muster_store::{Event, Kind, Place, Store, Tx};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// `both! { async fn name(bed: Bed) { ... } }`: the case on each database.
macro_rules! both {
    ($($(#[$doc:meta])* async fn $name:ident($bed:ident: Bed) $body:block)*) => {
        $($(#[$doc])* mod $name {
            #[allow(unused_imports)]
            use super::*;

            async fn case($bed: $crate::bed::Bed) $body

            #[test]
            fn sqlite() {
                $crate::bed::run(async { case($crate::bed::Bed::sqlite().await).await });
            }

            #[test]
            fn postgres() {
                if $crate::bed::postgres_is_wanted() {
                    $crate::bed::run(async {
                        let bed = $crate::bed::Bed::postgres().await;
                        let place = bed.place.clone();
                        case(bed).await;
                        $crate::bed::drop_postgres(&place).await;
                    });
                }
            }
        })*
    };
}

pub fn run(case: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap().block_on(case);
}

/// One test's database.
pub struct Bed {
    pub store: Store,
    pub place: Place,
}

impl Bed {
    pub async fn sqlite() -> Self {
        let place = Place::Sqlite(scratch("sqlite"));
        Self { store: Store::open(&place).await.unwrap(), place }
    }

    pub async fn postgres() -> Self {
        let place = fresh_postgres().await;
        Self { store: Store::open(&place).await.unwrap(), place }
    }

    /// Changes the database behind the store's back.
    pub async fn raw(&self, text: &str) -> Result<(), sqlx::Error> {
        let script = sqlx::raw_sql(AssertSqlSafe(text));
        match &self.place {
            Place::Sqlite(dir) => {
                let file = if text.contains("lease") { "leases.db" } else { "muster.db" };
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(dir.join(file));
                let mut connection = options.connect().await?;
                script.execute(&mut connection).await?;
                connection.close().await
            }
            Place::Postgres(url) => {
                let mut connection = sqlx::postgres::PgConnection::connect(url).await?;
                script.execute(&mut connection).await?;
                connection.close().await
            }
        }
    }

    /// Takes the triggers of a table away, as somebody with the database's password could.
    pub async fn disarm(&self, table: &str, triggers: &[&str]) {
        for trigger in triggers {
            match self.place {
                Place::Sqlite(_) => self.raw(&format!("drop trigger {trigger}")).await.unwrap(),
                Place::Postgres(_) => self.raw(&format!("alter table {table} disable trigger all")).await.unwrap(),
            }
        }
    }

    pub async fn write(&self) -> Tx {
        self.store.write().await.unwrap()
    }

    pub async fn read(&self) -> Tx {
        self.store.read().await.unwrap()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Place::Sqlite(dir) = &self.place {
            let _ = std::fs::remove_dir_all(dir);
        }
    }
}

pub const NOW: Millis = Millis(1_700_000_000_000);

pub fn later(ms: i64) -> Millis {
    Millis(NOW.0 + ms)
}

pub fn machine(number: u128) -> Subject {
    Subject::Machine(MachineId(number))
}

pub fn event(subject: Subject, cause: &str) -> Event {
    Event {
        subject,
        cause: Cause(cause.into()),
        kind: "reported".into(),
        actor: "agent".into(),
        epoch: Epoch(1),
        body: r#"{"text":"\u0000 ' \" ü 🦀"}"#.into(),
        at: NOW,
    }
}

/// Runs a transaction again while it is told "later".
pub async fn persist<T, F: Future<Output = Result<T, muster_store::Error>>>(attempt: impl Fn() -> F) -> T {
    for _ in 0..200 {
        match attempt().await {
            Ok(value) => return value,
            Err(error) if error.kind() == Kind::Later => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(error) => panic!("{error}: {error:?}"),
        }
    }
    panic!("told `later` 200 times");
}

pub fn scratch(name: &str) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("muster-store-{name}-{}-{number}", std::process::id()))
}

pub fn postgres_is_wanted() -> bool {
    let skip = std::env::var("MUSTER_SKIP_POSTGRES").is_ok_and(|value| value == "1");
    if skip {
        eprintln!("skipped: MUSTER_SKIP_POSTGRES=1");
    }
    !skip
}

/// A database of its own in this run's cluster.
pub async fn fresh_postgres() -> Place {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let cluster = tokio::task::spawn_blocking(cluster).await.unwrap();
    let name = format!("muster_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let begun = Instant::now();
    let mut control = loop {
        match sqlx::PgConnection::connect(&cluster.url("postgres")).await {
            Ok(connection) => break connection,
            Err(error) if begun.elapsed() > Duration::from_secs(60) => panic!(
                "PostgreSQL does not answer in 60 s: {error}\n{}",
                std::fs::read_to_string(cluster.dir.join("log")).unwrap_or_default()
            ),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let create = format!("create database {name}");
    sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut control).await.unwrap();
    Place::Postgres(cluster.url(&name))
}

/// Frees the disk; a failed test leaves its database to the cluster's end.
pub async fn drop_postgres(place: &Place) {
    let Place::Postgres(url) = place else { return };
    let name = url.trim_start_matches("postgres:///").split('?').next().unwrap_or_default();
    let mut control = sqlx::PgConnection::connect(&cluster().url("postgres")).await.unwrap();
    let drop = format!("drop database {name} with (force)");
    sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut control).await.unwrap();
}

struct Cluster {
    dir: PathBuf,
    /// The lock that keeps the cluster alive.
    _user: File,
}

impl Cluster {
    fn url(&self, database: &str) -> String {
        format!("postgres:///{database}?host={}&user=postgres", self.dir.display())
    }
}

/// The run's cluster, started by whichever process comes first.
fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let run = std::env::var("NEXTEST_RUN_ID").unwrap_or_else(|_| std::process::id().to_string());
        let dir = PathBuf::from(format!("/tmp/muster-pg-{}", run.get(..13).unwrap_or(&run)));
        let open = |path: &Path| File::options().create(true).append(true).open(path).unwrap();
        let gate = dir.with_extension("gate");
        // One process at a time looks, starts or removes. Held until the end of this block.
        let _gate = loop {
            let file = open(&gate);
            file.lock().unwrap();
            // The keeper removes the gate when it leaves; a lock on what is no longer there locks nothing.
            if std::fs::metadata(&gate).is_ok_and(|now| now.ino() == file.metadata().unwrap().ino()) {
                break file;
            }
        };
        if !dir.join("users").exists() {
            start(&dir);
        }
        let user = open(&dir.join("users"));
        user.lock_shared().unwrap();
        Cluster { dir, _user: user }
    })
}

/// Makes and starts the cluster, and waits until nobody has held `users` for three seconds.
///
/// Not the plain C locale: sites have others, and comparisons of texts must not depend on it.
const KEEPER: &str = r#"
trap '' INT TERM HUP
dir=$1 bin=$2; shift 2
"$@" "$bin/initdb" --pgdata "$dir/data" --no-sync --auth=trust --username=postgres --no-instructions \
    --encoding=UTF8 --locale=C.UTF-8 --locale-provider=icu --icu-locale=en >"$dir/log" 2>&1
"$@" "$bin/postgres" -D "$dir/data" -c listen_addresses= -c unix_socket_directories="$dir" \
    -c fsync=off -c full_page_writes=off -c shared_buffers=16MB -c max_connections=400 \
    -c deadlock_timeout=200ms >>"$dir/log" 2>&1 &
server=$!
while :; do
    sleep 3
    flock --exclusive "$dir/users" true
    sleep 3
    exec 8>>"$dir.gate" 9>>"$dir/users"
    flock --exclusive 8
    flock --exclusive --nonblock 9 && break
    exec 8>&- 9>&-
done
kill -QUIT "$server"
wait "$server"
rm -rf "$dir" "$dir.gate"
"#;

#[expect(clippy::zombie_processes, reason = "the keeper outlives this process on purpose")]
fn start(dir: &Path) {
    let bin = programs();
    let _ = std::fs::remove_dir_all(dir);
    std::fs::create_dir(dir).unwrap();
    let mut keeper = Command::new("sh");
    keeper.args(["-c", KEEPER, "keeper"]).arg(dir).arg(bin);
    // PostgreSQL refuses to run as root.
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        finish(Command::new("chown").arg("postgres").arg(dir));
        keeper.args(["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]);
    }
    File::create(dir.join("users")).unwrap();
    // Its own group: what ends the tests must not end the keeper before it has cleaned up.
    keeper.current_dir("/").process_group(0);
    keeper.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
}

fn finish(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The newest PostgreSQL of Debian's places, or the one on the path.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin")).collect();
    found.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let everywhere = std::env::split_paths(&path).chain(found);
    let complete = |bin: &Path| bin.join("initdb").exists() && bin.join("postgres").exists();
    everywhere.filter(|bin| complete(bin)).last().expect(
        "PostgreSQL is not installed, and the store must be tested on it: `apt-get install postgresql`, \
         or set MUSTER_SKIP_POSTGRES=1 to leave this half out",
    )
}
