//! The floors of docs/ARCHITECTURE.md, over the graph that cargo itself resolves.

#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use muster_tests::tree::{self, floors};
use std::process::Command;

/// The graph that was just built. Offline and locked: reading it must not change it. The platform filter keeps cargo
/// from asking for crates that only other systems need and nobody has downloaded.
fn graph() -> floors::Graph {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--offline",
            "--locked",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .current_dir(tree::root())
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata = serde_json::from_slice(&output.stdout).unwrap();
    floors::Graph::read(&metadata).unwrap()
}

#[test]
fn imports_go_strictly_down_and_the_lower_floors_are_pure() {
    let faults = floors::faults(&graph());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_page_for_readers_tells_the_house_that_is_built() {
    let page = std::fs::read_to_string(tree::root().join("docs/ARCHITECTURE.md")).unwrap();
    let faults = floors::page_faults(&graph(), &page);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_pure_room_carries_the_same_clippy_rules() {
    let graph_of = |path: &str| std::fs::read_to_string(tree::root().join(path));
    let rules = graph_of("server/names/clippy.toml").unwrap();
    for room in ["wire", "catalog", "lifecycle", "netboot", "diagnosis"] {
        let path = format!("server/{room}/clippy.toml");
        assert_eq!(graph_of(&path).unwrap_or_default(), rules, "{path} differs from server/names/clippy.toml");
    }
    // Clippy reads the nearest file only, so what the whole workspace keeps must be said again.
    for line in graph_of("clippy.toml").unwrap().lines().filter(|line| line.contains('=')) {
        assert!(rules.contains(line), "server/names/clippy.toml does not repeat `{line}`");
    }
}
