//! The NoCloud seed: what the installed system's cloud-init is told at its first boot.
//!
//! Everything is written as JSON, which YAML 1.2 contains: a name with a colon or a newline in it stays a name and
//! cannot become a key. The site's own cloud-config follows ours as a second part; its lists are appended and its keys
//! do not replace ours.

use crate::bytes::hex;
use crate::install::bring;
use muster_wire::{AgentConfig, InstallOrder, NetworkConfig, Written};
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value, json};

/// Where the resident agent finds its configuration, and keeps its key.
pub const CONFIG_PATH: &str = "/etc/muster/agent.json";
const KEY_PATH: &str = "/var/lib/muster/agent.key";

/// The seed's files: name and content.
pub fn files(order: &InstallOrder, written: Written) -> Vec<(&'static str, Vec<u8>)> {
    let hostname = &order.seed.hostname;
    // Local: all of the seed lies on this disk, so files, users and the hostname need not wait for the network.
    let meta = json!({ "instance-id": order.order.to_string(), "local-hostname": hostname, "dsmode": "local" });
    let mut files = vec![("meta-data", pretty(&meta)), ("user-data", user_data(order, written).into_bytes())];
    if let Some(network) = network(&order.seed.network) {
        files.push(("network-config", pretty(&network)));
    }
    files
}

fn pretty(value: &Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}

fn user_data(order: &InstallOrder, written: Written) -> String {
    let ours = format!("#cloud-config\n{:#}\n", cloud_config(order, written));
    let theirs = &order.seed.user_data;
    if theirs.trim().is_empty() {
        return ours;
    }
    let kind = if theirs.starts_with("#!") { "x-shellscript" } else { "cloud-config" };
    // A line that neither part can hold by accident.
    let boundary = hex(digest(&SHA256, format!("{ours}{theirs}").as_bytes()).as_ref());
    format!(
        "Content-Type: multipart/mixed; boundary=\"{boundary}\"\nMIME-Version: 1.0\n\n\
         --{boundary}\nContent-Type: text/cloud-config; charset=\"utf-8\"\n\n{ours}\n\
         --{boundary}\nContent-Type: text/{kind}; charset=\"utf-8\"\n\
         Merge-Type: list(append)+dict(no_replace,recurse_list,recurse_dict)+str()\n\n{theirs}\n\
         --{boundary}--\n"
    )
}

fn cloud_config(order: &InstallOrder, written: Written) -> Value {
    let users: Vec<Value> = order
        .seed
        .users
        .iter()
        .map(|user| {
            let mut entry = Map::from_iter([
                ("name".to_owned(), json!(user.name)),
                ("shell".to_owned(), json!("/bin/bash")),
                ("lock_passwd".to_owned(), json!(true)),
            ]);
            // cloud-init's schema has no empty lists here.
            if !user.ssh_authorized_keys.is_empty() {
                entry.insert("ssh_authorized_keys".into(), json!(user.ssh_authorized_keys));
            }
            if user.sudo {
                entry.insert("sudo".into(), json!("ALL=(ALL) NOPASSWD:ALL"));
            }
            entry.into()
        })
        .collect();
    let resident = &order.resident;
    let config = AgentConfig {
        server: resident.server.clone(),
        ca_pem: resident.ca_pem.clone(),
        token: resident.token.clone(),
        key_file: Some(KEY_PATH.into()),
        written: Some(written),
    };
    let mut files = vec![file(CONFIG_PATH, "0600", &serde_json::to_string_pretty(&config).unwrap_or_default())];
    let mut all = Map::from_iter([
        ("hostname".to_owned(), json!(order.seed.hostname)),
        ("preserve_hostname".to_owned(), json!(false)),
        ("manage_etc_hosts".to_owned(), json!("localhost")),
        ("users".to_owned(), json!(users)),
    ]);
    if let (Some(url), Some(digest)) = (&resident.agent_url, &resident.agent_digest) {
        files.push(file(bring::SCRIPT_PATH, "0700", &bring::script(url, digest)));
        all.insert("runcmd".into(), json!([["/bin/sh", bring::SCRIPT_PATH]]));
    }
    all.insert("write_files".into(), files.into());
    all.into()
}

fn file(path: &str, permissions: &str, content: &str) -> Value {
    json!({ "path": path, "owner": "root:root", "permissions": permissions, "content": content })
}

/// netplan's version 2, which cloud-init renders for whatever the image has; `None` leaves it to its own fallback
/// (DHCP on the first port).
fn network(config: &NetworkConfig) -> Option<Value> {
    if config.interfaces.is_empty() {
        return None;
    }
    let settings = |dhcp4: bool, addresses: &[String], gateway4: &Option<String>, mtu: Option<u32>| {
        let mut map = Map::from_iter([("dhcp4".to_owned(), json!(dhcp4))]);
        if !addresses.is_empty() {
            map.insert("addresses".into(), json!(addresses));
            if !config.nameservers.is_empty() {
                map.insert("nameservers".into(), json!({ "addresses": config.nameservers }));
            }
        }
        map.extend(gateway4.as_ref().map(|gateway| ("gateway4".to_owned(), json!(gateway))));
        map.extend(mtu.map(|mtu| ("mtu".to_owned(), json!(mtu))));
        map
    };
    let mut ethernets = Map::new();
    for port in &config.interfaces {
        let mut map = settings(port.dhcp4, &port.addresses, &port.gateway4, port.mtu);
        map.insert("match".into(), json!({ "macaddress": port.mac.to_string() }));
        map.insert("set-name".into(), json!(port.name));
        ethernets.insert(port.name.clone(), map.into());
    }
    let mut bonds = Map::new();
    for bond in &config.bonds {
        let mut map = settings(bond.dhcp4, &bond.addresses, &bond.gateway4, bond.mtu);
        map.insert("interfaces".into(), json!(bond.interfaces));
        map.insert("parameters".into(), json!({ "mode": bond.mode, "mii-monitor-interval": 100 }));
        bonds.insert(bond.name.clone(), map.into());
    }
    let mut vlans = Map::new();
    for vlan in &config.vlans {
        let mut map = settings(vlan.dhcp4, &vlan.addresses, &vlan.gateway4, None);
        map.insert("id".into(), json!(vlan.id));
        map.insert("link".into(), json!(vlan.link));
        vlans.insert(vlan.name.clone(), map.into());
    }
    let mut all = Map::from_iter([("version".to_owned(), json!(2)), ("ethernets".to_owned(), ethernets.into())]);
    all.extend((!bonds.is_empty()).then(|| ("bonds".to_owned(), bonds.into())));
    all.extend((!vlans.is_empty()).then(|| ("vlans".to_owned(), vlans.into())));
    Some(all.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::tests::order;
    use muster_names::{Digest, Mac};
    use muster_wire::{Bond, Interface, User, Vlan};

    fn written(order: &InstallOrder) -> Written {
        Written {
            order: order.order,
            machine: order.machine,
            image: order.image.id.clone(),
            raw_digest: Digest([3; 32]),
            disk: order.disk.clone(),
        }
    }

    fn text(order: &InstallOrder, name: &str) -> String {
        let files = files(order, written(order));
        String::from_utf8(files.into_iter().find(|(file, _)| *file == name).unwrap().1).unwrap()
    }

    #[test]
    fn the_resident_agent_reads_its_own_configuration_back() {
        let order = order(b"raw");
        let text = text(&order, "user-data");
        let config: Value = serde_json::from_str(text.strip_prefix("#cloud-config\n").unwrap()).unwrap();
        let file = &config["write_files"][0];
        assert_eq!((file["path"].as_str(), file["permissions"].as_str()), (Some(CONFIG_PATH), Some("0600")));
        let agent: AgentConfig = serde_json::from_str(file["content"].as_str().unwrap()).unwrap();
        assert_eq!(agent.written, Some(written(&order)));
        assert_eq!(agent.key_file.as_deref(), Some(KEY_PATH));
    }

    #[test]
    fn files_and_users_do_not_wait_for_the_network() {
        let meta: Value = serde_json::from_str(&text(&order(b"raw"), "meta-data")).unwrap();
        assert_eq!(meta["dsmode"], "local");
    }

    #[test]
    fn an_image_without_an_agent_is_brought_one_and_the_sites_own_commands_follow() {
        let mut order = order(b"raw");
        order.resident.agent_url = Some("http://10.0.0.1:8080/boot/muster-agent".into());
        assert!(!text(&order, "user-data").contains("runcmd"), "never without a digest");
        order.resident.agent_digest = Some(Digest([3; 32]));
        let ours = text(&order, "user-data");
        let config: Value = serde_json::from_str(ours.strip_prefix("#cloud-config\n").unwrap()).unwrap();
        let file = &config["write_files"][1];
        assert_eq!((file["path"].as_str(), file["permissions"].as_str()), (Some(bring::SCRIPT_PATH), Some("0700")));
        let script = bring::script("http://10.0.0.1:8080/boot/muster-agent", &Digest([3; 32]));
        assert_eq!(file["content"].as_str(), Some(script.as_str()));
        assert_eq!(config["runcmd"], json!([["/bin/sh", bring::SCRIPT_PATH]]));
        order.seed.user_data = "#cloud-config\nruncmd: [[true]]\n".into();
        assert!(text(&order, "user-data").contains("Merge-Type: list(append)"));
    }

    #[test]
    fn a_wild_name_stays_one_value() {
        let mut order = order(b"raw");
        order.seed.hostname = "a\nruncmd: [reboot]".into();
        order.seed.users = vec![User { name: "x: y".into(), ssh_authorized_keys: vec!["k\n- z".into()], sudo: false }];
        let text = text(&order, "user-data");
        let config: Value = serde_json::from_str(text.strip_prefix("#cloud-config\n").unwrap()).unwrap();
        assert_eq!(config["users"][0]["name"], "x: y");
        assert!(config.get("runcmd").is_none() && config["users"][0].get("sudo").is_none());
    }

    #[test]
    fn the_sites_own_part_follows_and_replaces_nothing() {
        let mut order = order(b"raw");
        order.seed.user_data = "#cloud-config\nusers: [{name: eve}]\n".into();
        let mixed = text(&order, "user-data");
        assert!(mixed.starts_with("Content-Type: multipart/mixed"));
        assert!(mixed.find("muster/agent.json").unwrap() < mixed.find("eve").unwrap());
        assert!(mixed.contains("no_replace"));
        order.seed.user_data = "#!/bin/sh\ntrue\n".into();
        assert!(text(&order, "user-data").contains("text/x-shellscript"));
    }

    #[test]
    fn ports_are_found_by_mac_and_bonds_and_vlans_stand_on_them() {
        let mut order = order(b"raw");
        let port = |n: u8| Interface {
            name: format!("lan{n}"),
            mac: Mac([2, 0, 0, 0, 0, n]),
            dhcp4: false,
            addresses: vec![],
            gateway4: None,
            mtu: None,
        };
        order.seed.network = NetworkConfig {
            interfaces: vec![port(0), port(1)],
            bonds: vec![Bond {
                name: "bond0".into(),
                interfaces: vec!["lan0".into(), "lan1".into()],
                mode: "802.3ad".into(),
                dhcp4: false,
                addresses: vec!["10.0.0.5/24".into()],
                gateway4: Some("10.0.0.1".into()),
                mtu: Some(9000),
            }],
            vlans: vec![Vlan {
                name: "storage".into(),
                id: 7,
                link: "bond0".into(),
                dhcp4: true,
                addresses: vec![],
                gateway4: None,
            }],
            nameservers: vec!["10.0.0.2".into()],
        };
        let network: Value = serde_json::from_str(&text(&order, "network-config")).unwrap();
        assert_eq!(network["ethernets"]["lan1"]["match"]["macaddress"], "02:00:00:00:00:01");
        let bond = &network["bonds"]["bond0"];
        assert_eq!((&bond["parameters"]["mode"], &bond["mtu"]), (&json!("802.3ad"), &json!(9000)));
        assert_eq!(bond["nameservers"]["addresses"][0], "10.0.0.2");
        assert_eq!(
            (&network["vlans"]["storage"]["id"], &network["vlans"]["storage"]["link"]),
            (&json!(7), &json!("bond0"))
        );
        order.seed.network = NetworkConfig::default();
        assert!(!files(&order, written(&order)).iter().any(|(name, _)| *name == "network-config"));
    }
}
