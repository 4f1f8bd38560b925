//! Who may import whom. The floors stand in the root `Cargo.toml` (`workspace.metadata.floors`), the graph comes from
//! `cargo metadata`: what is checked is what the compiler links, not what a page says.
//!
//! Only normal and build imports count: a test may look from any floor at any other.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Rooms up to this floor decide and do nothing else: their whole closure is held against [`PURE`].
const HIGHEST_PURE_FLOOR: u64 = 2;

/// Crates that neither wait, nor read a clock, nor open a file or a socket (memchr and itoa are what serde_json stands
/// on; the derive macros run in the compiler only; regex-lite stands on nothing and matches in linear time, whatever
/// pattern a data file brings). A name added here is a promise about that crate.
const PURE: &[&str] = &[
    "dyn-clone",
    "indexmap",
    "equivalent",
    "hashbrown",
    "itoa",
    "memchr",
    "proc-macro2",
    "quote",
    "ref-cast",
    "ref-cast-impl",
    "regex-lite",
    "schemars",
    "schemars_derive",
    "serde",
    "serde_core",
    "serde_derive",
    "serde_derive_internals",
    "serde_json",
    "serde_spanned",
    "syn",
    "thiserror",
    "thiserror-impl",
    "toml",
    "toml_datetime",
    "toml_parser",
    "toml_writer",
    "unicode-ident",
    "winnow",
    "zmij",
];

/// A door to the outside world, and the rooms that may open it.
const DOORS: &[(&str, &[&str])] = &[
    ("sqlx", &["muster-store"]),
    ("reqwest", &["muster-bmc", "muster-conductor", "muster-daemon"]),
    ("dhcproto", &["muster-bootserver"]),
    ("axum", &["muster-api", "muster-daemon"]),
    ("async-snmp", &["muster-switches"]),
];

/// The agent stands outside the daemon's floors; of ours it knows the vocabulary and the wire.
const AGENT: &str = "muster-agent";
const AGENT_KNOWS: &[&str] = &["muster-names", "muster-wire"];

/// What a binary may weigh in crates of others, its whole closure counted: each one is trusted, built and updated.
const WEIGHTS: &[(&str, usize)] = &[("muster-daemon", 350), (AGENT, 80)];

/// Simulators and scenarios may import anything, and nobody imports them.
const TESTS: &str = "muster-tests";

/// The import graph: every crate's direct normal and build imports, our own crates' floors. A crate is called by its
/// name; one that is there in several versions by name and version, so that one's imports are not taken for another's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    pub ours: BTreeSet<String>,
    pub floors: BTreeMap<String, u64>,
    pub imports: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// Reads the output of `cargo metadata --format-version 1`.
    pub fn read(metadata: &Value) -> Option<Self> {
        let packages = metadata.get("packages")?.as_array()?;
        let mut versions = BTreeMap::<&str, usize>::new();
        for package in packages {
            *versions.entry(package.get("name")?.as_str()?).or_default() += 1;
        }
        let mut names = BTreeMap::new();
        for package in packages {
            let (name, version) = (package.get("name")?.as_str()?, package.get("version")?.as_str()?);
            let several = versions.get(name).is_some_and(|count| *count > 1);
            let called = if several { format!("{name} {version}") } else { name.to_string() };
            names.insert(package.get("id")?.as_str()?, called);
        }
        let mut graph = Self::default();
        for id in metadata.get("workspace_members")?.as_array()? {
            graph.ours.insert(names.get(id.as_str()?)?.clone());
        }
        for (name, floor) in metadata.get("metadata")?.get("floors")?.as_object()? {
            graph.floors.insert(name.clone(), floor.as_u64()?);
        }
        for node in metadata.get("resolve")?.get("nodes")?.as_array()? {
            let name = names.get(node.get("id")?.as_str()?)?;
            let imports = graph.imports.entry(name.clone()).or_default();
            for dependency in node.get("deps")?.as_array()? {
                let kinds = dependency.get("dep_kinds")?.as_array()?;
                if kinds.iter().any(|kind| kind.get("kind").and_then(Value::as_str) != Some("dev")) {
                    imports.insert(names.get(dependency.get("pkg")?.as_str()?)?.clone());
                }
            }
        }
        Some(graph)
    }

    fn imports(&self, name: &str) -> impl Iterator<Item = &str> {
        self.imports.get(name).into_iter().flatten().map(String::as_str)
    }

    /// Everything `name` stands on, with the path that leads there.
    fn closure(&self, name: &str) -> BTreeMap<String, String> {
        let mut reached = BTreeMap::new();
        let mut open = vec![(name.to_string(), name.to_string())];
        while let Some((at, path)) = open.pop() {
            for next in self.imports(&at) {
                if !reached.contains_key(next) {
                    let path = format!("{path} -> {next}");
                    reached.insert(next.to_string(), path.clone());
                    open.push((next.to_string(), path));
                }
            }
        }
        reached
    }
}

fn without_version(called: &str) -> &str {
    called.split(' ').next().unwrap_or(called)
}

/// Every break of the floors, in words; empty when the house stands.
pub fn faults(graph: &Graph) -> Vec<String> {
    let mut faults = Vec::new();
    for name in &graph.ours {
        if !graph.floors.contains_key(name) {
            faults.push(format!("{name} has no floor: give it one in [workspace.metadata.floors] of Cargo.toml"));
        }
    }
    for name in graph.floors.keys().filter(|name| !graph.ours.contains(*name)) {
        faults.push(format!("{name} has a floor and is no crate of the workspace"));
    }
    for (name, floor) in &graph.floors {
        downward(graph, name, *floor, &mut faults);
        if *floor <= HIGHEST_PURE_FLOOR && name != AGENT {
            pure(graph, name, *floor, &mut faults);
        }
        doors(graph, name, &mut faults);
    }
    for (binary, most) in WEIGHTS {
        let weight = graph.closure(binary).keys().filter(|name| !graph.ours.contains(*name)).count();
        if weight > *most {
            faults.push(format!("{binary} stands on {weight} crates of others, {most} are allowed"));
        }
    }
    faults
}

/// Where the page for readers tells another house than the one that is built: its table has a row for each room,
/// beginning with floor and folder.
pub fn page_faults(graph: &Graph, page: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, floor) in &graph.floors {
        let folder = match name.strip_prefix("muster-").unwrap_or(name) {
            outside @ ("agent" | "tests") => outside.to_string(),
            room => format!("server/{room}"),
        };
        if !page.lines().any(|line| line.starts_with(&format!("| {floor} | `{folder}` |"))) {
            faults.push(format!("docs/ARCHITECTURE.md has no row `| {floor} | `{folder}` |` for {name}"));
        }
    }
    faults
}

fn downward(graph: &Graph, name: &str, floor: u64, faults: &mut Vec<String>) {
    for import in graph.imports(name).filter(|import| graph.ours.contains(*import)) {
        let below = graph.floors.get(import).is_some_and(|other| *other < floor);
        if !below {
            faults.push(format!("{name} (floor {floor}) imports {import}, which does not lie below it"));
        }
        if import == TESTS || (import == AGENT && name != TESTS) {
            faults.push(format!("{name} imports {import}, which no room may import"));
        }
        if name == AGENT && !AGENT_KNOWS.contains(&import) {
            faults.push(format!("{name} imports {import}; of ours it may know {} only", AGENT_KNOWS.join(" and ")));
        }
    }
}

fn pure(graph: &Graph, name: &str, floor: u64, faults: &mut Vec<String>) {
    for (reached, path) in graph.closure(name) {
        if !PURE.contains(&without_version(&reached)) && !graph.ours.contains(&reached) {
            faults.push(format!("{name} (floor {floor}) must stay pure and reaches {reached}: {path}"));
        }
    }
}

fn doors(graph: &Graph, name: &str, faults: &mut Vec<String>) {
    for (door, keepers) in DOORS {
        if name != TESTS
            && !keepers.contains(&name)
            && graph.imports(name).any(|import| without_version(import) == *door)
        {
            faults.push(format!("{name} imports {door}, which belongs to {} alone", keepers.join(", ")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn graph(floors: &[(&str, u64)], imports: &[(&str, &str)]) -> Graph {
        let mut graph = Graph::default();
        for (name, floor) in floors {
            graph.ours.insert(name.to_string());
            graph.floors.insert(name.to_string(), *floor);
        }
        for (from, to) in imports {
            graph.imports.entry(from.to_string()).or_default().insert(to.to_string());
        }
        graph
    }

    #[track_caller]
    fn only_fault(graph: &Graph, words: &str) {
        let faults = faults(graph);
        assert!(faults.len() == 1 && faults[0].contains(words), "{faults:?}");
    }

    #[test]
    fn a_house_in_order_has_no_faults() {
        let house = graph(
            &[("muster-names", 0), ("muster-wire", 1), ("muster-store", 3), ("muster-agent", 2), ("muster-tests", 9)],
            &[
                ("muster-wire", "muster-names"),
                ("muster-wire", "serde"),
                ("muster-store", "muster-names"),
                ("muster-store", "sqlx"),
                ("muster-agent", "muster-wire"),
                ("muster-agent", "rustls"),
                ("muster-tests", "muster-store"),
                ("muster-tests", "axum"),
            ],
        );
        assert_eq!(faults(&house), Vec::<String>::new());
    }

    #[test]
    fn an_import_upward_or_sideways_is_a_fault() {
        let floors = [("muster-bmc", 3), ("muster-store", 3), ("muster-api", 5)];
        only_fault(&graph(&floors, &[("muster-bmc", "muster-store")]), "does not lie below");
        only_fault(&graph(&floors, &[("muster-bmc", "muster-api")]), "does not lie below");
    }

    #[test]
    fn a_crate_without_a_floor_and_a_floor_without_a_crate_are_faults() {
        let mut house = graph(&[("muster-names", 0)], &[]);
        house.ours.insert("muster-cellar".into());
        only_fault(&house, "muster-cellar has no floor");
        let mut house = graph(&[("muster-names", 0)], &[]);
        house.floors.insert("muster-attic".into(), 8);
        only_fault(&house, "no crate of the workspace");
    }

    #[test]
    fn a_pure_room_that_reaches_a_clock_through_a_friend_is_a_fault() {
        let floors = [("muster-names", 0), ("muster-lifecycle", 2)];
        let imports = [("muster-lifecycle", "muster-names"), ("muster-names", "toml"), ("toml", "tokio")];
        let faults = faults(&graph(&floors, &imports));
        assert!(faults.iter().any(|fault| fault.contains("muster-names -> toml -> tokio")), "{faults:?}");
        assert!(faults.iter().any(|fault| fault.starts_with("muster-lifecycle")), "{faults:?}");
    }

    #[test]
    fn a_door_opened_by_the_wrong_room_is_a_fault() {
        let floors = [("muster-bmc", 3), ("muster-api", 5)];
        only_fault(&graph(&floors, &[("muster-bmc", "sqlx")]), "belongs to muster-store alone");
        only_fault(&graph(&floors, &[("muster-api", "reqwest")]), "reqwest");
        only_fault(&graph(&floors, &[("muster-api", "dhcproto")]), "dhcproto");
        only_fault(&graph(&floors, &[("muster-bmc", "axum")]), "axum");
    }

    #[test]
    fn the_agent_knows_names_and_wire_only_and_nobody_imports_it_or_the_tests() {
        let floors = [("muster-catalog", 1), ("muster-agent", 2), ("muster-tests", 9), ("muster-daemon", 10)];
        only_fault(&graph(&floors, &[("muster-agent", "muster-catalog")]), "may know");
        only_fault(&graph(&floors, &[("muster-daemon", "muster-agent")]), "no room may import");
        only_fault(&graph(&floors, &[("muster-daemon", "muster-tests")]), "no room may import");
    }

    #[test]
    fn a_binary_that_grew_too_heavy_is_a_fault() {
        let names: Vec<String> = (0..81).map(|n| format!("crate-{n}")).collect();
        let imports: Vec<(&str, &str)> = names.iter().map(|name| (AGENT, name.as_str())).collect();
        only_fault(&graph(&[(AGENT, 2)], &imports), "stands on 81 crates of others, 80 are allowed");
        assert!(faults(&graph(&[(AGENT, 2)], &imports[1..])).is_empty());
    }

    #[test]
    fn a_page_that_names_another_floor_is_a_fault() {
        let house = graph(&[("muster-names", 0), (AGENT, 2)], &[]);
        assert!(page_faults(&house, "| 0 | `server/names` | words |\n| 2 | `agent` | hands |\n").is_empty());
        assert_eq!(page_faults(&house, "| 1 | `server/names` | words |\n| 2 | `agent` | hands |\n").len(), 1);
    }

    #[test]
    fn imports_for_tests_alone_do_not_count() {
        let metadata = json!({
            "packages": [
                {"id": "a 1", "name": "muster-a", "version": "1"},
                {"id": "t 1", "name": "tokio", "version": "1"},
                {"id": "c 1", "name": "cc", "version": "1"},
                {"id": "c 2", "name": "cc", "version": "2"},
            ],
            "workspace_members": ["a 1"],
            "metadata": {"floors": {"muster-a": 0}},
            "resolve": {"nodes": [{"id": "a 1", "deps": [
                {"pkg": "t 1", "dep_kinds": [{"kind": "dev"}]},
                {"pkg": "c 1", "dep_kinds": [{"kind": "build"}]},
            ]}]},
        });
        let graph = Graph::read(&metadata).unwrap();
        assert_eq!(graph.imports("muster-a").collect::<Vec<_>>(), ["cc 1"]);
        assert_eq!(Graph::read(&json!({"packages": []})), None);
    }
}
