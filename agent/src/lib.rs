//! The agent: what a machine does for Muster, in the boot image and in the installed system.
//!
//! It dials out, is told what stands, does that and nothing else, and says what came of it. Everything that decides
//! is a pure function over bytes or values; files, sockets and ioctls are at the rim. It knows no name service and no
//! async runtime: a handful of threads, addresses in its configuration, and few dependencies, because it is loaded by
//! every machine at every boot and runs as the only process there.

/// Writes a line for a person at the console. A console that cannot be written to must not end the first process, as
/// `println!` would.
#[macro_export]
macro_rules! say {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($words)*);
    }};
}

pub mod bmc_account;
pub mod bytes;
pub mod check;
pub mod commission;
pub mod disk;
pub mod error;
pub mod init;
pub mod install;
pub mod inventory;
pub mod kcs;
pub mod link;
pub mod lldp;
pub mod modes;
pub mod syslog;
pub mod wipe;

pub use error::{Error, Kind, Result};

/// The agent's own version as the daemon sees it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
