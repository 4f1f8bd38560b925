//! Inventories of recorded trees (where `MUSTER_CAPTURES` names them), of the same trees bent at random, and of small
//! trees that each have one habit of real firmware. The walk is driven by a map here instead of a BMC.

use super::inventory;
use super::walk::Walk;
use crate::Hardware;
use muster_catalog::{Link, Resource};
use muster_names::Power;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

type Tree = BTreeMap<String, Value>;

/// A walk of the tree to its end, whether it found the system, and the paths that it read.
fn walked(tree: &Tree, wanted: Option<&str>, links: Vec<Link>) -> (Walk, bool, BTreeSet<String>) {
    let mut paths = BTreeSet::from(["/redfish/v1".to_string()]);
    let mut serve = |walk: &mut Walk| {
        while let Some(step) = walk.next() {
            let path = step.path.trim_end_matches('/').to_string();
            match tree.get(&path) {
                Some(body) => walk.read(&step, body.clone()),
                None => walk.missed(&step, "HTTP 404".into()),
            }
            paths.insert(path);
        }
    };
    let mut walk = Walk::from_root(tree.get("/redfish/v1").cloned().unwrap_or(Value::Null));
    serve(&mut walk);
    walk.choose(wanted);
    let led = walk.lead(links);
    serve(&mut walk);
    (walk, led, paths)
}

/// What the tree tells of one system.
fn crawl(tree: &Tree, wanted: Option<&str>, links: Vec<Link>) -> Option<Hardware> {
    let (walk, led, _) = walked(tree, wanted, links);
    led.then(|| inventory::tell(&walk, None))
}

fn read(tree: &Tree) -> Hardware {
    crawl(tree, None, Vec::new()).unwrap()
}

fn tree(resources: Value) -> Tree {
    let resources = resources.as_object().unwrap();
    resources.iter().map(|(path, body)| (format!("/redfish/v1{path}"), body.clone())).collect()
}

fn link(path: &str) -> Value {
    json!({"@odata.id": format!("/redfish/v1{path}")})
}

fn members(paths: &[&str]) -> Value {
    json!({"Members": paths.iter().map(|path| link(path)).collect::<Vec<_>>(), "Members@odata.count": paths.len()})
}

/// A server with what `more` adds: to the system, to the chassis, and resources of their own.
fn server(system: Value, chassis: Value, more: Value) -> Tree {
    let with = |mut base: Value, more: Value| {
        base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        base
    };
    let mut all = tree(json!({
        "": {"Systems": link("/Systems"), "Chassis": link("/Chassis"), "Managers": link("/Managers")},
        "/Systems": members(&["/Systems/1"]),
        "/Chassis": members(&["/Chassis/1"]),
        "/Managers": members(&[]),
        "/Systems/1": with(json!({"SerialNumber": "S1", "Links": {"Chassis": [link("/Chassis/1")]}}), system),
        "/Chassis/1": with(json!({"Links": {"ComputerSystems": [link("/Systems/1")]}}), chassis),
    }));
    all.extend(tree(more));
    all
}

/// The recordings, unpacked once.
fn captures() -> &'static [(String, Tree)] {
    static ALL: LazyLock<Vec<(String, Tree)>> = LazyLock::new(|| {
        let Some(folder) = std::env::var_os("MUSTER_CAPTURES") else {
            eprintln!("skipped: MUSTER_CAPTURES names no folder");
            return Vec::new();
        };
        let folder = std::path::Path::new(&folder).join("redfish");
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|file| file.to_string_lossy().ends_with(".json.gz"));
        files.sort();
        assert!(!files.is_empty(), "no recording is there");
        files.iter().map(|file| (file.file_name().unwrap().to_string_lossy().into_owned(), unpacked(file))).collect()
    });
    &ALL
}

fn unpacked(file: &std::path::Path) -> Tree {
    let out = std::process::Command::new("gzip").arg("-dc").arg(file).output().unwrap();
    let all: Tree = serde_json::from_slice(&out.stdout).unwrap();
    all.into_iter().map(|(path, body)| (path.trim_end_matches('/').to_string(), body)).collect()
}

/// The resources of one schema below a path, read without any of the code under test.
fn of_schema<'a>(tree: &'a Tree, schema: &str, below: &str) -> Vec<&'a Value> {
    let mine =
        |body: &Value| body["@odata.type"].as_str().is_some_and(|kind| kind.starts_with(&format!("#{schema}.v")));
    let found =
        tree.iter().filter(|(path, body)| path.starts_with(below) && !path.ends_with("/Settings") && mine(body));
    found.map(|(_, body)| body).filter(|body| body["Status"]["State"] != "Absent").collect()
}

fn serials<'a>(bodies: impl IntoIterator<Item = &'a Value>) -> Vec<String> {
    let told =
        bodies.into_iter().filter_map(|body| body["SerialNumber"].as_str()).map(|serial| serial.trim().to_string());
    let mut told: Vec<String> = told.filter(|serial| !serial.is_empty()).collect();
    told.sort();
    told
}

fn sorted(told: impl IntoIterator<Item = Option<String>>) -> Vec<String> {
    let mut told: Vec<String> = told.into_iter().flatten().collect();
    told.sort();
    told
}

#[test]
fn every_part_of_a_recorded_tree_is_there_once_with_its_place_and_number() {
    for (name, tree) in captures() {
        let told = read(tree);
        let all = |schema: &str| of_schema(tree, schema, "/redfish/v1/");
        assert_eq!(sorted(told.memory.iter().map(|one| one.serial.clone())), serials(all("Memory")), "{name}");
        assert_eq!(told.memory.len(), all("Memory").len(), "{name}: {:?}", told.memory);
        assert!(told.memory.iter().all(|one| one.slot.is_some() && one.size_mib.is_some()), "{name}");
        if !all("Drive").is_empty() {
            assert_eq!(sorted(told.drives.iter().map(|one| one.serial.clone())), serials(all("Drive")), "{name}");
            assert!(told.drives.iter().all(|one| one.bay.is_some() && one.size_bytes > Some(0)), "{name}");
        }
        let power = all("Power").into_iter().flat_map(|power| power["PowerSupplies"].as_array().into_iter().flatten());
        let mut supplies = serials(power.chain(all("PowerSupply")).filter(|one| one["Status"]["State"] != "Absent"));
        supplies.dedup();
        assert_eq!(sorted(told.power_supplies.iter().map(|one| one.serial.clone())), supplies, "{name}");
        assert!(told.power_supplies.iter().all(|one| one.slot.is_some()), "{name}");
        let ports = of_schema(tree, "EthernetInterface", "/redfish/v1/Systems/").into_iter();
        let functions = all("NetworkDeviceFunction").into_iter().map(|function| &function["Ethernet"]);
        for port in ports.chain(functions).filter_map(|port| port["MACAddress"].as_str()) {
            let known =
                |mac: &Option<muster_names::Mac>| mac.is_some_and(|mac| mac.to_string().eq_ignore_ascii_case(port));
            let bearers = told.nics.iter().filter(|nic| known(&nic.mac) || known(&nic.permanent_mac)).count();
            assert_eq!(bearers, 1, "{name}: {port} in {:?}", told.nics);
        }
        for slots in [
            told.memory.iter().map(|one| one.slot.clone()).collect::<Vec<_>>(),
            told.drives.iter().map(|one| one.bay.clone()).collect(),
            told.power_supplies.iter().map(|one| one.slot.clone()).collect(),
            told.processors.iter().map(|one| one.slot.clone()).collect(),
            told.fans.iter().map(|one| one.slot.clone()).collect(),
        ] {
            let distinct: BTreeSet<_> = slots.iter().collect();
            assert_eq!(distinct.len(), slots.len(), "{name}: a place twice in {slots:?}");
        }
        assert!(told.manufacturer.is_some() && told.model.is_some() && told.uuid.is_some(), "{name}");
        assert_eq!(told.power, Some(Power::On), "{name}");
        assert!(told.bmc.firmware.is_some() && !told.firmware.is_empty(), "{name}");
    }
}

/// What may be wrong with one field.
#[derive(Clone, Debug)]
enum Bend {
    Gone,
    Null,
    Text,
    Number,
    List,
    Object,
    Renamed,
}

fn bend() -> impl Strategy<Value = Bend> {
    let all = [Bend::Gone, Bend::Null, Bend::Text, Bend::Number, Bend::List, Bend::Object, Bend::Renamed];
    proptest::sample::select(all.to_vec())
}

/// Bends one field of one resource; the path of the resource.
fn bent(tree: &mut Tree, paths: &[String], resource: usize, field: usize, bend: &Bend) -> String {
    let path = paths[resource % paths.len()].clone();
    let Some(object) = tree.get_mut(&path).and_then(Value::as_object_mut).filter(|object| !object.is_empty()) else {
        return path;
    };
    let key = object.keys().nth(field % object.len()).unwrap().clone();
    let old = object.remove(&key).unwrap();
    let (name, new) = match bend {
        Bend::Gone => return path,
        Bend::Null => (key, Value::Null),
        Bend::Text => (key, Value::String(old.to_string())),
        Bend::Number => (key, json!(4_294_967_296.5)),
        Bend::List => (key, json!([old])),
        Bend::Object => (key, json!({"x": old})),
        Bend::Renamed => (format!("X{key}"), old),
    };
    object.insert(name, new);
    path
}

/// A small machine, for where there are no recordings.
fn small() -> Tree {
    server(
        json!({"Memory": link("/M"), "PowerState": "On", "UUID": "A"}),
        json!({"Power": link("/P")}),
        json!({"/M": members(&["/M/1", "/M/2"]), "/M/1": {"Name": "A", "CapacityMiB": 1, "SerialNumber": "m1"},
            "/M/2": {"Name": "B", "CapacityMiB": 1, "SerialNumber": "m2"},
            "/P": {"PowerSupplies": [{"Name": "P", "SerialNumber": "p1"}]}}),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn a_bent_field_costs_what_it_says_and_breaks_nothing(
        which: usize,
        bends in prop::collection::vec((any::<usize>(), any::<usize>(), bend()), 1..6),
    ) {
        static TREES: LazyLock<Vec<(Tree, Hardware, Vec<String>)>> = LazyLock::new(|| {
            let trees = captures().iter().map(|(_, tree)| tree.clone()).chain([small()]);
            trees.map(|tree| {
                let paths: Vec<String> = walked(&tree, None, Vec::new()).2.into_iter().filter(|path| tree.contains_key(path)).collect();
                // What is never read costs time and proves nothing.
                let tree: Tree = tree.into_iter().filter(|(path, _)| paths.contains(path)).collect();
                (tree.clone(), read(&tree), paths)
            }).collect()
        });
        let (tree, whole, paths) = &TREES[which % TREES.len()];
        let (mut now, mut touched) = (tree.clone(), BTreeSet::new());
        for (resource, field, bend) in &bends {
            touched.insert(bent(&mut now, paths, *resource, *field, bend));
        }
        let told = read(&now);
        let serials = |hardware: &Hardware| [
            sorted(hardware.memory.iter().map(|one| one.serial.clone())),
            sorted(hardware.drives.iter().map(|one| one.serial.clone())),
            sorted(hardware.power_supplies.iter().map(|one| one.serial.clone())),
            sorted(hardware.nics.iter().map(|nic| nic.mac.map(|mac| mac.to_string()))),
        ];
        for numbers in serials(&told) {
            let distinct: BTreeSet<_> = numbers.iter().filter(|number| *number != "4294967296.5").collect();
            let all = numbers.iter().filter(|number| *number != "4294967296.5").count();
            prop_assert_eq!(distinct.len(), all, "something twice: {:?} after {:?}", numbers, touched);
        }
        // A bent memory module costs at most itself.
        if touched.iter().all(|path| path.contains("/Memory/") || path.starts_with("/redfish/v1/M/")) {
            prop_assert!(told.memory.len() + touched.len() >= whole.memory.len());
            prop_assert_eq!(&told.drives, &whole.drives);
        }
    }

    #[test]
    fn no_tree_is_too_odd(bodies in prop::collection::vec(("(/(Systems|Chassis|1|M)){0,3}", "\\PC{0,12}", any::<u8>()), 0..12)) {
        let odd = |text: &str, pick: u8| match pick % 6 {
            0 => json!(text),
            1 => json!({"Members": [text, {"@odata.id": text}, 7, null], "Memory": {"@odata.id": text}}),
            2 => json!({"Members": {"@odata.id": "/redfish/v1/Systems"}, "Members@odata.nextLink": "/redfish/v1/Chassis"}),
            3 => json!([[text]]),
            4 => json!({"Links": {"Chassis": text, "Contains": [link("/Chassis/1")]}, "Oem": [text], "Status": [text]}),
            _ => Value::Null,
        };
        let tree: Tree = bodies.iter().map(|(path, text, pick)| (format!("/redfish/v1{path}"), odd(text, *pick))).collect();
        let _ = crawl(&tree, None, Vec::new());
    }
}

#[test]
fn b7_1_of_several_systems_the_one_named_is_read_with_its_own_chassis() {
    let node = |at: u8| json!({"SerialNumber": format!("N{at}"), "Memory": link(&format!("/Systems/{at}/Memory"))});
    let sled = |at: u8| {
        json!({"Links": {"ComputerSystems": [link(&format!("/Systems/{at}"))], "ContainedBy": link("/Chassis/Box")},
        "Drives": link(&format!("/Chassis/{at}/Drives"))})
    };
    let dimm = |at: u8| json!({"DeviceLocator": "A1", "SerialNumber": format!("D{at}"), "CapacityMiB": 1024});
    let drive = |at: u8| json!({"Name": "Bay 0", "SerialNumber": format!("X{at}"), "CapacityBytes": 1});
    let tree = tree(json!({
        "": {},
        "/Systems": members(&["/Systems/1", "/Systems/2"]), "/Systems/1": node(1), "/Systems/2": node(2),
        "/Systems/1/Memory": members(&["/D1"]), "/Systems/2/Memory": members(&["/D2"]), "/D1": dimm(1), "/D2": dimm(2),
        "/Chassis": members(&["/Chassis/Box", "/Chassis/1", "/Chassis/2"]),
        "/Chassis/Box": {"PowerSubsystem": link("/Box/Power")},
        "/Box/Power": {"PowerSupplies": [link("/Box/Power/1")]}, "/Box/Power/1": {"Name": "PSU 1", "SerialNumber": "P1"},
        "/Chassis/1": sled(1), "/Chassis/2": sled(2),
        "/Chassis/1/Drives": members(&["/X1"]), "/Chassis/2/Drives": members(&["/X2"]), "/X1": drive(1), "/X2": drive(2),
    }));
    for (wanted, number) in [("n1", "1"), ("N2", "2")] {
        let told = crawl(&tree, Some(wanted), Vec::new()).unwrap();
        assert_eq!(told.serial, Some(format!("N{number}")));
        assert_eq!(sorted(told.memory.iter().map(|one| one.serial.clone())), [format!("D{number}")]);
        assert_eq!(sorted(told.drives.iter().map(|one| one.serial.clone())), [format!("X{number}")]);
        assert_eq!(told.power_supplies.len(), 1, "the box feeds both");
        assert_eq!(told.systems.iter().filter(|one| one.this).count(), 1);
    }
    assert!(crawl(&tree, Some("N3"), Vec::new()).is_none());
}

#[test]
fn an_accelerator_board_that_calls_itself_a_system_is_not_the_server() {
    let mut tree =
        server(json!({"Boot": {}, "BiosVersion": "1.0"}), json!({}), json!({"/Systems/0": {"Model": "Baseboard"}}));
    tree.insert("/redfish/v1/Systems".into(), members(&["/Systems/0", "/Systems/1"]));
    assert_eq!(read(&tree).serial.as_deref(), Some("S1"));
}

#[test]
fn a_collection_in_pages_is_read_to_its_end() {
    let page = |member: &str, next: Option<&str>| {
        let mut page = members(&[member]);
        page["Members@odata.count"] = json!(2);
        if let Some(next) = next {
            page["Members@odata.nextLink"] = json!(format!("/redfish/v1{next}"));
        }
        page
    };
    let dimm = |slot: &str| json!({"DeviceLocator": slot, "CapacityMiB": 1024});
    let tree = server(
        json!({"Memory": link("/M")}),
        json!({}),
        json!({"/M": page("/M/1", Some("/M?$skip=1")), "/M?$skip=1": page("/M/2", None), "/M/1": dimm("A"), "/M/2": dimm("B")}),
    );
    assert_eq!(sorted(read(&tree).memory.into_iter().map(|one| one.slot)), ["A", "B"]);
}

#[test]
fn one_part_in_two_lists_is_one_and_two_with_one_number_are_two() {
    let drive = |bay: &str| json!({"SerialNumber": "0000", "Model": "M", "CapacityBytes": 5, "PhysicalLocation": {"PartLocation": {"ServiceLabel": bay}}});
    let supply = |name: &str, serial: &str| json!({"Name": name, "SerialNumber": serial, "Model": "W"});
    let tree = server(
        json!({"Storage": link("/St")}),
        json!({"Drives": link("/Dr"), "PowerSubsystem": link("/PS"), "Power": link("/P")}),
        json!({
            "/St": members(&["/St/1", "/St/2"]), "/St/1": {"Drives": [link("/D/1"), link("/D/2/")]}, "/St/2": {"Drives": [link("/D/3")]},
            "/Dr": members(&["/D/1/", "/D/2", "/D/4"]),
            "/D/1": drive("1"), "/D/2": drive("2"), "/D/3": drive("3"), "/D/4": drive("3"),
            "/PS": {"PowerSupplies": link("/PS/all")}, "/PS/all": members(&["/PS/1", "/PS/2"]),
            "/PS/1": supply("Bay1", "A"), "/PS/2": {"Name": "Bay2", "Model": "W", "SerialNumber": null, "Status": {"State": "Enabled"}},
            "/P": {"PowerSupplies": [supply("PSU 1", "A"), supply("PSU 2", "B"), {"Name": "PSU 3", "Status": {"State": "Absent"}}]},
        }),
    );
    let told = read(&tree);
    assert_eq!(sorted(told.drives.into_iter().map(|one| one.bay)), ["1", "2", "3"]);
    let supplies: Vec<_> =
        told.power_supplies.into_iter().map(|one| (one.slot.unwrap(), one.serial.unwrap())).collect();
    assert_eq!(supplies, [("Bay1".to_string(), "A".to_string()), ("Bay2".into(), "B".into())]);
}

#[test]
fn empty_places_are_no_parts_in_whichever_way_they_are_told() {
    let empty = [
        json!({"Name": "1", "Status": {"State": "Absent"}}),
        json!({"Name": "2", "Status": {"State": "Enabled"}, "CapacityMiB": 0, "Manufacturer": "NO DIMM"}),
        json!({"Name": "3", "CapacityMiB": 0, "SerialNumber": "N/A", "PartNumber": "N/A"}),
        json!({"Name": "4"}),
    ];
    let paths = ["/M/0", "/M/1", "/M/2", "/M/3"];
    let mut tree = server(json!({"Memory": link("/M")}), json!({}), json!({"/M": members(&paths)}));
    for (path, body) in paths.iter().zip(empty) {
        tree.insert(format!("/redfish/v1{path}"), body);
    }
    assert_eq!(read(&tree).memory, []);
}

#[test]
fn names_that_several_parts_share_give_way_to_one_that_tells_them_apart() {
    let supply = |id: &str| json!({"MemberId": id, "Name": "Power Supply", "SerialNumber": format!("P{id}")});
    let bay = |number: u8| json!({"Name": "Same", "SerialNumber": format!("B{number}"), "Oem": {"Acme": {"BayNumber": number}}});
    for (supplies, places) in [([supply("0"), supply("1")], ["0", "1"]), ([bay(1), bay(2)], ["Bay 1", "Bay 2"])] {
        let tree = server(json!({}), json!({"Power": link("/P")}), json!({"/P": {"PowerSupplies": supplies}}));
        assert_eq!(sorted(read(&tree).power_supplies.into_iter().map(|one| one.slot)), places);
    }
}

#[test]
fn members_of_a_bond_stay_two_ports_and_a_vlan_is_none() {
    let port = |mac: &str, own: Value| json!({"MACAddress": mac, "PermanentMACAddress": own});
    let tree = server(
        json!({"EthernetInterfaces": link("/E")}),
        json!({}),
        json!({"/E": members(&["/E/1", "/E/2", "/E/3"]),
            "/E/1": port("52:54:00:00:00:01", json!("52:54:00:00:00:01")),
            "/E/2": port("52:54:00:00:00:01", json!("52:54:00:00:00:02")),
            "/E/3": port("52:54:00:00:00:01", Value::Null)}),
    );
    let told = read(&tree).nics.into_iter().map(|nic| nic.permanent_mac.map(|mac| mac.to_string()));
    assert_eq!(sorted(told), ["52:54:00:00:00:01", "52:54:00:00:00:02"]);
}

#[test]
fn a_profiles_own_links_lead_to_more() {
    let disk = json!({"Location": "1I:1:1", "SerialNumber": "Z9", "Model": "MK", "CapacityMiB": 1024});
    let tree = server(
        json!({"Oem": {"Acme": {"Arrays": link("/A")}}}),
        json!({}),
        json!({"/A": {"Name": "Arrays", "Disks": link("/A/D")}, "/A/D": members(&["/A/D/1"]), "/A/D/1": disk}),
    );
    let own = |from, at: &str, to| Link { from, at: at.into(), to };
    let links = vec![
        own(Resource::System, "/Oem/Acme/Arrays", Resource::Folder),
        own(Resource::Folder, "/Disks", Resource::Drive),
    ];
    let told = crawl(&tree, None, links).unwrap();
    let [drive] = told.drives.as_slice() else { panic!("{:?}", told.drives) };
    assert_eq!((drive.bay.as_deref(), drive.size_bytes), (Some("1I:1:1"), Some(1 << 30)));
    assert_eq!(read(&tree).drives, []);
}

#[test]
fn what_a_link_promises_and_nobody_serves_is_a_gap() {
    let tree = server(
        json!({"Memory": link("/M"), "Processors": link("/none")}),
        json!({}),
        json!({"/M": members(&["/M/1"])}),
    );
    let gaps: Vec<String> = read(&tree).gaps.into_iter().map(|gap| gap.at).collect();
    assert_eq!(gaps, ["/redfish/v1/none", "/redfish/v1/M/1"]);
}

#[test]
fn a_tree_without_end_is_left_with_a_gap() {
    let many: Vec<Value> = (0..30_000).map(|at| json!({"Name": at, "SerialNumber": at, "CapacityMiB": 1})).collect();
    let inline = server(json!({"Memory": link("/M")}), json!({}), json!({"/M": {"Members": many}}));
    let told = read(&inline);
    assert!(
        told.memory.len() <= 10_000 && told.gaps.iter().any(|gap| gap.reason.contains("more than")),
        "{:?}",
        told.gaps
    );
    // Each page of the collection names the next, for ever.
    let mut walk = Walk::from_root(json!({"Systems": link("/Systems")}));
    let mut reads = 0;
    while let Some(step) = walk.next() {
        reads += 1;
        walk.read(&step, json!({"Members": [], "Members@odata.nextLink": format!("{}x", step.path)}));
    }
    assert!(reads <= 4000 && walk.gaps().iter().any(|gap| gap.reason.contains("stopped after")), "{reads}");
}
