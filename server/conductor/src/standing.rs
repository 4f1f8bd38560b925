//! What stands for a machine's agent just now, and whether a write may begin.
//!
//! An order is served only to the boot that was ordered for it (the token's epoch is the state's epoch): an agent left
//! over in RAM from an earlier boot is about to be reset and must not begin to write.

use crate::adoption::by_agent;
use crate::apply::{self, WRITE_SLOT};
use crate::error::store;
use crate::facts::{Known, known, shadow};
use crate::ledger;
use crate::scribe::Write;
use crate::session::Session;
use crate::{AgentSeen, Conductor, Error, OrderBody, body, rim};
use muster_diagnosis::{Asked, Rail, Weight, admit};
use muster_lifecycle::{AgentTask, Life, Plan, machine::MachineLife};
use muster_names::{Epoch, Inventory, Key, Mac, MachineId, Millis, OrderId, Power, Subject};
use muster_store::{AgentMode, BootToken, Claim, NewAct, Permit, acts, boot_tokens, orders};
use muster_wire::{
    Commission, DiskRef, Identity, InstallOrder, MayProceed, Mode, Permission, Resident, Seed, Standing, WipeOrder,
};

/// How long a written system may take to call for the first time.
const RESIDENT_TTL_MS: i64 = 6 * 3_600_000;
/// A permitted write counts as in flight at most this long without a word of its agent.
const WRITE_CLAIM_MS: i64 = 24 * 3_600_000;

pub(crate) async fn standing(me: &Conductor, id: MachineId, session: &Session, mode: Mode) -> Result<Standing, Error> {
    let mut tx = me.db.read().await.map_err(store)?;
    let machine = known(&mut tx, &me.catalog(), id).await?;
    let epoch = machine.facts.epoch;
    let plan = MachineLife::plan(&machine.state, &machine.facts);
    let ordered_boot = ordered_boot(&machine, session);
    if session.doubted && plan.want.agent != AgentTask::Stop {
        return Ok(Standing::Idle);
    }
    Ok(match (plan.want.agent, mode) {
        (AgentTask::Discover, Mode::Ram) => Standing::Discover { epoch },
        (AgentTask::Commission, Mode::Ram) => {
            let nobodys = machine.record.bmc.is_none();
            let bmc_account = if nobodys { by_agent::account(&mut tx, me, id).await? } else { None };
            Standing::Commission { epoch, commission: Commission { budget_ms: COMMISSION_MS, bmc_account } }
        }
        (AgentTask::Install(order), Mode::Ram) if ordered_boot => {
            let found = orders::get(&mut tx, order).await.map_err(store)?;
            drop(tx);
            let Some(found) = found else { return Ok(Standing::Idle) };
            let frozen: OrderBody = body::read("order", &order, &found.body)?;
            let order = install_order(me, id, epoch, order, frozen).await?;
            Standing::Install { epoch, order: Box::new(order) }
        }
        (AgentTask::Wipe, Mode::Ram) if ordered_boot => {
            let disks = wipe_disks(&machine.record)?;
            let identity = identity_of(&machine.record)?;
            Standing::Wipe { epoch, order: WipeOrder { machine: id, identity, disks } }
        }
        (AgentTask::Check, Mode::Resident) => Standing::Check { epoch },
        // Where a BMC leads the machine to its disk, the agent in RAM waits for the reset.
        (AgentTask::Check, Mode::Ram) if !machine.facts.bmc => Standing::Reboot { epoch },
        (AgentTask::Stop, Mode::Ram) => Standing::Stop { epoch },
        _ => Standing::Idle,
    })
}

/// Where a BMC resets the machine for each order, only the boot made for this state may write.
fn ordered_boot(machine: &Known, session: &Session) -> bool {
    !machine.facts.bmc || session.boot_epoch == Some(machine.facts.epoch)
}

/// How long commissioning may measure.
const COMMISSION_MS: u64 = 20_000;

fn inventory_of(record: &muster_store::Machine) -> Result<Inventory, Error> {
    let text = record
        .inventory
        .as_deref()
        .ok_or_else(|| Error::refused("the machine has no inventory yet; discover it first"))?;
    body::read("inventory", &record.id, text)
}

pub(crate) fn identity_of(record: &muster_store::Machine) -> Result<Identity, Error> {
    Ok(Identity::of(&inventory_of(record)?))
}

/// Every disk that could hold an owner's data and can be told from others. A disk without an identity cannot be named in
/// an order, so a machine with one is not wiped as a whole: the list is then empty and the wipe fails.
pub(crate) fn wipe_disks(record: &muster_store::Machine) -> Result<Vec<DiskRef>, Error> {
    let inventory = inventory_of(record)?;
    let writable = || inventory.disks.iter().filter(|disk| !disk.read_only);
    let named: Vec<DiskRef> = writable().filter_map(DiskRef::of).collect();
    Ok(if named.len() == writable().count() { named } else { Vec::new() })
}

async fn install_order(
    me: &Conductor,
    id: MachineId,
    epoch: Epoch,
    order: OrderId,
    frozen: OrderBody,
) -> Result<InstallOrder, Error> {
    let token = me.resident_token(id, epoch, order, frozen.identity.macs.first().copied()).await?;
    let mut image = frozen.image.clone();
    image.url = format!("{}{}", me.settings.boot_http, image.url);
    let program = me.agent_program();
    Ok(InstallOrder {
        order,
        machine: id,
        identity: frozen.identity,
        disk: frozen.disk,
        image,
        seed: Seed {
            hostname: frozen.hostname,
            users: frozen.users,
            network: frozen.network,
            user_data: frozen.user_data,
        },
        resident: Resident {
            server: me.settings.agent_url.clone(),
            ca_pem: me.settings.ca_pem.clone(),
            token,
            agent_url: program.as_ref().map(|program| format!("{}{}", me.settings.boot_http, program.path)),
            agent_digest: program.map(|program| program.digest),
        },
        firmware_mode: frozen.firmware_mode,
    })
}

impl Conductor {
    /// The token of the system that this order writes: one per order and epoch while the daemon runs, as only its digest
    /// is stored. After a restart another one is made; both lead to the same machine.
    async fn resident_token(
        &self,
        id: MachineId,
        epoch: Epoch,
        order: OrderId,
        mac: Option<Mac>,
    ) -> Result<String, Error> {
        if let Some(token) = self.resident_tokens().get(&(order, epoch)) {
            return Ok(token.clone());
        }
        let token = rim::fresh_token()?;
        let row = BootToken {
            sha256: rim::sha256(token.as_bytes()),
            machine: Some(id),
            mac: mac.unwrap_or(Mac([0; 6])),
            nonce: String::new(),
            epoch: Some(epoch),
            order: Some(order),
            mode: AgentMode::Resident,
            created: rim::now(),
            expires: Millis(rim::now().0.saturating_add(RESIDENT_TTL_MS)),
            revoked: None,
            key: None,
            bound_at: None,
        };
        self.scribe.write(move |w| Box::pin(async move { boot_tokens::put(w.tx, &row).await.map_err(store) })).await?;
        self.resident_tokens().insert((order, epoch), token.clone());
        Ok(token)
    }
}

/// Everything is looked at again, in one transaction with the ledger: state, epoch, order, disk, identity, freeze, budgets.
/// Any doubt is a no.
pub(crate) async fn permit(
    w: &mut Write<'_>,
    me: &Conductor,
    id: MachineId,
    session: &Session,
    ask: &MayProceed,
) -> Result<Permission, Error> {
    let freeze = muster_store::site::lock_ledger(w.tx).await.map_err(store)?;
    let machine = known(w.tx, &me.catalog(), id).await?;
    let plan = MachineLife::plan(&machine.state, &machine.facts);
    let weight = match judge(&machine, &plan, session, ask) {
        Ok(weight) => weight,
        Err(reason) => return denied(w, id, ask, reason).await,
    };
    if let Some(why) = shadow(&me.catalog(), &machine) {
        return denied(w, id, ask, why).await;
    }
    // The disks and the machine that were approved, not those that were seen last.
    let (ordered, identity) = match ask.order {
        None => (wipe_disks(&machine.record)?, identity_of(&machine.record)?),
        Some(order) => match orders::get(w.tx, order).await.map_err(store)? {
            Some(row) => {
                let frozen: OrderBody = body::read("order", &order, &row.body)?;
                (vec![frozen.disk], frozen.identity)
            }
            None => return denied(w, id, ask, format!("order {order} is not known")).await,
        },
    };
    if ask.disks.is_empty() || ask.disks.iter().any(|disk| !ordered.contains(disk)) {
        return denied(w, id, ask, "the disk is not the one of the order".into()).await;
    }
    let differences = identity.differences(&ask.identity);
    if !differences.is_empty() {
        return denied(w, id, ask, format!("the machine is not the one of the order: {}", differences.join("; ")))
            .await;
    }
    let key = Key { of: Subject::Machine(id), epoch: machine.facts.epoch, slot: WRITE_SLOT.into() };
    if acts::get_act(w.tx, &key).await.map_err(store)?.is_none() {
        let book = ledger::read(w, &freeze, &key).await?;
        let asked = Asked {
            machine: id,
            rack: machine.record.place.as_ref().map(|place| format!("{}/{}", place.site, place.rack)),
            requester: machine.kept.requester.clone(),
            weight,
            owner: "install".into(),
            power: Power::On,
            now: w.now,
        };
        if let Err(rail) = admit(&book, &me.budgets(), &asked) {
            return waits(w, me, &machine, key, rail).await;
        }
    } else if freeze.frozen {
        return waits(w, me, &machine, key, Rail::Frozen { why: freeze.why }).await;
    }
    me.rails().remove(&key);
    if let Some(order) = ask.order {
        let disk = ask.disks.first().map(|disk| body::write("disk", &id, disk)).transpose()?.unwrap_or_default();
        match orders::permit_start(w.tx, order, &disk, machine.facts.epoch, w.now).await.map_err(store)? {
            Permit::Started | Permit::Again => {}
            Permit::Refused(reason) => return denied(w, id, ask, reason).await,
        }
    }
    record_write(w, &machine, key, weight, session).await?;
    let cause = format!("permit/{}", machine.facts.epoch.0);
    let detail = serde_json::json!({ "order": ask.order, "disks": ask.disks, "weight": weight });
    apply::note(w, id, &cause, "write-permitted", "conductor", detail).await?;
    Ok(Permission::Granted)
}

/// A rail that lets go by itself is no denial: the agent asks again, the machine's clock stands, and nobody has to mend an
/// order.
async fn waits(w: &mut Write<'_>, me: &Conductor, machine: &Known, key: Key, rail: Rail) -> Result<Permission, Error> {
    apply::stop_clock(w, machine, &rail).await?;
    let reason = rail.to_string();
    me.rails().insert(key, reason.clone());
    Ok(Permission::Waits { reason })
}

/// Pure: does what stands allow this write?
fn judge(machine: &Known, plan: &Plan, session: &Session, ask: &MayProceed) -> Result<Weight, String> {
    if ask.epoch != machine.facts.epoch {
        return Err(format!("the order of epoch {} is over; epoch {} stands", ask.epoch.0, machine.facts.epoch.0));
    }
    // After a restart the daemon knows an agent by what it wrote down of its last turn.
    let last_boot = || {
        let seen = machine.record.agent.as_deref()?;
        serde_json::from_str::<AgentSeen>(seen).ok().map(|seen| seen.boot_id)
    };
    if session.doubted {
        return Err("two machines claim to be this one; a person has to look".into());
    }
    if session.mode != AgentMode::Ram {
        return Err("the installed system never writes a disk as a whole; only an agent in RAM does".into());
    }
    if session.boot_id.or_else(last_boot) != Some(ask.boot_id) || !ordered_boot(machine, session) {
        return Err("another boot of this machine has taken over".into());
    }
    match (plan.want.agent, ask.order) {
        (AgentTask::Install(order), Some(asked)) if order == asked => match ask.disks.as_slice() {
            [_one] => Ok(Weight::Install),
            _ => Err("an install writes exactly one disk".into()),
        },
        (AgentTask::Wipe, None) => Ok(Weight::Wipe),
        _ => Err(format!("nothing may be written while the machine is {}", machine.state.label())),
    }
}

async fn denied(w: &mut Write<'_>, id: MachineId, ask: &MayProceed, reason: String) -> Result<Permission, Error> {
    let cause = format!("denied/{}/{}", ask.boot_id, rim::sha256(reason.as_bytes()));
    apply::note(w, id, &cause, "write-denied", "conductor", serde_json::json!({ "reason": reason })).await?;
    Ok(Permission::Denied { reason })
}

/// The write in flight is a row of the ledger like any other act, so that budgets and the database's own rails see it.
async fn record_write(
    w: &mut Write<'_>,
    machine: &Known,
    key: Key,
    weight: Weight,
    session: &Session,
) -> Result<(), Error> {
    let courier = session.boot_id.map(|boot| format!("agent/{boot}")).unwrap_or_default();
    let act = NewAct {
        body: serde_json::json!({ "requester": machine.kept.requester }).to_string(),
        again: muster_store::Again::Freely,
        target: format!("agent/{}", machine.record.id),
        owner: muster_store::Owner::Install,
        weight: weight.label().into(),
        due: w.now,
        key: key.clone(),
    };
    acts::record_act(w.tx, &act, w.now).await.map_err(store)?;
    let until = Millis(w.now.0.saturating_add(WRITE_CLAIM_MS));
    if let Claim::Claimed(_) = acts::claim(w.tx, &key, &courier, until, w.now).await.map_err(store)? {
        acts::mark_sent(w.tx, &key, &courier, "writing", w.now).await.map_err(store)?;
    }
    Ok(())
}
