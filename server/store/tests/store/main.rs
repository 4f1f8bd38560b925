//! Every promise of the store, on SQLite and on PostgreSQL: `both!` makes two tests of each case.

#[macro_use]
mod bed;
mod acts;
mod crash;
mod leases;
mod lives;
mod log;
mod opening;
mod orders;
mod rows;
