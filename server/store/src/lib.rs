//! The database: the only room that speaks SQL. SQLite inside by default, PostgreSQL when one machine is not enough.
//!
//! ```no_run
//! # use muster_names::{Millis, Subject};
//! # use muster_store::{Place, Store, subjects};
//! # async fn example() -> Result<(), muster_store::Error> {
//! let store = Store::open(&Place::Sqlite("/var/lib/muster".into())).await?;
//! let mut tx = store.write().await?;
//! subjects::create(&mut tx, Subject::Site, "open", "{}", 1, None, Millis(0)).await?;
//! let committed = tx.commit(Millis(0)).await?;
//! # let _ = committed.last; Ok(())
//! # }
//! ```
//!
//! Bare functions over a [`Tx`], one module a table; one portable text of each statement for both databases. What it
//! stores as "JSON" it does not understand: states, acts' bodies and evidence belong to the rooms above. Turned down:
//! a trait for each table (nothing else implements it) and code generic over the driver (every signature would show it).
//!
//! Within a transaction nothing may wait for the network, and after an error the transaction is over, unless it is
//! rolled back to a savepoint. [`Error::kind`] says what to do next.

pub mod acts;
pub mod bmc_adoption;
pub mod bmc_events;
pub mod bmc_watch;
pub mod boot_tokens;
pub mod boots;
mod error;
pub mod events;
pub mod leases;
pub mod leases6;
pub mod machines;
mod migrate;
pub mod orders;
pub mod passwords;
pub mod plans;
pub mod reservations;
pub mod site;
mod sql;
mod store;
pub mod subjects;
pub mod tickets;
pub mod tokens;
mod tx;

pub use acts::{ActRow, ActState, Again, Claim, Due, End, NewAct, Owner};
pub use boot_tokens::{AgentMode, BootToken, Bound};
pub use boots::{BootEntry, BootPort};
pub use error::{Error, Kind};
pub use events::{Appended, Broken, Checked, Committed, Event, Head, Logged};
pub use leases::{LeaseRow, LeaseState, Outcome, commit_leases, holder, leases_at, load_leases};
pub use leases6::{Lease6Row, commit_leases6, holder6, load_leases6};
pub use machines::Machine;
pub use orders::{Order, Permit, PermitState};
pub use plans::{Approval, Approved, Plan};
pub use reservations::Reservation;
pub use site::Freeze;
pub use store::{Place, Store};
pub use subjects::Stored;
pub use tickets::{Opened, Ticket};
pub use tokens::Token;
pub use tx::Tx;
