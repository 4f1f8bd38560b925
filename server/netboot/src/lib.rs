//! The boot path without I/O: requests, a view and the time go in; answers and lease changes come out.
//!
//! Nothing here reads a clock, opens a socket or draws a number, so that every exchange of the field can be played
//! again in a test. Bytes become [`Request`] in `bootserver`, and [`Reply`] becomes bytes there.

mod brake;
mod choice;
mod clients;
mod conflict;
mod grub;
mod hold;
mod host;
pub mod import;
mod lease;
mod leases;
mod network;
mod reply;
mod request;
mod script;
pub mod shadow;
mod sighting;
mod silence;
pub mod syslog;
pub mod tftp;
pub mod timeline;
pub mod v6;

pub use brake::{Brake, Stage};
pub use choice::{Choice, Client, WhyDisk, choose, client, client_on};
pub use clients::{FirstFile, Kind as ClientKind, Loaders, ProxyStyle};
pub use conflict::{Conflict, ConflictKind, Repeats, foreign, taken_elsewhere};
pub use grub::{FIRST_GRUB_SCRIPT, by_grub_name, first_grub_script, grub_script};
pub use host::{Boot, Host};
pub use lease::{Lease, LeaseChange, LeaseState, Outcome};
pub use leases::{Answer, Leases, Probe};
pub use network::{BadNetwork, Dhcp, Ingress, Network, Networks, Range, Subnet};
pub use reply::{Destination, Reply, ReplyKind};
pub use request::{Kind, Relay, Request};
pub use script::{AgentBoot, BadScript, Initrd, KernelArgs, Link, Script, script};
pub use sighting::{Said, Sighting, SightingKind, plain_text};
pub use silence::Silence;
