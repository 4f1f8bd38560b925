//! Leases on their way between the boot path and the store, and to the timeline, which knows machines by their addresses.

use crate::error::store;
use crate::{Conductor, Error};
use muster_names::{Mac, Millis};
use muster_netboot::{Lease, LeaseChange, LeaseState, Outcome, v6};
use muster_store::{Lease6Row, LeaseRow, Store};
use std::net::IpAddr;

/// Who has an address until when; nobody, when the lease is no more.
pub(crate) type Holding = (IpAddr, Option<(Mac, Millis)>);

impl Conductor {
    /// The lease store of the boot path.
    pub async fn commit_leases(&self, batch: &[LeaseChange]) -> Result<Vec<Outcome>, Error> {
        let outcomes = commit_leases(&self.db, batch).await?;
        self.timeline.leased(granted(batch, &outcomes).map(|change| holding(&change.lease)));
        Ok(outcomes)
    }

    pub async fn load_leases(&self) -> Result<Vec<Lease>, Error> {
        let leases = load_leases(&self.db).await?;
        self.timeline.leased(leases.iter().map(holding));
        Ok(leases)
    }

    /// The same over IPv6.
    pub async fn commit_leases6(&self, batch: &[v6::LeaseChange]) -> Result<Vec<Outcome>, Error> {
        let rows: Vec<Lease6Row> = batch.iter().map(row6_of).collect();
        let now = batch.iter().map(|change| change.at).max().unwrap_or_default();
        let outcomes = muster_store::commit_leases6(&self.db, &rows, now).await.map_err(store)?;
        let outcomes: Vec<Outcome> = outcomes.into_iter().map(outcome_of).collect();
        self.timeline.leased(granted(batch, &outcomes).map(|change| holding6(&change.lease)));
        Ok(outcomes)
    }

    pub async fn load_leases6(&self) -> Result<Vec<v6::Lease>, Error> {
        let rows = muster_store::load_leases6(&self.db).await.map_err(store)?;
        let leases: Vec<v6::Lease> = rows.into_iter().map(lease6_of).collect();
        self.timeline.leased(leases.iter().map(holding6));
        Ok(leases)
    }
}

/// Makes a batch of lease changes durable.
pub async fn commit_leases(db: &Store, batch: &[LeaseChange]) -> Result<Vec<Outcome>, Error> {
    let rows: Vec<LeaseRow> = batch.iter().map(row_of).collect();
    let now = batch.iter().map(|change| change.at).max().unwrap_or_default();
    let outcomes = muster_store::commit_leases(db, &rows, now).await.map_err(store)?;
    Ok(outcomes.into_iter().map(outcome_of).collect())
}

pub async fn load_leases(db: &Store) -> Result<Vec<Lease>, Error> {
    let rows = muster_store::load_leases(db).await.map_err(store)?;
    Ok(leases_of(rows))
}

/// The store's rows as the boot path has them.
pub fn leases_of(rows: Vec<LeaseRow>) -> Vec<Lease> {
    rows.into_iter().map(lease_of).collect()
}

fn granted<'a, Change>(batch: &'a [Change], outcomes: &'a [Outcome]) -> impl Iterator<Item = &'a Change> {
    batch.iter().zip(outcomes).filter(|(_, outcome)| **outcome == Outcome::Done).map(|(change, _)| change)
}

fn holding(lease: &Lease) -> Holding {
    (lease.address.into(), holder(lease.state, lease.mac, lease.until))
}

fn holding6(lease: &v6::Lease) -> Holding {
    (lease.address.into(), holder(lease.state, lease.mac, lease.until))
}

fn holder(state: LeaseState, mac: Mac, until: Millis) -> Option<(Mac, Millis)> {
    (state == LeaseState::Bound).then_some((mac, until))
}

fn outcome_of(outcome: muster_store::Outcome) -> Outcome {
    match outcome {
        muster_store::Outcome::Granted => Outcome::Done,
        muster_store::Outcome::Conflict => Outcome::Taken,
    }
}

fn kept(state: LeaseState) -> muster_store::LeaseState {
    match state {
        LeaseState::Bound => muster_store::LeaseState::Leased,
        LeaseState::Released => muster_store::LeaseState::Released,
        LeaseState::Declined => muster_store::LeaseState::Declined,
    }
}

fn told(state: muster_store::LeaseState) -> LeaseState {
    match state {
        muster_store::LeaseState::Leased => LeaseState::Bound,
        muster_store::LeaseState::Released => LeaseState::Released,
        muster_store::LeaseState::Declined => LeaseState::Declined,
    }
}

fn row_of(change: &LeaseChange) -> LeaseRow {
    let lease = &change.lease;
    LeaseRow {
        network: lease.network.clone(),
        address: lease.address,
        mac: lease.mac,
        until: lease.until,
        state: kept(lease.state),
        seen: change.at,
        client: client("relay", lease.relay.as_deref()),
    }
}

fn lease_of(row: LeaseRow) -> Lease {
    let (relay, state) = (said(&row.client, "relay"), told(row.state));
    Lease { network: row.network, address: row.address, mac: row.mac, state, until: row.until, relay }
}

fn row6_of(change: &v6::LeaseChange) -> Lease6Row {
    let lease = &change.lease;
    Lease6Row {
        network: lease.network.clone(),
        address: lease.address,
        mac: lease.mac,
        until: lease.until,
        state: kept(lease.state),
        seen: change.at,
        client: client("duid", Some(&lease.duid)),
    }
}

fn lease6_of(row: Lease6Row) -> v6::Lease {
    let (duid, state) = (said(&row.client, "duid").unwrap_or_default(), told(row.state));
    v6::Lease { network: row.network, address: row.address, mac: row.mac, state, until: row.until, duid }
}

/// What a client says of itself, as a row keeps it. Hex digits need no escape.
fn client(what: &str, bytes: Option<&[u8]>) -> String {
    bytes.map(hex).map_or_else(|| format!(r#"{{"{what}":null}}"#), |hex| format!(r#"{{"{what}":"{hex}"}}"#))
}

fn said(client: &str, what: &str) -> Option<Vec<u8>> {
    let client: serde_json::Value = serde_json::from_str(client).unwrap_or_default();
    client.get(what).and_then(|hex| hex.as_str()).map(unhex)
}

fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).filter_map(|d| u8::try_from(d).ok()).collect();
    digits
        .chunks_exact(2)
        .filter_map(|pair| if let [high, low] = pair { Some(high << 4 | low) } else { None })
        .collect()
}
