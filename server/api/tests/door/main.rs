//! The HTTP doors as people, workflows and agents meet them: the real routers, called without a socket.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::disallowed_methods)]

mod adoption;
mod agents;
mod attacks;
mod bed;
mod bmcs;
mod boots;
mod log;
mod policy;
mod requests;
