//! The boot-loop brake (B2.12): a machine that asks for the same stage more than three times in five minutes is sent
//! to its disk, so that a broken loader or image does not spin a rack for a night.

use crate::choice::Client;
use muster_names::{Mac, Millis};
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
            Client::Pxe | Client::Http => Some(Self::Firmware),
            Client::Ipxe | Client::BareIpxe => Some(Self::Ipxe),
        }
    }
}

const WINDOW_MS: i64 = 5 * 60 * 1000;
const ALLOWED: usize = 3;
/// Machines remembered at most; beyond it the records that ended are dropped first.
const REMEMBERED: usize = 200_000;

#[derive(Clone, Debug, Default)]
pub struct Brake {
    seen: BTreeMap<(Mac, Stage), Vec<(u32, Millis)>>,
}

impl Brake {
    /// Has this stage been granted too often lately? The exchange being repeated does not count against itself.
    pub fn holds(&self, mac: Mac, stage: Stage, xid: u32, now: Millis) -> bool {
        let Some(times) = self.seen.get(&(mac, stage)) else { return false };
        times.iter().filter(|(other, at)| *other != xid && is_recent(*at, now)).count() >= ALLOWED
    }

    /// Counts an exchange that ends in a boot; retransmits of it count once.
    pub fn count(&mut self, mac: Mac, stage: Stage, xid: u32, now: Millis) {
        if self.seen.len() >= REMEMBERED {
            self.seen.retain(|_, times| times.iter().any(|(_, at)| is_recent(*at, now)));
        }
        if self.seen.len() >= REMEMBERED && !self.seen.contains_key(&(mac, stage)) {
            return;
        }
        let times = self.seen.entry((mac, stage)).or_default();
        times.retain(|(_, at)| is_recent(*at, now));
        if !times.iter().any(|(other, _)| *other == xid) {
            times.push((xid, now));
        }
    }
}

fn is_recent(at: Millis, now: Millis) -> bool {
    now.0.saturating_sub(at.0) < WINDOW_MS
}
