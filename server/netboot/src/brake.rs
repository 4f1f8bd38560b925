//! The boot-loop brake (B2.12): a machine that asks for the same stage more than three times in five minutes is sent
//! to its disk, so that a broken loader or image does not spin a rack for a night.
//!
//! A boot that Muster itself ordered begins a new count: the orders are counted where they are made, and a machine that
//! is installed, released and installed again within minutes is no loop.

use crate::choice::Client;
use muster_names::{Epoch, Mac, Millis};
use std::collections::BTreeMap;

/// One boot passes each stage once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    Firmware,
    Ipxe,
}

impl Stage {
    pub fn of(client: Client) -> Option<Self> {
        match client {
            Client::Plain => None,
            Client::Pxe | Client::Http | Client::Other => Some(Self::Firmware),
            Client::Ipxe | Client::BareIpxe => Some(Self::Ipxe),
        }
    }
}

/// What a machine that was braked is told, and the boot timeline after it.
pub(crate) const SENT: &str = "sent to its own disk, for it asked for the same stage over three times in five minutes";

const WINDOW_MS: i64 = 5 * 60 * 1000;
const ALLOWED: usize = 3;
/// Machines remembered at most; beyond it the records that ended are dropped first.
const REMEMBERED: usize = 200_000;
/// A full memory is walked this often at most: a walk for each grant would stop the server.
const PRUNE_MS: i64 = 5000;

/// One grant: the exchange, the order it belongs to, and when.
#[derive(Clone, Copy, Debug)]
struct Granted {
    xid: u32,
    order: Option<Epoch>,
    at: Millis,
}

#[derive(Clone, Debug, Default)]
pub struct Brake {
    seen: BTreeMap<(Mac, Stage), Vec<Granted>>,
    pruned: Millis,
}

impl Brake {
    /// Has this stage been granted too often lately? The exchange being repeated does not count against itself.
    pub fn holds(&self, mac: Mac, stage: Stage, order: Option<Epoch>, xid: u32, now: Millis) -> bool {
        let Some(times) = self.seen.get(&(mac, stage)) else { return false };
        let counts = |granted: &&Granted| granted.xid != xid && granted.order == order && is_recent(granted.at, now);
        times.iter().filter(counts).count() >= ALLOWED
    }

    /// Counts an exchange that ends in a boot; retransmits of it count once.
    pub fn count(&mut self, mac: Mac, stage: Stage, order: Option<Epoch>, xid: u32, now: Millis) {
        if self.seen.len() >= REMEMBERED && now.0.saturating_sub(self.pruned.0) >= PRUNE_MS {
            self.pruned = now;
            self.seen.retain(|_, times| times.iter().any(|granted| is_recent(granted.at, now)));
        }
        if self.seen.len() >= REMEMBERED && !self.seen.contains_key(&(mac, stage)) {
            return;
        }
        let times = self.seen.entry((mac, stage)).or_default();
        times.retain(|granted| is_recent(granted.at, now));
        if !times.iter().any(|granted| granted.xid == xid) {
            times.push(Granted { xid, order, at: now });
        }
    }
}

fn is_recent(at: Millis, now: Millis) -> bool {
    now.0.saturating_sub(at.0) < WINDOW_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(number: usize) -> Mac {
        let [.., a, b, c] = number.to_be_bytes();
        Mac([2, 0, 0, a, b, c])
    }

    #[test]
    fn b2_12_three_grants_of_one_stage_and_order_within_five_minutes_are_as_many_as_are_allowed() {
        let (mac, stage, mut brake) = (machine(1), Stage::Firmware, Brake::default());
        for (xid, at) in [(1, 1), (2, 1), (3, 299_999), (3, 299_999)] {
            brake.count(mac, stage, None, xid, Millis(at));
        }
        let last = Millis(300_000);
        assert!(brake.holds(mac, stage, None, 4, last));
        assert!(!brake.holds(mac, stage, None, 4, Millis(300_001)), "two of them are five minutes old");
        assert!(!brake.holds(mac, stage, None, 3, last), "an exchange does not count against itself");
        assert!(!brake.holds(mac, stage, Some(Epoch(2)), 4, last), "another order begins a new count");
        assert!(!brake.holds(mac, Stage::Ipxe, None, 4, last) && !brake.holds(machine(2), stage, None, 4, last));
        brake.count(mac, stage, Some(Epoch(2)), 4, Millis(300_001));
        let kept = brake.seen.get(&(mac, stage)).unwrap();
        assert_eq!(kept.iter().map(|granted| granted.xid).collect::<Vec<_>>(), [3, 4], "the old ones are forgotten");
    }

    #[test]
    fn b2_12_each_kind_of_boot_client_is_counted_as_firmware_or_as_loader_and_a_system_never() {
        for client in [Client::Pxe, Client::Http, Client::Other] {
            assert_eq!(Stage::of(client), Some(Stage::Firmware));
        }
        assert_eq!([Client::Ipxe, Client::BareIpxe].map(Stage::of), [Some(Stage::Ipxe); 2]);
        assert_eq!(Stage::of(Client::Plain), None);
    }

    #[test]
    fn a_full_memory_is_walked_every_five_seconds_at_most_and_a_known_machine_is_counted_all_the_same() {
        let (stage, mut brake) = (Stage::Firmware, Brake::default());
        for number in 0..200_000 {
            brake.count(machine(number), stage, None, 1, Millis(6_000));
        }
        assert_eq!((brake.seen.len(), brake.pruned), (200_000, Millis(0)), "no walk while there is room");
        for xid in 2..=3 {
            brake.count(machine(7), stage, None, xid, Millis(7_000));
        }
        brake.count(machine(200_000), stage, None, 1, Millis(7_000));
        assert_eq!(
            (brake.seen.len(), brake.pruned),
            (200_000, Millis(7_000)),
            "nothing has ended, and nothing more fits"
        );
        assert!(brake.holds(machine(7), stage, None, 4, Millis(7_000)));
        let after = |walked: i64| {
            let mut brake = brake.clone();
            brake.pruned = Millis(walked);
            brake.count(machine(200_001), stage, None, 1, Millis(306_000));
            brake.seen.len()
        };
        assert_eq!(after(301_001), 200_000);
        assert_eq!(after(301_000), 2, "what has not ended, and the new one");
    }
}
