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
        if self.seen.len() >= REMEMBERED {
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
