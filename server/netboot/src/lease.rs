//! A lease as it is kept, and a change to it. One shape for grant, renewal, release and decline, so that a whole
//! batch of changes is one statement for the store.

use muster_names::{Mac, Millis};
use std::net::Ipv4Addr;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LeaseState {
    /// The MAC may use the address until the lease ends.
    Bound,
    /// Given back. The row stays, so that the machine gets the same address again while nobody else needs it.
    Released,
    /// The machine found somebody else on the address; nobody gets it before `until`.
    Declined,
}

impl LeaseState {
    /// The word the store keeps.
    pub fn word(self) -> &'static str {
        match self {
            Self::Bound => "bound",
            Self::Released => "released",
            Self::Declined => "declined",
        }
    }

    /// Reads [`LeaseState::word`] back.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "bound" => Some(Self::Bound),
            "released" => Some(Self::Released),
            "declined" => Some(Self::Declined),
            _ => None,
        }
    }
}

/// One row of the lease table; its key is (network, address).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub network: String,
    pub address: Ipv4Addr,
    pub mac: Mac,
    pub state: LeaseState,
    /// The lease, or the quarantine, ends here.
    pub until: Millis,
    /// Option 82 as the relay sent it: the machine's place, and the echo for a renewal that goes past the relay.
    pub relay: Option<Vec<u8>>,
}

/// The row to be written, and the moment it was decided.
///
/// The store writes it when there is no row of that key, or the row there is of the same MAC and not declined, or it is
/// released, or it ended (`until <= at`). Then the outcome is [`Outcome::Done`]; else nothing changes and it is
/// [`Outcome::Taken`]. Writing the same change twice is [`Outcome::Done`] both times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseChange {
    pub at: Millis,
    pub lease: Lease,
}

impl LeaseChange {
    /// The rule above in plain code: may this change replace that row?
    pub fn may_replace(&self, row: &Lease) -> bool {
        row == &self.lease || gives_way((row.mac, row.state, row.until), self.lease.mac, self.at)
    }
}

/// Whether a row gives way to another one, of whatever protocol its address is.
pub(crate) fn gives_way((holder, state, until): (Mac, LeaseState, Millis), to: Mac, at: Millis) -> bool {
    (holder == to && state != LeaseState::Declined) || state == LeaseState::Released || until <= at
}

/// What became of one change, in the order of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Durable: the ACK may leave.
    Done,
    /// Another MAC, of another daemon, holds the address: no ACK.
    Taken,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_reads_back_by_its_word_and_any_other_word_is_none() {
        let all =
            [(LeaseState::Bound, "bound"), (LeaseState::Released, "released"), (LeaseState::Declined, "declined")];
        for (state, word) in all {
            assert_eq!((state.word(), LeaseState::from_word(word)), (word, Some(state)));
        }
        assert_eq!(LeaseState::from_word("free"), None);
    }

    #[test]
    fn a_row_gives_way_to_its_own_machine_or_when_it_was_released_or_has_ended() {
        let (ours, other) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
        let row = |mac, state, until| Lease {
            network: "rack".to_owned(),
            address: Ipv4Addr::new(10, 0, 0, 9),
            mac,
            state,
            until: Millis(until),
            relay: None,
        };
        let change = LeaseChange { at: Millis(100), lease: row(ours, LeaseState::Bound, 900) };
        for (holder, state, until, gives) in [
            (ours, LeaseState::Bound, 101, true),
            (ours, LeaseState::Released, 101, true),
            (ours, LeaseState::Declined, 101, false),
            (ours, LeaseState::Declined, 100, true),
            (other, LeaseState::Bound, 101, false),
            (other, LeaseState::Bound, 100, true),
            (other, LeaseState::Released, 101, true),
            (other, LeaseState::Declined, 101, false),
            (other, LeaseState::Declined, 100, true),
        ] {
            assert_eq!(change.may_replace(&row(holder, state, until)), gives, "{holder} {state:?} {until}");
        }
        let declined = LeaseChange { at: Millis(100), lease: row(ours, LeaseState::Declined, 900) };
        assert!(declined.may_replace(&declined.lease), "the same change again");
    }
}
