//! What an install order may tell the new system: checked when the order is planned, since the machine's first boot is
//! no place to find out. Everything is quoted where it is written, so a wild word could not become another key; but names
//! end as arguments of the system's own tools, which read a leading dash as an option.

use muster_wire::{NetworkConfig, User};
use std::net::IpAddr;

const LONGEST_DATA: usize = 256 << 10;
const LONGEST_KEY: usize = 16 << 10;

/// Says what is wrong and what is expected.
pub fn sound(users: &[User], network: &NetworkConfig, user_data: &str) -> Result<(), String> {
    for user in users {
        if !is_user(&user.name) {
            let wanted = "up to 32 lower-case letters, digits, '-' and '_', beginning with a letter or '_'";
            return Err(format!("user name {:?} must be {wanted}", short(&user.name)));
        }
        if let Some(key) = user.ssh_authorized_keys.iter().find(|key| key.len() > LONGEST_KEY || !is_line(key)) {
            return Err(format!("an SSH key of {} must be one line: {:?}", user.name, short(key)));
        }
    }
    if user_data.len() > LONGEST_DATA || user_data.contains('\0') {
        return Err(format!("user data must be text of at most {LONGEST_DATA} bytes"));
    }
    let NetworkConfig { interfaces, bonds, vlans, nameservers } = network;
    let mut names = interfaces.iter().map(|port| &port.name).chain(bonds.iter().map(|bond| &bond.name));
    let members = bonds.iter().flat_map(|bond| &bond.interfaces);
    let links = vlans.iter().flat_map(|vlan| [&vlan.name, &vlan.link]);
    if let Some(name) = names.by_ref().chain(members).chain(links).find(|name| !is_interface(name)) {
        let wanted = "1 to 15 letters, digits, '.', '-' and '_', beginning with a letter";
        return Err(format!("interface name {:?} must be {wanted}", short(name)));
    }
    if let Some(bond) =
        bonds.iter().find(|bond| !bond.mode.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b)))
    {
        return Err(format!("bond mode {:?} must be a word like 802.3ad", short(&bond.mode)));
    }
    let gateways = interfaces.iter().filter_map(|port| port.gateway4.as_ref());
    let gateways = gateways.chain(bonds.iter().filter_map(|bond| bond.gateway4.as_ref()));
    let gateways = gateways.chain(vlans.iter().filter_map(|vlan| vlan.gateway4.as_ref()));
    if let Some(text) = gateways.chain(nameservers).find(|text| text.parse::<IpAddr>().is_err()) {
        return Err(format!("{:?} must be an address like 10.0.0.1", short(text)));
    }
    let addresses = interfaces.iter().flat_map(|port| &port.addresses);
    let addresses = addresses.chain(bonds.iter().flat_map(|bond| &bond.addresses));
    let mut addresses = addresses.chain(vlans.iter().flat_map(|vlan| &vlan.addresses));
    match addresses.find(|text| !is_prefixed(text)) {
        Some(text) => Err(format!("{:?} must be an address with its prefix, like 10.0.0.5/24", short(text))),
        None => Ok(()),
    }
}

fn short(text: &str) -> String {
    text.chars().take(60).collect()
}

fn is_user(name: &str) -> bool {
    name.len() <= 32
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))
}

fn is_line(text: &str) -> bool {
    !text.trim().is_empty() && !text.chars().any(char::is_control)
}

fn is_interface(name: &str) -> bool {
    name.len() <= 15
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
}

fn is_prefixed(text: &str) -> bool {
    let Some((address, prefix)) = text.split_once('/') else { return false };
    let longest = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    prefix.parse::<u8>().is_ok_and(|bits| bits <= longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_names::Mac;
    use muster_wire::{Bond, Interface};

    fn user(name: &str, key: &str) -> User {
        User { name: name.into(), ssh_authorized_keys: vec![key.into()], sudo: false }
    }

    fn port(name: &str, address: &str) -> NetworkConfig {
        let interface = Interface {
            name: name.into(),
            mac: Mac([2, 0, 0, 0, 0, 1]),
            dhcp4: false,
            addresses: vec![address.into()],
            gateway4: Some("10.0.0.1".into()),
            mtu: None,
        };
        NetworkConfig { interfaces: vec![interface], nameservers: vec!["fd00::1".into()], ..NetworkConfig::default() }
    }

    #[test]
    fn an_ordinary_system_is_sound() {
        let users = [user("ops-1", "ssh-ed25519 AAAA me@here"), user("_svc", "ssh-rsa A")];
        assert_eq!(sound(&users, &port("lan0.5", "10.0.0.5/24"), "#cloud-config\n"), Ok(()));
    }

    #[test]
    fn a_name_that_a_tool_reads_as_an_option_and_a_key_of_two_lines_are_refused() {
        for name in ["", "-o", "--root=/mnt", "a b", "a\nb", "Root", "a:b", "../x", &"x".repeat(33)] {
            assert!(sound(&[user(name, "k")], &NetworkConfig::default(), "").is_err(), "{name:?}");
        }
        for key in ["", " ", "a\nb", "a\rb", "\x1b[2J"] {
            assert!(sound(&[user("a", key)], &NetworkConfig::default(), "").is_err(), "{key:?}");
        }
    }

    #[test]
    fn a_network_that_could_not_be_is_refused() {
        for (name, address) in
            [("-x", "10.0.0.5/24"), ("lan0", "10.0.0.5"), ("lan0", "10.0.0.5/33"), ("a/b", "10.0.0.5/8")]
        {
            assert!(sound(&[], &port(name, address), "").is_err(), "{name} {address}");
        }
        let mut bond = port("lan0", "10.0.0.5/24");
        bond.bonds = vec![Bond {
            name: "bond0".into(),
            interfaces: vec!["lan0".into()],
            mode: "802.3ad\n".into(),
            dhcp4: true,
            addresses: vec![],
            gateway4: None,
            mtu: None,
        }];
        assert!(sound(&[], &bond, "").is_err());
        assert!(sound(&[], &NetworkConfig::default(), &"x".repeat(LONGEST_DATA + 1)).is_err());
    }
}
