//! What the rest of Muster says of one MAC address: all that the boot path may know of a machine.

use crate::clients::Loaders;
use muster_names::Epoch;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Where the machine's next boot shall lead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Boot {
    /// Its own disk: no boot file for the firmware, the disk script for iPXE. The answer whenever nothing better is known.
    #[default]
    Disk,
    /// The boot image with the agent in RAM.
    Agent,
}

/// One host as the view tells it. The default is a stranger that boots its own disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// A manifest, a rack layout or a person said that this machine is ours.
    pub ours: bool,
    pub reservation: Option<Ipv4Addr>,
    pub hostname: Option<String>,
    /// Counts only for what is ours: a stranger boots the agent on a dedicated network, its disk elsewhere.
    pub boot: Boot,
    /// The state that ordered this boot; none for a machine that boots by itself.
    pub order: Option<Epoch>,
    /// Loaders that its model wants instead of the network's; shared by all machines of the model.
    pub loaders: Option<Arc<Loaders>>,
}
