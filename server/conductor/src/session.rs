//! One agent as it is known while the daemon runs: whose token it bears, what it was made for, how much it may still say.

use crate::Error;
use muster_names::{BootId, Digest, Epoch, MachineId, Millis, SwitchPort};
use muster_store::AgentMode;

/// An agent whose request's signature was verified with `key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// SHA-256 of the bearer token.
    pub token: Digest,
    /// Ed25519 public key.
    pub key: Vec<u8>,
}

/// Why an agent is turned away.
#[derive(Debug, thiserror::Error)]
pub enum TurnedAway {
    #[error("this token is not known or has expired; the next ordered boot brings a new one")]
    Token,
    /// The token was used with another key first: a security event.
    #[error("this token belongs to another key")]
    OtherKey,
    #[error("agent and daemon have no protocol version in common")]
    Version,
    #[error("the daemon cannot serve now")]
    Later {
        #[source]
        source: Error,
    },
}

/// What is known of a token's agent while the daemon runs; all of it can be read again from the database.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub key: Vec<u8>,
    pub machine: Option<MachineId>,
    /// What the token was made for, whatever its bearer says of itself: only an agent in RAM is ever told to write.
    pub mode: AgentMode,
    pub ports: Vec<(muster_catalog::Witness, SwitchPort)>,
    /// The epoch for which this boot was ordered.
    pub boot_epoch: Option<Epoch>,
    pub boot_id: Option<BootId>,
    pub acked: u64,
    /// A later boot of the same machine has called, or its bearer claimed to be another machine: it gets nothing to do
    /// and its word counts for nothing.
    pub doubted: bool,
    pub room: Room,
}

/// How much more an agent may have written down: what it says stays in the log for ever. A report that finds no room is
/// not acknowledged, so that an honest agent loses nothing and says it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    left: u32,
    pub at: Millis,
}

impl Room {
    /// At once; an install and its check need about ten.
    const MOST: u32 = 300;
    /// One more comes with each.
    const EACH_MS: i64 = 2_000;

    pub fn new(now: Millis) -> Self {
        Self { left: Self::MOST, at: now }
    }

    /// Takes up to `wanted`; says how many there were.
    pub fn take(&mut self, wanted: usize, now: Millis) -> usize {
        let more = now.0.saturating_sub(self.at.0).max(0) / Self::EACH_MS;
        if more > 0 {
            self.left = self.left.saturating_add(u32::try_from(more).unwrap_or(u32::MAX)).min(Self::MOST);
            self.at = now;
        }
        let taken = u32::try_from(wanted).unwrap_or(u32::MAX).min(self.left);
        self.left -= taken;
        taken as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_says_a_few_hundred_things_at_once_and_one_more_every_two_seconds() {
        let mut room = Room::new(Millis(0));
        assert_eq!([room.take(100, Millis(0)), room.take(250, Millis(0)), room.take(9, Millis(1_999))], [100, 200, 0]);
        assert_eq!([room.take(9, Millis(6_000)), room.take(9, Millis(6_001))], [3, 0]);
        assert_eq!(room.take(1_000_000, Millis(i64::MAX)), 300);
    }
}
