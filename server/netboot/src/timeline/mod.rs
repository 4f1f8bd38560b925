//! The boot timeline: everything that was seen of a machine on its way up, cut into boots, each with its stages, their
//! lengths, and in words what became of it.
//!
//! Packets, transfers, scripts, log lines, agents and power all become an [`Entry`]. [`boots()`] takes any list of them, in
//! any order, and the time; it keeps nothing. So what a person is told about a boot is computed when it is asked for, is
//! the same after a restart, and an old list is judged by the newest rules. Turned down: a state per machine that every
//! packet moves, for what it forgot nobody could ask it again.

mod boots;
mod course;
mod diagnosis;
#[cfg(test)]
mod edge_tests;
mod entry;
mod judge;
#[cfg(test)]
mod recorded_tests;
#[cfg(test)]
mod tests;
mod words;

pub use boots::{Boot, Running, Span, boots};
pub use course::Course;
pub use diagnosis::{Diagnosis, Grade};
pub use entry::{AgentSeen, Entry, Fetch, File, Got, How, Led, LogLine, Packet, Via, What};
pub use words::{rate, size, span};

use serde::{Deserialize, Serialize};
use std::fmt;

/// The parts of one boot, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// From the order to power on to the firmware's first packet.
    Power,
    /// The firmware asks for an address.
    Address,
    /// The loader is fetched and started.
    Loader,
    /// The loader asks for its own address and its script.
    Script,
    /// Kernel, initramfs and token.
    Kernel,
    /// The kernel starts and finds its network.
    System,
    /// The agent speaks.
    Agent,
    /// Sent to its own disk, or there without asking.
    Disk,
}

impl Stage {
    pub const ALL: [Self; 8] =
        [Self::Power, Self::Address, Self::Loader, Self::Script, Self::Kernel, Self::System, Self::Agent, Self::Disk];

    pub fn label(self) -> &'static str {
        match self {
            Self::Power => "power",
            Self::Address => "address",
            Self::Loader => "loader",
            Self::Script => "script",
            Self::Kernel => "kernel",
            Self::System => "system",
            Self::Agent => "agent",
            Self::Disk => "disk",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}
