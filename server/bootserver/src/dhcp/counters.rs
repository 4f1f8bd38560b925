//! What the DHCP server did, as plain counters; the daemon gives them names for its metrics page.

use muster_netboot::{ConflictKind, Silence};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters by family and label. The set of labels is fixed, so counting takes no lock; a family is so short that
/// walking it is quicker than any search.
pub struct Counters {
    families: Vec<(&'static str, Vec<(&'static str, AtomicU64)>)>,
}

const RECEIVED: &str = "received";
const SENT: &str = "sent";
const SILENT: &str = "silent";
const DROPPED: &str = "dropped";
const FAILED: &str = "failed";
const COMMITTED: &str = "committed";
const PROBE: &str = "probe";
const CONFLICT: &str = "conflict";

const RECEIVED_LABELS: [&str; 9] = [
    "discover",
    "request",
    "decline",
    "release",
    "inform",
    "boot-server",
    "other",
    "truncated",
    // B1.7: taken all the same.
    "hops-without-relay",
];
const SENT_LABELS: [&str; 3] = ["offer", "ack", "nak"];
const DROPPED_LABELS: [&str; 9] =
    ["short", "no-cookie", "hlen", "repeat", "machine-rate", "relay-rate", "flood", "queue-full", "too-old"];
const FAILED_LABELS: [&str; 4] = ["send", "receive", "commit", "address-taken"];
const COMMITTED_LABELS: [&str; 2] = ["batches", "changes"];
const PROBE_LABELS: [&str; 3] = ["asked", "silent", "answered"];
const CONFLICT_LABELS: [&str; 5] = ["dhcp-server", "boot-server", "own-address", "address", "reservation"];

impl Default for Counters {
    fn default() -> Self {
        let families: [(&'static str, &[&'static str]); 8] = [
            (RECEIVED, &RECEIVED_LABELS),
            (SENT, &SENT_LABELS),
            (SILENT, &Silence::LABELS),
            (DROPPED, &DROPPED_LABELS),
            (FAILED, &FAILED_LABELS),
            (COMMITTED, &COMMITTED_LABELS),
            (PROBE, &PROBE_LABELS),
            (CONFLICT, &CONFLICT_LABELS),
        ];
        Self::of(&families)
    }
}

impl Counters {
    /// All at zero.
    pub(crate) fn of(families: &[(&'static str, &[&'static str])]) -> Self {
        let cell = |label: &&'static str| (*label, AtomicU64::new(0));
        Self {
            families: families.iter().map(|(family, labels)| (*family, labels.iter().map(cell).collect())).collect(),
        }
    }

    pub(crate) fn add(&self, family: &'static str, label: &'static str, count: u64) {
        let cells = self.families.iter().find(|(name, _)| *name == family).map(|(_, cells)| cells);
        if let Some((_, cell)) = cells.into_iter().flatten().find(|(name, _)| *name == label) {
            cell.fetch_add(count, Relaxed);
        }
    }

    pub(super) fn received(&self, label: &'static str) {
        self.add(RECEIVED, label, 1);
    }

    pub(super) fn sent(&self, label: &'static str) {
        self.add(SENT, label, 1);
    }

    pub(super) fn silent(&self, why: Silence) {
        self.add(SILENT, why.label(), 1);
    }

    pub(super) fn dropped(&self, label: &'static str) {
        self.add(DROPPED, label, 1);
    }

    pub(super) fn failed(&self, label: &'static str) {
        self.add(FAILED, label, 1);
    }

    pub(super) fn probe(&self, label: &'static str) {
        self.add(PROBE, label, 1);
    }

    pub(super) fn conflict(&self, kind: ConflictKind) {
        self.add(CONFLICT, kind.word(), 1);
    }

    pub(super) fn committed(&self, changes: usize) {
        self.add(COMMITTED, "batches", 1);
        self.add(COMMITTED, "changes", u64::try_from(changes).unwrap_or(u64::MAX));
    }

    /// One number.
    pub fn get(&self, family: &str, label: &str) -> Option<u64> {
        self.iter().find(|(f, l, _)| *f == family && *l == label).map(|(_, _, value)| value)
    }

    /// (family, label, value) for all.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        self.families
            .iter()
            .flat_map(|(family, cells)| cells.iter().map(move |(label, cell)| (*family, *label, cell.load(Relaxed))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_conflict_has_a_counter() {
        let counters = Counters::default();
        for kind in ConflictKind::ALL {
            counters.conflict(kind);
            assert_eq!(counters.get(CONFLICT, kind.word()), Some(1));
        }
    }
}
