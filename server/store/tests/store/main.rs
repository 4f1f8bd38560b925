//! Every promise of the store, on SQLite and on PostgreSQL: `both!` makes two tests of each case.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[macro_use]
mod bed;
mod acts;
mod bmc_adoption;
mod bmc_watch;
mod crash;
mod leases;
mod leases6;
mod lives;
mod log;
mod opening;
mod orders;
mod passwords;
mod reservations;
mod rows;
