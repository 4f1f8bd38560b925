//! The harness of `make prove` is itself proved: that red is red, that a skip is red, that what was proved stays proved
//! for its commit alone, and that a changed tree proves nothing for a commit.

#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use muster_tests::tree;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A repository of its own with the real harness and a few scenarios in it.
struct Repository(PathBuf);

impl Repository {
    fn with(name: &str, scenarios: &[(&str, &str)]) -> Self {
        let at = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("harness-{name}-{}", std::process::id()));
        fs::create_dir_all(at.join("tests/run")).unwrap();
        fs::create_dir_all(at.join("tests/prove")).unwrap();
        fs::copy(tree::root().join("tests/run/prove.sh"), at.join("tests/run/prove.sh")).unwrap();
        fs::write(at.join(".gitignore"), "/.build\n/ran\n").unwrap();
        for (scenario, script) in scenarios {
            fs::write(at.join(format!("tests/prove/{scenario}.sh")), script).unwrap();
        }
        let repository = Self(at);
        repository.git(&["init", "--quiet"]);
        repository.commit();
        repository
    }

    fn git(&self, arguments: &[&str]) {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false"];
        let status = Command::new("git").args(identity).args(arguments).current_dir(&self.0).status().unwrap();
        assert!(status.success(), "git {arguments:?}");
    }

    fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", "next"]);
    }

    /// Whether `make prove` would be green, and what it says.
    fn prove(&self, settings: &[(&str, &str)]) -> (bool, String) {
        let mut command = Command::new("bash");
        command.arg("tests/run/prove.sh").current_dir(&self.0);
        for name in ["ONLY", "ALLOW_DIRTY", "PROVE_LIMIT", "PROVE_SCENARIOS", "PROVE_RESULTS"] {
            command.env_remove(name);
        }
        let output = command.envs(settings.iter().copied()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    }

    fn runs(&self) -> usize {
        fs::read_to_string(self.0.join("ran")).unwrap_or_default().lines().count()
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const GREEN: &str = "echo green >> ran\n";

#[test]
fn what_was_proved_is_not_run_again_for_its_commit_and_is_for_the_next() {
    let repository = Repository::with("again", &[("green", GREEN)]);
    assert!(repository.prove(&[]).0);
    let (green, said) = repository.prove(&[]);
    assert!(green && said.contains("1 of 1 scenarios proved"), "{said}");
    assert_eq!(repository.runs(), 1);
    repository.commit();
    assert!(repository.prove(&[]).0);
    assert_eq!(repository.runs(), 2);
}

#[test]
fn a_red_a_skipped_a_hanging_and_a_missing_scenario_are_red_and_do_not_stop_the_others() {
    let scenarios =
        [("a-red", "exit 3\n"), ("b-skips", "echo no kvm; exit 77\n"), ("c-hangs", "sleep 60\n"), ("d-green", GREEN)];
    let repository = Repository::with("red", &scenarios);
    let (green, said) = repository.prove(&[("PROVE_LIMIT", "1")]);
    assert!(!green && said.contains("1 of 4 scenarios proved"), "{said}");
    assert!(said.contains("exit 3") && said.contains("SKIPPED ITSELF") && said.contains("no kvm"), "{said}");
    assert!(said.contains("no end after 1 s"), "{said}");
    assert!(!repository.prove(&[("ONLY", "no-such-one")]).0);
    let empty = Repository::with("empty", &[]);
    assert!(!empty.prove(&[]).0);
}

#[test]
fn one_scenario_alone_leaves_the_others_unproved() {
    let repository = Repository::with("only", &[("a", GREEN), ("b", GREEN)]);
    let (green, said) = repository.prove(&[("ONLY", "b")]);
    assert!(!green && said.contains("not run") && said.contains("1 of 2"), "{said}");
    assert!(repository.prove(&[]).0);
    assert_eq!(repository.runs(), 2);
}

#[test]
fn a_changed_tree_is_refused_or_marked_and_proves_nothing_for_the_commit() {
    let repository = Repository::with("dirty", &[("green", GREEN)]);
    fs::write(repository.0.join("change"), "1").unwrap();
    assert!(!repository.prove(&[]).0);
    assert_eq!(repository.runs(), 0);
    let (green, said) = repository.prove(&[("ALLOW_DIRTY", "1")]);
    assert!(green && said.contains("A TREE WITH CHANGES"), "{said}");
    fs::write(repository.0.join("change"), "2").unwrap();
    assert!(repository.prove(&[("ALLOW_DIRTY", "1")]).0);
    assert_eq!(repository.runs(), 2, "another change is another tree");
    fs::remove_file(repository.0.join("change")).unwrap();
    assert!(repository.prove(&[]).0);
    assert_eq!(repository.runs(), 3, "the commit itself was never proved");
}

#[test]
fn a_step_that_fails_in_its_middle_is_red_and_ends_the_run() {
    let script =
        ". tests/run/steps.sh\nbad() { false; echo went on; }\nnext() { echo next; }\nstep one bad\nstep two next\n";
    let output =
        Command::new("bash").args(["-euo", "pipefail", "-c", script]).current_dir(tree::root()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(!output.status.success() && said.contains("one: FAILED"), "{said}");
    assert!(!said.contains("went on") && !said.contains("next"), "{said}");
}
