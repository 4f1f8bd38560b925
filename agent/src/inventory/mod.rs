//! What the machine consists of, read from firmware tables and the kernel's view. Nothing here writes.
//!
//! Every file is looked up below a [`Roots`], so that a test can lay out a machine in a folder.

pub mod bmc;
pub mod disks;
pub mod nics;
pub mod signatures;
pub mod smbios;

use muster_names::{Architecture, Cpu, FirmwareMode, Inventory, PciDevice, Tpm};
use smbios::Socket;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the machine's file tree begins: `/`, or a folder in tests.
#[derive(Clone, Debug)]
pub struct Roots(PathBuf);

impl Roots {
    pub fn real() -> Self {
        Self("/".into())
    }

    pub fn at(folder: &Path) -> Self {
        Self(folder.into())
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.0.join(below)
    }

    pub fn bytes(&self, below: &str) -> Vec<u8> {
        fs::read(self.path(below)).unwrap_or_default()
    }
}

/// A small file's text without padding; `None` when it is not there or empty.
pub fn word(path: &Path) -> Option<String> {
    crate::bytes::text(&fs::read(path).ok()?)
}

pub fn number(path: &Path) -> Option<u64> {
    word(path)?.parse().ok()
}

/// Names in a folder, sorted, so that two looks at the same machine are the same.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

pub fn firmware_mode(roots: &Roots) -> FirmwareMode {
    if roots.path("sys/firmware/efi").is_dir() { FirmwareMode::Uefi } else { FirmwareMode::Bios }
}

/// The variable `SecureBoot` (UEFI 2.10, 3.3): four bytes of attributes, then 1 where firmware checks signatures.
pub fn secure_boot(roots: &Roots) -> Option<bool> {
    let variable = roots.bytes("sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c");
    match variable.as_slice() {
        [_, _, _, _, on] => Some(*on == 1),
        _ => None,
    }
}

/// What this program was built for is what the machine runs.
pub fn architecture() -> Option<Architecture> {
    match std::env::consts::ARCH {
        "x86_64" => Some(Architecture::X86_64),
        "aarch64" => Some(Architecture::Arm64),
        _ => None,
    }
}

/// Looks at everything. Neighbors come later, from [`crate::lldp`].
pub fn look(roots: &Roots) -> Inventory {
    let tables = smbios::read(
        &roots.bytes("sys/firmware/dmi/tables/smbios_entry_point"),
        &roots.bytes("sys/firmware/dmi/tables/DMI"),
    );
    let bmc = bmc::ask(roots);
    let mut firmware: Vec<_> = tables.bios.into_iter().collect();
    firmware.extend(
        bmc.iter()
            .filter_map(|bmc| bmc.firmware.clone())
            .map(|version| muster_names::Firmware { component: "bmc".into(), version }),
    );
    Inventory {
        system: tables.system,
        cpus: cpus(&String::from_utf8_lossy(&roots.bytes("proc/cpuinfo")), &tables.sockets),
        dimms: tables.dimms,
        disks: disks::find(roots).into_iter().map(|found| found.disk).collect(),
        nics: nics::find(roots),
        pci: pci(roots),
        bmc,
        firmware,
        tpm: tpm(roots),
        firmware_mode: Some(firmware_mode(roots)),
        secure_boot: secure_boot(roots),
        architecture: architecture(),
    }
}

/// Groups `/proc/cpuinfo` by socket; SMBIOS gives the sockets their names where both count the same. On arm64 it tells
/// neither sockets nor cores nor a name: all processors are then one socket, called as SMBIOS calls it, or by the codes of
/// its maker and part.
pub fn cpus(cpuinfo: &str, sockets: &[Socket]) -> Vec<Cpu> {
    let mut found: BTreeMap<u32, Cpu> = BTreeMap::new();
    for block in cpuinfo.split("\n\n").filter(|block| !block.trim().is_empty()) {
        let fields: BTreeMap<&str, &str> = block
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim(), value.trim()))
            .collect();
        if !fields.contains_key("processor") {
            continue;
        }
        let package = fields.get("physical id").and_then(|id| id.parse().ok()).unwrap_or(0);
        let cpu = found.entry(package).or_default();
        cpu.threads = cpu.threads.saturating_add(1);
        if let Some(model) = fields.get("model name") {
            cpu.model = model.split_whitespace().collect::<Vec<_>>().join(" ");
        } else if let (Some(maker), Some(part)) = (fields.get("CPU implementer"), fields.get("CPU part")) {
            cpu.model = format!("implementer {maker} part {part}");
        }
        cpu.cores = fields.get("cpu cores").and_then(|n| n.parse().ok()).unwrap_or(cpu.threads);
        cpu.microcode = fields.get("microcode").map(|&code| code.to_owned());
    }
    let named = sockets.len() == found.len();
    let finish = |(n, (package, mut cpu)): (usize, (u32, Cpu))| {
        let told = sockets.get(n).filter(|_| named);
        cpu.socket = told.map_or_else(|| format!("CPU {package}"), |socket| socket.name.clone());
        if let Some(version) =
            told.and_then(|socket| socket.version.clone()).filter(|_| cpu.model.starts_with("implementer"))
        {
            cpu.model = version;
        }
        cpu
    };
    found.into_iter().enumerate().map(finish).collect()
}

fn pci(roots: &Roots) -> Vec<PciDevice> {
    let folder = roots.path("sys/bus/pci/devices");
    let code = |device: &Path, file: &str| Some(word(&device.join(file))?.trim_start_matches("0x").to_lowercase());
    names(&folder)
        .into_iter()
        .filter_map(|address| {
            let device = folder.join(&address);
            let (vendor, class) = (code(&device, "vendor")?, code(&device, "class")?);
            Some(PciDevice { vendor, device: code(&device, "device")?, class, address })
        })
        .collect()
}

fn tpm(roots: &Roots) -> Option<Tpm> {
    let folder = roots.path("sys/class/tpm/tpm0");
    folder.exists().then(|| Tpm {
        version: match word(&folder.join("tpm_version_major")).as_deref() {
            Some("1") => Some("1.2".into()),
            other => other.map(Into::into),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn socket(name: &str, version: Option<&str>) -> Socket {
        Socket { name: name.into(), version: version.map(Into::into) }
    }

    #[test]
    fn processors_of_arm64_are_one_socket_named_by_smbios_or_by_their_codes() {
        let text: String = (0..4)
            .map(|n| format!("processor\t: {n}\nBogoMIPS\t: 125.00\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n\n"))
            .collect();
        let found = cpus(&text, &[]);
        assert_eq!((found.len(), found[0].threads, found[0].cores), (1, 4, 4));
        assert_eq!((found[0].socket.as_str(), found[0].model.as_str()), ("CPU 0", "implementer 0x41 part 0xd0c"));
        let found = cpus(&text, &[socket("SOC 0", Some("Rock 80-30"))]);
        assert_eq!((found[0].socket.as_str(), found[0].model.as_str()), ("SOC 0", "Rock 80-30"));
    }

    #[test]
    fn threads_are_grouped_by_socket() {
        let thread = |n: u32, package: u32| {
            format!(
                "processor\t: {n}\nmodel name\t: Fast  CPU @ 2\nphysical id\t: {package}\ncpu cores\t: 2\nmicrocode\t: 0x1\n\n"
            )
        };
        let text: String = (0..8).map(|n| thread(n, n / 4)).collect();
        let cpus = cpus(&text, &[socket("P0", None), socket("P1", Some("Other"))]);
        assert_eq!(cpus.len(), 2);
        assert_eq!((cpus[1].socket.as_str(), cpus[1].cores, cpus[1].threads), ("P1", 2, 4));
        assert_eq!(cpus[0].model, "Fast CPU @ 2");
    }

    #[test]
    fn socket_names_that_do_not_fit_are_not_used() {
        let cpus = cpus("processor : 0\n", &[socket("P0", None), socket("P1", None)]);
        assert_eq!((cpus[0].socket.as_str(), cpus[0].cores), ("CPU 0", 1));
    }

    #[test]
    fn an_empty_tree_is_an_empty_inventory() {
        let nothing = look(&Roots::at(Path::new("/nonexistent")));
        let (firmware_mode, architecture) = (Some(FirmwareMode::Bios), architecture());
        assert_eq!(nothing, Inventory { firmware_mode, architecture, ..Inventory::default() });
    }

    #[test]
    fn secure_boot_is_what_the_firmwares_variable_says() {
        let root = std::env::temp_dir().join(format!("muster-secure-boot-{}", std::process::id()));
        let folder = root.join("sys/firmware/efi/efivars");
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c");
        let roots = Roots::at(&root);
        assert_eq!(secure_boot(&roots), None);
        for (bytes, said) in [(vec![6, 0, 0, 0, 1], Some(true)), (vec![6, 0, 0, 0, 0], Some(false)), (vec![6, 0], None)]
        {
            fs::write(&file, bytes).unwrap();
            assert_eq!(secure_boot(&roots), said);
        }
        fs::remove_dir_all(root).unwrap();
    }

    proptest! {
        #[test]
        fn no_text_panics(text: String) {
            let _ = cpus(&text, &[]);
        }
    }
}
