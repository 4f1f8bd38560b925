//! A fresh database for each test: a folder for SQLite, a database of a private cluster for PostgreSQL.
//!
//! The cluster belongs to the test process and listens on a socket in its own folder only. A shell stands between: it
//! reads from a pipe that this process holds, so it stops PostgreSQL and removes the folder however the process ends,
//! killed included.

use muster_names::{Cause, Epoch, MachineId, Millis, Subject};
use muster_store::{Event, Kind, Place, Store, Tx};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
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
                    $crate::bed::run(async { case($crate::bed::Bed::postgres().await).await });
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
        use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
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
    // Not the longer TMPDIR: a socket's path has at most 107 characters.
    PathBuf::from(format!("/tmp/muster-store-{name}-{}-{number}", std::process::id()))
}

pub fn postgres_is_wanted() -> bool {
    let skip = std::env::var("MUSTER_SKIP_POSTGRES").is_ok_and(|value| value == "1");
    if skip {
        eprintln!("skipped: MUSTER_SKIP_POSTGRES=1");
    }
    !skip
}

/// A database of its own in this process's cluster.
pub async fn fresh_postgres() -> Place {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let cluster = tokio::task::spawn_blocking(cluster).await.unwrap();
    let name = format!("muster{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let (mut control, begun) = (None, Instant::now());
    while control.is_none() {
        match <sqlx::PgConnection as sqlx::Connection>::connect(&cluster.url("postgres")).await {
            Ok(connection) => control = Some(connection),
            Err(error) if begun.elapsed() > Duration::from_secs(60) => panic!(
                "PostgreSQL does not answer in 60 s: {error}\n{}",
                std::fs::read_to_string(cluster.dir.join("log")).unwrap_or_default()
            ),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    let create = format!("create database {name}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(create)).execute(&mut control.unwrap()).await.unwrap();
    Place::Postgres(cluster.url(&name))
}

struct Cluster {
    dir: PathBuf,
    /// Its standard input is what keeps the cluster alive.
    _shell: Child,
}

impl Cluster {
    fn url(&self, database: &str) -> String {
        format!("postgres:///{database}?host={}&user=postgres", self.dir.display())
    }
}

fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(start)
}

const KEEPER: &str = r#"
trap : INT TERM HUP
dir=$1; shift
"$@" >"$dir/log" 2>&1 </dev/null &
server=$!
read -r _
kill -QUIT "$server"
wait "$server"
rm -rf "$dir"
"#;

fn start() -> Cluster {
    let bin = programs();
    let dir = scratch("pg");
    std::fs::create_dir(&dir).unwrap();
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    // PostgreSQL refuses to run as root.
    let mut prefix = Vec::new();
    if root {
        finish(Command::new("chown").arg("postgres").arg(&dir));
        prefix = vec!["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"];
    }
    let (data, port) = (dir.join("data"), "unix_socket_directories");
    let mut words: Vec<std::ffi::OsString> = prefix.iter().map(Into::into).collect();
    let mut init = words.clone();
    init.push(bin.join("initdb").into());
    // Not the plain C locale: sites have others, and comparisons of texts must not depend on it.
    let how = ["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-instructions"];
    init.extend(how.iter().map(Into::into));
    init.extend(["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en", "--pgdata"].iter().map(Into::into));
    init.push(data.clone().into());
    let (first, rest) = init.split_first().unwrap();
    finish(Command::new(first).args(rest).current_dir("/"));

    words.extend([bin.join("postgres").into(), "-D".into(), data.into()]);
    for setting in [
        "listen_addresses=".to_owned(),
        format!("{port}={}", dir.display()),
        "fsync=off".into(),
        "full_page_writes=off".into(),
        "shared_buffers=16MB".into(),
        "max_connections=60".into(),
        "deadlock_timeout=200ms".into(),
    ] {
        words.extend(["-c".into(), setting.into()]);
    }
    let shell = Command::new("sh")
        .args(["-c", KEEPER, "keeper"])
        .arg(&dir)
        .args(words)
        .current_dir("/")
        // Its own group: what ends the tests must not end the keeper before it has cleaned up.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Cluster { dir, _shell: shell }
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
