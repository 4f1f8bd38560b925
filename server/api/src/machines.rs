//! Machines as people and workflows see them.

use crate::App;
use crate::events::{EventShown, shown};
use crate::problem::Problem;
use axum::Json;
use axum::extract::{Path, Query, State};
use muster_catalog::{About, Difference, Evidence, Located, Role};
use muster_conductor::{AgentSeen, Fault, Known, Medium, known, plans};
use muster_lifecycle::Life;
use muster_lifecycle::Tried;
use muster_lifecycle::machine::{At, Data, MachineLife};
use muster_names::{Epoch, Inventory, Mac, MachineId, Millis, OrderId, Place, Seq, Subject};
use muster_store::passwords::{self, PasswordState};
use muster_store::{Tx, acts, machines as rows};
use muster_wire::{Figure, Progress};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The states' words, as a list may be asked for them.
pub const STATES: [&str; 16] = [
    "observed",
    "expected",
    "discovering",
    "unidentified",
    "commissioning",
    "ready",
    "installing",
    "checking",
    "in-service",
    "draining",
    "repairing",
    "stopping",
    "releasing",
    "held",
    "retiring",
    "retired",
];

/// A line of the list.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Line {
    pub id: MachineId,
    pub name: String,
    pub state: String,
    pub epoch: Epoch,
    /// Since when it is in this state.
    pub since: Millis,
    /// When somebody or something must have moved it.
    pub deadline: Option<Millis>,
    pub ours: bool,
    pub place: Option<Place>,
    pub model: Option<String>,
    pub serial: Option<String>,
    pub progress: Option<Progress>,
    /// Why it is held or what it waits for, in words.
    pub waits_for: String,
    /// The rail that holds its act back.
    pub rail: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Page {
    pub machines: Vec<Line>,
    /// Ask for `after=` this for the next page; none on the last.
    pub next: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Machine {
    #[serde(rename = "summary")]
    pub line: Line,
    pub macs: Vec<Mac>,
    pub uuid: Option<String>,
    pub data_bearing: bool,
    pub order: Option<OrderId>,
    /// Why a person holds it.
    pub hold: Option<String>,
    pub fault: Option<Fault>,
    pub located: Option<Located>,
    /// Where it differs from the model it should be, or from the nearest.
    pub differences: Vec<Difference>,
    /// Where the installed system differed from its order.
    pub quality: Vec<Difference>,
    pub figures: Vec<Figure>,
    pub agent: Option<AgentSeen>,
    /// The way of the last boot into the agent that was ordered, and whether the machine came in by it.
    pub way: Option<Tried>,
    /// The boot disc of ours that its BMC shows.
    pub medium: Option<Medium>,
    pub bmc: Option<String>,
    /// None without a BMC.
    pub bmc_password: Option<BmcPasswordShown>,
    pub acts: Vec<ActShown>,
    pub inventory: Option<Inventory>,
}

/// Where its BMC has its password from. The password itself is never told.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct BmcPasswordShown {
    /// `file`: its password file; `own`: one of its own; `changing`: one is on its way; `unsettled`: nobody knows which of
    /// two it takes.
    pub state: String,
    /// Since when it has one of its own.
    pub since: Option<Millis>,
    /// What a change waits for.
    pub waits_for: Option<String>,
    /// How the last change ended: `done`, `failed`, `unknown`; none while one is under way.
    pub ended: Option<String>,
    pub why: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ActShown {
    pub epoch: Epoch,
    pub slot: String,
    pub state: String,
    pub phase: String,
    pub attempts: i64,
    pub created: Millis,
    pub finished: Option<Millis>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    #[serde(default)]
    after: String,
    #[serde(default = "hundred")]
    limit: u32,
    state: Option<String>,
}

fn hundred() -> u32 {
    100
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FindQuery {
    word: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogQuery {
    #[serde(default)]
    after: i64,
    #[serde(default = "hundred")]
    limit: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LearnQuery {
    /// Id of the new model; `learnt-NAME` without it.
    id: Option<String>,
    title: Option<String>,
    #[serde(default = "compute")]
    role: Role,
    /// Id of the BMC profile that the model names; that of the machine's own model or protocol without it.
    bmc_profile: Option<String>,
}

fn compute() -> Role {
    Role::Compute
}

async fn line(app: &App, tx: &mut Tx, id: MachineId) -> Result<(Line, Known), Problem> {
    let machine = known(tx, &app.me.catalog(), id).await?;
    let plan = MachineLife::plan(&machine.state, &machine.facts);
    let rail = app.me.rail_of(Subject::Machine(id), machine.facts.epoch);
    let waits_for = match (&plan.want.ticket, &machine.kept.hold) {
        (Some(ticket), Some(why)) => format!("{} ({why})", ticket.title),
        (Some(ticket), None) => ticket.title.clone(),
        (None, _) => waits_for(&machine.state.at).into(),
    };
    let live = app.me.live(id).filter(|live| live.doing.epoch == Some(machine.facts.epoch));
    let line = Line {
        id,
        name: machine.record.name.clone(),
        state: machine.state.label().into(),
        epoch: machine.facts.epoch,
        since: machine.stored.entered,
        deadline: machine.stored.deadline,
        ours: machine.record.ours,
        place: machine.record.place.clone(),
        model: machine.record.model.clone(),
        serial: machine.record.serial.clone(),
        progress: live.and_then(|live| live.doing.progress),
        waits_for,
        rail,
    };
    Ok((line, machine))
}

/// Who moves next, and what a person may do about it.
fn waits_for(at: &At) -> &'static str {
    match at {
        At::Observed => "nothing: it is only watched until it is claimed",
        At::Expected => "its first boot, or `muster machine discover`",
        At::Discovering { .. } => "its agent to report what it is",
        At::Unidentified => "a model that fits it",
        At::Commissioning { .. } => "its agent to look and measure",
        At::Ready => "an order",
        At::Installing { .. } => "its agent to write the image",
        At::Checking { .. } => "its installed system to report",
        At::InService | At::Retired => "nothing",
        At::Draining { .. } => "its owner to leave: `muster machine drained` says so",
        At::Repairing { .. } => "its repair",
        At::Stopping { .. } => "the write in flight to end",
        At::Releasing { .. } | At::Retiring { .. } => "its agent to wipe its disks",
        At::Held { .. } => "a person",
    }
}

pub(crate) async fn list(State(app): State<App>, Query(query): Query<ListQuery>) -> Result<Json<Page>, Problem> {
    if let Some(state) = query.state.as_ref().filter(|state| !STATES.contains(&state.as_str())) {
        return Err(Problem::bad(format!("there is no state {state:?}; allowed: {}", STATES.join(", "))));
    }
    let limit = query.limit.clamp(1, 1000);
    let mut tx = app.me.db.read().await?;
    let found = rows::list(&mut tx, &query.after, limit).await?;
    let next = (found.len() == limit as usize).then(|| found.last().map(|last| last.name.clone())).flatten();
    let mut machines = Vec::with_capacity(found.len());
    for record in found {
        let (line, _) = line(&app, &mut tx, record.id).await?;
        if query.state.as_ref().is_none_or(|state| *state == line.state) {
            machines.push(line);
        }
    }
    Ok(Json(Page { machines, next }))
}

pub(crate) fn id_of(text: &str) -> Result<MachineId, Problem> {
    text.parse().map_err(|_| {
        Problem::bad(format!("{text:?} is not a machine id; /api/v1/find?word= finds ids by name, serial or MAC"))
    })
}

pub(crate) async fn show(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Machine>, Problem> {
    let id = id_of(&id)?;
    let mut tx = app.me.db.read().await?;
    if rows::get(&mut tx, id).await?.is_none() {
        return Err(Problem::not_found(format!("there is no machine {id}")));
    }
    let (line, machine) = line(&app, &mut tx, id).await?;
    let acts = acts::acts_of(&mut tx, Subject::Machine(id)).await?;
    let act = |row: muster_store::ActRow| ActShown {
        epoch: row.key.epoch,
        slot: row.key.slot,
        state: row.state.word().into(),
        phase: row.phase,
        attempts: row.attempts,
        created: row.created,
        finished: row.finished,
    };
    let bmc: Option<muster_conductor::BmcBody> =
        machine.record.bmc.as_deref().and_then(|text| serde_json::from_str(text).ok());
    Ok(Json(Machine {
        macs: rows::macs_of(&mut tx, id).await?,
        uuid: machine.record.uuid.clone(),
        data_bearing: machine.state.data == Data::Owned,
        order: machine.facts.order.map(|open| open.order),
        hold: machine.kept.hold.clone(),
        fault: machine.kept.case.clone(),
        located: machine.kept.located.clone(),
        differences: machine.kept.differences.clone(),
        quality: machine.kept.quality.clone(),
        figures: machine.kept.figures.clone(),
        way: machine.kept.way.clone(),
        medium: machine.kept.medium.clone(),
        agent: machine.record.agent.as_deref().and_then(|text| serde_json::from_str(text).ok()),
        bmc_password: match &bmc {
            Some(_) => Some(bmc_password(&app, &mut tx, id).await?),
            None => None,
        },
        bmc: bmc.map(|bmc| bmc.address),
        acts: acts.into_iter().map(act).collect(),
        inventory: machine.record.inventory.as_deref().and_then(|text| serde_json::from_str(text).ok()),
        line,
    }))
}

async fn bmc_password(app: &App, tx: &mut Tx, id: MachineId) -> Result<BmcPasswordShown, Problem> {
    let rows = passwords::of(tx, id).await?;
    let last = acts::acts_of(tx, Subject::Bmc(id))
        .await?
        .into_iter()
        .rfind(|act| act.weight == muster_conductor::PASSWORD_WEIGHT);
    let under_way = last.as_ref().filter(|act| act.finished.is_none());
    let own = rows.iter().find(|row| row.state == PasswordState::Current);
    let state = match (under_way, rows.iter().any(|row| row.state == PasswordState::Sent), own) {
        (Some(_), ..) => "changing",
        (None, true, _) => "unsettled",
        (None, false, Some(_)) => "own",
        (None, false, None) => "file",
    };
    let ended = last.as_ref().filter(|act| act.finished.is_some());
    let evidence = ended.and_then(|act| serde_json::from_str::<serde_json::Value>(act.evidence.as_deref()?).ok());
    Ok(BmcPasswordShown {
        state: state.into(),
        since: own.and_then(|row| row.settled),
        waits_for: under_way.and_then(|act| app.me.rail_of(act.key.of, act.key.epoch)),
        ended: ended.map(|act| act.state.word().into()),
        why: evidence.and_then(|told| Some(told.get("why")?.as_str()?.to_owned())),
    })
}

pub(crate) async fn log(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<LogQuery>,
) -> Result<Json<Vec<EventShown>>, Problem> {
    let id = id_of(&id)?;
    let mut tx = app.me.db.read().await?;
    let limit = query.limit.clamp(1, 1000);
    let found = muster_store::events::events(&mut tx, Seq(query.after), limit, Some(Subject::Machine(id))).await?;
    Ok(Json(found.into_iter().map(shown).collect()))
}

pub(crate) async fn find(State(app): State<App>, Query(query): Query<FindQuery>) -> Result<Json<Vec<Line>>, Problem> {
    let found = plans::find(&app.me, query.word.trim()).await?;
    if found.is_empty() {
        return Err(Problem::not_found(format!("no machine has the name, id, serial or MAC {:?}", query.word)));
    }
    let mut tx = app.me.db.read().await?;
    let mut lines = Vec::new();
    for record in found {
        lines.push(line(&app, &mut tx, record.id).await?.0);
    }
    Ok(Json(lines))
}

pub(crate) async fn learn(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<LearnQuery>,
) -> Result<String, Problem> {
    let id = id_of(&id)?;
    let mut tx = app.me.db.read().await?;
    let record =
        rows::get(&mut tx, id).await?.ok_or_else(|| Problem::not_found(format!("there is no machine {id}")))?;
    let text = record.inventory.as_deref();
    let text = text.ok_or_else(|| Problem::bad("the machine has no inventory yet; discover it first"))?;
    let inventory: Inventory = serde_json::from_str(text).map_err(|error| Problem::bad(error.to_string()))?;
    let name = &record.name;
    let about = About {
        id: query.id.unwrap_or_else(|| format!("learnt-{name}")),
        title: query.title.unwrap_or_else(|| format!("Learnt from {name}")),
        role: query.role,
        // The machine is really there: its own inventory is the evidence.
        evidence: Evidence::Captured(muster_conductor::sha256(text.as_bytes())),
        bmc_profile: bmc_profile(&app.me.catalog(), &record, query.bmc_profile)?,
    };
    muster_catalog::learn(&inventory, &about).map_err(Problem::bad)
}

/// A profile that is there: a learnt model shall pass `muster check` as it is.
fn bmc_profile(
    catalog: &muster_catalog::Catalog,
    record: &muster_store::Machine,
    asked: Option<String>,
) -> Result<String, Problem> {
    let known: Vec<&str> = catalog.bmcs.iter().map(|profile| profile.id.as_str()).collect();
    if let Some(asked) = asked {
        return match known.contains(&asked.as_str()) {
            true => Ok(asked),
            false => Err(Problem::bad(format!("there is no BMC profile {asked:?}; allowed: {}", known.join(", ")))),
        };
    }
    let own = record.model.as_deref().and_then(|id| catalog.model(id)).map(|model| model.bmc.profile.clone());
    let bmc: Option<muster_conductor::BmcBody> = record.bmc.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let spoken = || {
        let speaks = |profile: &&muster_catalog::BmcProfile| {
            // One that is recognised by signs is a maker's, and the protocol alone names no maker.
            let plain = profile.quirks.is_empty() && profile.recognise.is_empty();
            plain && bmc.as_ref().is_some_and(|bmc| profile.protocols == [bmc.protocol])
        };
        catalog.bmcs.iter().find(speaks).map(|profile| profile.id.clone())
    };
    own.or_else(spoken).ok_or_else(|| {
        Problem::bad(format!("nothing tells which BMC profile fits; name one with bmc-profile: {}", known.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_states_are_those_of_the_page_about_the_life() {
        let page = include_str!("../../../docs/LIFE.md");
        let mut headings: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        // Retired ends the life: nothing leads on from it, so it has no heading of its own.
        if !headings.contains(&"retired") {
            headings.push("retired");
        }
        if !headings.contains(&"retiring") {
            headings.push("retiring");
        }
        headings.sort_unstable();
        let mut states = STATES.to_vec();
        states.sort_unstable();
        assert_eq!(states, headings);
    }
}
