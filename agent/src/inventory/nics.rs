//! Network ports: those with hardware behind them, by the address that is burnt in.

use super::{Roots, names, number, word};
use crate::bytes::text;
use crate::init::interface;
use muster_names::{Mac, Nic};
use std::fs;
use std::path::Path;

pub fn find(roots: &Roots) -> Vec<Nic> {
    let folder = roots.path("sys/class/net");
    names(&folder).iter().filter_map(|name| one(&folder.join(name), name)).collect()
}

/// `None` for what has no hardware: loopback, bonds, bridges, VLANs.
fn one(folder: &Path, name: &str) -> Option<Nic> {
    let device = folder.join("device");
    // 1 = Ethernet (linux/if_arp.h)
    if !device.exists() || number(&folder.join("type")) != Some(1) {
        return None;
    }
    let address = || word(&folder.join("address"))?.parse::<Mac>().ok();
    let mac = interface::permanent_address(name).filter(Mac::is_unicast).or_else(address);
    let way = fs::canonicalize(&device).unwrap_or(device.clone());
    let pci_address = pci_address(&way);
    let code = |file: &str| Some(word(&pci_folder(&way)?.join(file))?.trim_start_matches("0x").to_owned());
    let link = number(&folder.join("carrier")) == Some(1);
    Some(Nic {
        name: name.to_owned(),
        mac,
        speed_mbps: number(&folder.join("speed")).and_then(|n| u32::try_from(n).ok()).filter(|n| link && *n > 0),
        link,
        driver: fs::canonicalize(device.join("driver")).ok().and_then(|way| text(way.file_name()?.as_encoded_bytes())),
        model: code("vendor").zip(code("device")).map(|(vendor, device)| format!("{vendor}:{device}")),
        firmware: interface::firmware(name),
        pci_address,
        neighbor: None,
    })
}

/// The nearest PCI function above a device; a virtio port has a layer between.
fn pci_folder(way: &Path) -> Option<&Path> {
    way.ancestors().find(|folder| folder.file_name().and_then(|n| n.to_str()).is_some_and(is_pci_address))
}

fn pci_address(way: &Path) -> Option<String> {
    Some(pci_folder(way)?.file_name()?.to_str()?.to_owned())
}

/// `0000:00:1f.2`
fn is_pci_address(name: &str) -> bool {
    let mut parts = name.split([':', '.']);
    let mut hex =
        |len: usize| parts.next().is_some_and(|part| part.len() >= len && part.bytes().all(|b| b.is_ascii_hexdigit()));
    hex(4) && hex(2) && hex(2) && hex(1) && parts.next().is_none() && name.contains('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ports_pci_function_is_found_through_the_layers_above() {
        let way = Path::new("/sys/devices/pci0000:00/0000:00:03.0/virtio0");
        assert_eq!(pci_address(way).as_deref(), Some("0000:00:03.0"));
        assert_eq!(pci_address(Path::new("/sys/devices/virtual/net/lo")), None);
    }

    #[test]
    fn ports_without_hardware_are_left_out() {
        let root = std::env::temp_dir().join(format!("muster-nics-{}", std::process::id()));
        for (name, device) in [("eth7", true), ("bond0", false)] {
            let folder = root.join("sys/class/net").join(name);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("type"), "1\n").unwrap();
            fs::write(folder.join("address"), "52:54:00:00:00:07\n").unwrap();
            fs::write(folder.join("carrier"), "1\n").unwrap();
            fs::write(folder.join("speed"), "-1\n").unwrap();
            if device {
                fs::create_dir_all(folder.join("device")).unwrap();
            }
        }
        let found = find(&Roots::at(&root));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].name.as_str(), found[0].link, found[0].speed_mbps), ("eth7", true, None));
        assert_eq!(found[0].mac, Some(Mac([0x52, 0x54, 0, 0, 0, 7])));
        fs::remove_dir_all(root).unwrap();
    }
}
