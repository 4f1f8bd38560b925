//! What is wrong with a configuration that reads: values that contradict each other or could never work.
//!
//! Every mistake is told at once with its line and column, like those of the data files. What depends on the machine the
//! daemon runs on (its interfaces, ports and rights) is not asked here: a configuration is also checked where it is kept.

use super::{Config, DhcpMode, NOT_POSTGRES, NetworkConfig, is_postgres};
use muster_catalog::{Document, Slip};
use muster_diagnosis::Budget;
use muster_netboot::{BadNetwork, Loaders, Networks};
use std::net::{IpAddr, Ipv4Addr};

/// Addresses of all ranges.
const MOST_SCANNED: u64 = 65_536;
/// Of one machine's console; it is read whole.
const KEPT: std::ops::RangeInclusive<u64> = 65_536..=67_108_864;

/// Every mistake, in the order of the file.
pub fn slips(config: &Config, document: &Document<'_>) -> Vec<Slip> {
    let mut found = Vec::new();
    if config.database.as_ref().is_some_and(|url| !is_postgres(url)) {
        // The value is not repeated: it may hold a password.
        found.push(document.slip_at("database", format!("database {NOT_POSTGRES}")));
    }
    listeners(config, document, &mut found);
    under_tls(config, document, &mut found);
    over_v6(config, document, &mut found);
    for (name, budget) in
        [("power", config.budgets.power), ("install", config.budgets.install), ("wipe", config.budgets.wipe)]
    {
        budgets(name, budget, document, &mut found);
    }
    if config.bmc.password_days == Some(0) {
        let said = "0 days would change every password for ever; leave it out to change them by hand".to_owned();
        found.push(document.slip_at("bmc.password-days", said));
    }
    for (at, text) in config.bmc.scan.iter().enumerate() {
        if super::scan_range(text).is_none() {
            let said = format!("{text:?} is no range of addresses; write 10.0.8.0/24 or 10.0.9.10-10.0.9.90");
            found.push(document.slip_at(&format!("bmc.scan.{at}"), said));
        }
    }
    let size = |(first, last): (Ipv4Addr, Ipv4Addr)| u64::from(last.to_bits() - first.to_bits()) + 1;
    let addresses: u64 = config.bmc.ranges().into_iter().map(size).sum();
    if addresses > MOST_SCANNED {
        let said = format!("{addresses} addresses take too long to look through; {MOST_SCANNED} are the most");
        found.push(document.slip_at("bmc.scan", said));
    }
    let reached = |to: &&String| {
        let url = reqwest::Url::parse(to).ok().filter(|url| url.scheme() == "https" && url.path() == "/");
        url.is_some_and(|url| url.query().is_none() && url.fragment().is_none() && url.username().is_empty())
    };
    if let Some(to) = config.bmc.events_to.as_ref().filter(|to| !reached(to)) {
        let said =
            format!("{to:?} is not where BMCs reach us; write https://ADDRESS:PORT, the agents' port as they see it");
        found.push(document.slip_at("bmc.events-to", said));
    }
    if config.bmc.events_to.is_some() && config.bmc.watch_minutes == 0 {
        let said = "what BMCs send brings their next visit forward, and watch-minutes = 0 means no visits".to_owned();
        found.push(document.slip_at("bmc.events-to", said));
    }
    if !KEPT.contains(&config.bmc.console.kept_bytes) {
        let (least, most) = (KEPT.start(), KEPT.end());
        let said = format!("{} is not within {least} (less holds no boot) and {most}", config.bmc.console.kept_bytes);
        found.push(document.slip_at("bmc.console.kept-bytes", said));
    }
    for (at, network) in config.networks.iter().enumerate() {
        alone(at, network, document, &mut found);
    }
    together(config, document, &mut found);
    found.sort();
    found.dedup();
    found
}

fn listeners(config: &Config, document: &Document<'_>, found: &mut Vec<Slip>) {
    let boot = &config.boot;
    let address = boot.address;
    if address.is_unspecified() || address.is_broadcast() || address.is_multicast() {
        let said = format!(
            "{address} is not an address that machines can call; give this daemon's own address on the provisioning network"
        );
        found.push(document.slip_at("boot.address", said));
    } else if address.is_loopback() && !config.networks.is_empty() {
        let said =
            format!("{address} is reached from this machine alone; give the address on the provisioning network");
        found.push(document.slip_at("boot.address", said));
    }
    let https = boot.https_port.map(|port| ("https-port", "boot HTTPS", port));
    let ports: Vec<(&str, &str, u16)> = [("http-port", "boot HTTP", boot.http_port)]
        .into_iter()
        .chain(https)
        .chain([("agent-port", "agents", boot.agent_port)])
        .collect();
    let shared = config.api.ip().is_unspecified() || config.api.ip() == IpAddr::V4(address);
    for (at, (key, what, port)) in ports.iter().enumerate() {
        let path = format!("boot.{key}");
        if *port == 0 {
            found.push(document.slip_at(&path, "port 0 means none; take one from 1 to 65535".into()));
        }
        for (_, other, _) in ports.iter().take(at).filter(|(_, _, other)| other == port) {
            let said = format!("{other} and {what} cannot both have port {port}; change one of the two");
            found.push(document.slip_at(&path, said));
        }
        if shared && *port == config.api.port() {
            let said = format!("the API on {} takes port {port} of {address} too; change {path} or api", config.api);
            found.push(document.slip_at("api", said));
        }
    }
}

/// TLS for firmware: a certificate comes with its key, and a port is there for whom it is meant.
fn under_tls(config: &Config, document: &Document<'_>, found: &mut Vec<Slip>) {
    let boot = &config.boot;
    let given = [
        ("https-cert", "https-key", &boot.https_cert, &boot.https_key),
        ("https-key", "https-cert", &boot.https_key, &boot.https_cert),
    ];
    for (key, other, here, there) in given {
        let Some(file) = here else { continue };
        let path = format!("boot.{key}");
        if there.is_none() {
            let said = format!("{} serves nothing alone; give `{other}` too, or leave both out", file.display());
            found.push(document.slip_at(&path, said));
        }
        if boot.https_port.is_none() {
            found.push(
                document.slip_at(&path, "nothing listens that would show it; set `https-port`, like 8081".into()),
            );
        }
    }
    let wanting = config.networks.iter().position(|network| network.dhcp.https_boot);
    if let (None, Some(at)) = (boot.https_port, wanting) {
        let said = "firmware is sent where nothing listens; set `https-port` in [boot], like 8081";
        found.push(document.slip_at(&format!("network.{at}.dhcp.https-boot"), said.into()));
    }
}

/// Our own IPv6 address: there where it is wanted, and one that machines can call.
fn over_v6(config: &Config, document: &Document<'_>, found: &mut Vec<Slip>) {
    let wanted = config.networks.iter().position(|network| network.ipv6.is_some());
    match (config.boot.ipv6, wanted) {
        (None, Some(at)) => {
            let said = "a network with IPv6 needs our own address there; set `ipv6` in [boot], like fd00:77::1";
            found.push(document.slip_at(&format!("network.{at}.ipv6"), said.into()));
        }
        (Some(address), _) if address.is_unspecified() || address.is_multicast() || address.is_loopback() => {
            let said = format!("{address} is not an address that machines can call; give this daemon's own");
            found.push(document.slip_at("boot.ipv6", said));
        }
        (Some(address), _) if address.is_unicast_link_local() => {
            let said =
                format!("{address} means another machine on each interface; give an address of the network's prefix");
            found.push(document.slip_at("boot.ipv6", said));
        }
        _ => {}
    }
}

fn budgets(name: &str, budget: Budget, document: &Document<'_>, found: &mut Vec<Slip>) {
    let at = |field: &str| format!("budgets.{name}.{field}");
    if budget.percent > 100 {
        let said = format!("{} percent of the fleet; expected 1 to 100", budget.percent);
        found.push(document.slip_at(&at("percent"), said));
    }
    let numbers = [
        ("concurrent", budget.concurrent),
        ("per-rack", budget.per_rack),
        ("per-requester", budget.per_requester),
        ("per-hour", budget.per_hour),
        ("percent", u32::from(budget.percent)),
    ];
    for (field, _) in numbers.iter().filter(|(_, number)| *number == 0) {
        let said = format!("0 lets no {name} happen ever; give 1 or more, and use `muster freeze` to stop everything");
        found.push(document.slip_at(&at(field), said));
    }
}

/// Mistakes that one network makes by itself and that netboot does not look for.
fn alone(at: usize, network: &NetworkConfig, document: &Document<'_>, found: &mut Vec<Slip>) {
    let path = |field: &str| format!("network.{at}.{field}");
    if network.name.is_empty() || !network.name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        let said = format!("{:?} is no name of a network: letters, digits, `-`, `_` and `.`", network.name);
        found.push(document.slip_at(&path("name"), said));
    }
    if let Some(interface) = &network.interface
        && (interface.is_empty() || interface.len() > 15 || interface.contains(['/', ' ']))
    {
        let said = format!("{interface:?} is no name of an interface; `ip -brief link` lists them");
        found.push(document.slip_at(&path("interface"), said));
    }
    if let Some(mtu) = network.mtu
        && !(576..=9216).contains(&mtu)
    {
        found.push(document.slip_at(&path("mtu"), format!("an MTU of {mtu} bytes; expected 576 to 9216")));
    }
    let Ok(subnet) = network.subnet.parse::<muster_netboot::Subnet>() else { return };
    if let Some(gateway) = network.gateway.filter(|gateway| !subnet.is_host(*gateway)) {
        let said = format!("the gateway {gateway} is not a host of {subnet}; machines could not reach it");
        found.push(document.slip_at(&path("gateway"), said));
    }
    let Some((first, last)) = network.range else {
        if network.dhcp.mode == DhcpMode::Full {
            let said = "no range of addresses to hand out; give one, or `dhcp.mode = \"proxy\"` beside another server";
            found.push(document.slip_at(&path("subnet"), said.into()));
        }
        return;
    };
    if first > last {
        found.push(document.slip_at(&path("range"), format!("{first} to {last} falls; write the first address first")));
    }
    for end in [first, last] {
        if !subnet.is_host(end) {
            let said = format!("{end} is not a host of {subnet}; give a range inside it");
            found.push(document.slip_at(&path("range"), said));
        }
    }
}

/// What netboot itself finds, brought to the line it is about.
fn together(config: &Config, document: &Document<'_>, found: &mut Vec<Slip>) {
    let mut list = Vec::new();
    for (at, told) in config.networks.iter().enumerate() {
        match config.network(told, Loaders::default()) {
            Ok(network) => list.push(network),
            Err(error) => {
                let field = if matches!(error, BadNetwork::Prefix { .. }) { "ipv6" } else { "subnet" };
                found.push(document.slip_at(&format!("network.{at}.{field}"), error.to_string()));
            }
        }
    }
    let Err(slips) = Networks::new(list) else { return };
    let last = |name: &str| config.networks.iter().rposition(|network| network.name == name).unwrap_or(0);
    for slip in slips {
        let path = match &slip {
            // Told by `alone` with its own line.
            BadNetwork::Range { .. } => continue,
            BadNetwork::Subnet { .. } | BadNetwork::Prefix { .. } => "network".to_string(),
            BadNetwork::Range6 { network, .. } | BadNetwork::Wide { network, .. } => {
                format!("network.{}.ipv6", last(network))
            }
            BadNetwork::Server6 { .. } => "boot.ipv6".to_string(),
            BadNetwork::Overlap { one, other } => format!("network.{}.subnet", last(one).max(last(other))),
            BadNetwork::SameName { name } => format!("network.{}.name", last(name)),
            BadNetwork::SameInterface { interface } => {
                let at = config.networks.iter().rposition(|network| network.interface.as_ref() == Some(interface));
                format!("network.{}.interface", at.unwrap_or(0))
            }
            BadNetwork::Server { .. } | BadNetwork::Base { .. } => "boot.address".to_string(),
            BadNetwork::LeaseTime { network } | BadNetwork::Proxy { network, .. } => {
                format!("network.{}", last(network))
            }
        };
        let mut said = slip.to_string();
        if let BadNetwork::Server { .. } = slip {
            said.push_str("; give our address there, or leave the interface out where only relays reach it");
        }
        if config.boot.address != Ipv4Addr::UNSPECIFIED || path != "boot.address" {
            found.push(document.slip_at(&path, said));
        }
    }
}
