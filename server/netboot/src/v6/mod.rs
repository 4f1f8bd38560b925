//! DHCPv6 (RFC 8415) as the boot path needs it: one address a machine, a boot file, and nothing that IPv4 decides
//! otherwise. What a machine boots is asked of the same [`choose`](crate::choose) as over IPv4.
//!
//! A network speaks IPv6 only where its configuration says so: firmware's IPv6 code has been the way into machines
//! before they had any system to defend them.

mod identity;
mod lease;
mod leases;
mod network;
mod render;
mod reply;
mod request;
mod silence;
mod table;

pub use identity::{eui64, identify, link_layer};
pub use lease::{Lease, LeaseChange};
pub use leases::{Answer, Leases};
pub use network::{MOST_ADDRESSES, Prefix, Served, server_id};
pub use reply::{IaReply, Reply, ReplyKind, Status};
pub use request::{Ia, Ingress, Kind, Relay, Request};
pub use silence::Silence;

#[cfg(test)]
mod boot_tests;
#[cfg(test)]
mod edge_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod rule_tests;
#[cfg(test)]
mod scene;
