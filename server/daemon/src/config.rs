//! The daemon's configuration: one TOML file, read and checked as a whole before anything listens.

mod slips;

use anyhow::{Context as _, Result};
use muster_catalog::{Document, Slip};
use muster_conductor::Rounds;
use muster_diagnosis::Budgets;
use muster_names::Architecture;
use muster_netboot::{BadNetwork, Dhcp, Loaders, Network, Networks, Range, Subnet, v6};
use muster_store::Place;
use schemars::JsonSchema;
use serde::Deserialize;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the configuration lies unless told otherwise.
pub const USUAL: &str = "/etc/muster/muster.toml";

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Database, keys and the first admin token; made at first start, readable by its owner alone.
    #[serde(default = "data")]
    pub data: PathBuf,
    /// `postgres://...` for a site that has outgrown one file.
    #[serde(default)]
    pub database: Option<String>,
    /// Where people and workflows reach the API, over TLS.
    #[serde(default = "api")]
    pub api: SocketAddr,
    /// The folder that holds firmware-profiles, pxe-images and rack-layouts.
    #[serde(default = "files")]
    pub files: PathBuf,
    /// The folder with vmlinuz, initrd and manifest.json of the boot image for x86-64.
    #[serde(default = "boot_image")]
    pub boot_image: PathBuf,
    /// The same for arm64 machines; without it they boot their own disks.
    #[serde(default)]
    pub boot_image_arm64: Option<PathBuf>,
    /// The folder with one folder per installable image, each with its manifest.json.
    #[serde(default = "images")]
    pub images: PathBuf,
    /// The folder with the password files that rack layouts name.
    #[serde(default = "secrets")]
    pub secrets: PathBuf,
    pub boot: BootConfig,
    #[serde(default, rename = "network")]
    pub networks: Vec<NetworkConfig>,
    /// How much may happen at once.
    #[serde(default)]
    pub budgets: Budgets,
    #[serde(default)]
    pub bmc: BmcConfig,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BmcConfig {
    /// Every so many minutes each BMC of ours is asked for power, sensors and what its logs have new; 0: never.
    #[serde(default = "watch_minutes")]
    pub watch_minutes: u32,
    /// Between two visits so many BMCs at most are listened to, if they tell of events by themselves: then the next visit
    /// comes sooner. It takes one session of each; 0: none.
    #[serde(default = "event_streams")]
    pub event_streams: usize,
    /// `https://10.0.0.1:8444`: the agents' port as BMCs reach it. Those without a stream are told to send their events there.
    #[serde(default)]
    pub events_to: Option<String>,
    /// Every BMC of ours gets a password of its own, and another one when that is so many days old. Left out, passwords
    /// change when a person asks for it.
    #[serde(default)]
    pub password_days: Option<u32>,
    /// The file with the key that BMC passwords are sealed with; `site.key` in the data folder without it.
    #[serde(default)]
    pub site_key: Option<PathBuf>,
    /// Addresses that are greeted to find BMCs: `10.0.8.0/24`, `10.0.9.10-10.0.9.90`. Nothing is changed there, and no
    /// password is sent.
    #[serde(default)]
    pub scan: Vec<String>,
    /// Every so many minutes; 0: when a person asks.
    #[serde(default = "scan_minutes")]
    pub scan_minutes: u32,
    /// A machine of ours whose BMC nobody named gets an account `muster` on it while it is commissioned, made by its agent
    /// from inside, and its BMC is adopted with that.
    #[serde(default)]
    pub accounts_by_agent: bool,
    /// The site's certificate authority for BMCs: what it signed is trusted, whatever key it has.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    #[serde(default)]
    pub console: ConsoleConfig,
}

/// The first and the last address of `10.0.8.0/24` or `10.0.9.10-10.0.9.90`. Of a network the host addresses.
pub fn scan_range(text: &str) -> Option<(Ipv4Addr, Ipv4Addr)> {
    if let Some((first, last)) = text.split_once('-') {
        let (first, last) = (first.trim().parse::<Ipv4Addr>().ok()?, last.trim().parse::<Ipv4Addr>().ok()?);
        return (first <= last).then_some((first, last));
    }
    let (address, bits) = text.split_once('/').unwrap_or((text, "32"));
    let (address, bits) = (address.trim().parse::<Ipv4Addr>().ok()?.to_bits(), bits.trim().parse::<u32>().ok()?);
    let mask = u32::MAX.checked_shl(32_u32.checked_sub(bits)?).unwrap_or(0);
    let (first, last) = (address & mask, address | !mask);
    let inner = u32::from(bits < 31);
    Some((Ipv4Addr::from_bits(first + inner), Ipv4Addr::from_bits(last - inner)))
}

fn scan_minutes() -> u32 {
    60
}

/// What becomes of what machines say on their serial consoles.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ConsoleConfig {
    /// Machines that are being booted are recorded with nobody there. It takes one session of each such BMC, and the
    /// console from whoever does not come through us.
    pub record: bool,
    /// Bytes kept of each machine's console, the newest.
    pub kept_bytes: u64,
}

impl Default for ConsoleConfig {
    fn default() -> Self {
        Self { record: false, kept_bytes: 1 << 20 }
    }
}

impl Default for BmcConfig {
    fn default() -> Self {
        Self {
            watch_minutes: watch_minutes(),
            event_streams: event_streams(),
            events_to: None,
            password_days: None,
            site_key: None,
            scan: Vec::new(),
            scan_minutes: scan_minutes(),
            accounts_by_agent: false,
            ca: None,
            console: ConsoleConfig::default(),
        }
    }
}

impl BmcConfig {
    /// The ranges to look for BMCs in; what does not read is a slip, and told there.
    pub fn ranges(&self) -> Vec<(Ipv4Addr, Ipv4Addr)> {
        self.scan.iter().filter_map(|text| scan_range(text)).collect()
    }

    /// How often; `None`: when a person asks.
    pub fn scan_every(&self) -> Option<Duration> {
        let minutes = Some(self.scan_minutes).filter(|minutes| *minutes > 0 && !self.scan.is_empty())?;
        Some(Duration::from_secs(u64::from(minutes) * 60))
    }

    /// How BMCs are visited; `None`: nobody watches.
    pub fn watch(&self) -> Option<Rounds> {
        let period = Duration::from_secs(u64::from(self.watch_minutes) * 60);
        (self.watch_minutes > 0).then_some(Rounds { period, streams: self.event_streams })
    }
}

fn watch_minutes() -> u32 {
    5
}

fn event_streams() -> usize {
    1000
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BootConfig {
    /// Our address on the provisioning network: TFTP, boot HTTP and agents.
    pub address: Ipv4Addr,
    /// Our IPv6 address there: TFTP and boot HTTP. Wanted where a network speaks IPv6.
    #[serde(default)]
    pub ipv6: Option<Ipv6Addr>,
    #[serde(default = "http_port")]
    pub http_port: u16,
    /// The same under TLS, for firmware; left out, nothing listens there.
    #[serde(default)]
    pub https_port: Option<u16>,
    /// PEM: a certificate for our address, then what signed it. Left out, the site's own authority makes one.
    #[serde(default)]
    pub https_cert: Option<PathBuf>,
    /// PEM: its key.
    #[serde(default)]
    pub https_key: Option<PathBuf>,
    #[serde(default = "agent_port")]
    pub agent_port: u16,
    /// Where booting kernels and installers send their system log, over UDP; 0 listens nowhere.
    #[serde(default = "syslog_port")]
    pub syslog_port: u16,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NetworkConfig {
    pub name: String,
    /// None when only relays reach it.
    #[serde(default)]
    pub interface: Option<String>,
    /// `10.77.0.0/24`
    pub subnet: String,
    #[serde(default)]
    pub dhcp: DhcpConfig,
    /// First and last address to hand out; none where another server gives them.
    #[serde(default)]
    pub range: Option<(Ipv4Addr, Ipv4Addr)>,
    #[serde(default)]
    pub gateway: Option<Ipv4Addr>,
    #[serde(default)]
    pub dns: Vec<Ipv4Addr>,
    #[serde(default)]
    pub mtu: Option<u16>,
    /// What boots here is ours to discover: strangers get the agent in RAM, which changes nothing.
    #[serde(default)]
    pub dedicated: bool,
    /// No other DHCP server serves this network.
    #[serde(default)]
    pub authoritative: bool,
    /// Firmware here starts nothing that is not signed: machines get the loaders with `secure-boot = true`.
    #[serde(default)]
    pub secure_boot: bool,
    /// Left out, nothing is said over IPv6.
    #[serde(default)]
    pub ipv6: Option<Ipv6Config>,
}

/// What a network is over IPv6.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Ipv6Config {
    /// `fd00:77::/64`
    pub subnet: String,
    /// First and last address to hand out.
    pub range: (Ipv6Addr, Ipv6Addr),
    #[serde(default)]
    pub dns: Vec<Ipv6Addr>,
    /// Lease in two messages instead of four, to who asks for it. Only where no other DHCPv6 server is.
    #[serde(default)]
    pub rapid_commit: bool,
}

/// What is given on a network, beside whom, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct DhcpConfig {
    pub mode: DhcpMode,
    /// Servers that may answer here beside us; any other one is reported.
    pub other_servers: Vec<Ipv4Addr>,
    /// UEFI HTTP boot fetches its loader under TLS.
    pub https_boot: bool,
    /// Answer by broadcast always, for relays and firmware that lose unicast.
    pub force_broadcast: bool,
    /// How long a system's lease lasts.
    pub lease_seconds: u32,
    /// How long the lease of a boot stage lasts.
    pub boot_lease_seconds: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DhcpMode {
    /// Addresses and boot files.
    #[default]
    Full,
    /// Boot files alone, beside another server's addresses.
    Proxy,
    /// Known, and neither listened to nor answered yet: another DHCP server still serves it.
    Quiet,
}

impl NetworkConfig {
    pub fn is_quiet(&self) -> bool {
        self.dhcp.mode == DhcpMode::Quiet
    }
}

impl BootConfig {
    /// The certificate and key that the site gives.
    pub fn https_files(&self) -> Option<(&Path, &Path)> {
        Some((self.https_cert.as_deref()?, self.https_key.as_deref()?))
    }
}

impl Default for DhcpConfig {
    fn default() -> Self {
        Self {
            mode: DhcpMode::Full,
            other_servers: Vec::new(),
            https_boot: false,
            force_broadcast: false,
            lease_seconds: 3600,
            boot_lease_seconds: 300,
        }
    }
}

fn data() -> PathBuf {
    "/var/lib/muster".into()
}
fn files() -> PathBuf {
    "/usr/share/muster".into()
}
fn boot_image() -> PathBuf {
    "/var/lib/muster/boot-image".into()
}
fn images() -> PathBuf {
    "/var/lib/muster/images".into()
}
fn secrets() -> PathBuf {
    "/etc/muster/secrets".into()
}
fn api() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 8443))
}
fn http_port() -> u16 {
    8080
}
fn agent_port() -> u16 {
    8444
}
fn syslog_port() -> u16 {
    514
}

impl Config {
    /// Reads and checks. Relative folders count from the file's own folder.
    pub fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| {
            format!(
                "the configuration {} does not read; `muster example-config` prints one to start from, --config names another",
                file.display()
            )
        })?;
        let name = file.display().to_string();
        let mut config = Self::parse(&name, &text).map_err(Mistakes)?;
        let base = file.parent().unwrap_or(Path::new("."));
        let folders =
            [&mut config.data, &mut config.files, &mut config.boot_image, &mut config.images, &mut config.secrets];
        let boot = &mut config.boot;
        let more = [
            &mut config.boot_image_arm64,
            &mut config.bmc.site_key,
            &mut config.bmc.ca,
            &mut boot.https_cert,
            &mut boot.https_key,
        ];
        for path in folders.into_iter().chain(more.into_iter().flatten()) {
            *path = base.join(&path);
        }
        config.overrides()?;
        Ok(config)
    }

    /// The text alone, with every mistake in it.
    pub fn parse(name: &str, text: &str) -> Result<Self, Vec<Slip>> {
        let document = Document::parse(name, text)?;
        let config: Self = document.read()?;
        let slips = slips::slips(&config, &document);
        if slips.is_empty() { Ok(config) } else { Err(slips) }
    }

    /// `MUSTER_DATABASE` and `MUSTER_API` go before the file: the one is a secret, the other differs per start. Set to
    /// nothing they count as not set.
    fn overrides(&mut self) -> Result<()> {
        let told = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        if let Some(url) = told("MUSTER_DATABASE") {
            anyhow::ensure!(is_postgres(&url), "MUSTER_DATABASE {NOT_POSTGRES}");
            self.database = Some(url);
        }
        if let Some(address) = told("MUSTER_API") {
            self.api = address
                .parse()
                .with_context(|| format!("MUSTER_API={address} is not ADDRESS:PORT; write it like 0.0.0.0:8443"))?;
        }
        Ok(())
    }

    pub fn site_key(&self) -> PathBuf {
        self.bmc.site_key.clone().unwrap_or_else(|| self.data.join("site.key"))
    }

    pub fn place(&self) -> Place {
        match &self.database {
            Some(url) => Place::Postgres(url.clone()),
            None => Place::Sqlite(self.data.clone()),
        }
    }

    /// The folder of an architecture's boot image.
    pub fn boot_image(&self, architecture: Architecture) -> Option<&Path> {
        match architecture {
            Architecture::X86_64 => Some(&self.boot_image),
            Architecture::Arm64 => self.boot_image_arm64.as_deref(),
        }
    }

    pub fn boot_http(&self) -> String {
        format!("http://{}:{}", self.boot.address, self.boot.http_port)
    }

    /// Where TLS is on, and a network sends firmware to it.
    fn boot_https(&self, told: &NetworkConfig, address: IpAddr) -> Option<String> {
        let port = self.boot.https_port.filter(|_| told.dhcp.https_boot)?;
        Some(format!("https://{}", SocketAddr::from((address, port))))
    }

    /// Where a booting kernel's programs find the receiver of logs.
    pub fn log_args(&self) -> Vec<String> {
        match self.boot.syslog_port {
            0 => Vec::new(),
            514 => vec![format!("log_host={}", self.boot.address)],
            port => vec![format!("log_host={}", self.boot.address), format!("log_port={port}")],
        }
    }

    /// Where IPv6 is on.
    pub fn boot_http6(&self) -> Option<String> {
        Some(format!("http://[{}]:{}", self.boot.ipv6?, self.boot.http_port))
    }

    /// The addresses that TFTP and boot HTTP answer on.
    pub fn boot_addresses(&self) -> Vec<IpAddr> {
        let v6 = self.boot.ipv6.filter(|_| self.networks.iter().any(|network| network.ipv6.is_some()));
        std::iter::once(IpAddr::V4(self.boot.address)).chain(v6.map(IpAddr::V6)).collect()
    }

    pub fn agent_url(&self) -> String {
        format!("https://{}:{}", self.boot.address, self.boot.agent_port)
    }

    /// The networks that are answered, as the boot path wants them. `loaders` says which loaders a network gets, told whether
    /// its firmware starts nothing unsigned.
    pub fn networks(&self, loaders: &dyn Fn(bool) -> Loaders) -> Result<Networks> {
        self.every_network(loaders).and_then(|all| {
            let answered = all.iter().filter(|network| !self.is_quiet(&network.name)).cloned().collect();
            Networks::new(answered).map_err(contradict)
        })
    }

    /// All networks, the quiet ones included, checked against each other.
    pub fn every_network(&self, loaders: &dyn Fn(bool) -> Loaders) -> Result<Networks> {
        let mut list = Vec::new();
        for told in &self.networks {
            list.push(self.network(told, loaders(told.secure_boot)).with_context(|| format!("network {}", told.name))?);
        }
        Networks::new(list).map_err(contradict)
    }

    fn is_quiet(&self, name: &str) -> bool {
        self.networks.iter().any(|network| network.is_quiet() && network.name == name)
    }

    fn network(&self, told: &NetworkConfig, loaders: Loaders) -> Result<Network, BadNetwork> {
        let subnet: Subnet = told.subnet.parse()?;
        let mut network = Network::new(&told.name, subnet, self.boot.address, &self.boot_http());
        network.boot_https = self.boot_https(told, self.boot.address.into());
        network.interface.clone_from(&told.interface);
        let dhcp = &told.dhcp;
        network.dhcp = match dhcp.mode {
            DhcpMode::Full | DhcpMode::Quiet => Dhcp::Full,
            DhcpMode::Proxy => Dhcp::Proxy,
        };
        network.other_servers = dhcp.other_servers.iter().copied().collect();
        network.ranges = told.range.map(|(first, last)| Range { first, last }).into_iter().collect();
        (network.os_seconds, network.pxe_seconds) = (dhcp.lease_seconds, dhcp.boot_lease_seconds);
        network.gateway = told.gateway;
        // Debian's installer stops when no name server is told at all.
        network.dns = if told.dns.is_empty() { vec![self.boot.address] } else { told.dns.clone() };
        network.mtu = told.mtu;
        network.dedicated = told.dedicated;
        // Where another server gives the addresses ours say nothing of who sits behind one.
        network.authoritative = told.authoritative || (told.dedicated && dhcp.mode != DhcpMode::Proxy);
        network.force_broadcast = dhcp.force_broadcast;
        network.loaders = loaders;
        network.v6 = self.served(told)?;
        Ok(network)
    }

    /// Its IPv6 side. Without an address of ours it has none: that mistake is told by itself.
    fn served(&self, told: &NetworkConfig) -> Result<Option<v6::Served>, BadNetwork> {
        let (Some(ipv6), Some(server), Some(boot_http)) = (&told.ipv6, self.boot.ipv6, self.boot_http6()) else {
            return Ok(None);
        };
        let Ipv6Config { subnet, range, dns, rapid_commit } = ipv6.clone();
        let boot_https = self.boot_https(told, server.into());
        Ok(Some(v6::Served { prefix: subnet.parse()?, range, server, boot_http, boot_https, dns, rapid_commit }))
    }

    /// Where requests are listened for.
    pub fn interfaces(&self) -> Vec<String> {
        self.networks
            .iter()
            .filter(|network| !network.is_quiet())
            .filter_map(|network| network.interface.clone())
            .collect()
    }

    /// Those on which DHCPv6 is served. Relays of a network without one reach it over any of them.
    pub fn interfaces6(&self) -> Vec<String> {
        let over_v6 = self.networks.iter().filter(|network| network.ipv6.is_some() && !network.is_quiet());
        let own: Vec<String> = over_v6.clone().filter_map(|network| network.interface.clone()).collect();
        if over_v6.count() > own.len() { self.interfaces() } else { own }
    }
}

fn contradict(slips: Vec<BadNetwork>) -> anyhow::Error {
    let slips: Vec<String> = slips.iter().map(ToString::to_string).collect();
    anyhow::anyhow!("the networks contradict each other: {}", slips.join("; "))
}

/// Every mistake of one reading, a line each.
#[derive(Debug)]
pub struct Mistakes(pub Vec<Slip>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Mistakes {}

/// The JSON schema of the file, as `docs/config.schema.json` has it.
pub fn schema() -> Result<String> {
    Ok(serde_json::to_string_pretty(&schemars::schema_for!(Config))?)
}

const NOT_POSTGRES: &str = "is not an address of PostgreSQL; write it like postgres://USER:PASSWORD@HOST/DATABASE, or leave it out for the database inside";

fn is_postgres(url: &str) -> bool {
    ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme))
}

/// A file to start from.
pub const EXAMPLE: &str = r#"# Muster. Start it with `muster serve`; try it first with `muster check`.
data  = "/var/lib/muster"       # database, keys, first admin token
files = "/usr/share/muster"     # firmware-profiles, pxe-images, rack-layouts
api   = "0.0.0.0:8443"          # people and workflows, over TLS

[boot]
address = "10.77.0.1"           # our address on the provisioning network

[[network]]
name      = "provisioning"
interface = "eno1"
subnet    = "10.77.0.0/24"
range     = ["10.77.0.50", "10.77.0.200"]
dedicated = true                # only machines of ours boot here
"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn slips(text: &str) -> Vec<String> {
        match Config::parse("muster.toml", text) {
            Ok(_) => Vec::new(),
            Err(slips) => slips.iter().map(ToString::to_string).collect(),
        }
    }

    /// The example with one text replaced gives exactly this one mistake.
    fn one(from: &str, to: &str) -> String {
        let text = EXAMPLE.replace(from, to);
        assert_ne!(text, EXAMPLE, "{from} is not in the example");
        let slips = slips(&text);
        assert_eq!(slips.len(), 1, "{slips:?}");
        slips.into_iter().next().unwrap()
    }

    #[test]
    fn the_example_is_fifteen_lines_and_reads() {
        assert!(EXAMPLE.lines().count() <= 16, "{}", EXAMPLE.lines().count());
        let config = Config::parse("muster.toml", EXAMPLE).unwrap();
        assert_eq!(config.boot_http(), "http://10.77.0.1:8080");
        assert_eq!(config.interfaces(), ["eno1"]);
    }

    #[test]
    fn a_typo_is_named_with_its_line_its_column_and_the_words_allowed() {
        let said = one("dedicated =", "dedicatd =");
        assert!(
            said.starts_with("muster.toml:14:1: ") && said.contains("dedicatd") && said.contains("dedicated"),
            "{said}"
        );
        let said = one("api   = \"0.0.0.0:8443\"", "api   = \"0.0.0.0\"");
        assert!(said.starts_with("muster.toml:4:9: "), "{said}");
        let said = one("[boot]", "[boot\n");
        assert!(said.starts_with("muster.toml:6:"), "{said}");
    }

    #[test]
    fn every_mistake_is_told_at_once_in_the_order_of_the_file() {
        let text = EXAMPLE
            .replace("10.77.0.200", "10.78.0.200")
            .replace("address = \"10.77.0.1\"", "address = \"0.0.0.0\"")
            .replace("interface = \"eno1\"", "interface = \"eno1\"\nmtu = 20\ngateway = \"10.1.1.1\"");
        let slips = slips(&text);
        let lines: Vec<&str> = slips.iter().filter_map(|slip| slip.split(':').nth(1)).collect();
        assert_eq!(lines, ["7", "12", "13", "15"], "{slips:?}");
    }

    #[test]
    fn a_quiet_network_is_known_and_neither_listened_to_nor_answered() {
        let config = Config::parse("muster.toml", &format!("{EXAMPLE}dhcp.mode = \"quiet\"\n")).unwrap();
        let loaders = |_| Loaders::default();
        assert_eq!(config.every_network(&loaders).unwrap().iter().count(), 1);
        assert_eq!(config.networks(&loaders).unwrap().iter().count(), 0);
        assert!(config.interfaces().is_empty());
    }

    #[test]
    fn a_range_outside_its_subnet_is_refused_at_its_line() {
        let said = one("10.77.0.200", "10.78.0.200");
        assert!(said.starts_with("muster.toml:13:13: ") && said.contains("10.78.0.200"), "{said}");
        let said = one("[\"10.77.0.50\", \"10.77.0.200\"]", "[\"10.77.0.200\", \"10.77.0.50\"]");
        assert!(said.contains("first address first"), "{said}");
    }

    #[test]
    fn networks_that_contradict_each_other_are_refused_at_the_later_one() {
        let again = EXAMPLE.split("[[network]]").nth(1).unwrap();
        let slips = slips(&format!("{EXAMPLE}\n[[network]]{again}"));
        assert_eq!(slips.len(), 3, "{slips:?}");
        assert!(slips.iter().all(|slip| slip.split(':').nth(1).unwrap().parse::<usize>().unwrap() > 15), "{slips:?}");
    }

    #[test]
    fn what_could_never_work_is_refused() {
        for (from, to, said) in [
            ("8443", "8444", "takes port 8444"),
            ("\"10.77.0.1\"", "\"10.79.0.1\"", "not of its subnet"),
            ("\"10.77.0.1\"", "\"127.0.0.1\"", "this machine alone"),
            ("\"provisioning\"", "\"a b\"", "no name of a network"),
            ("10.77.0.0/24", "10.77.0.0", "is not a subnet"),
            ("data  =", "database = \"mysql://u:secret@h/d\"\ndata  =", "not an address of PostgreSQL"),
            (
                "[boot]",
                "[budgets.wipe]\nconcurrent = 0\nper-rack = 1\nper-requester = 1\nper-hour = 1\npercent = 10\n[boot]",
                "0 lets no wipe",
            ),
            ("[boot]", "[boot]\nhttp-port = 8444", "cannot both have port 8444"),
            ("[boot]", "[bmc.console]\nkept-bytes = 100\n[boot]", "is not within 65536"),
            ("[boot]", "[bmc]\nevents-to = \"http://10.0.0.1:8444\"\n[boot]", "write https://"),
            ("[boot]", "[bmc]\nevents-to = \"https://10.0.0.1:8444/x\"\n[boot]", "write https://"),
            ("[boot]", "[bmc]\nwatch-minutes = 0\nevents-to = \"https://10.0.0.1:8444\"\n[boot]", "no visits"),
            ("[boot]", "[bmc]\nscan = [\"10.0.0.9-10.0.0.3\"]\n[boot]", "is no range"),
            ("[boot]", "[bmc]\nscan = [\"10.0.0.0/8\"]\n[boot]", "65536"),
            ("dedicated = true", "dhcp.mode = \"proxy\"", "has no range of ours"),
            ("range     = [\"10.77.0.50\", \"10.77.0.200\"]", "", "no range of addresses to hand out"),
            ("dedicated = true", "dhcp.boot-lease-seconds = 5", "at least 60 seconds"),
            ("[boot]", "[boot]\nhttps-port = 8080", "boot HTTP and boot HTTPS cannot both have port 8080"),
            ("[boot]", "[boot]\nhttps-port = 8443", "takes port 8443 of 10.77.0.1 too; change boot.https-port"),
            ("[boot]", "[boot]\nhttps-port = 0", "port 0 means none"),
            ("[boot]", "[boot]\nhttps-port = 8081\nhttps-cert = \"a.pem\"", "give `https-key` too"),
            ("[boot]", "[boot]\nhttps-cert = \"a.pem\"\nhttps-key = \"a.key\"", "set `https-port`"),
            ("dedicated = true", "dhcp.https-boot = true", "set `https-port` in [boot]"),
        ] {
            let slips = slips(&EXAMPLE.replace(from, to));
            assert!(slips.iter().any(|slip| slip.contains(said)), "{to}: {slips:?}");
            assert!(slips.iter().all(|slip| !slip.contains("secret")), "{slips:?}");
        }
    }

    #[test]
    fn beside_another_server_a_dedicated_network_is_ours_to_discover_and_not_ours_to_rule() {
        let beside = EXAMPLE.replace(
            "range     = [\"10.77.0.50\", \"10.77.0.200\"]",
            "dhcp.mode = \"proxy\"\ndhcp.other-servers = [\"10.77.0.9\"]",
        );
        let config = Config::parse("muster.toml", &beside).unwrap();
        let networks = config.networks(&|_| Loaders::default()).unwrap();
        let network = networks.named("provisioning").unwrap();
        assert_eq!((network.dhcp, network.dedicated, network.authoritative), (Dhcp::Proxy, true, false));
        assert!(network.other_servers.contains(&Ipv4Addr::new(10, 77, 0, 9)) && network.ranges.is_empty());
    }

    /// The example with IPv6.
    fn over_v6() -> String {
        let network =
            "dedicated = true\nipv6 = { subnet = \"fd00:77::/64\", range = [\"fd00:77::1000\", \"fd00:77::1fff\"] }";
        EXAMPLE.replace("[boot]", "[boot]\nipv6 = \"fd00:77::1\"").replace("dedicated = true", network)
    }

    #[test]
    fn b4_6_ipv6_is_off_until_a_network_asks_for_it() {
        let config = Config::parse("muster.toml", EXAMPLE).unwrap();
        assert_eq!((config.boot_addresses().len(), config.interfaces6().len()), (1, 0));
        assert!(config.networks(&|_| Loaders::default()).unwrap().with_v6().next().is_none());
        let config = Config::parse("muster.toml", &over_v6()).unwrap();
        assert_eq!((config.boot_addresses().len(), config.interfaces6()), (2, vec!["eno1".to_owned()]));
        let networks = config.networks(&|_| Loaders::default()).unwrap();
        let (_, served) = networks.with_v6().next().unwrap();
        assert_eq!(served.boot_http, "http://[fd00:77::1]:8080");
        assert!(!served.rapid_commit, "B4.1");
    }

    #[test]
    fn b3_3_tls_is_off_until_a_port_is_given_and_firmware_is_sent_there_where_its_network_says_so() {
        let network = |text: &str| {
            let config = Config::parse("muster.toml", text).unwrap();
            config.networks(&|_| Loaders::default()).unwrap().named("provisioning").unwrap().clone()
        };
        assert_eq!(network(&over_v6()).boot_https, None);
        let port = over_v6().replace("[boot]", "[boot]\nhttps-port = 8081");
        assert_eq!(network(&port).boot_https, None);
        let told = network(&port.replace("dedicated = true", "dedicated = true\ndhcp.https-boot = true"));
        assert_eq!(told.boot_https.as_deref(), Some("https://10.77.0.1:8081"));
        assert_eq!(told.v6.unwrap().boot_https.as_deref(), Some("https://[fd00:77::1]:8081"));
    }

    #[test]
    fn what_could_never_work_over_ipv6_is_refused_at_its_line() {
        for (from, to, line, said) in [
            ("ipv6 = \"fd00:77::1\"", "", 16, "set `ipv6` in [boot]"),
            ("\"fd00:77::1\"", "\"fe80::1\"", 7, "another machine on each interface"),
            ("\"fd00:77::1\"", "\"::\"", 7, "that machines can call"),
            ("\"fd00:77::1\"", "\"fd00:78::1\"", 7, "not of its prefix"),
            ("fd00:77::/64", "fd00:77::/64/1", 16, "is not a prefix of IPv6"),
            ("fd00:77::1fff", "fd00:78::1fff", 16, "not a rising range of its prefix"),
            ("fd00:77::1fff", "fd00:77::1:ffff:ffff", 16, "more than 131072 addresses"),
        ] {
            let slips = slips(&over_v6().replace(from, to));
            let start = format!("muster.toml:{line}:");
            assert!(slips.iter().any(|slip| slip.contains(said) && slip.starts_with(&start)), "{to}: {slips:?}");
        }
        assert!(slips(&over_v6()).is_empty());
    }

    /// `MUSTER_BLESS=1` writes the schema anew.
    #[test]
    fn the_schema_in_the_docs_is_that_of_this_build() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/config.schema.json");
        let right = format!("{}\n", schema().unwrap());
        if std::env::var_os("MUSTER_BLESS").is_some() {
            std::fs::write(&path, &right).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == right,
            "run again with MUSTER_BLESS=1, look at the difference and commit docs/config.schema.json"
        );
    }

    #[test]
    fn the_page_about_the_configuration_names_every_setting() {
        let page = std::fs::read_to_string(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/configuration.md"),
        )
        .unwrap();
        let schema: serde_json::Value = serde_json::from_str(&schema().unwrap()).unwrap();
        let mut settings = Vec::new();
        collect(&schema, &mut settings);
        assert!(settings.len() > 25, "{settings:?}");
        for setting in settings {
            assert!(page.contains(&format!("`{setting}`")), "`{setting}` is not on the page");
        }
    }

    fn collect(schema: &serde_json::Value, into: &mut Vec<String>) {
        if let Some(properties) = schema.get("properties").and_then(|found| found.as_object()) {
            into.extend(properties.keys().cloned());
        }
        for definition in schema.get("$defs").and_then(|found| found.as_object()).into_iter().flatten() {
            collect(definition.1, into);
        }
    }
}
