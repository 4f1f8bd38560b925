//! Machines as people and workflows see them.

use crate::App;
use crate::events::{EventShown, shown};
use crate::problem::Problem;
use axum::Json;
use axum::extract::{Path, Query, State};
use muster_catalog::{About, Difference, Evidence, Located, Role};
use muster_conductor::{AgentSeen, Fault, Known, known, plans};
use muster_lifecycle::machine::{Data, MachineLife};
use muster_lifecycle::{Life, Wait};
use muster_names::{Epoch, Inventory, Mac, MachineId, Millis, OrderId, Place, Seq, Subject};
use muster_store::{Tx, acts, machines as rows};
use muster_wire::{Figure, Progress};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    pub fault: Option<Fault>,
    pub located: Option<Located>,
    /// Where it differs from the model it should be, or from the nearest.
    pub differences: Vec<Difference>,
    /// Where the installed system differed from its order.
    pub quality: Vec<Difference>,
    pub figures: Vec<Figure>,
    pub agent: Option<AgentSeen>,
    pub bmc: Option<String>,
    pub acts: Vec<ActShown>,
    pub inventory: Option<Inventory>,
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
#[serde(deny_unknown_fields)]
pub struct LearnQuery {
    /// Id of the BMC profile that the model names.
    #[serde(default = "generic")]
    bmc_profile: String,
}

fn generic() -> String {
    "generic".into()
}

async fn line(app: &App, tx: &mut Tx, id: MachineId) -> Result<(Line, Known), Problem> {
    let machine = known(tx, &app.me.catalog(), id).await?;
    let plan = MachineLife::plan(&machine.state, &machine.facts);
    let in_force = acts::acts_of(tx, Subject::Machine(id)).await?;
    let rail =
        in_force.iter().filter(|act| act.key.epoch == machine.facts.epoch).find_map(|act| app.me.rail_of(&act.key));
    let waits_for = match (&plan.want.ticket, plan.wait) {
        (Some(ticket), _) => ticket.title.clone(),
        (None, Wait::Person) => "a person".into(),
        (None, Wait::World) => "nothing".into(),
        (None, Wait::Until(_)) => "its answer".into(),
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

pub(crate) async fn list(State(app): State<App>, Query(query): Query<ListQuery>) -> Result<Json<Page>, Problem> {
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

fn id_of(text: &str) -> Result<MachineId, Problem> {
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
        fault: machine.kept.case.clone(),
        located: machine.kept.located.clone(),
        differences: machine.kept.differences.clone(),
        quality: machine.kept.quality.clone(),
        figures: machine.kept.figures.clone(),
        agent: machine.record.agent.as_deref().and_then(|text| serde_json::from_str(text).ok()),
        bmc: bmc.map(|bmc| bmc.address),
        acts: acts.into_iter().map(act).collect(),
        inventory: machine.record.inventory.as_deref().and_then(|text| serde_json::from_str(text).ok()),
        line,
    }))
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
    let text = record.inventory.ok_or_else(|| Problem::bad("the machine has no inventory yet; discover it first"))?;
    let inventory: Inventory = serde_json::from_str(&text).map_err(|error| Problem::bad(error.to_string()))?;
    let about = About {
        id: format!("learnt-{}", record.name),
        title: format!("Learnt from {}", record.name),
        role: Role::Compute,
        // The machine is really there: its own inventory is the evidence.
        evidence: Evidence::Captured(muster_conductor::sha256(text.as_bytes())),
        bmc_profile: query.bmc_profile,
    };
    muster_catalog::learn(&inventory, &about).map_err(Problem::bad)
}
