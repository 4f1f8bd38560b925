//! What the boot path sees of the fleet, kept in memory and refreshed after each commit: packets never ask the database.

use crate::error::store;
use crate::facts::known;
use crate::{Conductor, Error};
use muster_catalog::Catalog;
use muster_lifecycle::{Life, machine::At, machine::MachineLife};
use muster_names::{BootTarget, Epoch, Mac, MachineId, Subject, SwitchPort};
use muster_netboot::{Boot, FirstFile, Host, Loaders, Sighting};
use muster_store::{Tx, machines, reservations};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::watch;

/// MACs remembered of whoever sends packets.
const MOST_MACS: usize = 100_000;

#[derive(Default)]
pub(crate) struct Fleet {
    hosts: RwLock<HashMap<Mac, (MachineId, Host)>>,
    /// Where a relay says each MAC hangs.
    relays: RwLock<BTreeMap<Mac, SwitchPort>>,
    /// Addresses that are kept for somebody; whoever hands out addresses follows it.
    reserved: watch::Sender<BTreeSet<Ipv4Addr>>,
}

/// What the boot path may know of one machine, for each of its MACs, and the epoch it is in.
async fn hosts_of(tx: &mut Tx, catalog: &Catalog, id: MachineId) -> Result<(Epoch, Vec<(Mac, Host)>), Error> {
    let machine = known(tx, catalog, id).await?;
    let epoch = machine.facts.epoch;
    let plan = MachineLife::plan(&machine.state, &machine.facts);
    let boot = if plan.want.boot == BootTarget::Agent { Boot::Agent } else { Boot::Disk };
    // What only waits to be looked at is a stranger to the boot path: welcome on a dedicated network alone.
    let ours = machine.record.ours && !matches!(machine.state.at, At::Observed | At::Expected);
    let order = (boot == Boot::Agent).then_some(epoch);
    let kept = reservations::of_machine(tx, id).await.map_err(store)?;
    let macs = machines::macs_of(tx, id).await.map_err(store)?;
    let model = machine.record.model.as_deref().or(machine.kept.expected_model.as_deref());
    let loaders = model.and_then(|model| own_loaders(catalog, model)).map(Arc::new);
    let host = |mac: Mac| Host {
        ours,
        reservation: kept.iter().find(|kept| kept.mac == mac).map(|kept| kept.address),
        hostname: Some(machine.record.name.clone()),
        boot,
        order,
        loaders: loaders.clone(),
    };
    Ok((epoch, macs.into_iter().map(|mac| (mac, host(mac))).collect()))
}

/// Every MAC that is known, as the boot path sees it; read once, for whoever keeps no view of its own.
pub async fn hosts(tx: &mut Tx, catalog: &Catalog) -> Result<Vec<(Mac, Host)>, Error> {
    let ids: BTreeSet<MachineId> = machines::all_macs(tx).await.map_err(store)?.into_iter().map(|(_, id)| id).collect();
    let mut all = Vec::new();
    for id in ids {
        all.extend(hosts_of(tx, catalog, id).await?.1);
    }
    Ok(all)
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

    /// The addresses that are kept for somebody, now and whenever they change.
    pub fn reserved(&self) -> watch::Receiver<BTreeSet<Ipv4Addr>> {
        self.fleet.reserved.subscribe()
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
            let Ok((epoch, found)) = hosts_of(&mut tx, &self.catalog(), *id).await else { continue };
            self.rails().retain(|key, _| key.of != Subject::Machine(*id) || key.epoch >= epoch);
            fresh.extend(found.into_iter().map(|(mac, host)| (mac, (*id, host))));
        }
        drop(tx);
        let mut hosts = self.fleet.hosts.write().unwrap_or_else(PoisonError::into_inner);
        let mut kept = fresh.iter().any(|(_, (_, host))| host.reservation.is_some());
        hosts.retain(|_, (id, host)| {
            let goes = ids.contains(id);
            kept |= goes && host.reservation.is_some();
            !goes
        });
        hosts.extend(fresh);
        // A walk over all hosts, for those few commits that are about a machine with a reservation.
        if !kept {
            return Ok(());
        }
        let reserved: BTreeSet<Ipv4Addr> = hosts.values().filter_map(|(_, host)| host.reservation).collect();
        drop(hosts);
        self.fleet.reserved.send_if_modified(|now| {
            let changed = *now != reserved;
            *now = reserved;
            changed
        });
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
}

/// The loaders that a model wants instead of its network's.
fn own_loaders(catalog: &Catalog, model: &str) -> Option<Loaders> {
    let own = catalog.own_loaders(catalog.model(model)?);
    let by_arch = own.into_iter().map(|(arch, file)| (arch, FirstFile::new(file))).collect();
    Some(Loaders { by_arch, kinds: Vec::new() }).filter(|loaders| !loaders.by_arch.is_empty())
}
