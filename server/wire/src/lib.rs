//! What agent and daemon say to each other.
//!
//! The agent dials out: it posts a [`Turn`] with what it saw and is told what stands: the whole current order with its
//! epoch, never a stream of commands. Resuming after a lost network or a restarted daemon is therefore asking again.
//! Every enum has an `Unknown` variant: a word of a newer version is answered with [`Report::Refused`], never ignored.
//! The bytes of each version are pinned by golden tests; if one fails, mend the code, not the golden file.

mod order;
mod report;

pub use order::{
    BmcAccount, Bond, Commission, DiskRef, Identity, ImageRef, InstallOrder, Interface, NetworkConfig, Resident, Seed,
    User, Vlan, WipeOrder,
};
pub use report::{
    AccountMade, Checked, Doing, Figure, InstallFailure, Installed, Mode, Numbered, Progress, Report, Started, Step,
    Wiped, WipedDisk,
};

use muster_names::{BootId, Epoch, MachineId, OrderId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The versions this build speaks, lowest and highest. The daemon serves the agent of two versions before.
pub const SPEAKS: Speaks = Speaks { min: 1, max: 1 };

/// `POST` here, body [`Turn`], answer [`Reply`].
pub const TURN_PATH: &str = "/agent/v1/turn";
/// `POST` here, body [`MayProceed`], answer [`Permission`]; asked immediately before the first destructive write.
pub const MAY_PROCEED_PATH: &str = "/agent/v1/may-proceed";
/// Lower-case hex of the Ed25519 public key the agent made in RAM.
pub const KEY_HEADER: &str = "muster-key";
/// Lower-case hex of the Ed25519 signature over [`signed_bytes`].
pub const SIGNATURE_HEADER: &str = "muster-signature";
/// Tokens start with this so that recordings can mask them.
pub const TOKEN_PREFIX: &str = "mstr_";

/// What a signature covers: the path, a newline, the body.
pub fn signed_bytes(path: &str, body: &[u8]) -> Vec<u8> {
    [path.as_bytes(), b"\n", body].concat()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Speaks {
    pub min: u16,
    pub max: u16,
}

impl Speaks {
    /// The highest version both sides speak.
    pub fn common(self, other: Self) -> Option<u16> {
        let highest = self.max.min(other.max);
        (highest >= self.min.max(other.min)).then_some(highest)
    }
}

/// How an agent finds its daemon: `/etc/muster/agent.json`, in a small extra initrd or in the installed system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AgentConfig {
    /// `https://ADDRESS:PORT`
    pub server: String,
    /// The only certificate authority the agent trusts.
    pub ca_pem: String,
    /// `mstr_...`; bound to the first key that uses it.
    pub token: String,
    /// Where the resident agent keeps its key; `None` keeps it in RAM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<String>,
    /// What the installer knows of the image it wrote, for the quality check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<Written>,
}

/// The installer's own record of what it wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Written {
    pub order: OrderId,
    pub machine: MachineId,
    pub image: muster_names::ImageId,
    /// Digest of the uncompressed image, computed while it was written.
    pub raw_digest: muster_names::Digest,
    pub disk: DiskRef,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Turn {
    pub boot_id: BootId,
    pub speaks: Speaks,
    /// The agent's own version, `0.1.0+abcdef`.
    pub version: String,
    pub mode: Mode,
    /// What the daemon has not acknowledged yet, in order.
    pub reports: Vec<Numbered>,
    pub doing: Doing,
    /// The daemon may hold the answer this long, in milliseconds, while nothing new stands.
    pub wait_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reply {
    /// Reports up to this number are durable; the agent may forget them.
    pub acked: u64,
    pub standing: Standing,
    pub ask_again_ms: u64,
}

/// The whole of what the machine's agent shall do now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Standing {
    /// Nothing; ask again.
    Idle,
    /// Report the inventory; change nothing.
    Discover {
        epoch: Epoch,
    },
    Commission {
        epoch: Epoch,
        commission: Commission,
    },
    Install {
        epoch: Epoch,
        order: Box<InstallOrder>,
    },
    Wipe {
        epoch: Epoch,
        order: WipeOrder,
    },
    /// Report what the running system is.
    Check {
        epoch: Epoch,
    },
    /// Finish or break off the write in flight, then report `Stopped`.
    Stop {
        epoch: Epoch,
    },
    /// Flush and reset; firmware and server decide where to.
    Reboot {
        epoch: Epoch,
    },
    PowerOff {
        epoch: Epoch,
    },
    #[serde(other)]
    Unknown,
}

impl Standing {
    pub fn epoch(&self) -> Option<Epoch> {
        match self {
            Self::Idle | Self::Unknown => None,
            Self::Discover { epoch }
            | Self::Commission { epoch, .. }
            | Self::Install { epoch, .. }
            | Self::Wipe { epoch, .. }
            | Self::Check { epoch }
            | Self::Stop { epoch }
            | Self::Reboot { epoch }
            | Self::PowerOff { epoch } => Some(*epoch),
        }
    }
}

/// Asked immediately before the first write of an install or a wipe; nothing but a clear yes allows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MayProceed {
    pub boot_id: BootId,
    pub epoch: Epoch,
    /// The order for an install; `None` for a wipe.
    pub order: Option<OrderId>,
    /// What the agent is about to write, as it found it a moment ago.
    pub disks: Vec<DiskRef>,
    pub identity: Identity,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Permission {
    Granted,
    Denied {
        reason: String,
    },
    /// Not now: a budget or a freeze, which lets go by itself. The question is asked again.
    Waits {
        reason: String,
    },
    #[serde(other)]
    Unknown,
}

#[cfg(test)]
mod tests;
