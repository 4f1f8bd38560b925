//! Taking over what another DHCP server knows: rows of MAC, address and name become machines, reservations and leases.
//!
//! The same way as every change: a plan that says of each row what would become of it, its digest, and an execution that
//! refuses when the world has moved. Rows are explicit, and a plan with one row that conflicts is not executed: whoever
//! wants the rest sends the rest. What is there already is left alone, so that the same file a second time changes nothing.
//!
//! Machines are written in the scribe's transaction; leases lie in a database of their own and follow it. If the daemon
//! dies in between, the plan executed again, or the import made again, writes what is missing.

mod judge;

use crate::apply::{self, Happened};
use crate::body::{self, Kept};
use crate::error::store;
use crate::scribe::Write;
use crate::{Conductor, Error, rim};
use judge::{Judged, Now, Seen, Where};
use muster_lifecycle::machine::{Event, Machine};
use muster_names::{Digest, Mac, MachineId, Millis, Subject};
use muster_netboot::{Lease, LeaseState};
use muster_store::reservations::{self, Reservation};
use muster_store::{LeaseRow, machines, plans};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// The word of such plans among all plans.
pub(crate) const ACTION: &str = "import";
/// Rows of one plan: what one transaction writes without holding up everything else.
pub const MOST_ROWS: usize = 500;

/// One MAC and what it shall have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ImportRow {
    /// Where it was read, for people: `dhcpd.conf:12`.
    pub source: String,
    pub mac: Mac,
    #[serde(default)]
    pub address: Option<Ipv4Addr>,
    /// Name of the machine, where one is made.
    #[serde(default)]
    pub name: Option<String>,
    /// The address is kept for this MAC for ever.
    #[serde(default)]
    pub reserved: bool,
    /// It holds a lease on the address that ends then.
    #[serde(default)]
    pub until: Option<Millis>,
    /// Ours: a machine is made of it where none is known.
    #[serde(default)]
    pub machine: bool,
    /// It runs and belongs to its owner: taken over as it is, in service.
    #[serde(default)]
    pub running: bool,
}

/// Explicit rows, at least one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Vec<ImportRow>", into = "Vec<ImportRow>")]
#[schemars(with = "Vec<ImportRow>")]
pub struct Rows(Vec<ImportRow>);

impl TryFrom<Vec<ImportRow>> for Rows {
    type Error = String;

    fn try_from(rows: Vec<ImportRow>) -> Result<Self, String> {
        match rows.len() {
            0 => Err("no row is named; an empty list never means everything".into()),
            count if count > MOST_ROWS => Err(format!("{count} rows; one plan takes at most {MOST_ROWS}")),
            _ => Ok(Self(rows)),
        }
    }
}

impl From<Rows> for Vec<ImportRow> {
    fn from(rows: Rows) -> Self {
        rows.0
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportRequest {
    pub rows: Rows,
}

/// What would become of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// A machine is made.
    New,
    /// What is known changes.
    Change,
    /// It is all there already.
    Same,
    /// It contradicts what is known.
    Conflict,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RowPlanned {
    pub source: String,
    pub mac: Mac,
    pub address: Option<Ipv4Addr>,
    pub verdict: Verdict,
    /// The machine it is of, by name.
    pub machine: Option<String>,
    /// What happens, or why nothing can.
    pub words: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ImportPlanned {
    pub digest: Digest,
    pub rows: Vec<RowPlanned>,
    pub new: usize,
    pub change: usize,
    pub same: usize,
    pub conflict: usize,
    pub executable: bool,
    pub created: Millis,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Imported {
    pub digest: Digest,
    /// Machines that are new.
    pub new: Vec<MachineId>,
    /// Machines that were taken over as they run.
    pub adopted: Vec<MachineId>,
    pub reservations: usize,
    pub leases: usize,
    /// Addresses that somebody was given meanwhile: their leases were not written.
    pub leases_taken: Vec<Ipv4Addr>,
}

impl Conductor {
    /// Makes the plan of an import and keeps it; changes nothing else.
    pub async fn plan_import(self: &Arc<Self>, by: String, request: ImportRequest) -> Result<ImportPlanned, Error> {
        let me = self.clone();
        let leases = self.leases_of(&request).await?;
        self.scribe
            .write(move |mut w| {
                Box::pin(async move {
                    let now = w.now;
                    let (mut planned, _) = draw_up(&mut w, &me, &request, &leases, &by, now).await?;
                    let row = muster_store::Plan {
                        digest: planned.digest,
                        action: ACTION.into(),
                        body: body::write("plan", &planned.digest, &request)?,
                        by,
                        created: w.now,
                        approvals: Vec::new(),
                        executed_at: None,
                    };
                    planned.created = plans::put(w.tx, &row).await.map_err(store)?.created;
                    Ok(planned)
                })
            })
            .await
    }

    /// Carries the plan of an import out, once; a repeated call writes what of its leases is missing.
    pub async fn execute_import(self: &Arc<Self>, by: String, digest: Digest) -> Result<Imported, Error> {
        let mut tx = self.db.read().await.map_err(store)?;
        let row = plans::get(&mut tx, digest).await.map_err(store)?;
        drop(tx);
        let row = row.filter(|row| row.action == ACTION);
        let row = row.ok_or_else(|| Error::refused(format!("there is no import {digest}; plan it first")))?;
        let request: ImportRequest = body::read("plan", &digest, &row.body)?;
        let leases = self.leases_of(&request).await?;
        let (me, asked, held) = (self.clone(), request.clone(), leases.clone());
        let mut imported = self
            .scribe
            .write(move |mut w| Box::pin(async move { carry_out(&mut w, &me, by, digest, &asked, &held).await }))
            .await?;
        // The view is told after the commit; whoever asks for an address a moment later shall find it.
        self.refresh(&imported.machines).await?;
        (imported.told.leases, imported.told.leases_taken) = self.write_leases(&request, &leases).await?;
        Ok(imported.told)
    }

    /// What is written of the addresses of a request.
    async fn leases_of(&self, request: &ImportRequest) -> Result<Vec<LeaseRow>, Error> {
        let networks = self.networks();
        let addresses = request.rows.0.iter().filter_map(|row| row.address);
        let keys: Vec<(String, Ipv4Addr)> = addresses
            .filter_map(|address| networks.holding(address).map(|network| (network.name.clone(), address)))
            .collect();
        muster_store::leases_at(&self.db, &keys).await.map_err(store)
    }

    /// Leases that last longer than what is written, each with its remaining time.
    async fn write_leases(&self, request: &ImportRequest, held: &[LeaseRow]) -> Result<(usize, Vec<Ipv4Addr>), Error> {
        let (networks, now) = (self.networks(), rim::now());
        let mut rows = Vec::new();
        for row in &request.rows.0 {
            let (Some(address), Some(until)) = (row.address, row.until) else { continue };
            let Some(network) = networks.holding(address) else { continue };
            let longer =
                held.iter().any(|lease| lease.address == address && lease.mac == row.mac && lease.until >= until);
            if until > now && !longer {
                rows.push(LeaseRow {
                    network: network.name.clone(),
                    address,
                    mac: row.mac,
                    until,
                    state: muster_store::LeaseState::Leased,
                    seen: now,
                    client: serde_json::json!({ "imported": row.source }).to_string(),
                });
            }
        }
        let outcomes = muster_store::commit_leases(&self.db, &rows, now).await.map_err(store)?;
        let (mut learnt, mut taken) = (Vec::new(), Vec::new());
        for (row, outcome) in rows.into_iter().zip(outcomes) {
            match outcome {
                muster_store::Outcome::Granted => learnt.push(Lease {
                    network: row.network,
                    address: row.address,
                    mac: row.mac,
                    state: LeaseState::Bound,
                    until: row.until,
                    relay: None,
                }),
                muster_store::Outcome::Conflict => taken.push(row.address),
            }
        }
        let count = learnt.len();
        self.learn(learnt);
        Ok((count, taken))
    }
}

/// What is known of each row, and what would become of it.
async fn draw_up(
    w: &mut Write<'_>,
    me: &Conductor,
    request: &ImportRequest,
    leases: &[LeaseRow],
    by: &str,
    created: Millis,
) -> Result<(ImportPlanned, Vec<Judged>), Error> {
    let networks = me.networks();
    let clashes = muster_netboot::import::clashes(&request.rows.0.iter().map(plain).collect::<Vec<_>>());
    let mut rows = Vec::with_capacity(request.rows.0.len());
    let mut judged = Vec::with_capacity(request.rows.0.len());
    for (at, row) in request.rows.0.iter().enumerate() {
        let seen = seen(w, me, row).await?;
        let lease = row.address.and_then(|address| leases.iter().find(|lease| lease.address == address));
        let known = Now { seen, lease, networks: &networks, at: w.now, clash: clashes.get(&at).map(String::as_str) };
        let verdict = judge::judge(row, &known);
        rows.push(RowPlanned {
            source: row.source.clone(),
            mac: row.mac,
            address: row.address,
            verdict: verdict.verdict(),
            machine: known.seen.name(row),
            words: verdict.words(),
        });
        judged.push(verdict);
    }
    let count = |wanted: Verdict| rows.iter().filter(|row| row.verdict == wanted).count();
    let text = serde_json::json!({ "request": request, "rows": rows, "by": by, "at": created }).to_string();
    let planned = ImportPlanned {
        digest: rim::sha256(text.as_bytes()),
        new: count(Verdict::New),
        change: count(Verdict::Change),
        same: count(Verdict::Same),
        conflict: count(Verdict::Conflict),
        executable: count(Verdict::Conflict) == 0,
        rows,
        created,
    };
    Ok((planned, judged))
}

/// The row as the readers of files have it, for what contradicts itself within one request.
fn plain(row: &ImportRow) -> muster_netboot::import::Row {
    muster_netboot::import::Row {
        source: row.source.clone(),
        mac: row.mac,
        address: row.address,
        name: row.name.clone(),
        reserved: row.reserved,
        until: row.until,
        machine: row.machine,
        running: row.running,
    }
}

/// Reads what the database knows of a row's MAC, name and address.
async fn seen(w: &mut Write<'_>, me: &Conductor, row: &ImportRow) -> Result<Seen, Error> {
    let catalog = me.catalog();
    let mut seen = Seen { reserved: reservations::of_mac(w.tx, row.mac).await.map_err(store)?, ..Seen::default() };
    if let Some(address) = row.address {
        seen.holder = reservations::at(w.tx, address).await.map_err(store)?;
    }
    if let Some(found) = machines::by_mac(w.tx, row.mac).await.map_err(store)? {
        let known = crate::facts::known(w.tx, &catalog, found.id).await?;
        seen.machine = Where::Known { id: found.id, name: found.name, ours: found.ours, state: known.state };
    } else if let Some(found) = machines::by_name(w.tx, &judge::name_of(row)).await.map_err(store)? {
        let known = crate::facts::known(w.tx, &catalog, found.id).await?;
        let macs = machines::macs_of(w.tx, found.id).await.map_err(store)?;
        seen.machine =
            Where::Named { id: found.id, name: found.name, ours: found.ours, macs: macs.len(), state: known.state };
    }
    Ok(seen)
}

/// What a transaction did, and whose view has to be refreshed.
struct Done {
    told: Imported,
    machines: BTreeSet<MachineId>,
}

async fn carry_out(
    w: &mut Write<'_>,
    me: &Conductor,
    by: String,
    digest: Digest,
    request: &ImportRequest,
    leases: &[LeaseRow],
) -> Result<Done, Error> {
    let told =
        Imported { digest, new: Vec::new(), adopted: Vec::new(), reservations: 0, leases: 0, leases_taken: Vec::new() };
    let mut done = Done { told, machines: BTreeSet::new() };
    let row = plans::get(w.tx, digest).await.map_err(store)?;
    let row = row.ok_or_else(|| Error::refused(format!("there is no import {digest}; plan it first")))?;
    if row.executed_at.is_some() {
        return Ok(done);
    }
    crate::plans::still_fresh(&row, w.now)?;
    let (planned, judged) = draw_up(w, me, request, leases, &row.by, row.created).await?;
    if planned.digest != digest {
        return Err(Error::refused("the world has changed since the import was planned; plan it again and look at it"));
    }
    if let Some(row) = planned.rows.iter().find(|row| row.verdict == Verdict::Conflict) {
        return Err(Error::refused(format!("{} ({}): {}", row.mac, row.source, row.words)));
    }
    crate::plans::not_frozen(w).await?;
    plans::mark_executed(w.tx, digest, w.now).await.map_err(store)?;
    for (row, judged) in request.rows.0.iter().zip(judged) {
        begin(w, me, &by, digest, row, judged, &mut done).await?;
    }
    let event = muster_store::Event {
        subject: Subject::Site,
        cause: muster_names::Cause(format!("import/{digest}")),
        kind: "imported".into(),
        actor: by,
        epoch: muster_names::Epoch(0),
        body: serde_json::json!({ "rows": request.rows.0.len(), "new": planned.new, "change": planned.change })
            .to_string(),
        at: w.now,
    };
    w.tx.append(event).await.map_err(store)?;
    Ok(done)
}

/// Writes one row down: machine, MAC, reservation; then its life is told.
async fn begin(
    w: &mut Write<'_>,
    me: &Conductor,
    by: &str,
    digest: Digest,
    row: &ImportRow,
    judged: Judged,
    done: &mut Done,
) -> Result<(), Error> {
    let Judged::Go { machine, claim, adopt, reserve, learn_mac, .. } = judged else { return Ok(()) };
    let catalog = me.catalog();
    let id = match machine {
        judge::Which::None => return Ok(()),
        judge::Which::New { name } => {
            let record = blank(name, w.now)?;
            apply::begin(w, &record, Machine::expected(), by).await?;
            machines::set_macs(w.tx, record.id, &[row.mac]).await.map_err(store)?;
            done.told.new.push(record.id);
            record.id
        }
        judge::Which::Known(id) => id,
    };
    w.touched.insert(id);
    done.machines.insert(id);
    if learn_mac {
        machines::set_macs(w.tx, id, &[row.mac]).await.map_err(store)?;
    }
    if claim {
        let mut record = machines::get(w.tx, id).await.map_err(store)?.ok_or(Error::NoMachine { id })?;
        let kept: Kept = body::read("record", &id, &record.data)?;
        record.ours = true;
        apply::keep(w, &mut record, &kept).await?;
    }
    if let (true, Some(address)) = (reserve, row.address) {
        let kept = Reservation { address, mac: row.mac, machine: id };
        if !reservations::put(w.tx, &kept).await.map_err(store)? {
            return Err(Error::refused(format!("{address} was reserved for another MAC meanwhile; plan it again")));
        }
        let detail = serde_json::json!({ "mac": row.mac, "address": address, "source": row.source });
        apply::note(w, id, &format!("import/{digest}/{}", row.mac), "reserved", by, detail).await?;
        done.told.reservations += 1;
    }
    let event = match (adopt, claim) {
        (true, _) => Event::AdoptAsked,
        (false, true) => Event::Claimed,
        (false, false) => return Ok(()),
    };
    let detail = serde_json::json!({ "what": { "action": ACTION }, "plan": digest, "source": row.source });
    let cause = format!("import/{digest}");
    apply::apply(w, &catalog, id, Happened { cause, actor: by, event, detail }).await?;
    if adopt {
        done.told.adopted.push(id);
    }
    Ok(())
}

pub(crate) fn blank(name: String, now: Millis) -> Result<muster_store::Machine, Error> {
    let id = MachineId(rim::fresh_id()?);
    Ok(muster_store::Machine {
        id,
        name,
        serial: None,
        uuid: None,
        ours: true,
        place: None,
        model: None,
        bmc: None,
        inventory: None,
        inventory_at: None,
        agent: None,
        created: now,
        data: body::write("record", &id, &Kept::default())?,
    })
}
