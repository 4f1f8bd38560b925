//! What the boot path sees of the fleet, kept in memory and refreshed after each commit: packets never ask the database.

use crate::error::store;
use crate::facts::known;
use crate::{Conductor, Error};

use crate::timeline::granted;
use muster_lifecycle::{Life, machine::At, machine::MachineLife};
use muster_names::{BootTarget, Mac, MachineId, Subject, SwitchPort};
use muster_netboot::{Boot, Host, Lease, LeaseChange, LeaseState, Outcome, Sighting};
use muster_store::{LeaseRow, machines};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{PoisonError, RwLock};

/// MACs remembered of whoever sends packets.
const MOST_MACS: usize = 100_000;

#[derive(Default)]
pub(crate) struct Fleet {
    hosts: RwLock<HashMap<Mac, (MachineId, Host)>>,
    /// Where a relay says each MAC hangs.
    relays: RwLock<BTreeMap<Mac, SwitchPort>>,
}

impl Fleet {
    /// The ports of a machine.
    pub fn macs_of(&self, machine: MachineId) -> Vec<Mac> {
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        hosts.iter().filter(|(_, (id, _))| *id == machine).map(|(mac, _)| *mac).collect()
    }

    pub fn known_among(&self, macs: &BTreeSet<Mac>) -> BTreeSet<Mac> {
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        macs.iter().filter(|mac| hosts.contains_key(mac)).copied().collect()
    }
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

    /// Notes what the boot path saw; never waits.
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
        self.note_seen(sighting);
    }

    /// The lease store of the boot path.
    pub async fn commit_leases(&self, batch: &[LeaseChange]) -> Result<Vec<Outcome>, Error> {
        let rows: Vec<LeaseRow> = batch.iter().map(row_of).collect();
        let now = batch.iter().map(|change| change.at).max().unwrap_or_default();
        let outcomes = muster_store::commit_leases(&self.db, &rows, now).await.map_err(store)?;
        let outcomes: Vec<Outcome> = outcomes
            .into_iter()
            .map(|outcome| match outcome {
                muster_store::Outcome::Granted => Outcome::Done,
                muster_store::Outcome::Conflict => Outcome::Taken,
            })
            .collect();
        self.timeline.leased(granted(batch, &outcomes));
        Ok(outcomes)
    }

    pub async fn load_leases(&self) -> Result<Vec<Lease>, Error> {
        let rows = muster_store::load_leases(&self.db).await.map_err(store)?;
        let leases: Vec<Lease> = rows.into_iter().map(lease_of).collect();
        self.timeline.leased(&leases);
        Ok(leases)
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
