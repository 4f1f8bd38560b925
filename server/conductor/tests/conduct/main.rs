//! The conductor as a whole, on a real database: machines, BMCs and agents are played by the tests, nothing else is.
//!
//! Agents speak through [`muster_conductor::Conductor::turn`] and `may_proceed` as the door does after it has verified a
//! signature; BMCs are a [`muster_conductor::Hand`] with a memory of what really happened to each machine's power.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::disallowed_methods)]

mod adoption;
mod agent;
mod attacks;
mod bed;
mod bios;
mod conflicts;
mod consoles;
mod couriers;
mod deadlines;
mod imports;
mod life;
mod nobodys;
mod passwords;
mod permits;
mod plans;
#[path = "../../../store/tests/store/bed.rs"]
#[allow(dead_code, unused_macros, unused_imports)]
mod postgres;
mod probing;
mod restarts;
mod strangers;
mod timeline;
mod watching;
mod ways;
