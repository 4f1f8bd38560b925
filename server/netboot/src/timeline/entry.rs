//! One thing that was seen, heard, sent or done, as it is kept.

use super::Stage;
use crate::choice::{Choice, Client, WhyDisk};
use crate::reply::ReplyKind;
use crate::sighting::{Said, Sighting, SightingKind};
use muster_names::{Mac, Millis};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When it began.
    pub at: Millis,
    /// The port it came through; of the machine as a whole without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum What {
    /// The BMC was told by us; `agent`: into the boot image.
    Power {
        on: bool,
        agent: bool,
    },
    Packet(Packet),
    Fetch(Fetch),
    /// A boot script was handed out.
    Script {
        agent: bool,
        /// The disk is what its state wants, or what its address was given with.
        wanted: bool,
        why: String,
    },
    /// A line of its system log.
    Log(LogLine),
    /// The agent's first word of a boot.
    Agent(AgentSeen),
    /// An event of the machine's life.
    Event {
        words: String,
    },
    /// Written by a later version.
    #[serde(other)]
    Unknown,
}

/// A DHCP packet and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Packet {
    pub kind: SightingKind,
    pub client: Client,
    /// What data calls this kind of client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_as: Option<String>,
    pub xid: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor_class: Option<String>,
    /// The relay, and by option 82 what it says of the port, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub giaddr: Option<Ipv4Addr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_id: Option<String>,
    pub got: Got,
    pub led: Led,
    /// The answer in words, or why there was none.
    pub words: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Got {
    Offer,
    Ack,
    Nak,
    /// No answer, by a rule.
    Silence,
    /// No answer, for it came too fast, too late or again.
    Dropped,
    /// By the protocol there is none.
    Noted,
}

/// Where an answer leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "to", rename_all = "kebab-case")]
pub enum Led {
    Nothing,
    Loader {
        file: String,
    },
    Script,
    Disk {
        /// Because nothing else is due.
        wanted: bool,
        /// The boot-loop brake's word.
        brake: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Via {
    Tftp,
    Http,
    Https,
}

/// What a file is to a boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum File {
    Loader,
    Script,
    Kernel,
    Initrd,
    /// The small archive with the boot's token.
    Token,
    /// An operating system image.
    Image,
    Other,
}

impl File {
    /// By its path below the boot listener; TFTP names have no slash before them.
    pub fn of(path: &str) -> Self {
        let path = path.trim_start_matches('/');
        let name = path.rsplit('/').next().unwrap_or(path);
        let extension = name.rsplit_once('.').map(|(_, extension)| extension).unwrap_or_default();
        match (path.split('/').next(), name, extension) {
            (_, "agent.cpio", _) => Self::Token,
            (Some("images"), _, _) => Self::Image,
            (_, _, "ipxe" | "cfg") => Self::Script,
            (_, _, "efi" | "kpxe" | "pxe" | "kkpxe" | "0" | "lkrn") => Self::Loader,
            (_, name, _) if name.starts_with("vmlinuz") => Self::Kernel,
            (_, name, _) if name.starts_with("initrd") => Self::Initrd,
            _ => Self::Other,
        }
    }

    pub fn stage(self) -> Option<Stage> {
        match self {
            Self::Loader => Some(Stage::Loader),
            Self::Script => Some(Stage::Script),
            Self::Kernel | Self::Initrd | Self::Token => Some(Stage::Kernel),
            Self::Image | Self::Other => None,
        }
    }
}

/// How a transfer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    Whole,
    /// Only the size was wanted.
    Probed,
    NotFound,
    Refused(u16),
    GaveUp,
    /// Nothing was heard from the client any more.
    Lost,
    /// It asked for something else instead.
    Replaced,
    /// It does not take our certificate, and asked for nothing.
    Untrusted,
    /// No TLS came of it, and it asked for nothing.
    NoTls,
}

impl How {
    pub fn went_well(self) -> bool {
        matches!(self, Self::Whole | Self::Probed)
    }
}

/// A file on its way to the machine; its entry's time is its begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Fetch {
    pub via: Via,
    pub file: File,
    pub path: String,
    /// What the machine has of it.
    pub bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    pub took_ms: u64,
    /// Packets sent more than once (TFTP).
    pub repeats: u64,
    pub how: How,
}

impl Fetch {
    pub fn percent(&self) -> Option<u64> {
        let size = self.size.filter(|size| *size > 0)?;
        Some(self.bytes.min(size).saturating_mul(100) / size)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// 0 emergency ... 7 debug.
    pub severity: u8,
    /// Who wrote it, `kernel`; may be empty.
    pub program: String,
    pub text: String,
}

impl LogLine {
    /// Worth quoting when nothing else came.
    pub fn is_grave(&self) -> bool {
        self.severity <= 3 || self.text.to_ascii_lowercase().contains("panic")
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AgentSeen {
    /// The boot's id as its kernel made it.
    pub boot: String,
    /// In the installed system, not in the boot image.
    pub resident: bool,
    /// From the kernel's start to the agent's; unknown when the report that says it found no record of the machine yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_ms: Option<u64>,
}

impl Entry {
    pub fn of(at: Millis, mac: Option<Mac>, what: What) -> Self {
        Self { at, mac, what }
    }

    /// What the boot server saw, as it is kept.
    pub fn seen(sighting: &Sighting) -> Self {
        let what = match &sighting.said {
            Said::Script { agent, wanted, why } => What::Script { agent: *agent, wanted: *wanted, why: why.clone() },
            said => What::Packet(Packet {
                kind: sighting.kind,
                client: sighting.client,
                known_as: sighting.known_as.clone(),
                xid: sighting.xid,
                network: sighting.network.clone(),
                arch: sighting.arch,
                vendor_class: sighting.vendor_class.clone(),
                giaddr: sighting.giaddr,
                circuit_id: sighting.circuit_text(),
                remote_id: sighting.remote_text(),
                got: got(said),
                led: led(said),
                words: said.to_string(),
            }),
        };
        Self::of(sighting.at, Some(sighting.mac), what)
    }

    /// When it was over.
    pub fn end(&self) -> Millis {
        match &self.what {
            What::Fetch(fetch) => Millis(self.at.0.saturating_add(i64::try_from(fetch.took_ms).unwrap_or(i64::MAX))),
            _ => self.at,
        }
    }

    /// A line of a log, of which a machine may send thousands.
    pub fn is_log(&self) -> bool {
        matches!(self.what, What::Log(_))
    }
}

fn got(said: &Said) -> Got {
    match said {
        Said::Silence(_) | Said::Silence6(_) => Got::Silence,
        Said::Dropped(_) => Got::Dropped,
        Said::Dhcp { kind: ReplyKind::Offer, .. } => Got::Offer,
        Said::Dhcp { kind: ReplyKind::Ack, .. } => Got::Ack,
        Said::Dhcp { kind: ReplyKind::Nak, .. } => Got::Nak,
        Said::Dhcp6 { address: Some(_), bound: false, .. } => Got::Offer,
        Said::Dhcp6 { address: Some(_), bound: true, .. } => Got::Ack,
        _ => Got::Noted,
    }
}

fn led(said: &Said) -> Led {
    let choice = match said {
        Said::Dhcp { kind: ReplyKind::Nak, .. } | Said::Dhcp6 { address: None, .. } => return Led::Nothing,
        Said::Dhcp { choice, .. } | Said::Dhcp6 { choice, .. } => choice,
        _ => return Led::Nothing,
    };
    match choice {
        Choice::Nothing => Led::Nothing,
        Choice::Tftp { file, .. } => Led::Loader { file: file.clone() },
        Choice::Http { url } => Led::Loader { file: url.rsplit('/').next().unwrap_or(url).to_owned() },
        Choice::Script { .. } => Led::Script,
        Choice::Disk { why, .. } => Led::Disk { wanted: *why == WhyDisk::Asked, brake: *why == WhyDisk::Loop },
    }
}
