//! The daemon's configuration: one TOML file, read and checked as a whole before anything listens.

use anyhow::{Context as _, Result, bail};
use muster_diagnosis::Budgets;
use muster_netboot::{Network, Networks, Range, Subnet};
use muster_store::Place;
use schemars::JsonSchema;
use serde::Deserialize;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

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
    /// The folder with vmlinuz, initrd and manifest.json of the boot image.
    #[serde(default = "boot_image")]
    pub boot_image: PathBuf,
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
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BootConfig {
    /// Our address on the provisioning network: TFTP, boot HTTP and agents.
    pub address: Ipv4Addr,
    #[serde(default = "http_port")]
    pub http_port: u16,
    #[serde(default = "agent_port")]
    pub agent_port: u16,
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
    /// First and last address to hand out.
    pub range: (Ipv4Addr, Ipv4Addr),
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
    #[serde(default)]
    pub force_broadcast: bool,
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

impl Config {
    /// Reads and checks. Relative folders count from the file's own folder.
    pub fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| {
            format!("the configuration {} does not read; `muster example-config` prints one", file.display())
        })?;
        let mut config: Self = toml::from_str(&text).with_context(|| format!("in {}", file.display()))?;
        let base = file.parent().unwrap_or(Path::new("."));
        for folder in
            [&mut config.data, &mut config.files, &mut config.boot_image, &mut config.images, &mut config.secrets]
        {
            *folder = base.join(&folder);
        }
        config.overrides()?;
        config.networks(&muster_netboot::Loaders::default())?;
        Ok(config)
    }

    /// `MUSTER_DATABASE` and `MUSTER_API` go before the file: the one is a secret, the other differs per start.
    fn overrides(&mut self) -> Result<()> {
        if let Ok(url) = std::env::var("MUSTER_DATABASE") {
            self.database = Some(url);
        }
        if let Ok(address) = std::env::var("MUSTER_API") {
            self.api = address.parse().with_context(|| format!("MUSTER_API={address} is not ADDRESS:PORT"))?;
        }
        Ok(())
    }

    pub fn place(&self) -> Place {
        match &self.database {
            Some(url) => Place::Postgres(url.clone()),
            None => Place::Sqlite(self.data.clone()),
        }
    }

    pub fn boot_http(&self) -> String {
        format!("http://{}:{}", self.boot.address, self.boot.http_port)
    }

    pub fn agent_url(&self) -> String {
        format!("https://{}:{}", self.boot.address, self.boot.agent_port)
    }

    /// The networks as the boot path wants them, checked against each other.
    pub fn networks(&self, loaders: &muster_netboot::Loaders) -> Result<Networks> {
        let mut list = Vec::new();
        for told in &self.networks {
            let subnet: Subnet =
                told.subnet.parse().map_err(|error| anyhow::anyhow!("network {}: {error}", told.name))?;
            let mut network = Network::new(&told.name, subnet, self.boot.address, &self.boot_http());
            network.interface.clone_from(&told.interface);
            network.ranges = vec![Range { first: told.range.0, last: told.range.1 }];
            network.gateway = told.gateway;
            // Debian's installer stops when no name server is told at all.
            network.dns = if told.dns.is_empty() { vec![self.boot.address] } else { told.dns.clone() };
            network.mtu = told.mtu;
            network.dedicated = told.dedicated;
            network.authoritative = told.authoritative || told.dedicated;
            network.force_broadcast = told.force_broadcast;
            network.loaders = loaders.clone();
            list.push(network);
        }
        match Networks::new(list) {
            Ok(networks) => Ok(networks),
            Err(slips) => {
                let slips: Vec<String> = slips.iter().map(ToString::to_string).collect();
                bail!("the networks contradict each other: {}", slips.join("; "))
            }
        }
    }

    pub fn interfaces(&self) -> Vec<String> {
        self.networks.iter().filter_map(|network| network.interface.clone()).collect()
    }
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

    fn read(text: &str) -> Result<Config> {
        let dir = std::env::temp_dir().join(format!("muster-config-{}-{}", std::process::id(), text.len()));
        std::fs::create_dir_all(&dir)?;
        let file = dir.join("muster.toml");
        std::fs::write(&file, text)?;
        let read = Config::read(&file);
        std::fs::remove_dir_all(&dir)?;
        read
    }

    #[test]
    fn the_example_is_fifteen_lines_and_reads() {
        assert!(EXAMPLE.lines().count() <= 16, "{}", EXAMPLE.lines().count());
        let config = read(EXAMPLE).unwrap();
        assert_eq!(config.boot_http(), "http://10.77.0.1:8080");
        assert_eq!(config.interfaces(), ["eno1"]);
    }

    #[test]
    fn a_typo_is_named_with_its_line_and_the_words_allowed() {
        let error = format!("{:#}", read(&EXAMPLE.replace("dedicated", "dedicatd")).unwrap_err());
        assert!(error.contains("line") && error.contains("dedicatd") && error.contains("dedicated"), "{error}");
    }

    #[test]
    fn a_range_outside_its_subnet_is_refused_before_anything_listens() {
        let error = format!("{:#}", read(&EXAMPLE.replace("10.77.0.200", "10.78.0.200")).unwrap_err());
        assert!(error.contains("provisioning"), "{error}");
    }
}
