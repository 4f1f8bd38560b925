//! A model learnt from a machine reads back and identifies that machine.

use super::compared::machine;
use super::{BMC, BMC_FILE};
use crate::{About, Evidence, Identified, Role, identify, learn, read};
use muster_names::{Bmc, Cpu, Digest, Dimm, Disk, DiskKind, Firmware, Inventory, Nic, System, Tpm};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn about() -> About {
    About {
        id: "learnt".into(),
        title: "Learnt \"here\"".into(),
        role: Role::Compute,
        evidence: Evidence::Captured(Digest([7; 32])),
        bmc_profile: "plain".into(),
    }
}

fn reads_back(inventory: &Inventory) -> Result<Identified, String> {
    let text = learn(inventory, &about())?;
    let files = [("firmware-profiles/models/learnt.toml", text.as_str()), (BMC_FILE, BMC)];
    let catalog = read(&files).map_err(|slips| format!("{slips:?}\n{text}"))?;
    Ok(identify(&catalog, inventory))
}

#[test]
fn a_model_learnt_from_a_machine_is_that_machines_model() {
    assert_eq!(reads_back(&machine()), Ok(Identified::Model("learnt".into())));
}

#[test]
fn a_machine_in_service_can_be_learnt_from_although_its_root_disk_is_in_use() {
    let mut machine = machine();
    machine.disks[0].in_use = Some("mounted on /".into());
    assert_eq!(reads_back(&machine), Ok(Identified::Model("learnt".into())));
}

#[test]
fn nothing_is_learnt_from_a_machine_that_does_not_say_what_it_is() {
    let mut machine = machine();
    machine.system.product = None;
    assert!(learn(&machine, &about()).unwrap_err().contains("product"));
    let mut machine = self::machine();
    machine.disks.clear();
    assert!(learn(&machine, &about()).unwrap_err().contains("disk"));
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof!["[A-Za-z0-9*\"'\\\\. ]{0,8}", any::<String>(), Just("Model".to_owned())]
}

fn disk() -> impl Strategy<Value = Disk> {
    let kind = prop_oneof![
        Just(DiskKind::Nvme),
        Just(DiskKind::Ssd),
        Just(DiskKind::Hdd),
        Just(DiskKind::Virtual),
        Just(DiskKind::Unknown)
    ];
    let size = prop_oneof![Just(0u64), Just(480_000_000_000), any::<u64>()];
    (word(), kind, option::of(word()), option::of("[A-Z0-9]{0,6}"), size).prop_map(
        |(name, kind, model, serial, size_bytes)| Disk { name, kind, model, serial, size_bytes, ..Disk::default() },
    )
}

fn nic() -> impl Strategy<Value = Nic> {
    let speed = option::of(prop_oneof![Just(0), Just(25000), any::<u32>()]);
    (word(), option::of(word()), option::of(word()), any::<bool>(), speed).prop_map(
        |(name, model, driver, link, speed_mbps)| Nic { name, model, driver, link, speed_mbps, ..Nic::default() },
    )
}

prop_compose! {
    fn inventory()(
        manufacturer in word(), product in word(), chassis in option::of(word()),
        cpus in vec((word(), word(), any::<u16>()), 0..3),
        dimms in vec((word(), any::<u64>(), option::of(any::<u32>()), option::of(word())), 0..4),
        disks in vec(disk(), 0..5),
        nics in vec(nic(), 0..4),
        firmware in vec((word(), word()), 0..3),
        bmc in option::of(option::of(word())),
        tpm in option::of(option::of(word())),
    ) -> Inventory {
        Inventory {
            system: System {
                manufacturer: Some(manufacturer), product: Some(product), chassis_manufacturer: chassis,
                ..System::default()
            },
            cpus: cpus.into_iter()
                .map(|(socket, model, cores)| Cpu { socket, model, cores, threads: cores / 2, microcode: None })
                .collect(),
            dimms: dimms.into_iter()
                .map(|(slot, size_mib, speed_mts, kind)| Dimm { slot, size_mib, speed_mts, kind, ..Dimm::default() })
                .collect(),
            disks,
            nics,
            firmware: firmware.into_iter().map(|(component, version)| Firmware { component, version }).collect(),
            bmc: bmc.map(|firmware| Bmc { firmware, ..Bmc::default() }),
            tpm: tpm.map(|version| Tpm { version }),
            ..Inventory::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn whatever_can_be_learnt_reads_back_and_identifies_its_machine(inventory in inventory()) {
        if learn(&inventory, &about()).is_ok() {
            prop_assert_eq!(reads_back(&inventory), Ok(Identified::Model("learnt".into())));
        }
    }
}
