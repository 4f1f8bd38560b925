//! What a configuration asks of the machine that the daemon runs on: interfaces, an address, ports, rights.
//!
//! Asked before anything is begun, all at once, so that a first start does not fail five times in a row. The sockets are
//! opened and closed again: the real ones are opened a moment later by the rooms that own them, and say so if that fails.

use crate::config::Config;
use crate::https;
use socket2::{Domain, Socket, Type};
use std::io::{Error, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What is not there, a line each; ports are not asked for.
pub fn missing(config: &Config) -> Vec<String> {
    let mut found = Vec::new();
    let there = interfaces();
    for network in config.networks.iter().filter(|network| !network.is_quiet()) {
        let Some(interface) = &network.interface else { continue };
        if !there.contains(interface) {
            found.push(format!(
                "network {}: there is no interface {interface}; found {}",
                network.name,
                there.join(", ")
            ));
        }
    }
    let address = SocketAddr::from((config.boot.address, 0));
    if let Err(error) = std::net::UdpSocket::bind(address)
        && error.kind() == ErrorKind::AddrNotAvailable
    {
        let on = config.interfaces().into_iter().next().unwrap_or_else(|| "INTERFACE".into());
        found.push(format!(
            "boot.address {} is not set on any interface; `ip address add {}/24 dev {on}` sets it, or correct [boot] address",
            config.boot.address, config.boot.address
        ));
    }
    if let Some(address) = config.boot_addresses().into_iter().find(IpAddr::is_ipv6)
        && let Err(error) = std::net::UdpSocket::bind(SocketAddr::from((address, 0)))
        && error.kind() == ErrorKind::AddrNotAvailable
    {
        let on = config.interfaces().into_iter().next().unwrap_or_else(|| "INTERFACE".into());
        found.push(format!(
            "boot.ipv6 {address} is not set on any interface; `ip address add {address}/64 dev {on} nodad` sets it, or correct [boot] ipv6"
        ));
    }
    found
}

/// Everything that would keep `serve` from serving, ports and rights included.
pub fn obstacles(config: &Config) -> Vec<String> {
    let mut found = missing(config);
    let unset = found.iter().any(|line| line.starts_with("boot.address"));
    let unset6 = found.iter().any(|line| line.starts_with("boot.ipv6"));
    let boot = config.boot.address;
    let mut ask = |what: &str, kind: Type, address: SocketAddr, interface: Option<&str>| {
        if let Err(error) = open(kind, address, interface) {
            found.extend(obstacle(what, address, interface, &error));
        }
    };
    ask("the API", Type::STREAM, config.api, None);
    if !unset {
        ask("agents", Type::STREAM, (boot, config.boot.agent_port).into(), None);
    }
    let interfaces = config.interfaces();
    let told = |address: &IpAddr| if address.is_ipv4() { unset } else { unset6 };
    for address in config.boot_addresses().into_iter().filter(|address| !told(address)) {
        ask("boot HTTP", Type::STREAM, (address, config.boot.http_port).into(), None);
        if let Some(port) = config.boot.https_port {
            ask("boot HTTPS", Type::STREAM, (address, port).into(), None);
        }
        if !interfaces.is_empty() {
            ask("TFTP", Type::DGRAM, (address, 69).into(), None);
        }
    }
    for interface in &interfaces {
        for port in [67, 4011] {
            ask("DHCP", Type::DGRAM, (Ipv4Addr::UNSPECIFIED, port).into(), Some(interface));
        }
    }
    for interface in config.interfaces6() {
        ask("DHCPv6", Type::DGRAM, (Ipv6Addr::UNSPECIFIED, 547).into(), Some(&interface));
    }
    found.extend(https::wrong(config));
    found.dedup();
    found
}

fn open(kind: Type, address: SocketAddr, interface: Option<&str>) -> std::io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    if address.is_ipv6() {
        // As the listeners do: IPv4 has sockets of its own.
        socket.set_only_v6(!address.ip().is_unspecified() || kind == Type::DGRAM)?;
    }
    if kind == Type::STREAM {
        // As the listeners do: a port that a connection of the last run still holds is free.
        socket.set_reuse_address(true)?;
    }
    if let Some(interface) = interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    socket.bind(&address.into())?;
    if kind == Type::STREAM {
        socket.listen(1)?;
    }
    Ok(())
}

fn obstacle(what: &str, address: SocketAddr, interface: Option<&str>, error: &Error) -> Option<String> {
    let port = address.port();
    let on = interface.map_or_else(|| address.to_string(), |interface| format!("port {port} of {interface}"));
    let protocol = if matches!(what, "DHCP" | "DHCPv6" | "TFTP") { "u" } else { "t" };
    Some(match error.kind() {
        ErrorKind::AddrInUse => format!(
            "{what}: {on} is taken by another program; `ss -{protocol}lpn 'sport = :{port}'` shows which: stop it, or give one of the two another address"
        ),
        ErrorKind::PermissionDenied => format!(
            "{what}: {on} takes root, or the capabilities CAP_NET_BIND_SERVICE and CAP_NET_RAW; start it as root, or set AmbientCapabilities in its unit"
        ),
        ErrorKind::AddrNotAvailable => {
            format!("{what}: {address} is not an address of this machine; `ip -brief address` lists what is")
        }
        // The missing interface itself was told.
        _ if error.raw_os_error() == Some(NO_DEVICE) => return None,
        _ => format!("{what}: {on} cannot be opened: {error}"),
    })
}

/// ENODEV
const NO_DEVICE: i32 = 19;

fn interfaces() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse("muster.toml", text).unwrap()
    }

    #[test]
    fn a_missing_interface_is_told_with_those_that_are_there() {
        let config = config(
            "[boot]\naddress = \"10.77.0.1\"\n[[network]]\nname = \"a\"\ninterface = \"nosuch0\"\nsubnet = \"10.77.0.0/24\"\nrange = [\"10.77.0.50\", \"10.77.0.60\"]\n",
        );
        let found = missing(&config);
        assert!(found.iter().any(|line| line.contains("nosuch0") && line.contains("lo")), "{found:?}");
    }

    #[test]
    fn a_taken_port_is_told_with_the_way_to_find_who_has_it() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let config = config(&format!("api = \"{address}\"\n[boot]\naddress = \"127.0.0.1\"\n"));
        let found = obstacles(&config);
        assert!(found.iter().any(|line| line.starts_with("the API") && line.contains("ss -tlpn")), "{found:?}");
    }

    #[test]
    fn an_address_of_another_machine_is_told_once() {
        let config = config("[boot]\naddress = \"203.0.113.9\"\n");
        let found = obstacles(&config);
        let named = found.iter().filter(|line| line.contains("203.0.113.9")).count();
        assert_eq!(named, 1, "{found:?}");
    }
}
