//! Writes the timeline down in batches, and bounds it: so many boots of a port, so many entries of a boot.
//!
//! A boot keeps its first entries and its newest ones; what lies between goes. Lines of a log have room of their own, so
//! that a chatty kernel hides no packet. A port of no known machine gets less of everything: anybody can send packets
//! with invented MACs.

use super::Note;
use crate::error::store;
use crate::scribe::Write;
use crate::{Conductor, Error, rim};
use muster_names::Mac;
use muster_netboot::timeline::{Course, Entry};
use muster_store::{BootEntry, BootPort, boots};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Entries of a batch.
const BATCH: usize = 512;
/// A flood becomes few transactions.
const GATHER: Duration = Duration::from_millis(200);

#[derive(Clone, Copy)]
struct Bounds {
    boots: i64,
    /// First and newest entries of a boot, and of its log.
    way: (i64, i64),
    log: (i64, i64),
}

const OURS: Bounds = Bounds { boots: 10, way: (150, 150), log: (150, 250) };
const STRANGER: Bounds = Bounds { boots: 3, way: (30, 30), log: (10, 20) };

/// The slot of the `seen`th entry, counted from 0.
fn slot(seen: i64, (first, newest): (i64, i64)) -> i64 {
    if seen < first { seen } else { first + (seen - first) % newest.max(1) }
}

/// Runs until `cancel`.
pub async fn keep_timeline(me: Arc<Conductor>, mut queue: mpsc::Receiver<Note>, cancel: CancellationToken) {
    loop {
        let mut batch = Vec::new();
        tokio::select! {
            () = cancel.cancelled() => return,
            count = queue.recv_many(&mut batch, BATCH) => if count == 0 { return },
        }
        for note in &batch {
            if let Note::Seen(sighting) = note {
                me.may_be_bmc(sighting);
            }
        }
        let entries: Vec<(Mac, Entry)> = batch
            .iter()
            .map(|note| match note {
                Note::Seen(sighting) => Entry::seen(sighting),
                Note::Entry(entry) => entry.clone(),
            })
            .filter_map(|entry| entry.mac.map(|mac| (mac, entry)))
            .collect();
        let macs: BTreeSet<Mac> = entries.iter().map(|(mac, _)| *mac).collect();
        let ours = me.fleet.known_among(&macs);
        let written = me.scribe.write(move |mut w| Box::pin(async move { keep(&mut w, entries, &ours).await })).await;
        if let Err(error) = written {
            tracing::warn!(error = %error, label = error.label(), "a part of the boot timeline was not kept");
        }
        me.timeline.figures.lock().unwrap_or_else(PoisonError::into_inner).touched(macs, rim::now());
        tokio::time::sleep(GATHER).await;
    }
}

async fn keep(w: &mut Write<'_>, entries: Vec<(Mac, Entry)>, ours: &BTreeSet<Mac>) -> Result<(), Error> {
    let macs: BTreeSet<Mac> = entries.iter().map(|(mac, _)| *mac).collect();
    let mut ports = boots::ports(w.tx, macs).await.map_err(store)?;
    let mut courses: BTreeMap<Mac, Course> = BTreeMap::new();
    let (mut rows, mut begun) = (Vec::new(), BTreeMap::new());
    for (mac, mut entry) in entries {
        let bounds = if ours.contains(&mac) { OURS } else { STRANGER };
        let fresh = || BootPort { mac, n: 1, newest: entry.at, course: String::new(), seen: 0, logged: 0 };
        let port = ports.entry(mac).or_insert_with(fresh);
        // What an earlier version kept and nobody reads any more begins anew.
        let course = courses.entry(mac).or_insert_with(|| serde_json::from_str(&port.course).unwrap_or_default());
        course.attribute(&mut entry);
        if course.is_renewal(&entry) {
            continue;
        }
        if course.ends_before(&entry) {
            *course = Course::default();
            (port.n, port.seen, port.logged) = (port.n.saturating_add(1), 0, 0);
            begun.insert(mac, port.n.saturating_sub(bounds.boots));
        }
        course.take(&entry);
        port.newest = port.newest.max(entry.at);
        let (ring, room, seen) = match entry.is_log() {
            true => (1, bounds.log, &mut port.logged),
            false => (0, bounds.way, &mut port.seen),
        };
        let slot = slot(*seen, room);
        *seen = seen.saturating_add(1);
        let body = crate::body::write("boot entry", &mac, &entry)?;
        rows.push(BootEntry { mac, n: port.n, ring, slot, at: entry.at, body });
    }
    let mut moved = Vec::with_capacity(courses.len());
    for (mac, course) in &courses {
        if let Some(port) = ports.remove(mac) {
            moved.push(BootPort { course: crate::body::write("boot", mac, course)?, ..port });
        }
    }
    boots::keep_ports(w.tx, &moved).await.map_err(store)?;
    boots::keep_entries(w.tx, &rows).await.map_err(store)?;
    for (mac, upto) in begun.into_iter().filter(|(_, upto)| *upto > 0) {
        boots::forget_boots(w.tx, mac, upto).await.map_err(store)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_keeps_its_first_and_its_newest_entries() {
        let slots: Vec<i64> = (0..12).map(|seen| slot(seen, (3, 4))).collect();
        assert_eq!(slots, [0, 1, 2, 3, 4, 5, 6, 3, 4, 5, 6, 3]);
        assert!((0..100_000).all(|seen| slot(seen, OURS.way) < OURS.way.0 + OURS.way.1));
    }
}
