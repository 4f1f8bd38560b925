//! The boot server's questions, answered by the conductor.

use crate::data::{INITRD, KERNEL, boot_file};
use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_core::future::BoxFuture;
use muster_bootserver::http::{Body, Content, Files};
use muster_bootserver::tftp::Source;
use muster_bootserver::{Commit, Commit6, CommitError, View, Watch};
use muster_conductor::{BootAnswer, Conductor, now};
use muster_names::{Architecture, Mac};
use muster_netboot::{
    AgentBoot, BadScript, Conflict, FIRST_GRUB_SCRIPT, Host, Initrd, KernelArgs, Lease, LeaseChange, Link, Network,
    Networks, Outcome, Said, Script, Sighting, SightingKind, by_grub_name, first_grub_script, grub_script, script, v6,
};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// One object behind all of the boot server's traits.
pub struct BootPath {
    pub me: Arc<Conductor>,
    pub files: Arc<Files>,
    pub networks: Arc<ArcSwap<Networks>>,
    /// As the configuration has them.
    pub configured: ArcSwap<Networks>,
    /// `http://10.77.0.1:8080`
    pub base: String,
    /// `http://[fd00:77::1]:8080`, where IPv6 is on: who came by it goes on by it.
    pub base6: Option<String>,
    /// Kernel arguments that name the receiver of system logs, as Debian's installer reads them too.
    pub log_args: Vec<String>,
}

impl View for BootPath {
    fn host(&self, mac: Mac) -> Host {
        self.me.host(mac)
    }

    fn learnt(&self) -> Vec<Lease> {
        self.me.learnt()
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

impl Commit6 for BootPath {
    fn commit6(&self, batch: Vec<v6::LeaseChange>) -> BoxFuture<'_, Result<Vec<Outcome>, CommitError>> {
        Box::pin(async move { self.me.commit_leases6(&batch).await.map_err(|error| CommitError(Box::new(error))) })
    }

    fn load6(&self) -> BoxFuture<'_, Result<Vec<v6::Lease>, CommitError>> {
        Box::pin(async move { self.me.load_leases6().await.map_err(|error| CommitError(Box::new(error))) })
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
    /// Firmware asks for its loader by the plain name; GRUB for everything by the path that its script says.
    fn find(&self, name: &str, _: SocketAddr) -> Option<Bytes> {
        if name == FIRST_GRUB_SCRIPT {
            return Some(Bytes::from(first_grub_script()));
        }
        let path = format!("/{name}");
        if let Some((_, Asked::Token(nonce))) = asked(&path) {
            return self.token(nonce);
        }
        let body =
            if name.starts_with("boot/") { self.files.get(&path) } else { self.files.get(&format!("boot/{name}")) };
        match body? {
            Body::Memory { bytes, .. } => Some(bytes),
            Body::File { .. } => None,
        }
    }

    fn is_made(&self, name: &str) -> bool {
        matches!(asked(&format!("/{name}")), Some((_, Asked::Script(Language::Grub, _))))
    }

    fn make<'a>(&'a self, name: &'a str, from: SocketAddr) -> BoxFuture<'a, Option<Bytes>> {
        Box::pin(async move {
            match asked(&format!("/{name}")) {
                Some((mac, Asked::Script(language, architecture))) => {
                    Some(Bytes::from(self.script_for(mac, from.ip(), language, architecture).await))
                }
                _ => None,
            }
        })
    }
}

impl Content for BootPath {
    fn open<'a>(&'a self, path: &'a str, from: SocketAddr) -> BoxFuture<'a, Option<Body>> {
        Box::pin(async move {
            match asked(path) {
                Some((mac, Asked::Script(language, architecture))) => {
                    Some(text(self.script_for(mac, from.ip(), language, architecture).await))
                }
                Some((mac, Asked::Disk)) => {
                    // Its address came with the reason.
                    self.told(mac, false, false, "");
                    Some(text(script(&Script::Disk)))
                }
                Some((_, Asked::Token(nonce))) => {
                    let bytes = self.token(nonce)?;
                    Some(Body::Memory { bytes, content_type: "application/octet-stream" })
                }
                None => self.files.get(path),
            }
        })
    }
}

/// What a boot loader reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    Ipxe,
    Grub,
}

impl Language {
    /// A script, and the disk's where there is something that this loader would misread.
    fn render(self, mac: Mac, wanted: &Script) -> (String, Option<BadScript>) {
        match self {
            Self::Ipxe => (script(wanted), None),
            Self::Grub => match grub_script(wanted) {
                Ok(text) => (text, None),
                Err(error) => {
                    tracing::error!(%mac, %error, "the model's kernel arguments make no script for GRUB; it boots its disk");
                    (grub_script(&Script::Disk).unwrap_or_default(), Some(error))
                }
            },
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Asked<'a> {
    Script(Language, Architecture),
    Disk,
    Token(&'a str),
}

/// `/b/<mac>/boot.ipxe`, `/b/<mac>/arm64/boot.ipxe`, `/b/<mac>/x86_64/boot.grub`, `/b/<mac>/disk.ipxe`,
/// `/b/<mac>/<nonce>/agent.cpio`.
fn asked(path: &str) -> Option<(Mac, Asked<'_>)> {
    let (mac, rest) = path.strip_prefix("/b/")?.split_once('/')?;
    let mac = mac.parse().ok()?;
    let asked = match rest {
        "boot.ipxe" => Asked::Script(Language::Ipxe, Architecture::X86_64),
        "arm64/boot.ipxe" => Asked::Script(Language::Ipxe, Architecture::Arm64),
        "disk.ipxe" => Asked::Disk,
        _ => match rest.strip_suffix("/boot.grub") {
            Some(cpu) => Asked::Script(Language::Grub, by_grub_name(cpu)?),
            None => Asked::Token(rest.strip_suffix("/agent.cpio")?),
        },
    };
    Some((mac, asked))
}

fn text(script: String) -> Body {
    Body::Memory { bytes: Bytes::from(script), content_type: "text/plain; charset=utf-8" }
}

/// Why a machine is given the script that boots its disk.
struct Unserved {
    /// The disk is what its state wants.
    wanted: bool,
    words: String,
}

impl Unserved {
    fn of(words: impl Into<String>) -> Self {
        Self { wanted: false, words: words.into() }
    }
}

impl BootPath {
    /// Puts networks in force, with what is kept for somebody kept back.
    pub fn put_networks(&self, networks: Networks) {
        let reserved = self.me.reserved();
        self.networks.store(Arc::new(networks.with_reserved(&reserved.borrow())));
        self.configured.store(Arc::new(networks));
    }

    /// Keeps reserved addresses out of what is handed out, as soon as they are reserved.
    pub async fn follow_reservations(&self, cancel: CancellationToken) {
        let mut reserved = self.me.reserved();
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                changed = reserved.changed() => if changed.is_err() { return },
            }
            let now = reserved.borrow_and_update().clone();
            self.networks.store(Arc::new(self.configured.load().with_reserved(&now)));
        }
    }

    /// Whether TFTP answers this address at all (A2.2).
    pub fn allows(&self, address: IpAddr) -> bool {
        holding(&self.networks.load(), address).is_some()
    }

    fn told(&self, mac: Mac, agent: bool, wanted: bool, why: &str) {
        let said = Said::Script { agent, wanted, why: why.to_string() };
        self.me.saw(Sighting::of(now(), mac, SightingKind::Http, said));
    }

    /// Whether the network is dedicated; or why this address cannot ask in that MAC's name. Where our leases are the only
    /// ones they tell who sits behind an address; beside another server they do not.
    async fn own(&self, mac: Mac, from: IpAddr) -> Result<bool, &'static str> {
        let networks = self.networks.load_full();
        let network = holding(&networks, from).ok_or("it asked from an address that is on no network of ours")?;
        if network.authoritative {
            match self.me.may_be_from(mac, &network.name, from).await {
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

    async fn script_for(&self, mac: Mac, from: IpAddr, language: Language, architecture: Architecture) -> String {
        let (wanted, why) = match self.wanted(mac, from, architecture).await {
            Ok(boot) => (Script::Agent(boot), None),
            Err(why) => (Script::Disk, Some(why)),
        };
        let (text, refused) = language.render(mac, &wanted);
        match why.or_else(|| refused.map(|error| Unserved::of(error.to_string()))) {
            None => self.told(mac, true, false, ""),
            Some(why) => self.told(mac, false, why.wanted, &why.words),
        }
        text
    }

    /// What the agent is booted with, or why the machine boots its disk.
    async fn wanted(&self, mac: Mac, from: IpAddr, architecture: Architecture) -> Result<AgentBoot, Unserved> {
        let dedicated = self.own(mac, from).await.map_err(Unserved::of)?;
        let kernel = boot_file(architecture, KERNEL);
        if self.files.get(&kernel).is_none() {
            return Err(Unserved::of(format!("there is no boot image for {architecture}")));
        }
        match self.me.boot_answer(mac, dedicated).await {
            BootAnswer::Disk { wanted, why } => Err(Unserved { wanted, words: why }),
            BootAnswer::Agent { nonce, console, kernel_args } => {
                let base = self.base6.as_ref().filter(|_| from.is_ipv6()).unwrap_or(&self.base);
                self.agent(base, mac, architecture, &nonce, console, &kernel_args).map_err(|error| {
                    tracing::error!(%mac, %error, "the model's kernel arguments make no script; it boots its disk");
                    Unserved::of(error.to_string())
                })
            }
        }
    }

    fn token(&self, nonce: &str) -> Option<Bytes> {
        self.me.boot_file(nonce).map(|bytes| Bytes::copy_from_slice(&bytes))
    }

    fn agent(
        &self,
        base: &str,
        mac: Mac,
        architecture: Architecture,
        nonce: &str,
        console: Option<String>,
        more: &[String],
    ) -> Result<AgentBoot, BadScript> {
        let link = |path: &str| Link::new(&format!("{base}{path}"));
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
            Initrd::new(INITRD, link(&format!("/{}", boot_file(architecture, INITRD)))?)?,
        ];
        let folder = match architecture {
            Architecture::X86_64 => "",
            Architecture::Arm64 => "/arm64",
        };
        let script = link(&format!("/b/{}{folder}/boot.ipxe", mac.dashed()))?;
        let kernel = link(&format!("/{}", boot_file(architecture, KERNEL)))?;
        Ok(AgentBoot { mac, script, kernel, initrds, args })
    }
}

/// The network an address is of, over either protocol.
fn holding(networks: &Networks, address: IpAddr) -> Option<&Network> {
    match address {
        IpAddr::V4(address) => networks.holding(address),
        IpAddr::V6(address) => networks.holding_v6(address).map(|(network, _)| network),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_boot_listener_read_strictly() {
        let of = |path: &'static str| asked(path).map(|(_, asked)| asked);
        let (ipxe, grub) = (Language::Ipxe, Language::Grub);
        assert_eq!(of("/b/52-54-00-77-01-01/boot.ipxe"), Some(Asked::Script(ipxe, Architecture::X86_64)));
        assert_eq!(of("/b/52-54-00-77-01-01/arm64/boot.ipxe"), Some(Asked::Script(ipxe, Architecture::Arm64)));
        assert_eq!(of("/b/52:54:00:77:01:01/x86_64/boot.grub"), Some(Asked::Script(grub, Architecture::X86_64)));
        assert_eq!(of("/b/52:54:00:77:01:01/arm64/boot.grub"), Some(Asked::Script(grub, Architecture::Arm64)));
        assert_eq!(of("/b/52-54-00-77-01-01/ab12/agent.cpio"), Some(Asked::Token("ab12")));
        for path in [
            "/b/",
            "/b/x/boot.ipxe",
            "/b/52-54-00-77-01-01/",
            "/boot/ipxe.efi",
            "/b/52-54-00-77-01-01/other",
            "/b/52-54-00-77-01-01/i386/boot.grub",
            "/b/52-54-00-77-01-01/boot.grub",
        ] {
            assert!(asked(path).is_none(), "{path}");
        }
    }

    #[test]
    fn a4_what_grub_cannot_be_told_boots_the_disk() {
        let link = Link::new("http://10.0.0.1:8080/boot/vmlinuz").unwrap();
        let args = KernelArgs::new("a=\"b\"").unwrap();
        let (mac, script, kernel) = (Mac([0; 6]), link.clone(), link);
        let wanted = Script::Agent(AgentBoot { mac, script, kernel, initrds: Vec::new(), args });
        let (text, refused) = Language::Grub.render(Mac([0; 6]), &wanted);
        assert!(refused.is_some() && text == grub_script(&Script::Disk).unwrap());
        assert!(Language::Ipxe.render(Mac([0; 6]), &wanted).1.is_none());
    }
}
