//! Is the installed machine what was ordered? Compared field by field with what the system on the disk says of itself.
//!
//! What the system does not tell is a difference, never a pass.

use muster_catalog::Difference;
use muster_names::{Digest, OrderId};
use muster_wire::{Checked, DiskRef, NetworkConfig};
use serde::{Deserialize, Serialize};

/// What the order promised, and what the installer found while writing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ordered {
    pub order: OrderId,
    pub raw_digest: Digest,
    /// Of the root filesystem inside the image.
    pub root_uuid: Option<String>,
    pub disk: DiskRef,
    pub hostname: String,
    pub users: Vec<String>,
    pub network: NetworkConfig,
    /// The version of the agent that the image carries, where the image's manifest tells it.
    pub agent_version: Option<String>,
}

/// Every difference between order and machine; none means that it passes.
pub fn judge(ordered: &Ordered, checked: &Checked) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut compare = |path: &str, expected: String, actual: Option<String>| {
        if actual.as_deref() != Some(expected.as_str()) {
            found.push(Difference { path: path.into(), expected, actual });
        }
    };
    compare("order", ordered.order.to_string(), checked.order.map(|order| order.to_string()));
    compare("image.raw-digest", ordered.raw_digest.to_string(), checked.raw_digest.map(|digest| digest.to_string()));
    if let Some(uuid) = &ordered.root_uuid {
        compare("root.uuid", uuid.clone(), checked.root_uuid.clone());
    }
    compare("disk", disk(&ordered.disk), checked.root_disk.as_ref().map(disk));
    compare("hostname", ordered.hostname.clone(), Some(checked.hostname.clone()));
    if let Some(version) = &ordered.agent_version {
        compare("agent.version", version.clone(), Some(checked.agent_version.clone()));
    }
    for user in &ordered.users {
        compare(&format!("users.{user}"), "present".into(), checked.users.contains(user).then(|| "present".into()));
    }
    for address in promised_addresses(&ordered.network) {
        let there = checked.addresses.contains(address).then(|| "present".into());
        compare(&format!("network.{address}"), "present".into(), there);
    }
    if checked.addresses.is_empty() {
        compare("network", "an address".into(), None);
    }
    if let Some(word) = &checked.cloud_init
        && !matches!(word.as_str(), "done" | "running")
    {
        compare("cloud-init", "done".into(), Some(word.clone()));
    }
    found
}

fn disk(disk: &DiskRef) -> String {
    let word = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
    format!("wwn {} serial {} of {} bytes", word(&disk.wwn), word(&disk.serial), disk.size_bytes)
}

fn promised_addresses(network: &NetworkConfig) -> impl Iterator<Item = &String> {
    let interfaces = network.interfaces.iter().flat_map(|i| &i.addresses);
    let bonds = network.bonds.iter().flat_map(|b| &b.addresses);
    let vlans = network.vlans.iter().flat_map(|v| &v.addresses);
    interfaces.chain(bonds).chain(vlans)
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_names::Epoch;

    fn ordered() -> Ordered {
        Ordered {
            order: OrderId(1),
            raw_digest: Digest([7; 32]),
            root_uuid: Some("0a1b".into()),
            disk: DiskRef { wwn: None, serial: Some("D1".into()), size_bytes: 100 },
            hostname: "node1".into(),
            users: vec!["ops".into()],
            network: NetworkConfig::default(),
            agent_version: Some("0.1.0".into()),
        }
    }

    fn checked() -> Checked {
        Checked {
            epoch: Epoch(3),
            root_uuid: Some("0a1b".into()),
            root_disk: Some(ordered().disk),
            order: Some(OrderId(1)),
            image: None,
            raw_digest: Some(Digest([7; 32])),
            hostname: "node1".into(),
            addresses: vec!["10.0.0.5/24".into()],
            default_route: true,
            users: vec!["ops".into(), "other".into()],
            kernel: "6.1".into(),
            agent_version: "0.1.0".into(),
            cloud_init: Some("done".into()),
            secure_boot: None,
        }
    }

    #[test]
    fn a_machine_as_ordered_passes() {
        assert_eq!(judge(&ordered(), &checked()), vec![]);
    }

    #[test]
    fn each_field_that_differs_or_is_not_told_is_named() {
        let cases: Vec<(&str, Checked)> = vec![
            ("order", Checked { order: None, ..checked() }),
            ("image.raw-digest", Checked { raw_digest: Some(Digest([8; 32])), ..checked() }),
            ("root.uuid", Checked { root_uuid: None, ..checked() }),
            ("disk", Checked { root_disk: Some(DiskRef { serial: Some("D2".into()), ..ordered().disk }), ..checked() }),
            ("hostname", Checked { hostname: "localhost".into(), ..checked() }),
            ("users.ops", Checked { users: vec![], ..checked() }),
            ("network", Checked { addresses: vec![], ..checked() }),
            ("agent.version", Checked { agent_version: "0.0.9".into(), ..checked() }),
            ("cloud-init", Checked { cloud_init: Some("error".into()), ..checked() }),
        ];
        for (path, checked) in cases {
            let paths: Vec<String> = judge(&ordered(), &checked).into_iter().map(|d| d.path).collect();
            assert_eq!(paths, [path]);
        }
    }

    #[test]
    fn a_promised_address_that_is_not_there_is_a_difference() {
        let mut order = ordered();
        order.network.bonds.push(muster_wire::Bond {
            name: "bond0".into(),
            interfaces: vec![],
            mode: "802.3ad".into(),
            dhcp4: false,
            addresses: vec!["10.9.9.9/24".into()],
            gateway4: None,
            mtu: None,
        });
        let found = judge(&order, &checked());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, "network.10.9.9.9/24");
    }
}
