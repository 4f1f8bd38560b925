//! Plan, digest, execute: how a person or a workflow changes anything.
//!
//! A plan names every machine, what will happen to it and what speaks against it; its digest covers all of that. Execution
//! takes the digest, makes the plan again and refuses when it would now be another one, or when it is older than 15
//! minutes. More than ten destructive targets, or any that span racks, need a second person.

use crate::apply::{self, Happened};
use crate::body::{self, Fault, OrderBody};
use crate::error::store;
use crate::facts::{Known, known, shadow};
use crate::passwords::{self, Goal};
use crate::scribe::Write;
use crate::{Conductor, Error, bios, probing, rim, seed, standing};
use muster_catalog::Catalog;
use muster_lifecycle::Life;
use muster_lifecycle::machine::{At, Data, Event, MachineLife, Resume};
use muster_names::{CaseId, Digest, Epoch, ImageId, MachineId, Millis, OrderId, Place, TargetSet};
use muster_store::{Approved, machines, orders, plans};
use muster_wire::{DiskRef, NetworkConfig, User};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What shall happen to the machines of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "action", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// Mark as ours.
    Claim,
    /// Power on into the boot image and look; changes nothing on its disks.
    Discover,
    /// Take over as it runs.
    Adopt,
    Install {
        image: ImageId,
        #[serde(default)]
        users: Vec<User>,
        #[serde(default)]
        network: NetworkConfig,
        /// Cloud-config of the site, merged after ours.
        #[serde(default)]
        user_data: String,
        /// Overwrite an owner's data on a machine that is in service.
        #[serde(default)]
        reimage: bool,
    },
    CancelInstall,
    /// Wipe and make ready for the next owner.
    Release,
    Retire,
    Hold {
        why: String,
    },
    Resume {
        to: Onward,
    },
    /// The owner has left a draining machine.
    AcknowledgeDrain,
    /// Give its BMC a password of its own in place of the one it has.
    ChangeBmcPassword,
    /// Give its BMC the password of its password file again.
    RestoreBmcPassword,
    /// Set the BIOS attributes that its model wants, for its next boot; restarts nothing.
    ApplyBios,
    /// Find out what its kind of BMC does: writes what is there already, and restarts a BMC that hides keys.
    ProbeBmc,
    /// A person saw a fault.
    ReportFault {
        text: String,
    },
}

/// Where a held machine goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Onward {
    Discover,
    Check,
    Serve,
    Repair,
    Release,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanRequest {
    pub what: Action,
    pub targets: TargetSet,
}

/// One machine of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Target {
    pub id: MachineId,
    pub name: String,
    pub state: String,
    pub epoch: Epoch,
    pub place: Option<Place>,
    /// An owner's data is on it.
    pub data_bearing: bool,
    /// The state it goes to, when it goes at once.
    pub leads_to: Option<String>,
    /// The disk that will be overwritten.
    pub disk: Option<DiskRef>,
    /// The BIOS attributes that will be as named after the next boot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<String>,
    /// Why this machine cannot be part of the plan; a plan with any such machine is not executed.
    pub refused: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Planned {
    pub digest: Digest,
    pub what: Action,
    pub targets: Vec<Target>,
    pub count: usize,
    pub per_rack: BTreeMap<String, usize>,
    pub data_bearing: usize,
    pub destructive: bool,
    /// A second person has to approve it.
    pub needs_approval: bool,
    pub approved_by: Vec<String>,
    pub executable: bool,
    pub created: Millis,
}

/// What the execution of a plan began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Executed {
    pub digest: Digest,
    pub orders: Vec<OrderId>,
    pub machines: Vec<MachineId>,
}

/// A plan is executed within this time or made again.
const FRESH_MS: i64 = 15 * 60_000;
const IN_A_ROW_MS: i64 = 3_600_000;
/// More destructive targets than this need a second person.
const ALONE: usize = 10;

impl Action {
    fn destructive(&self) -> bool {
        matches!(self, Self::Install { .. } | Self::Release | Self::Retire | Self::Resume { to: Onward::Release })
    }

    /// Ends what an owner has on the machine.
    fn takes_data(&self) -> bool {
        matches!(
            self,
            Self::Install { reimage: true, .. } | Self::Release | Self::Retire | Self::Resume { to: Onward::Release }
        )
    }

    /// Which password its BMC shall have in the end, where it is about that and no event of the machine's life.
    fn password(&self) -> Option<Goal> {
        match self {
            Self::ChangeBmcPassword => Some(Goal::Own),
            Self::RestoreBmcPassword => Some(Goal::File),
            _ => None,
        }
    }

    fn word(&self) -> String {
        let value = serde_json::to_value(self).unwrap_or_default();
        value.get("action").and_then(|word| word.as_str()).unwrap_or("action").to_string()
    }
}

impl Conductor {
    /// Makes a plan and keeps it; changes nothing else.
    pub async fn plan(self: &Arc<Self>, by: String, request: PlanRequest) -> Result<Planned, Error> {
        let me = self.clone();
        self.scribe
            .write(move |mut w| {
                Box::pin(async move {
                    let now = w.now;
                    let mut planned = draw_up(&mut w, &me, &request, &by, now).await?;
                    let row = plans::put(
                        w.tx,
                        &muster_store::Plan {
                            digest: planned.digest,
                            action: request.what.word(),
                            body: body::write("plan", &planned.digest, &request)?,
                            by,
                            created: w.now,
                            approvals: Vec::new(),
                            executed_at: None,
                        },
                    )
                    .await
                    .map_err(store)?;
                    planned.created = row.created;
                    planned.approved_by = row.approvals.into_iter().map(|approval| approval.by).collect();
                    Ok(planned)
                })
            })
            .await
    }

    /// What a plan would do.
    pub async fn planned_action(&self, digest: Digest) -> Result<Action, Error> {
        let mut tx = self.db.read().await.map_err(store)?;
        let row = plans::get(&mut tx, digest).await.map_err(store)?;
        let row = row.ok_or_else(|| Error::refused(format!("there is no plan {digest}; make it first")))?;
        Ok(request_of(&row)?.what)
    }

    /// A second person's word. `count` is the number of machines, typed by hand.
    pub async fn approve(self: &Arc<Self>, by: String, digest: Digest, count: usize) -> Result<(), Error> {
        self.scribe
            .write(move |w| {
                Box::pin(async move {
                    let row = plans::get(w.tx, digest).await.map_err(store)?;
                    let row = row.ok_or_else(|| Error::refused(format!("there is no plan {digest}; make it first")))?;
                    let request = request_of(&row)?;
                    if request.targets.ids().len() != count {
                        return Err(Error::refused(format!(
                            "the plan is for {} machines, not {count}; look at it again before you approve",
                            request.targets.ids().len()
                        )));
                    }
                    match plans::approve(w.tx, digest, &by, w.now).await.map_err(store)? {
                        Approved::Own => {
                            Err(Error::refused("who made the plan cannot approve it; ask a second person"))
                        }
                        Approved::TooLate => Err(Error::refused("the plan was executed already")),
                        Approved::Unknown => Err(Error::refused(format!("there is no plan {digest}; make it first"))),
                        _ => Ok(()),
                    }
                })
            })
            .await
    }

    /// Carries a plan out, once: a repeated call answers that it was done.
    pub async fn execute(self: &Arc<Self>, by: String, digest: Digest) -> Result<Executed, Error> {
        let me = self.clone();
        self.scribe.write(move |mut w| Box::pin(async move { carry_out(&mut w, &me, by, digest).await })).await
    }
}

/// `by` and `created` are part of the digest: a plan made again is another plan, with its own quarter of an hour and its
/// own approvals.
async fn draw_up(
    w: &mut Write<'_>,
    me: &Conductor,
    request: &PlanRequest,
    by: &str,
    created: Millis,
) -> Result<Planned, Error> {
    let catalog = me.catalog();
    let mut targets = Vec::new();
    for id in request.targets.ids() {
        let machine = known(w.tx, &catalog, *id).await?;
        let mut target = target(me, &catalog, &machine, &request.what);
        if let Some(goal) = request.what.password() {
            target.refused = passwords::obstacle(w, &catalog, &machine, goal).await?;
        }
        if request.what == Action::ProbeBmc {
            target.refused = probing::obstacle(&catalog, &machine);
        }
        if request.what == Action::ApplyBios {
            match bios::obstacle(w, &catalog, &machine).await? {
                Ok(sets) => target.sets = sets,
                Err(why) => target.refused = Some(why),
            }
        }
        targets.push(target);
    }
    let destructive = request.what.destructive();
    let mut per_rack = BTreeMap::new();
    for target in &targets {
        let rack =
            target.place.as_ref().map_or("no rack".to_string(), |place| format!("{}/{}", place.site, place.rack));
        *per_rack.entry(rack).or_insert(0) += 1;
    }
    let text = serde_json::json!({ "what": request.what, "targets": targets, "by": by, "at": created }).to_string();
    let data_bearing = targets.iter().filter(|target| target.data_bearing).count();
    let many = targets.len() > ALONE || (targets.len() > 1 && per_rack.len() > 1);
    // A BMC that is lost is lost like a disk, and a rack that does not boot any more is lost for a day.
    let weighty = destructive
        || request.what.password().is_some()
        || matches!(request.what, Action::ApplyBios | Action::ProbeBmc);
    let in_a_row = too_many_in_a_row(w, request, by, data_bearing).await?;
    let needs_approval = weighty && (many || in_a_row);
    Ok(Planned {
        digest: rim::sha256(text.as_bytes()),
        what: request.what.clone(),
        count: targets.len(),
        data_bearing,
        destructive,
        needs_approval,
        approved_by: Vec::new(),
        executable: targets.iter().all(|target| target.refused.is_none()),
        per_rack,
        targets,
        created,
    })
}

/// A script that goes wrong names its machines one by one: what one requester takes from owners within an hour, without a
/// second person, counts as one plan.
async fn too_many_in_a_row(
    w: &mut Write<'_>,
    request: &PlanRequest,
    by: &str,
    data_bearing: usize,
) -> Result<bool, Error> {
    if data_bearing == 0 || !request.what.takes_data() {
        return Ok(false);
    }
    let mut taken: BTreeSet<MachineId> = request.targets.ids().iter().copied().collect();
    let since = Millis(w.now.0.saturating_sub(IN_A_ROW_MS));
    for row in plans::executed_since(w.tx, by, since).await.map_err(store)? {
        if row.action == crate::import::ACTION {
            continue;
        }
        let former: PlanRequest = body::read("plan", &row.digest, &row.body)?;
        if former.what.takes_data() && row.approvals.iter().all(|approval| approval.by == row.by) {
            taken.extend(former.targets.ids());
        }
    }
    Ok(taken.len() > ALONE)
}

fn target(me: &Conductor, catalog: &Catalog, machine: &Known, what: &Action) -> Target {
    let (leads_to, disk, refused) = match outlook(me, catalog, machine, what) {
        Ok((leads_to, disk)) => (leads_to, disk, None),
        Err(reason) => (None, None, Some(reason)),
    };
    Target {
        id: machine.record.id,
        name: machine.record.name.clone(),
        state: machine.state.label().into(),
        epoch: machine.facts.epoch,
        place: machine.record.place.clone(),
        data_bearing: machine.state.data == Data::Owned,
        leads_to,
        disk,
        sets: Vec::new(),
        refused,
    }
}

type Outlook = (Option<String>, Option<DiskRef>);

/// What would happen to this machine, or why nothing may.
fn outlook(me: &Conductor, catalog: &Catalog, machine: &Known, what: &Action) -> Result<Outlook, String> {
    let state = machine.state.label();
    let disk = match what {
        Action::Install { image, .. } => Some(order_body(me, catalog, machine, what, image)?.disk),
        _ => None,
    };
    if matches!(what, Action::CancelInstall) && machine.facts.order.is_none() {
        return Err("it has no open install order".into());
    }
    let touches = matches!(
        what,
        Action::Discover
            | Action::Install { .. }
            | Action::Release
            | Action::Resume { to: Onward::Discover | Onward::Repair | Onward::Release }
    );
    if touches && let Some(why) = shadow(catalog, machine) {
        return Err(why);
    }
    if what.password().is_some() || matches!(what, Action::ApplyBios | Action::ProbeBmc) {
        return Ok((None, None));
    }
    let event = event_of(machine, what, OrderId(0), CaseId(0))?;
    let next = MachineLife::next(&machine.state, &event, &machine.facts);
    let leads_to = next.map(|next| next.label().to_string());
    // Standing facts wait for their state; anything else must be possible now.
    let waits = matches!(what, Action::Hold { .. } | Action::Retire | Action::ReportFault { .. });
    let unstarted = matches!(what, Action::CancelInstall);
    if leads_to.is_none() && !waits && !unstarted {
        return Err(format!("a machine that is {state} cannot do this; {}", hint(machine, what)));
    }
    Ok((leads_to, disk))
}

fn hint(machine: &Known, what: &Action) -> &'static str {
    match (&machine.state.at, what) {
        (At::InService, Action::Install { reimage: false, .. }) => "release it first, or plan the install with reimage",
        (At::Expected, Action::Install { .. }) => "discover it first",
        (At::Observed, _) => "claim it first: nobody marked it as ours",
        (At::Held { .. }, Action::Resume { .. }) => {
            "what holds it or what it holds forbids that way; take another --to"
        }
        (At::Held { .. }, _) => "resume it first",
        (At::Draining { .. }, _) => "it waits for its owner: acknowledge the drain first",
        _ => "look at its state and events",
    }
}

fn event_of(machine: &Known, what: &Action, order: OrderId, case: CaseId) -> Result<Event, String> {
    Ok(match what {
        Action::Claim => Event::Claimed,
        Action::Discover => Event::DiscoverAsked,
        Action::Adopt => Event::AdoptAsked,
        Action::Install { reimage, .. } => Event::Ordered { order, reimage: *reimage },
        Action::CancelInstall => Event::OrderCancelled { order: machine.facts.order.map_or(order, |open| open.order) },
        Action::Release => Event::ReleaseAsked,
        Action::Retire => Event::RetireAsked,
        Action::Hold { .. } => Event::HoldAsked,
        Action::AcknowledgeDrain => Event::DrainAcknowledged,
        Action::ReportFault { .. } => Event::CaseOpened { case },
        Action::ChangeBmcPassword | Action::RestoreBmcPassword | Action::ApplyBios | Action::ProbeBmc => {
            return Err("it is no event of a life".into());
        }
        Action::Resume { to } => Event::Resumed {
            to: match to {
                Onward::Discover => Resume::Discover,
                Onward::Check => Resume::Check,
                Onward::Serve => Resume::Serve,
                Onward::Release => Resume::Release,
                Onward::Repair => {
                    let fault = machine.kept.case.as_ref();
                    Resume::Repair(fault.map(|fault| fault.case).ok_or("it has no open fault to repair")?)
                }
            },
        },
    })
}

/// The order, frozen: the machine by its identity, the disk by what is engraved in it, the image by its digests.
fn order_body(
    me: &Conductor,
    catalog: &Catalog,
    machine: &Known,
    what: &Action,
    image: &ImageId,
) -> Result<OrderBody, String> {
    let Action::Install { users, network, user_data, reimage, .. } = what else {
        return Err("only an install has an order".into());
    };
    seed::sound(users, network, user_data)?;
    if let Some(open) = machine.facts.order {
        return Err(format!("it has the open order {}; cancel that one first", open.order));
    }
    let model = machine.record.model.as_deref().and_then(|id| catalog.model(id));
    let model = model.ok_or("no hardware model fits it; discover it first")?;
    let built = me
        .image(image)
        .ok_or_else(|| format!("image {image} is not built; known are: {}", me.image_ids().join(", ")))?;
    let text = machine.record.inventory.as_deref().ok_or("it has no inventory; discover it first")?;
    let inventory: muster_names::Inventory =
        serde_json::from_str(text).map_err(|error| format!("its inventory does not read: {error}"))?;
    // An agent that did not say it yet was built for x86-64.
    let (runs, wants) = (inventory.architecture.unwrap_or_default(), built.image.os.architecture);
    if runs != wants {
        return Err(format!("image {image} is for {wants}, and this machine is {runs}"));
    }
    let over = reimage.then_some(machine.record.id);
    let disk = muster_catalog::root_disk(&model.root_disk, &inventory, over)?;
    let disk = DiskRef::of(disk).ok_or("its root disk has neither WWN nor serial, so no order can name it")?;
    if disk.size_bytes < built.image.built.raw_bytes {
        return Err(format!("its root disk of {} bytes is smaller than the image", disk.size_bytes));
    }
    let mode = machine.kept.firmware_mode.ok_or("its firmware mode is not known; discover it first")?;
    if !built.image.os.firmware.contains(&mode) {
        return Err(format!("image {image} does not boot in its firmware mode"));
    }
    let mut seeded = users.clone();
    for name in &built.image.os.users {
        if seeded.iter().all(|user| user.name != *name) {
            seeded.push(User { name: name.clone(), ssh_authorized_keys: Vec::new(), sudo: false });
        }
    }
    Ok(OrderBody {
        identity: standing::identity_of(&machine.record).map_err(|error| error.to_string())?,
        image: built.reference(),
        root_uuid: Some(built.image.built.root_uuid.clone()),
        agent_version: built.agent_version.clone(),
        disk,
        hostname: machine.record.name.clone(),
        users: seeded,
        network: network_of(network, &inventory, machine.kept.boot_mac),
        user_data: user_data.clone(),
        firmware_mode: mode,
        reimage: *reimage,
    })
}

/// Without a word about the network the interface with a link asks DHCP.
fn network_of(
    asked: &NetworkConfig,
    inventory: &muster_names::Inventory,
    boot: Option<muster_names::Mac>,
) -> NetworkConfig {
    if *asked != NetworkConfig::default() {
        return asked.clone();
    }
    let linked = inventory.nics.iter().filter(|nic| nic.link).filter_map(|nic| nic.mac);
    let Some(mac) = boot.or_else(|| linked.into_iter().next()) else { return NetworkConfig::default() };
    let lan = muster_wire::Interface {
        name: "lan0".into(),
        mac,
        dhcp4: true,
        addresses: Vec::new(),
        gateway4: None,
        mtu: None,
    };
    NetworkConfig { interfaces: vec![lan], ..NetworkConfig::default() }
}

async fn carry_out(w: &mut Write<'_>, me: &Conductor, by: String, digest: Digest) -> Result<Executed, Error> {
    let row = plans::get(w.tx, digest).await.map_err(store)?;
    let row = row.ok_or_else(|| Error::refused(format!("there is no plan {digest}; make it first")))?;
    let request = request_of(&row)?;
    if row.executed_at.is_some() {
        let machines = request.targets.ids().to_vec();
        return Ok(Executed { digest, orders: Vec::new(), machines });
    }
    still_fresh(&row, w.now)?;
    let now = draw_up(w, me, &request, &row.by, row.created).await?;
    if now.digest != digest {
        return Err(Error::refused("the world has changed since the plan was made; make it again and look at it"));
    }
    if let Some(target) = now.targets.iter().find(|target| target.refused.is_some()) {
        let reason = target.refused.clone().unwrap_or_default();
        return Err(Error::refused(format!("{}: {reason}", target.name)));
    }
    if now.needs_approval && row.approvals.iter().all(|approval| approval.by == row.by) {
        return Err(Error::refused(format!(
            "more than {ALONE} such targets at once or within an hour, or several racks, need a second person: \
             `muster plan approve {digest} --count {}`",
            now.count
        )));
    }
    if !matches!(request.what, Action::Hold { .. }) {
        not_frozen(w).await?;
    }
    plans::mark_executed(w.tx, digest, w.now).await.map_err(store)?;
    let mut executed = Executed { digest, orders: Vec::new(), machines: Vec::new() };
    for id in request.targets.ids() {
        executed.orders.extend(begin(w, me, &by, digest, &request.what, *id).await?);
        executed.machines.push(*id);
    }
    Ok(executed)
}

/// The wish of a plan about machines that are known; an import is another kind of plan.
fn request_of(row: &muster_store::Plan) -> Result<PlanRequest, Error> {
    if row.action == crate::import::ACTION {
        return Err(Error::refused(format!("{} is the plan of an import; `muster import` carries it out", row.digest)));
    }
    body::read("plan", &row.digest, &row.body)
}

pub(crate) fn still_fresh(row: &muster_store::Plan, now: Millis) -> Result<(), Error> {
    if now.0.saturating_sub(row.created.0) > FRESH_MS {
        return Err(Error::refused("the plan is older than 15 minutes; make it again and look at it"));
    }
    Ok(())
}

pub(crate) async fn not_frozen(w: &mut Write<'_>) -> Result<(), Error> {
    let freeze = muster_store::site::frozen(w.tx).await.map_err(store)?;
    if freeze.frozen {
        return Err(Error::refused(format!(
            "frozen by {} ({}); `muster unfreeze` lets it go on",
            freeze.by, freeze.why
        )));
    }
    Ok(())
}

/// Writes down what stands for one machine, then tells its life.
async fn begin(
    w: &mut Write<'_>,
    me: &Conductor,
    by: &str,
    digest: Digest,
    what: &Action,
    id: MachineId,
) -> Result<Option<OrderId>, Error> {
    let catalog = me.catalog();
    let mut machine = known(w.tx, &catalog, id).await?;
    let cause = format!("plan/{digest}");
    if let Some(goal) = what.password() {
        return passwords::ask(w, &catalog, &machine, goal, (by, &cause)).await.map(|_| None);
    }
    if *what == Action::ProbeBmc {
        return probing::ask(w, &catalog, &machine, (by, &cause), true).await.map(|()| None);
    }
    if *what == Action::ApplyBios {
        return bios::ask(w, &catalog, &machine, (by, &cause)).await.map(|()| None);
    }
    machine.kept.requester = by.to_string();
    let (order, case) = (OrderId(rim::fresh_id()?), CaseId(rim::fresh_id()?));
    let mut placed = None;
    match what {
        Action::Install { image, .. } => {
            let frozen = order_body(me, &catalog, &machine, what, image).map_err(Error::refused)?;
            let row = muster_store::Order {
                id: order,
                machine: id,
                image: image.clone(),
                body: body::write("order", &order, &frozen)?,
                permit: muster_store::PermitState::Open,
                started_disk: None,
                started_epoch: None,
                started_at: None,
                outcome: None,
                created: w.now,
                closed_at: None,
                by: by.to_string(),
            };
            orders::put(w.tx, &row).await.map_err(store)?;
            placed = Some(order);
        }
        Action::Hold { why } => machine.kept.hold = Some(why.clone()),
        Action::Resume { .. } => machine.kept.hold = None,
        Action::Retire => machine.kept.retire = true,
        Action::ReportFault { text } => {
            machine.kept.case = Some(Fault { case, text: text.clone(), by: by.to_string() });
        }
        Action::Claim | Action::Adopt => machine.record.ours = true,
        Action::CancelInstall => {
            if let Some(open) = machine.facts.order
                && !matches!(machine.state.at, At::Installing { .. })
            {
                orders::permit_close(w.tx, open.order, "cancelled", w.now).await.map_err(store)?;
                let detail = serde_json::json!({ "order": open.order, "outcome": "cancelled" });
                apply::note(w, id, &format!("order-closed/{}", open.order), "order-closed", by, detail).await?;
            }
        }
        Action::Discover
        | Action::Release
        | Action::AcknowledgeDrain
        | Action::ChangeBmcPassword
        | Action::RestoreBmcPassword
        | Action::ApplyBios
        | Action::ProbeBmc => {}
    }
    apply::keep(w, &mut machine.record, &machine.kept).await?;
    let event = event_of(&machine, what, order, case).map_err(Error::refused)?;
    let detail = serde_json::json!({ "what": masked(what), "plan": digest });
    apply::apply(w, &catalog, id, Happened { cause, actor: by, event, detail }).await?;
    Ok(placed)
}

/// For the log, which everybody reads and nobody can mend: a site's cloud-config may hold passwords.
fn masked(what: &Action) -> Action {
    match what.clone() {
        Action::Install { image, users, network, user_data, reimage } if !user_data.is_empty() => {
            let user_data = format!("sha256:{}", rim::sha256(user_data.as_bytes()));
            Action::Install { image, users, network, user_data, reimage }
        }
        what => what,
    }
}

/// Machines of a name, serial, MAC or place, for selectors that a person types; never "all".
pub async fn find(me: &Conductor, word: &str) -> Result<Vec<muster_store::Machine>, Error> {
    let mut tx = me.db.read().await.map_err(store)?;
    if let Ok(id) = word.parse::<MachineId>() {
        return Ok(machines::get(&mut tx, id).await.map_err(store)?.into_iter().collect());
    }
    if let Some(found) = machines::by_name(&mut tx, word).await.map_err(store)? {
        return Ok(vec![found]);
    }
    if let Ok(mac) = word.parse::<muster_names::Mac>()
        && let Some(found) = machines::by_mac(&mut tx, mac).await.map_err(store)?
    {
        return Ok(vec![found]);
    }
    machines::by_serial(&mut tx, word).await.map_err(store)
}
