//! Every claimed field is compared, and silence is never a pass.

use super::{catalog, files};
use crate::{Identified, Model, Number, Pick, RootDisk, Text, Version, compare, identify, read, root_disk};
use muster_names::{Cpu, Dimm, Disk, DiskKind, Firmware, Inventory, MachineId, Nic, System, Tpm};
use proptest::prelude::*;

/// A word that must be told, and what is done to bring it about.
type Change<T> = (&'static str, fn(&mut T));

fn model() -> Model {
    catalog().model("small").unwrap().clone()
}

fn disk(name: &str, kind: DiskKind, gb: u64) -> Disk {
    let serial = Some(format!("serial-{name}"));
    Disk { name: name.into(), kind, size_bytes: gb * 1_000_000_000, serial, ..Disk::default() }
}

/// A machine of the model `small`.
pub fn machine() -> Inventory {
    let cpu = |socket: &str| Cpu {
        socket: socket.into(),
        model: "Example 9000 CPU".into(),
        cores: 12,
        threads: 24,
        microcode: None,
    };
    let dimm = |slot: &str| Dimm { slot: slot.into(), size_mib: 32768, speed_mts: Some(3200), ..Dimm::default() };
    let nic = |name: &str, link: bool| Nic {
        name: name.into(),
        driver: Some("mlx5_core".into()),
        link,
        speed_mbps: link.then_some(25000),
        ..Nic::default()
    };
    Inventory {
        system: System { manufacturer: Some("Example Inc.".into()), product: Some("R2 ".into()), ..System::default() },
        cpus: vec![cpu("CPU0"), cpu("CPU1")],
        dimms: vec![dimm("A1"), dimm("B1")],
        disks: vec![
            disk("sda", DiskKind::Ssd, 480),
            disk("sdb", DiskKind::Hdd, 8001),
            disk("sdc", DiskKind::Hdd, 8001),
        ],
        nics: vec![nic("eth0", true), nic("eth1", false)],
        firmware: vec![Firmware { component: "bios".into(), version: "1.10.2".into() }],
        tpm: Some(Tpm { version: Some("2".into()) }),
        ..Inventory::default()
    }
}

fn paths(inventory: &Inventory) -> Vec<String> {
    compare(&model(), inventory).into_iter().map(|difference| difference.path).collect()
}

#[test]
fn a_machine_that_fits_every_claim_is_one_of_the_model() {
    assert_eq!(compare(&model(), &machine()), []);
    assert_eq!(identify(&catalog(), &machine()), Identified::Model("small".into()));
}

#[test]
fn every_single_change_is_a_difference_under_its_own_path() {
    let changes: [Change<Inventory>; 18] = [
        ("system.manufacturer", |m| m.system.manufacturer = Some("Other".into())),
        ("system.product", |m| m.system.product = Some("R3".into())),
        ("cpu.sockets", |m| drop(m.cpus.pop())),
        ("cpu.CPU1.model", |m| m.cpus[1].model = "Other CPU".into()),
        ("cpu.CPU0.cores", |m| m.cpus[0].cores = 7),
        ("memory.dimms", |m| m.dimms.push(m.dimms[0].clone())),
        ("memory.A1.dimm-mib", |m| m.dimms[0].size_mib = 65536),
        ("memory.B1.speed-mts", |m| m.dimms[1].speed_mts = Some(2933)),
        ("disks.data.count", |m| drop(m.disks.pop())),
        ("disks.sdd", |m| m.disks.push(disk("sdd", DiskKind::Nvme, 960))),
        ("disks.sda", |m| m.disks[0].size_bytes = 960_000_000_000),
        ("nics.fabric.count", |m| drop(m.nics.pop())),
        ("nics.fabric.eth0.speed-mbps", |m| m.nics[0].speed_mbps = Some(10000)),
        ("nics.fabric.linked", |m| m.nics[0].link = false),
        ("nics.eth1", |m| m.nics[1].driver = Some("e1000e".into())),
        ("firmware.bios", |m| m.firmware[0].version = "1.9".into()),
        ("tpm", |m| m.tpm = Some(Tpm { version: Some("1.2".into()) })),
        ("memory.total-mib", |m| m.dimms[0].size_mib = 1024),
    ];
    for (path, change) in changes {
        let mut machine = machine();
        change(&mut machine);
        assert!(paths(&machine).contains(&path.to_owned()), "{path}: {:?}", paths(&machine));
    }
}

#[test]
fn what_the_machine_did_not_tell_is_a_difference_and_says_so() {
    let silences: [Change<Inventory>; 9] = [
        ("system.product", |m| m.system.product = None),
        ("system.product", |m| m.system.product = Some("  ".into())),
        ("cpu.model", |m| m.cpus.clear()),
        ("cpu.CPU0.cores", |m| m.cpus[0].cores = 0),
        ("memory.speed-mts", |m| m.dimms.clear()),
        ("memory.A1.speed-mts", |m| m.dimms[0].speed_mts = None),
        ("nics.fabric.eth0.speed-mbps", |m| m.nics[0].speed_mbps = None),
        ("firmware.bios", |m| m.firmware.clear()),
        ("tpm", |m| m.tpm = None),
    ];
    for (path, silence) in silences {
        let mut machine = machine();
        silence(&mut machine);
        let differences = compare(&model(), &machine);
        let found = differences.iter().find(|difference| difference.path == path).expect(path);
        assert_eq!(found.actual, None, "{found}");
        assert!(found.to_string().contains("did not tell"));
    }
    assert!(compare(&model(), &Inventory::default()).len() >= 12);
}

#[test]
fn the_nearest_model_is_told_with_its_differences_and_is_not_a_match() {
    let mut machine = machine();
    machine.cpus[0].cores = 4;
    let Identified::None { nearest: Some((id, differences)) } = identify(&catalog(), &machine) else { panic!() };
    assert_eq!((id.as_str(), differences.len()), ("small", 1));
    assert_eq!(differences[0].to_string(), "cpu.CPU0.cores: expected 8 to 16, found 4");
}

#[test]
fn two_models_that_both_fit_are_left_to_a_person() {
    let mut files = files();
    let twin = files[0].1.replace("id = \"small\"", "id = \"twin\"");
    files.push(("firmware-profiles/models/twin.toml".into(), twin));
    let catalog = read(&files).unwrap();
    assert_eq!(identify(&catalog, &machine()), Identified::Ambiguous(vec!["small".into(), "twin".into()]));
}

#[test]
fn parts_beyond_the_claims_pass_only_where_the_model_allows_them() {
    let mut model = model();
    let mut machine = machine();
    machine.disks.push(disk("sdd", DiskKind::Nvme, 960));
    assert_ne!(compare(&model, &machine), []);
    model.identify.other_disks = crate::Others::Allowed;
    assert_eq!(compare(&model, &machine), []);
}

#[test]
fn versions_are_compared_by_their_numbers() {
    for (least, told) in
        [("1.9", "1.10"), ("2.0", "2"), ("2.19.1", "2.20.0"), ("U58 v2.4", "U58 v2.44"), ("1.2", "1.2a")]
    {
        assert!(Version::Min(least.into()).admits(Some(told)), "{told} is at least {least}");
    }
    for (least, told) in [("1.10", "1.9"), ("2.1", "2.rc1"), ("1.2a", "1.2"), ("1", "99999999999999999999999x")] {
        assert_eq!(Version::Min(least.into()).admits(Some(told)), told.starts_with('9'), "{told} against {least}");
    }
}

#[test]
fn a_star_stands_for_any_run_and_everything_else_for_itself() {
    for (pattern, text, fits) in [
        ("Xeon * CPU", "Xeon 6354 CPU", true),
        ("*", "anything", true),
        ("a*b*c", "a-b-b-c", true),
        ("a*c", "abcd", false),
        ("ab*ba", "aba", false),
        ("a.c", "abc", false),
        ("abc", "abc", true),
        ("*x", "xyx", true),
    ] {
        assert_eq!(Text::Pattern(pattern.into()).admits(Some(text)), fits, "{pattern} {text}");
    }
    assert!(!Text::Pattern("*".into()).admits(None));
}

fn rule(kind: DiskKind, pick: Pick) -> RootDisk {
    RootDisk { kind, pick, size_gb: Number::Any, model: Text::Any, serial: Text::Any }
}

#[test]
fn the_root_disk_is_exactly_one_or_the_reason_is_told() {
    let mut machine = machine();
    assert_eq!(root_disk(&rule(DiskKind::Ssd, Pick::Only), &machine, None).unwrap().name, "sda");
    assert_eq!(root_disk(&rule(DiskKind::Hdd, Pick::FirstSerial), &machine, None).unwrap().name, "sdb");
    assert!(root_disk(&rule(DiskKind::Hdd, Pick::Only), &machine, None).unwrap_err().contains("2 hdd disks"));
    assert!(
        root_disk(&rule(DiskKind::Hdd, Pick::Smallest), &machine, None).unwrap_err().contains("same smallest size")
    );
    assert!(root_disk(&rule(DiskKind::Nvme, Pick::Only), &machine, None).unwrap_err().contains("no nvme disk"));
    machine.disks[2].serial = None;
    assert!(root_disk(&rule(DiskKind::Hdd, Pick::FirstSerial), &machine, None).unwrap_err().contains("serial"));
}

#[test]
fn a_root_disk_that_must_not_be_written_is_never_exchanged_for_the_next() {
    let changes: [Change<Disk>; 3] = [
        ("read-only", |disk| disk.read_only = true),
        ("member of an array", |disk| disk.in_use = Some("member of an array".into())),
        ("calls themselves serial-sdc", |disk| disk.serial = Some("serial-sdc".into())),
    ];
    for (why, change) in changes {
        let mut machine = machine();
        machine.disks[1].serial = Some("serial-sda0".into());
        change(&mut machine.disks[1]);
        let refused = root_disk(&rule(DiskKind::Hdd, Pick::FirstSerial), &machine, None).unwrap_err();
        let word = why.split(' ').next_back().unwrap();
        assert!(refused.contains(word), "{why}: {refused}");
    }
}

#[test]
fn only_a_reimage_takes_a_disk_in_use_and_only_under_the_machines_own_seal() {
    let mut machine = machine();
    machine.disks[0].in_use = Some("sda3 is mounted on /".into());
    let (me, other) = (MachineId(7), MachineId(8));
    let chosen = |machine: &Inventory, reimage| root_disk(&rule(DiskKind::Ssd, Pick::Only), machine, reimage).is_ok();
    assert!(!chosen(&machine, Some(me)), "nobody's seal");
    machine.disks[0].owner = Some(me.to_string());
    assert!(chosen(&machine, Some(me)));
    assert!(!chosen(&machine, Some(other)));
    assert!(!chosen(&machine, None));
    machine.disks[0].read_only = true;
    assert!(!chosen(&machine, Some(me)));
}

proptest! {
    #[test]
    fn no_pattern_and_no_version_panics(pattern: String, text: String) {
        Text::Pattern(pattern.clone()).admits(Some(&text));
        Version::Min(pattern).admits(Some(&text));
    }

    #[test]
    fn a_version_is_at_least_itself(text in "[0-9a-z. -]{1,20}") {
        prop_assume!(!text.trim().is_empty());
        prop_assert!(Version::Min(text.clone()).admits(Some(&text)));
    }

    #[test]
    fn a_text_with_a_run_taken_out_fits_its_pattern(before in "[a-c]{0,6}", run in "[a-c]{0,6}", after in "[a-c]{1,6}") {
        let pattern = Text::Pattern(format!("{before}*{after}"));
        let text = [before, run, after].concat();
        prop_assert!(pattern.admits(Some(&text)));
    }
}
