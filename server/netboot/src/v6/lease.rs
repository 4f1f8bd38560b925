//! A lease over IPv6 as it is kept, and a change to it: the rule of IPv4's, for its own addresses.

use crate::lease::{LeaseState, gives_way};
use muster_names::{Mac, Millis};
use std::net::Ipv6Addr;

/// One row of the lease table; its key is (network, address).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub network: String,
    pub address: Ipv6Addr,
    pub mac: Mac,
    pub state: LeaseState,
    /// The lease, or the quarantine, ends here.
    pub until: Millis,
    /// Who asked last, as it calls itself: it finds the machine again where nothing else tells who speaks.
    pub duid: Vec<u8>,
}

/// The row to be written, and the moment it was decided. The store's rule is that of [`crate::LeaseChange`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseChange {
    pub at: Millis,
    pub lease: Lease,
}

impl LeaseChange {
    /// May this change replace that row?
    pub fn may_replace(&self, row: &Lease) -> bool {
        row == &self.lease || gives_way((row.mac, row.state, row.until), self.lease.mac, self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_gives_way_to_the_same_change_again_to_its_own_machine_and_at_its_end() {
        let row = |last, state, until| Lease {
            network: "rack".to_owned(),
            address: Ipv6Addr::LOCALHOST,
            mac: Mac([2, 0, 0, 0, 0, last]),
            state,
            until: Millis(until),
            duid: Vec::new(),
        };
        let declined = LeaseChange { at: Millis(100), lease: row(1, LeaseState::Declined, 900) };
        for (other, gives) in [
            (declined.lease.clone(), true),
            (row(1, LeaseState::Declined, 901), false),
            (row(1, LeaseState::Bound, 901), true),
            (row(2, LeaseState::Bound, 101), false),
            (row(2, LeaseState::Bound, 100), true),
        ] {
            assert_eq!(declined.may_replace(&other), gives, "{other:?}");
        }
    }
}
