//! What the boot path sees of the fleet, kept in memory and refreshed after each commit: packets never ask the database.

use crate::error::store;
use crate::facts::known;
use crate::{Conductor, Error, rim};

use muster_lifecycle::{Life, machine::At, machine::MachineLife};
use muster_names::{BootTarget, Mac, MachineId, Subject, SwitchPort};
use muster_netboot::{Boot, Host, Lease, LeaseChange, LeaseState, Outcome, Sighting};
use muster_store::{LeaseRow, Tx, machines, sightings};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// MACs remembered of whoever sends packets.
const MOST_MACS: usize = 100_000;
/// Sightings of one boot and a few more.
const RECENT: u32 = 64;

#[derive(Default)]
pub(crate) struct Fleet {
    hosts: RwLock<HashMap<Mac, (MachineId, Host)>>,
    /// Where a relay says each MAC hangs.
    relays: RwLock<BTreeMap<Mac, SwitchPort>>,
}

impl Conductor {
    /// Who a MAC is, for a packet: in memory, without waiting.
    pub fn host(&self, mac: Mac) -> Host {
        let hosts = self.fleet.hosts.read().unwrap_or_else(PoisonError::into_inner);
        hosts.get(&mac).map(|(_, host)| host.clone()).unwrap_or_default()
    }

    pub(crate) fn relay_port(&self, mac: Mac) -> Option<SwitchPort> {
        self.fleet.relays.read().unwrap_or_else(PoisonError::into_inner).get(&mac).cloned()
    }

    /// Reads every machine once, at start.
    pub async fn fill_view(&self) -> Result<usize, Error> {
        let mut tx = self.db.read().await.map_err(store)?;
        let ids: BTreeSet<MachineId> =
            machines::all_macs(&mut tx).await.map_err(store)?.into_iter().map(|(_, id)| id).collect();
        drop(tx);
        self.refresh(&ids).await?;
        Ok(ids.len())
    }

    /// Reads the machines that changed.
    pub(crate) async fn refresh(&self, ids: &BTreeSet<MachineId>) -> Result<(), Error> {
        let mut tx = self.db.read().await.map_err(store)?;
        let mut fresh = Vec::new();
        for id in ids {
            let Ok(machine) = known(&mut tx, &self.catalog(), *id).await else { continue };
            let epoch = machine.facts.epoch;
            self.rails().retain(|key, _| key.of != Subject::Machine(*id) || key.epoch >= epoch);
            let plan = MachineLife::plan(&machine.state, &machine.facts);
            let boot = if plan.want.boot == BootTarget::Agent { Boot::Agent } else { Boot::Disk };
            // What only waits to be looked at is a stranger to the boot path: welcome on a dedicated network alone.
            let ours = machine.record.ours && !matches!(machine.state.at, At::Observed | At::Expected);
            let order = (boot == Boot::Agent).then_some(machine.facts.epoch);
            let host = Host { ours, reservation: None, hostname: Some(machine.record.name.clone()), boot, order };
            for mac in machines::macs_of(&mut tx, *id).await.map_err(store)? {
                fresh.push((mac, (*id, host.clone())));
            }
        }
        drop(tx);
        let mut hosts = self.fleet.hosts.write().unwrap_or_else(PoisonError::into_inner);
        hosts.retain(|_, (id, _)| !ids.contains(id));
        hosts.extend(fresh);
        Ok(())
    }

    /// Notes what the boot path saw; never waits. A full queue drops the oldest kind of knowledge: the newest sighting.
    pub fn saw(&self, sighting: Sighting) {
        // Without a relay's address anybody may have written option 82: it shows in `explain`, and places nobody.
        if let (Some(circuit), Some(relay)) = (sighting.circuit_text(), sighting.giaddr) {
            let switch = sighting.remote_text().unwrap_or_else(|| relay.to_string());
            let port = SwitchPort { switch, port: circuit };
            let mut relays = self.fleet.relays.write().unwrap_or_else(PoisonError::into_inner);
            if relays.len() >= MOST_MACS && !relays.contains_key(&sighting.mac) {
                let hosts = self.fleet.hosts.read().unwrap_or_else(PoisonError::into_inner);
                relays.retain(|mac, _| hosts.contains_key(mac));
            }
            if relays.len() < MOST_MACS {
                relays.insert(sighting.mac, port);
            }
        }
        if self.sighted.try_send(sighting).is_err() {
            self.dropped_sightings.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// Everything seen of a MAC, newest last: the answer to "why did this MAC get no answer".
    pub async fn explain(&self, mac: Mac, limit: u32) -> Result<Vec<muster_store::Sighting>, Error> {
        let mut tx = self.db.read().await.map_err(store)?;
        sightings::of_mac(&mut tx, mac, limit).await.map_err(store)
    }

    /// The lease store of the boot path.
    pub async fn commit_leases(&self, batch: &[LeaseChange]) -> Result<Vec<Outcome>, Error> {
        let rows: Vec<LeaseRow> = batch.iter().map(row_of).collect();
        let now = batch.iter().map(|change| change.at).max().unwrap_or_default();
        let outcomes = muster_store::commit_leases(&self.db, &rows, now).await.map_err(store)?;
        Ok(outcomes
            .into_iter()
            .map(|outcome| match outcome {
                muster_store::Outcome::Granted => Outcome::Done,
                muster_store::Outcome::Conflict => Outcome::Taken,
            })
            .collect())
    }

    pub async fn load_leases(&self) -> Result<Vec<Lease>, Error> {
        let rows = muster_store::load_leases(&self.db).await.map_err(store)?;
        Ok(rows.into_iter().map(lease_of).collect())
    }
}

fn row_of(change: &LeaseChange) -> LeaseRow {
    let lease = &change.lease;
    let state = match lease.state {
        LeaseState::Bound => muster_store::LeaseState::Leased,
        LeaseState::Released => muster_store::LeaseState::Released,
        LeaseState::Declined => muster_store::LeaseState::Declined,
    };
    let relay = lease.relay.as_ref().map(|bytes| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>());
    LeaseRow {
        network: lease.network.clone(),
        address: lease.address,
        mac: lease.mac,
        until: lease.until,
        state,
        seen: change.at,
        client: serde_json::json!({ "relay": relay }).to_string(),
    }
}

fn lease_of(row: LeaseRow) -> Lease {
    let state = match row.state {
        muster_store::LeaseState::Leased => LeaseState::Bound,
        muster_store::LeaseState::Released => LeaseState::Released,
        muster_store::LeaseState::Declined => LeaseState::Declined,
    };
    let client: serde_json::Value = serde_json::from_str(&row.client).unwrap_or_default();
    let relay = client.get("relay").and_then(|hex| hex.as_str()).map(unhex);
    Lease { network: row.network, address: row.address, mac: row.mac, state, until: row.until, relay }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).filter_map(|d| u8::try_from(d).ok()).collect();
    digits
        .chunks_exact(2)
        .filter_map(|pair| if let [high, low] = pair { Some(high << 4 | low) } else { None })
        .collect()
}

/// Writes sightings down in batches.
pub async fn keep_sightings(me: Arc<Conductor>, mut queue: mpsc::Receiver<Sighting>, cancel: CancellationToken) {
    loop {
        let mut batch = Vec::new();
        tokio::select! {
            () = cancel.cancelled() => return,
            count = queue.recv_many(&mut batch, 512) => if count == 0 { return },
        }
        let rows: Vec<muster_store::Sighting> = batch.iter().map(sighting_row).collect();
        let written = me
            .scribe
            .write(move |w| Box::pin(async move { sightings::note_batch(w.tx, &rows).await.map_err(store) }))
            .await;
        if let Err(error) = written {
            tracing::warn!(error = %error, label = error.label(), "sightings were not kept");
        }
        // A flood becomes few transactions.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Where a relay said that a MAC hangs, as written down: what was seen before this run of the daemon.
pub(crate) async fn noted_port(tx: &mut Tx, mac: Mac) -> Result<Option<SwitchPort>, Error> {
    let seen = sightings::of_mac(tx, mac, RECENT).await.map_err(store)?;
    Ok(seen.iter().find_map(|row| {
        let body: serde_json::Value = serde_json::from_str(&row.body).ok()?;
        let word = |key: &str| body.get(key).and_then(|value| value.as_str()).map(str::to_owned);
        let relay = word("giaddr")?;
        Some(SwitchPort { switch: word("remote-id").unwrap_or(relay), port: word("circuit-id")? })
    }))
}

fn sighting_row(sighting: &Sighting) -> muster_store::Sighting {
    let body = serde_json::json!({
        "arch": sighting.arch,
        "vendor-class": sighting.vendor_class,
        "client": sighting.client,
        "giaddr": sighting.giaddr,
        "circuit-id": sighting.circuit_text(),
        "remote-id": sighting.remote_text(),
    });
    muster_store::Sighting {
        mac: sighting.mac,
        at: if sighting.at.0 == 0 { rim::now() } else { sighting.at },
        network: sighting.network.clone().unwrap_or_default(),
        what: format!("{:?}", sighting.kind).to_lowercase(),
        answer: sighting.said.to_string(),
        body: body.to_string(),
    }
}
