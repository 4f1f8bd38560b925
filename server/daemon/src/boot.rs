//! The boot server's questions, answered by the conductor.

use crate::data::{INITRD, KERNEL};
use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_core::future::BoxFuture;
use muster_bootserver::http::{Body, Content, Files};
use muster_bootserver::tftp::Source;
use muster_bootserver::{Commit, CommitError, View, Watch};
use muster_conductor::{BootAnswer, Conductor, now};
use muster_names::Mac;
use muster_netboot::{
    AgentBoot, BadScript, Conflict, Host, Initrd, KernelArgs, Lease, LeaseChange, Link, Networks, Outcome, Said,
    Script, Sighting, SightingKind, script,
};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// One object behind all of the boot server's traits.
pub struct BootPath {
    pub me: Arc<Conductor>,
    pub files: Arc<Files>,
    pub networks: Arc<ArcSwap<Networks>>,
    /// `http://10.77.0.1:8080`
    pub base: String,
    /// Kernel arguments that name the receiver of system logs, as Debian's installer reads them too.
    pub log_args: Vec<String>,
}

impl View for BootPath {
    fn host(&self, mac: Mac) -> Host {
        self.me.host(mac)
    }
}

impl Commit for BootPath {
    fn commit(&self, batch: Vec<LeaseChange>) -> BoxFuture<'_, Result<Vec<Outcome>, CommitError>> {
        Box::pin(async move { self.me.commit_leases(&batch).await.map_err(|error| CommitError(Box::new(error))) })
    }

    fn load(&self) -> BoxFuture<'_, Result<Vec<Lease>, CommitError>> {
        Box::pin(async move { self.me.load_leases().await.map_err(|error| CommitError(Box::new(error))) })
    }
}

impl Watch for BootPath {
    fn saw(&self, sighting: Sighting) {
        self.me.saw(sighting);
    }

    fn met(&self, conflict: Conflict) {
        self.me.met(conflict);
    }
}

impl Source for BootPath {
    fn find(&self, name: &str, _: SocketAddr) -> Option<Bytes> {
        // Firmware asks for the loader by its plain name.
        match self.files.get(&format!("boot/{name}"))? {
            Body::Memory { bytes, .. } => Some(bytes),
            Body::File { .. } => None,
        }
    }
}

impl Content for BootPath {
    fn open<'a>(&'a self, path: &'a str, from: SocketAddr) -> BoxFuture<'a, Option<Body>> {
        Box::pin(async move {
            match asked(path) {
                Some((mac, Asked::Script)) => Some(text(self.script_for(mac, from.ip()).await)),
                Some((mac, Asked::Disk)) => {
                    // Its address came with the reason.
                    self.told(mac, false, false, "");
                    Some(text(script(&Script::Disk)))
                }
                Some((_, Asked::Token(nonce))) => {
                    let bytes = self.me.boot_file(nonce)?;
                    let bytes = Bytes::copy_from_slice(&bytes);
                    Some(Body::Memory { bytes, content_type: "application/octet-stream" })
                }
                None => self.files.get(path),
            }
        })
    }
}

enum Asked<'a> {
    Script,
    Disk,
    Token(&'a str),
}

/// `/b/<mac>/boot.ipxe`, `/b/<mac>/disk.ipxe`, `/b/<mac>/<nonce>/agent.cpio`.
fn asked(path: &str) -> Option<(Mac, Asked<'_>)> {
    let (mac, rest) = path.strip_prefix("/b/")?.split_once('/')?;
    let mac = mac.parse().ok()?;
    Some((
        mac,
        match rest {
            "boot.ipxe" => Asked::Script,
            "disk.ipxe" => Asked::Disk,
            _ => Asked::Token(rest.strip_suffix("/agent.cpio")?),
        },
    ))
}

fn text(script: String) -> Body {
    Body::Memory { bytes: Bytes::from(script), content_type: "text/plain; charset=utf-8" }
}

impl BootPath {
    /// Whether TFTP answers this address at all (A2.2).
    pub fn allows(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.networks.load().holding(address).is_some(),
            IpAddr::V6(_) => false,
        }
    }

    fn told(&self, mac: Mac, agent: bool, wanted: bool, why: &str) {
        let said = Said::Script { agent, wanted, why: why.to_string() };
        self.me.saw(Sighting::of(now(), mac, SightingKind::Http, said));
    }

    /// Whether the network is dedicated; or why this address cannot ask in that MAC's name. Where our leases are the only
    /// ones they tell who sits behind an address; beside another server they do not.
    async fn own(&self, mac: Mac, from: IpAddr) -> Result<bool, &'static str> {
        let IpAddr::V4(address) = from else { return Err("it asked from an address that is on no network of ours") };
        let networks = self.networks.load_full();
        let network = networks.holding(address).ok_or("it asked from an address that is on no network of ours")?;
        if network.authoritative {
            match self.me.may_be_from(mac, &network.name, address).await {
                Ok(true) => {}
                Ok(false) => return Err("its address is not leased to this MAC: somebody else asked in its name"),
                Err(error) => {
                    tracing::error!(%mac, %error, "nobody knows whose address it is; it boots its disk");
                    return Err("the database did not answer");
                }
            }
        }
        Ok(network.dedicated)
    }

    async fn script_for(&self, mac: Mac, from: IpAddr) -> String {
        let dedicated = match self.own(mac, from).await {
            Ok(dedicated) => dedicated,
            Err(why) => {
                self.told(mac, false, false, why);
                return script(&Script::Disk);
            }
        };
        match self.me.boot_answer(mac, dedicated).await {
            BootAnswer::Disk { wanted, why } => {
                self.told(mac, false, wanted, &why);
                script(&Script::Disk)
            }
            BootAnswer::Agent { nonce, console, kernel_args } => match self.agent(mac, &nonce, console, &kernel_args) {
                Ok(boot) => {
                    self.told(mac, true, false, "");
                    script(&Script::Agent(boot))
                }
                Err(error) => {
                    tracing::error!(%mac, %error, "the model's kernel arguments make no script; it boots its disk");
                    self.told(mac, false, false, &error.to_string());
                    script(&Script::Disk)
                }
            },
        }
    }

    fn agent(&self, mac: Mac, nonce: &str, console: Option<String>, more: &[String]) -> Result<AgentBoot, BadScript> {
        let link = |path: &str| Link::new(&format!("{}{path}", self.base));
        let mut args = KernelArgs::new("quiet panic=30")?;
        for console in std::iter::once("tty0".to_string()).chain(console) {
            args.push(&format!("console={console}"))?;
        }
        for argument in self.log_args.iter().chain(more) {
            args.push(argument)?;
        }
        // The small archive goes first: it is a multiple of four long, so the next one is found behind it.
        let initrds = vec![
            Initrd::new("agent.cpio", link(&format!("/b/{}/{nonce}/agent.cpio", mac.dashed()))?)?,
            Initrd::new(INITRD, link(&format!("/boot/{INITRD}"))?)?,
        ];
        let script = link(&format!("/b/{}/boot.ipxe", mac.dashed()))?;
        Ok(AgentBoot { mac, script, kernel: link(&format!("/boot/{KERNEL}"))?, initrds, args })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_boot_listener_read_strictly() {
        assert!(matches!(asked("/b/52-54-00-77-01-01/boot.ipxe"), Some((_, Asked::Script))));
        assert!(matches!(asked("/b/52-54-00-77-01-01/ab12/agent.cpio"), Some((_, Asked::Token("ab12")))));
        for path in ["/b/", "/b/x/boot.ipxe", "/b/52-54-00-77-01-01/", "/boot/ipxe.efi", "/b/52-54-00-77-01-01/other"] {
            assert!(asked(path).is_none(), "{path}");
        }
    }
}
