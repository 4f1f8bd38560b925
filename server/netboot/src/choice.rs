//! What a machine is told to boot: a pure function of the request, the host and the network.
//!
//! The default is the machine's own disk. Anything else needs a machine of ours that is due for the agent, or a
//! stranger on a network where everything is ours to discover.

use crate::clients::ProxyStyle;
use crate::host::{Boot, Host};
use crate::network::Network;
use crate::request::{Kind, Request};
use muster_names::Architecture;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What the machine behind a client architecture (option 93) runs; none for what we have no boot image for.
fn architecture(arch: u16) -> Option<Architecture> {
    match arch {
        0 | 7 | 9 | 16 | 17 | 20 => Some(Architecture::X86_64),
        11 | 19 => Some(Architecture::Arm64),
        _ => None,
    }
}

/// Who is asking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Client {
    /// An operating system, or anything that does not boot from the network.
    #[default]
    Plain,
    /// PXE firmware.
    Pxe,
    /// UEFI HTTP boot firmware.
    Http,
    /// iPXE that can fetch by HTTP.
    Ipxe,
    /// iPXE in a NIC's ROM without HTTP: it gets our own loader first.
    BareIpxe,
    /// A loader that boots as data says and calls itself neither of the firmware's names.
    Other,
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "system",
            Self::Pxe => "firmware, PXE",
            Self::Http => "firmware, HTTP boot",
            Self::Ipxe => "iPXE",
            Self::BareIpxe => "iPXE without HTTP",
            Self::Other => "loader",
        })
    }
}

const IPXE: &[u8] = b"iPXE";
/// iPXE's feature sub-option "HTTP" within option 175.
const IPXE_HTTP: u8 = 0x13;

/// Reads the client's kind. The class is trusted over the architecture when they disagree (B2.16).
pub fn client(request: &Request) -> Client {
    if request.ipxe.is_some() || request.has_user_class(IPXE) {
        return match request.ipxe.as_deref() {
            Some(features) if !features.is_empty() && !has_sub_option(features, IPXE_HTTP) => Client::BareIpxe,
            _ => Client::Ipxe,
        };
    }
    match request.vendor_class.as_deref() {
        Some(class) if class.starts_with(b"HTTPClient") => Client::Http,
        Some(class) if class.starts_with(b"PXEClient") => Client::Pxe,
        _ => Client::Plain,
    }
}

/// As [`client`], with the kinds of client that a network's data knows besides.
pub fn client_on(request: &Request, network: &Network) -> Client {
    match client(request) {
        Client::Plain if network.loaders.kind_of(request).is_some_and(|kind| kind.file.is_some()) => Client::Other,
        client => client,
    }
}

fn has_sub_option(raw: &[u8], wanted: u8) -> bool {
    let mut rest = raw;
    loop {
        match rest {
            [0, tail @ ..] => rest = tail,
            [255, ..] | [] | [_] => return false,
            [code, ..] if *code == wanted => return true,
            [_, length, tail @ ..] => match tail.get(usize::from(*length)..) {
                Some(next) => rest = next,
                None => return false,
            },
        }
    }
}

/// Why a boot client is sent to its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WhyDisk {
    /// It is ours, and nothing else is due.
    Asked,
    /// Not ours, on a network that is not dedicated.
    Stranger,
    /// It asked for the same stage more than three times in five minutes.
    Loop,
    /// No loader for its architecture.
    NoLoader,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Not a boot client: an address, nothing more.
    Nothing,
    /// PXE firmware or a bare iPXE fetches this file by TFTP; the style counts beside another server alone.
    Tftp { file: String, proxy: ProxyStyle },
    /// UEFI HTTP boot fetches this.
    Http { url: String },
    /// iPXE runs this script.
    Script { url: String },
    /// No boot file; iPXE gets the script that boots the disk.
    Disk { why: WhyDisk, script: Option<String> },
}

impl Choice {
    /// Does the machine load something of ours?
    pub fn boots(&self) -> bool {
        matches!(self, Self::Tftp { .. } | Self::Http { .. } | Self::Script { .. })
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("not a boot client"),
            Self::Tftp { file, .. } => write!(f, "boot {file} by TFTP"),
            Self::Http { url } | Self::Script { url } => write!(f, "boot {url}"),
            Self::Disk { why, .. } => write!(f, "{why}"),
        }
    }
}

impl fmt::Display for WhyDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asked => "boot its own disk",
            Self::Stranger => "boot its own disk, for it is not ours and the network is not dedicated",
            Self::Loop => return write!(f, "boot loop: {}", crate::brake::SENT),
            Self::NoLoader => "boot its own disk, for there is no loader for its architecture",
        })
    }
}

/// `looping` is the brake's word for this machine and stage.
pub fn choose(request: &Request, host: &Host, network: &Network, looping: bool) -> Choice {
    let client = client_on(request, network);
    if client == Client::Plain || !matches!(request.kind, Some(Kind::Discover | Kind::Request)) {
        return Choice::Nothing;
    }
    let Some(mac) = request.mac() else { return Choice::Nothing };
    let base = &network.boot_http;
    let disk = |why| {
        let script = (client == Client::Ipxe).then(|| format!("{base}/b/{}/disk.ipxe", mac.dashed()));
        Choice::Disk { why, script }
    };
    match (host.ours, host.boot, network.dedicated) {
        (true, Boot::Disk, _) => return disk(WhyDisk::Asked),
        (false, _, false) => return disk(WhyDisk::Stranger),
        (true, Boot::Agent, _) | (false, _, true) => {}
    }
    if looping {
        return disk(WhyDisk::Loop);
    }
    if client == Client::Ipxe {
        let folder = match request.archs.iter().find_map(|arch| architecture(*arch)) {
            Some(Architecture::Arm64) => "/arm64",
            Some(Architecture::X86_64) | None => "",
        };
        return Choice::Script { url: format!("{base}/b/{}{folder}/boot.ipxe", mac.dashed()) };
    }
    let own = host.loaders.as_deref().and_then(|loaders| loaders.first(&request.archs));
    match (own.or_else(|| network.loaders.file_for(request)), client) {
        (None, _) => disk(WhyDisk::NoLoader),
        (Some(first), Client::Http) => {
            let base = network.boot_https.as_ref().unwrap_or(base);
            Choice::Http { url: format!("{base}/boot/{}", first.file) }
        }
        (Some(first), _) => Choice::Tftp { file: first.file.clone(), proxy: first.proxy },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_names::Mac;

    fn classed(class: &str) -> Request {
        let mac = Mac([2, 0, 0, 0, 0, 1]);
        Request { vendor_class: Some(class.as_bytes().to_vec()), ..Request::of(mac, Kind::Discover) }
    }

    #[test]
    fn b2_1_only_the_two_boot_classes_are_firmware() {
        assert_eq!(client(&classed("PXEClient:Arch:00007:UNDI:003016")), Client::Pxe);
        assert_eq!(client(&classed("PXEClient")), Client::Pxe);
        for other in ["MSFT 5.0", "pxeclient", "udhcp 1.36", ""] {
            assert_eq!(client(&classed(other)), Client::Plain, "{other}");
        }
    }

    #[test]
    fn b2_16_the_class_is_trusted_over_the_architecture() {
        let request = Request { archs: vec![7], ..classed("HTTPClient:Arch:00007") };
        assert_eq!(client(&request), Client::Http);
    }

    #[test]
    fn b2_12_ipxe_is_known_by_its_user_class_or_its_own_option() {
        let by_class = Request { user_class: Some(b"iPXE".to_vec()), ..classed("PXEClient") };
        let listed = Request { user_class: Some(b"\x04iPXE".to_vec()), ..classed("PXEClient") };
        let by_option = Request { ipxe: Some(vec![1, 1, 0, 0x13, 1, 1, 255]), ..classed("PXEClient") };
        let empty = Request { ipxe: Some(Vec::new()), ..classed("PXEClient") };
        for request in [by_class, listed, by_option, empty] {
            assert_eq!(client(&request), Client::Ipxe);
        }
        for broken in [vec![1, 9, 0], vec![0, 0], vec![0x10, 1, 1, 255, 0x13, 1, 1]] {
            let request = Request { ipxe: Some(broken), ..classed("PXEClient") };
            assert_eq!(client(&request), Client::BareIpxe);
        }
    }

    fn rack() -> Network {
        let mut network = Network::new("rack", "10.0.4.0/24".parse().unwrap(), "10.0.4.1".parse().unwrap(), "http://h");
        network.loaders.by_arch.insert(7, crate::FirstFile::new("x64.efi"));
        network
    }

    #[test]
    fn ipxe_is_given_the_script_of_the_first_architecture_that_has_an_image() {
        let host = Host { ours: true, boot: Boot::Agent, ..Host::default() };
        for (archs, folder) in [
            (vec![], ""),
            (vec![41], ""),
            (vec![7, 11], ""),
            (vec![0, 11], ""),
            (vec![20, 19], ""),
            (vec![11, 7], "/arm64"),
            (vec![41, 19], "/arm64"),
        ] {
            let request = Request { user_class: Some(b"iPXE".to_vec()), archs: archs.clone(), ..classed("PXEClient") };
            let url = format!("http://h/b/02-00-00-00-00-01{folder}/boot.ipxe");
            assert_eq!(choose(&request, &host, &rack(), false), Choice::Script { url }, "{archs:?}");
        }
    }

    #[test]
    fn b6_4_who_is_told_what_is_decided_by_whose_it_is_and_what_is_due() {
        let firmware = Request { archs: vec![7], ..classed("PXEClient") };
        let ipxe = Request { user_class: Some(b"iPXE".to_vec()), ..firmware.clone() };
        let host = |ours, boot| Host { ours, boot, ..Host::default() };
        let due = host(true, Boot::Agent);
        let disk = |why| Choice::Disk { why, script: None };
        let first = Choice::Tftp { file: "x64.efi".to_owned(), proxy: ProxyStyle::Pxe10 };
        for (request, host, dedicated, looping, expected) in [
            (firmware.clone(), due.clone(), false, false, first.clone()),
            (firmware.clone(), host(false, Boot::Disk), true, false, first),
            (firmware.clone(), host(true, Boot::Disk), true, false, disk(WhyDisk::Asked)),
            (firmware.clone(), host(false, Boot::Agent), false, false, disk(WhyDisk::Stranger)),
            (firmware.clone(), due.clone(), false, true, disk(WhyDisk::Loop)),
            (Request { archs: vec![41], ..firmware.clone() }, due.clone(), false, false, disk(WhyDisk::NoLoader)),
            (Request { kind: Some(Kind::Inform), ..firmware.clone() }, due.clone(), false, false, Choice::Nothing),
            (Request { vendor_class: None, ..firmware.clone() }, due.clone(), false, false, Choice::Nothing),
            (Request { hlen: 0, ..firmware.clone() }, due.clone(), false, false, Choice::Nothing),
            (
                ipxe,
                due,
                false,
                true,
                Choice::Disk { why: WhyDisk::Loop, script: Some("http://h/b/02-00-00-00-00-01/disk.ipxe".to_owned()) },
            ),
        ] {
            let network = Network { dedicated, ..rack() };
            assert_eq!(choose(&request, &host, &network, looping), expected, "{request:?}");
        }
    }

    #[test]
    fn a_loader_that_data_knows_boots_and_a_kind_without_a_file_does_not() {
        let mut network = rack();
        let kind = |class: &str, file: Option<&str>| crate::ClientKind {
            class: Some(class.to_owned()),
            file: file.map(crate::FirstFile::new),
            ..crate::ClientKind::default()
        };
        network.loaders.kinds = vec![kind("onie", Some("onie.bin")), kind("phone", None)];
        let on = |class| client_on(&classed(class), &network);
        assert_eq!(
            [on("onie_vendor"), on("phone"), on("PXEClient"), on("x")],
            [Client::Other, Client::Plain, Client::Pxe, Client::Plain]
        );
    }

    #[test]
    fn every_client_and_choice_is_told_in_words_and_only_what_is_loaded_boots() {
        let all = [Client::Plain, Client::Pxe, Client::Http, Client::Ipxe, Client::BareIpxe, Client::Other];
        let words = ["system", "firmware, PXE", "firmware, HTTP boot", "iPXE", "iPXE without HTTP", "loader"];
        assert_eq!(all.map(|client| client.to_string()), words);
        let disk = |why| Choice::Disk { why, script: Some("u".to_owned()) };
        for (choice, boots, words) in [
            (Choice::Nothing, false, "not a boot client"),
            (Choice::Http { url: "u".to_owned() }, true, "boot u"),
            (Choice::Script { url: "u".to_owned() }, true, "boot u"),
            (Choice::Tftp { file: "f".to_owned(), proxy: ProxyStyle::Binl4011 }, true, "boot f by TFTP"),
            (disk(WhyDisk::Asked), false, "boot its own disk"),
            (disk(WhyDisk::NoLoader), false, "boot its own disk, for there is no loader for its architecture"),
            (disk(WhyDisk::Stranger), false, "boot its own disk, for it is not ours and the network is not dedicated"),
        ] {
            assert_eq!((choice.boots(), choice.to_string().as_str()), (boots, words));
        }
        assert_eq!(WhyDisk::Loop.to_string(), format!("boot loop: {}", crate::brake::SENT));
    }
}
