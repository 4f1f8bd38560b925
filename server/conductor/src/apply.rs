//! The only function that writes a state: event, new state and acts in one transaction.
//!
//! After each state entered the standing facts are offered again, so that a fault or an order that came at a bad moment
//! is not lost. The loop is bounded; what is left over is offered at the next event.

use crate::body::{self, BmcBody, Kept};
use crate::error::store;
use crate::facts::{Known, STATE_VERSION, known};
use crate::scribe::Write;
use crate::{Error, media, rim, ways};
use muster_catalog::Catalog;
use muster_diagnosis::Rail;
use muster_lifecycle::machine::{After, At, Event, Facts, Machine, MachineLife};
use muster_lifecycle::{Again, Life, OrderWant, Owner, Plan, Wait, What};
use muster_names::{BootTarget, Cause, Epoch, Key, MachineId, Millis, Subject, TicketId, Way};
use muster_store::{Appended, End, NewAct, acts, boot_tokens, machines, orders, reservations, subjects, tickets};
use serde::{Deserialize, Serialize};

/// What came of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The same cause was recorded before; nothing changed.
    Seen,
    /// Recorded; the state stays.
    Noted,
    Moved(Epoch),
}

/// An event and where it came from.
pub struct Happened<'a> {
    pub cause: String,
    /// A token's name, `agent`, `bmc`, `clock`, `boot`.
    pub actor: &'a str,
    pub event: Event,
    /// What people want to know of it, beside the event itself.
    pub detail: serde_json::Value,
}

/// The body of a log row about a machine.
#[derive(Debug, Serialize, Deserialize)]
pub struct LogBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Event>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Machine>,
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub detail: serde_json::Value,
}

/// An act as the courier reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActBody {
    pub what: What,
    pub requester: String,
    /// The ways into the agent, in the order in which the BMC is asked for them. Older rows have none: PXE.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ways: Vec<Way>,
}

const STANDING_ROUNDS: usize = 8;

pub async fn apply(
    w: &mut Write<'_>,
    catalog: &Catalog,
    id: MachineId,
    happened: Happened<'_>,
) -> Result<Applied, Error> {
    let mut machine = known(w.tx, catalog, id).await?;
    let kind = kind_of(&happened.event);
    let body = LogBody { event: Some(happened.event.clone()), from: None, to: None, detail: happened.detail };
    if log(w, id, &happened.cause, &kind, happened.actor, machine.facts.epoch, &body).await? == Appended::Seen {
        return Ok(Applied::Seen);
    }
    w.touched.insert(id);
    if let Event::DeadlinePassed { epoch } = &happened.event {
        ways::missed(w, &mut machine, *epoch).await?;
    }
    let mut offered = vec![happened.event];
    let mut moved = None;
    for _ in 0..STANDING_ROUNDS {
        let next = offered.iter().find_map(|event| MachineLife::next(&machine.state, event, &machine.facts));
        let Some(next) = next else { break };
        enter(w, &mut machine, next, happened.actor).await?;
        moved = Some(machine.facts.epoch);
        offered = MachineLife::standing(&machine.facts);
    }
    Ok(moved.map_or(Applied::Noted, Applied::Moved))
}

/// Appends a row about a machine without offering it to its life.
pub async fn note(
    w: &mut Write<'_>,
    id: MachineId,
    cause: &str,
    kind: &str,
    actor: &str,
    detail: serde_json::Value,
) -> Result<Appended, Error> {
    let epoch = subjects::load(w.tx, Subject::Machine(id)).await.map_err(store)?.map(|s| s.epoch).unwrap_or_default();
    w.touched.insert(id);
    log(w, id, cause, kind, actor, epoch, &LogBody { event: None, from: None, to: None, detail }).await
}

/// Creates a machine's life in `state`.
pub async fn begin(
    w: &mut Write<'_>,
    record: &muster_store::Machine,
    state: Machine,
    actor: &str,
) -> Result<(), Error> {
    machines::put(w.tx, record).await.map_err(store)?;
    let id = record.id;
    let text = body::write("state", &id, &state)?;
    let subject = Subject::Machine(id);
    let epoch =
        subjects::create(w.tx, subject, state.label(), &text, STATE_VERSION, None, w.now).await.map_err(store)?;
    w.touched.insert(id);
    let detail = serde_json::json!({ "name": record.name, "serial": record.serial, "place": record.place });
    let body = LogBody { event: None, from: None, to: Some(state), detail };
    log(w, id, "created", "created", actor, epoch, &body).await.map(drop)
}

/// Writes the machine's record back.
pub async fn keep(w: &mut Write<'_>, record: &mut muster_store::Machine, kept: &Kept) -> Result<(), Error> {
    record.data = body::write("record", &record.id, kept)?;
    w.touched.insert(record.id);
    machines::put(w.tx, record).await.map_err(store)
}

async fn enter(w: &mut Write<'_>, machine: &mut Known, next: Machine, actor: &str) -> Result<(), Error> {
    let id = machine.record.id;
    let subject = Subject::Machine(id);
    let from = machine.state.label().to_string();
    let plan = MachineLife::plan(&next, &machine.facts);
    let deadline = match plan.wait {
        Wait::Until(wait) => Some(after(w.now, wait)),
        Wait::Person | Wait::World => None,
    };
    let text = body::write("state", &id, &next)?;
    let epoch =
        subjects::enter(w.tx, subject, next.label(), &text, STATE_VERSION, deadline, w.now).await.map_err(store)?;
    let body = LogBody { event: None, from: Some(from), to: Some(next.clone()), detail: serde_json::Value::Null };
    log(w, id, &format!("entered/{}", epoch.0), "entered", actor, epoch, &body).await?;
    acts::supersede(w.tx, subject, epoch, w.now).await.map_err(store)?;
    // The boots that led here are over; one that somebody kept must not speak for the machine's next life.
    if matches!(next.at, At::InService | At::Retired) {
        boot_tokens::revoke_ram(w.tx, id, w.now).await.map_err(store)?;
    }
    if next.at == At::Retired {
        reservations::drop_of(w.tx, id).await.map_err(store)?;
    }
    machine.state = next;
    machine.facts.epoch = epoch;
    end_writes(w, machine, &plan).await?;
    record_acts(w, machine, &plan).await?;
    if !plan.acts.iter().any(|act| matches!(act.what, What::BootInto { .. })) {
        // A boot that is ordered ejects it, or inserts it anew.
        media::ask(w, machine).await?;
    }
    reconcile_tickets(w, id, &plan).await?;
    close_order(w, machine, &plan).await
}

/// Nothing of this state could begin: its wait counts from now on. Told by every look that a rail turns away, so that a
/// rack that waits for its turn, or a site that is frozen, finds none of its machines given up afterwards.
pub async fn stop_clock(w: &mut Write<'_>, machine: &Known, rail: &Rail) -> Result<(), Error> {
    let plan = MachineLife::plan(&machine.state, &machine.facts);
    if let (Wait::Until(wait), true) = (plan.wait, rail.stops_the_clock()) {
        let subject = Subject::Machine(machine.record.id);
        let until = after(w.now, wait);
        subjects::put_off_deadline(w.tx, subject, machine.facts.epoch, until).await.map_err(store)?;
    }
    Ok(())
}

fn after(now: Millis, wait: std::time::Duration) -> Millis {
    Millis(now.0.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)))
}

/// The slot of the row that stands for a write in flight on the machine's disks.
pub const WRITE_SLOT: &str = "write";

/// A write that was permitted in an earlier state has ended, unless this state waits for just that.
async fn end_writes(w: &mut Write<'_>, machine: &Known, plan: &Plan) -> Result<(), Error> {
    if plan.want.agent == muster_lifecycle::AgentTask::Stop {
        return Ok(());
    }
    let subject = Subject::Machine(machine.record.id);
    for row in acts::in_flight_of(w.tx, subject).await.map_err(store)? {
        if row.key.slot == WRITE_SLOT && row.key.epoch != machine.facts.epoch {
            let courier = row.courier.clone().unwrap_or_default();
            acts::finish(w.tx, &row.key, &courier, End::Done, "{}", w.now).await.map_err(store)?;
        }
    }
    Ok(())
}

async fn record_acts(w: &mut Write<'_>, machine: &Known, plan: &Plan) -> Result<(), Error> {
    let id = machine.record.id;
    let Some(bmc) = &machine.record.bmc else { return Ok(()) };
    let bmc: BmcBody = body::read("bmc", &id, bmc)?;
    for act in &plan.acts {
        let key = Key { of: Subject::Machine(id), epoch: machine.facts.epoch, slot: act.slot.to_string() };
        let ways = match act.what {
            What::BootInto { target: BootTarget::Agent } => ways::chosen(w, machine).await?,
            _ => Vec::new(),
        };
        let frozen = ActBody { what: act.what.clone(), requester: machine.kept.requester.clone(), ways };
        let row = NewAct {
            body: body::write("act", &key, &frozen)?,
            again: again(act.again),
            target: bmc.address.clone(),
            owner: owner(act.owner),
            weight: "power".into(),
            due: after(w.now, act.delay),
            key,
        };
        acts::record_act(w.tx, &row, w.now).await.map_err(store)?;
    }
    Ok(())
}

fn again(again: Again) -> muster_store::Again {
    match again {
        Again::Freely => muster_store::Again::Freely,
        Again::AfterProbe => muster_store::Again::AfterProbe,
        Again::Never => muster_store::Again::Never,
    }
}

fn owner(owner: Owner) -> muster_store::Owner {
    match owner {
        Owner::Install => muster_store::Owner::Install,
        Owner::Repair => muster_store::Owner::Repair,
        Owner::Firmware => muster_store::Owner::Firmware,
        Owner::Person => muster_store::Owner::Person,
    }
}

/// A ticket of the life is open exactly while the state that wants it lasts; leaving it is the proof.
async fn reconcile_tickets(w: &mut Write<'_>, id: MachineId, plan: &Plan) -> Result<(), Error> {
    let subject = Subject::Machine(id);
    let wanted = plan.want.ticket.as_ref();
    for open in tickets::list_of(w.tx, subject, 100).await.map_err(store)? {
        if open.closed.is_none() && wanted.is_none_or(|ticket| ticket.cause != open.cause) {
            tickets::close_ticket(w.tx, subject, &open.cause, "the machine left the state that asked for it", w.now)
                .await
                .map_err(store)?;
        }
    }
    if let Some(ticket) = wanted {
        let new = TicketId(rim::fresh_id()?);
        tickets::open_ticket(w.tx, new, subject, ticket.cause, &ticket.title, "{}", w.now).await.map_err(store)?;
    }
    Ok(())
}

async fn close_order(w: &mut Write<'_>, machine: &mut Known, plan: &Plan) -> Result<(), Error> {
    let Some(open) = machine.facts.order else { return Ok(()) };
    let outcome = match plan.want.order {
        OrderWant::Done => {
            let order = orders::get(w.tx, open.order).await.map_err(store)?;
            // An order that has not begun waits beside a machine in service.
            let begun = order.is_some_and(|order| order.started_at.is_some());
            begun.then(|| "installed".to_string())
        }
        OrderWant::Failed => Some(format!("failed: {}", reason(&machine.state, &machine.facts))),
        OrderWant::Untouched | OrderWant::Running(_) | OrderWant::Written(_) => None,
    };
    if let Some(outcome) = outcome {
        orders::permit_close(w.tx, open.order, &outcome, w.now).await.map_err(store)?;
        let detail = serde_json::json!({ "order": open.order, "outcome": outcome });
        note(w, machine.record.id, &format!("order-closed/{}", open.order), "order-closed", "conductor", detail)
            .await?;
        machine.facts.order = None;
    }
    Ok(())
}

fn reason(state: &Machine, facts: &Facts) -> String {
    if let At::Stopping { then } = state.at {
        return match then {
            After::Ready => "cancelled".into(),
            then => format!("stopped for {}", then.label()),
        };
    }
    let plan = MachineLife::plan(state, facts);
    plan.want.ticket.map_or_else(|| state.label().to_string(), |ticket| ticket.cause.to_string())
}

async fn log(
    w: &mut Write<'_>,
    id: MachineId,
    cause: &str,
    kind: &str,
    actor: &str,
    epoch: Epoch,
    body: &LogBody,
) -> Result<Appended, Error> {
    let event = muster_store::Event {
        subject: Subject::Machine(id),
        cause: Cause(cause.to_string()),
        kind: kind.to_string(),
        actor: actor.to_string(),
        epoch,
        body: body::write("event", &id, body)?,
        at: w.now,
    };
    w.tx.append(event).await.map_err(store)
}

/// The event's own word: `install-reported`.
fn kind_of(event: &Event) -> String {
    let value = serde_json::to_value(event).unwrap_or_default();
    value.get("event").and_then(|word| word.as_str()).unwrap_or("event").to_string()
}
