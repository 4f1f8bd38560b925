//! The real binary as an operator meets it: a first start, tokens, plans, the red button, the log, a restart, and what it
//! says when something is in the way. On loopback and without a network section, so that it takes no rights and touches
//! nothing; on SQLite and on PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

mod bed;
mod consoles;
mod firmware;

use bed::{Cluster, Site};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// Everything a site goes through in its first hour, on whichever database.
fn first_hour(site: &mut Site) {
    site.serve();
    let token = site.dir.join("data/admin.token");
    assert_eq!(
        fs::metadata(&token).unwrap().permissions().mode() & 0o777,
        0o600,
        "the first token is its owner's alone"
    );
    assert_eq!(fs::metadata(site.dir.join("data/ca.key")).unwrap().permissions().mode() & 0o077, 0);

    // Layouts are taken in, and nothing is begun by that.
    let machines = site.json(&["machine", "list"]);
    assert_eq!(machines.pointer("/0/state"), Some(&Value::from("expected")), "{machines}");
    assert!(site.table(&["rack", "show", "s/r1"]).contains("node1"));
    assert!(site.table(&["machine", "show", "X0001"]).starts_with("node1  expected"));

    // Who is nobody, and who may only look.
    let stranger = site.file("stranger.token", "mstr_0000\n");
    let said = site.refused(&["images"], 1, &stranger);
    assert!(said.contains("not known") && said.contains("stranger.token"), "{said}");
    let auditor = site.table(&["token", "make", "ann", "--role", "auditor"]);
    let auditor = site.file("auditor.token", &auditor);
    let said = site.refused(&["freeze", "x"], 1, &auditor);
    assert!(said.contains("ann has the role auditor"), "{said}");

    // A plan changes nothing; without a terminal and without --yes nothing happens either.
    let planned = site.json(&["machine", "hold", "node1", "--why", "look", "--dry-run"]);
    assert_eq!(planned.pointer("/plan/targets/0/leads-to"), Some(&Value::from("held")), "{planned}");
    let said = site.refused(&["machine", "hold", "node1", "--why", "look"], 1, &token);
    assert!(said.contains("--yes"), "{said}");
    let said = site.refused(&["install", "nosuch", "node1", "--yes"], 1, &token);
    assert!(said.contains("refused"), "{said}");
    assert_eq!(site.state(), "expected");

    // The red button holds back what is not a brake itself.
    site.table(&["freeze", "fire drill"]);
    assert!(site.table(&["status"]).contains("YES, by first admin"));
    let said = site.refused(&["machine", "retire", "node1", "--yes"], 1, &token);
    assert!(said.contains("fire drill"), "{said}");
    assert_eq!(site.state(), "expected");
    site.table(&["machine", "hold", "node1", "--why", "look", "--yes"]);
    assert_eq!(site.state(), "held");
    assert!(site.table(&["tickets"]).contains("node1"));
}

/// The same log, tokens and states after a restart, and the log runs on where it ended.
fn a_restart_keeps(site: &mut Site) {
    let before = site.log(0, 5);
    let numbers: Vec<i64> = before.iter().map(|event| event["seq"].as_i64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5], "the log begins at 1 and has no gap");
    let all = site.json(&["status"])["events"].as_i64().unwrap();
    site.stop();
    site.serve();
    assert_eq!(site.log(0, 5), before, "replayed as it was");
    assert_eq!(site.log(3, 2), before[3..], "from a number on");
    assert_eq!(site.state(), "held");
    let status = site.json(&["status"]);
    assert_eq!(status.pointer("/freeze/frozen"), Some(&Value::Bool(true)), "{status}");
    assert!(status["events"].as_i64().unwrap() >= all, "{status}");
    site.table(&["unfreeze", "over"]);
    assert!(site.table(&["log", "verify"]).contains("whole"));
    site.table(&["machine", "resume", "node1", "--to", "discover", "--yes"]);
    assert_eq!(site.state(), "discovering");
}

#[test]
fn the_first_hour_of_a_site_and_its_restart_on_sqlite() {
    let mut site = Site::new("sqlite", None);
    first_hour(&mut site);
    a_restart_keeps(&mut site);
}

#[test]
fn the_first_hour_of_a_site_and_its_restart_on_postgresql() {
    if std::env::var("MUSTER_SKIP_POSTGRES").is_ok_and(|value| value == "1") {
        eprintln!("skipped: MUSTER_SKIP_POSTGRES=1");
        return;
    }
    let cluster = Cluster::start();
    let mut site = Site::new("postgres", Some(cluster.url()));
    first_hour(&mut site);
    a_restart_keeps(&mut site);
    assert!(!site.dir.join("data/muster.db").exists(), "nothing is kept beside PostgreSQL");
}

/// The file is written before the token is kept: in between, a daemon can die.
#[test]
fn a_first_start_that_died_before_its_token_was_kept_locks_nobody_out() {
    let mut site = Site::new("first-token", None);
    fs::create_dir_all(site.dir.join("data")).unwrap();
    let token = site.file("data/admin.token", &format!("mstr_{}\n", "5e".repeat(32)));
    site.serve();
    assert!(fs::read_to_string(token).unwrap().starts_with("mstr_5e5e"), "the token that somebody may hold already");
    assert_eq!(site.state(), "expected");
}

#[test]
fn a_second_daemon_on_a_data_folder_is_sent_away_with_the_first_ones_process() {
    let mut site = Site::new("second", None);
    site.serve();
    let said = site.fails(&["serve", "--config", "muster.toml"]);
    assert!(said.contains(&format!("process {}", site.process())) && said.contains("stop it first"), "{said}");
}

#[test]
fn everything_in_the_way_of_a_start_is_told_at_once() {
    let site = Site::new("obstacles", None);
    let _taken = std::net::TcpListener::bind(("127.0.0.1", site.api)).unwrap();
    let network = "[[network]]\nname = \"a\"\ninterface = \"nosuch0\"\nsubnet = \"203.0.113.0/24\"\nrange = [\"203.0.113.50\", \"203.0.113.60\"]\n";
    let text = fs::read_to_string(site.dir.join("muster.toml")).unwrap();
    let text = text.replace("address = \"127.0.0.1\"", "address = \"203.0.113.1\"");
    site.file("muster.toml", &format!("{text}{network}"));
    let said = site.fails(&["serve", "--config", "muster.toml"]);
    for word in ["the API", "is taken by another program", "there is no interface nosuch0", "203.0.113.1 is not set"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(!site.dir.join("data/admin.token").exists(), "nothing was begun");
}

#[test]
fn check_tells_every_mistake_of_configuration_and_data_files_with_its_place() {
    let site = Site::new("check", None);
    assert!(site.succeeds(&["check", "--config", "muster.toml"]).contains("muster.toml is right"));
    let text = fs::read_to_string(site.dir.join("muster.toml")).unwrap();
    site.file("wrong.toml", &format!("colour = 1\n{}", text.replace("http-port", "htp-port")));
    let said = site.fails(&["check", "--config", "wrong.toml"]);
    assert!(said.contains("wrong.toml:1:1: ") && said.contains("htp-port") && said.contains("2 mistakes"), "{said}");

    let layout = fs::read_to_string(site.dir.join("files/rack-layouts/s/r1.toml")).unwrap();
    site.file(
        "files/rack-layouts/s/r1.toml",
        &layout.replace("model = \"qemu-q35\"", "model = \"qemu-q53\"\ncolour = 1"),
    );
    site.file("files/rack-layouts/stray.toml", "");
    let said = site.fails(&["check", "--config", "muster.toml"]);
    assert!(said.contains("rack-layouts/s/r1.toml:10:1: unknown field `colour`"), "{said}");
    assert!(said.contains("rack-layouts/stray.toml:1:1: "), "a file beside the folders is not passed over: {said}");

    let bmc = "bmc = { protocol = \"ipmi\", address = \"127.0.0.1:1\", user = \"u\", password-file = \"p\" }\n";
    site.file("files/rack-layouts/s/r1.toml", &format!("{layout}{bmc}"));
    fs::remove_file(site.dir.join("files/rack-layouts/stray.toml")).unwrap();
    let said = site.fails(&["check", "--config", "muster.toml"]);
    assert!(said.contains("secrets/p does not read") && said.contains("named by node1"), "{said}");
    let answer: Value =
        serde_json::from_str(&site.says(&["check", "--config", "muster.toml", "--output", "json"]).1).unwrap();
    assert_eq!((&answer["right"], answer["wrong"].as_array().unwrap().len()), (&Value::Bool(false), 1), "{answer}");
}

#[test]
fn exit_codes_tell_a_refusal_from_a_typing_error_and_from_a_daemon_that_is_away() {
    let mut site = Site::new("codes", None);
    site.serve();
    let token = site.dir.join("data/admin.token");
    assert!(site.refused(&["machine", "show", "nosuch"], 1, &token).contains("nosuch"));
    assert!(site.refused(&["machine", "list", "--state", "redy"], 2, &token).contains("ready"));
    assert!(site.refused(&["boot", "explain", "zz"], 1, &token).contains("52:54:00:aa:bb:cc"));
    site.stop();
    assert!(site.refused(&["status"], 3, &token).contains("does not answer"));
}
