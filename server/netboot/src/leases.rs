//! The lease rules.

use crate::lease::LeaseChange;
use crate::reply::Reply;
use crate::silence::Silence;

/// What is to be done with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Silent(Silence),
    /// Send it.
    Now(Box<Reply>),
    /// Make the change durable first; then send the reply, if there is one (RELEASE and DECLINE have none).
    AfterCommit(Box<LeaseChange>, Option<Box<Reply>>),
}
