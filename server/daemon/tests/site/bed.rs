//! A site of its own for one test: a folder, free ports on loopback, data files with one machine that has no BMC, and the
//! real binary. A private PostgreSQL cluster where one is wanted.

use serde_json::Value;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Site {
    pub dir: PathBuf,
    pub api: u16,
    database: Option<String>,
    daemon: Option<Child>,
}

fn scratch(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("muster-site-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// Ports that were free a moment ago; three different ones, for they are held at the same time.
fn ports() -> [u16; 3] {
    let held = [0; 3].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    [0, 1, 2].map(|at: usize| held[at].local_addr().unwrap().port())
}

const LAYOUT: &str = r#"site = "s"
rack = "r1"
evidence = "declared"
units = 42

[[machine]]
name = "node1"
u = 14
model = "qemu-q35"
serial = "X0001"
"#;

impl Site {
    pub fn new(name: &str, database: Option<String>) -> Self {
        let dir = scratch(name);
        let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
        fs::create_dir_all(dir.join("files/rack-layouts/s")).unwrap();
        for data in ["firmware-profiles", "pxe-images"] {
            std::os::unix::fs::symlink(tree.join(data), dir.join("files").join(data)).unwrap();
        }
        fs::write(dir.join("files/rack-layouts/s/r1.toml"), LAYOUT).unwrap();
        let [api, http, agents] = ports();
        let config = format!(
            "data = \"data\"\nfiles = \"files\"\nsecrets = \"secrets\"\nboot-image = \"boot-image\"\nimages = \"images\"\n\
             api = \"127.0.0.1:{api}\"\n[boot]\naddress = \"127.0.0.1\"\nhttp-port = {http}\nagent-port = {agents}\n"
        );
        fs::write(dir.join("muster.toml"), config).unwrap();
        Self { dir, api, database, daemon: None }
    }

    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let file = self.dir.join(name);
        fs::write(&file, text).unwrap();
        file
    }

    pub fn muster(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(MUSTER);
        command.args(arguments).current_dir(&self.dir).stdin(Stdio::null()).env_remove("MUSTER_API");
        match &self.database {
            Some(url) => command.env("MUSTER_DATABASE", url),
            None => command.env_remove("MUSTER_DATABASE"),
        };
        command
            .env("MUSTER_SERVER", format!("https://127.0.0.1:{}", self.api))
            .env("MUSTER_TOKEN_FILE", self.dir.join("data/admin.token"))
            .env("MUSTER_CA", self.dir.join("data/ca.pem"));
        command
    }

    /// Starts the daemon and waits until it answers.
    pub fn serve(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.dir.join("log")).unwrap();
        let mut serve = self.muster(&["serve", "--config", "muster.toml"]);
        self.daemon = Some(serve.stdout(Stdio::null()).stderr(log).spawn().unwrap());
        let begun = Instant::now();
        while !self.muster(&["status"]).output().unwrap().status.success() {
            let ended = self.daemon.as_mut().unwrap().try_wait().unwrap();
            assert!(
                ended.is_none() && begun.elapsed() < PATIENCE,
                "{ended:?}: {}",
                fs::read_to_string(self.dir.join("log")).unwrap()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn process(&self) -> u32 {
        self.daemon.as_ref().unwrap().id()
    }

    /// As `systemctl stop` does it, and it must end well.
    pub fn stop(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        let told = Command::new("kill").arg(daemon.id().to_string()).status().unwrap();
        assert!(told.success());
        assert!(daemon.wait().unwrap().success(), "{}", fs::read_to_string(self.dir.join("log")).unwrap());
    }

    /// Exit code, standard output, standard error.
    pub fn says(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.muster(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
    }

    pub fn succeeds(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.says(arguments);
        assert_eq!(code, 0, "{arguments:?}: {out}{err}");
        out
    }

    pub fn fails(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.says(arguments);
        assert_eq!(code, 1, "{arguments:?}: {out}{err}");
        out + &err
    }

    pub fn table(&self, arguments: &[&str]) -> String {
        self.succeeds(arguments)
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.succeeds(&[arguments, &["--output", "json"]].concat())).unwrap()
    }

    /// What is said to the holder of this token, and with which exit code.
    pub fn refused(&self, arguments: &[&str], code: i32, token: &Path) -> String {
        let output = self.muster(arguments).env("MUSTER_TOKEN_FILE", token).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        said
    }

    pub fn state(&self) -> String {
        self.json(&["machine", "list"])[0]["state"].as_str().unwrap().to_string()
    }

    /// So many events of the stream after a number.
    pub fn log(&self, after: i64, number: usize) -> Vec<Value> {
        let after = after.to_string();
        let mut follow = self.muster(&["log", "follow", "--output", "json", "--after", &after]);
        let mut child = follow.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let events = lines.take(number).map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        events
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A PostgreSQL that listens on a socket in its own folder alone.
pub struct Cluster {
    dir: PathBuf,
    server: Child,
}

impl Cluster {
    pub fn start() -> Self {
        let dir = scratch("pg");
        let programs = programs();
        let root = fs::metadata("/proc/self").unwrap().uid() == 0;
        // PostgreSQL refuses to run as root.
        let run = |program: &str| match root {
            true => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(programs.join(program));
                command
            }
            false => Command::new(programs.join(program)),
        };
        if root {
            assert!(Command::new("chown").arg("postgres").arg(&dir).status().unwrap().success());
        }
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        let (data, mut initdb) = (dir.join("data"), run("initdb"));
        let made = initdb.arg("--pgdata").arg(&data).args(["--no-sync", "--auth=trust", "--username=postgres"]);
        assert!(made.current_dir("/").stdout(Stdio::null()).status().unwrap().success());
        let mut server = run("postgres");
        server.arg("-D").arg(&data).args(["-c", "listen_addresses=", "-c", "fsync=off", "-c"]);
        server.arg(format!("unix_socket_directories={}", dir.display()));
        let server = server.current_dir("/").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while !dir.join(".s.PGSQL.5432").exists() {
            assert!(begun.elapsed() < PATIENCE, "PostgreSQL does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { dir, server }
    }

    pub fn url(&self) -> String {
        format!("postgres:///postgres?host={}&user=postgres", self.dir.display())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-QUIT", &self.server.id().to_string()]).status();
        let _ = self.server.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Debian's newest.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin")).collect();
    found.sort();
    found.pop().expect("PostgreSQL is not installed: `apt-get install postgresql`, or set MUSTER_SKIP_POSTGRES=1")
}
