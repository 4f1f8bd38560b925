//! The only sockets on 67, 547, 4011, 69, 514 and boot-HTTP. Bytes become netboot's plain values here and go back as bytes;
//! who a machine is and where a lease is kept is passed in.

pub mod dhcp;
pub mod dhcp6;
mod error;
pub mod http;
pub mod ra;
pub mod shadow;
mod sockopt;
pub mod syslog;
pub mod tftp;
pub mod transfers;

pub use error::{Error, ErrorKind};

use futures_core::future::BoxFuture;
use muster_names::Mac;
use muster_netboot::{Conflict, Host, Lease, LeaseChange, Outcome, Sighting, v6};

/// What the rest of Muster knows of a machine, asked once a packet: in memory, without waiting.
pub trait View: Send + Sync {
    /// A MAC that nobody knows is `Host::default()`.
    fn host(&self, mac: Mac) -> Host;

    /// Leases that were written past the thread that answers, since it last asked; asked between two rounds of packets.
    fn learnt(&self) -> Vec<Lease> {
        Vec::new()
    }
}

/// Where leases are kept. The ACK leaves after `commit` said so.
pub trait Commit: Send + Sync {
    /// Writes the whole batch durably in one transaction by the rule of [`LeaseChange`]; one outcome per change, in
    /// order. A batch has at most 512 changes and no (network, address) twice. After an error nobody knows what was written: the same batch is sent again, and must then be answered
    /// as if it came for the first time. Not cancelled by the caller.
    fn commit(&self, batch: Vec<LeaseChange>) -> BoxFuture<'_, Result<Vec<Outcome>, CommitError>>;

    /// All rows, read once at start.
    fn load(&self) -> BoxFuture<'_, Result<Vec<Lease>, CommitError>>;
}

/// The same for leases over IPv6, which are kept beside the others.
pub trait Commit6: Send + Sync {
    /// As [`Commit::commit`].
    fn commit6(&self, batch: Vec<v6::LeaseChange>) -> BoxFuture<'_, Result<Vec<Outcome>, CommitError>>;

    /// All rows, read once at start.
    fn load6(&self) -> BoxFuture<'_, Result<Vec<v6::Lease>, CommitError>>;
}

/// The lease store did not do it.
#[derive(Debug, thiserror::Error)]
#[error("the lease store did not answer")]
pub struct CommitError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Who wants to know what was seen. Must not block: it is called between two packets.
pub trait Watch: Send + Sync {
    fn saw(&self, sighting: Sighting);

    /// Somebody else speaks for what is ours, or has stopped. The same one comes again about once a minute.
    fn met(&self, conflict: Conflict);
}
