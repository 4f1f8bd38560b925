//! What the watch over the BMCs knows: how each is, what its sensors said over time, and what it logged.

use crate::App;
use crate::machines::id_of;
use crate::problem::Problem;
use axum::Json;
use axum::extract::{Path, Query, State};
use muster_conductor::{Grain, Watched, now};
use muster_names::{MachineId, Millis, Power};
use muster_store::{bmc_watch, machines};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt::Write as _;

const HOUR_MS: i64 = 3_600_000;

/// A machine's BMC as it was seen last.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct BmcShown {
    pub machine: MachineId,
    pub address: String,
    /// `unvisited`, `answers`, `silent`, `refuses`.
    pub reach: String,
    /// Why it does not answer.
    pub why: Option<String>,
    /// When it was last visited, and when it last answered.
    pub visited: Option<Millis>,
    pub answered: Option<Millis>,
    /// As last told.
    pub power: Power,
    /// The worst of its sensors: `ok`, `warning`, `critical`; `unknown` where none was read.
    pub health: String,
    /// The BMC's clock minus ours.
    pub clock_offset_seconds: Option<i64>,
    /// What it did not tell at the last visit, and why.
    pub gaps: Vec<String>,
    /// Sensors that are not well, by name, each with health and state.
    pub unwell: Value,
    /// Every sensor as `muster bmc sensors` prints it; empty until the first visit after the daemon's start.
    pub sensors: Value,
}

/// An entry of a BMC's log as it was read.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct BmcEntryShown {
    /// Counts the entries read of this BMC; `after` takes it.
    pub n: i64,
    pub read: Millis,
    /// The entry: log, id, time by the BMC's clock, health, component, message.
    pub entry: Value,
}

/// One sensor within one span.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ReadingShown {
    /// When the span begins.
    pub at: Millis,
    pub sensor: String,
    pub readings: u32,
    pub least: f64,
    pub mean: f64,
    pub most: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntriesQuery {
    #[serde(default)]
    after: i64,
    #[serde(default = "hundred")]
    limit: u32,
}

fn hundred() -> u32 {
    100
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadingsQuery {
    #[serde(default = "by_hour")]
    grain: Grain,
    sensor: Option<String>,
    /// From here; a day back without it.
    from: Option<i64>,
    until: Option<i64>,
}

fn by_hour() -> Grain {
    Grain::Hour
}

/// The machine's id, and the address of its BMC.
async fn machine(app: &App, text: &str) -> Result<(MachineId, String), Problem> {
    let id = id_of(text)?;
    let mut tx = app.me.db.read().await?;
    let record = machines::get(&mut tx, id).await?;
    let record = record.ok_or_else(|| Problem::not_found(format!("there is no machine {id}")))?;
    let bmc: Option<muster_conductor::BmcBody> = record.bmc.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let bmc = bmc.ok_or_else(|| Problem::not_found(format!("nobody named the BMC of {}", record.name)))?;
    Ok((id, bmc.address))
}

pub(crate) async fn show(State(app): State<App>, Path(id): Path<String>) -> Result<Json<BmcShown>, Problem> {
    let (machine, address) = machine(&app, &id).await?;
    let Watched { at, seen, readings, .. } = app.me.watched(machine).unwrap_or_default();
    Ok(Json(BmcShown {
        machine,
        address,
        reach: seen.reach.word().into(),
        why: seen.reach.why().map(str::to_owned),
        visited: at,
        answered: seen.answered,
        power: seen.power,
        health: seen.health().word().into(),
        clock_offset_seconds: seen.clock_offset,
        unwell: serde_json::to_value(&seen.unwell).unwrap_or_default(),
        gaps: seen.gaps,
        sensors: serde_json::to_value(&readings).unwrap_or_default(),
    }))
}

pub(crate) async fn log(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<EntriesQuery>,
) -> Result<Json<Vec<BmcEntryShown>>, Problem> {
    let (machine, _) = machine(&app, &id).await?;
    let mut tx = app.me.db.read().await?;
    let rows = bmc_watch::logged(&mut tx, machine, query.after, query.limit.clamp(1, 1000)).await?;
    let shown = |row: muster_store::bmc_watch::BmcLogRow| BmcEntryShown {
        n: row.n,
        read: row.at,
        entry: serde_json::from_str(&row.body).unwrap_or_default(),
    };
    Ok(Json(rows.into_iter().map(shown).collect()))
}

pub(crate) async fn readings(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<ReadingsQuery>,
) -> Result<Json<Vec<ReadingShown>>, Problem> {
    let (machine, _) = machine(&app, &id).await?;
    let now = now();
    let from = query.from.map_or(Millis(now.0.saturating_sub(24 * HOUR_MS)), Millis);
    let until = query.until.map_or(Millis(i64::MAX), Millis);
    let spans = app.me.series_of(machine, query.grain, (from, until)).await?;
    let wanted = |name: &str| query.sensor.as_ref().is_none_or(|sensor| sensor == name);
    let shown = spans.into_iter().flat_map(|(at, sensors)| {
        sensors.into_iter().filter(|(name, _)| wanted(name)).map(move |(sensor, sum)| ReadingShown {
            at,
            sensor,
            readings: sum.0,
            least: sum.1,
            mean: sum.mean(),
            most: sum.2,
        })
    });
    Ok(Json(shown.collect()))
}

/// The watch's figures for Prometheus.
pub(crate) fn figures(app: &App, text: &mut String) {
    let (visits, pace) = app.me.visits();
    let (reach, health) = app.me.watched_counts();
    text.push_str("# HELP muster_bmcs BMCs that are watched, by whether they answer.\n# TYPE muster_bmcs gauge\n");
    for word in ["answers", "silent", "refuses"] {
        let _ = writeln!(text, "muster_bmcs{{reach=\"{word}\"}} {}", reach.get(word).copied().unwrap_or(0));
    }
    text.push_str(
        "# HELP muster_bmc_health BMCs that answer, by the worst of their sensors.\n# TYPE muster_bmc_health gauge\n",
    );
    for word in ["ok", "unknown", "warning", "critical"] {
        let _ = writeln!(text, "muster_bmc_health{{health=\"{word}\"}} {}", health.get(word).copied().unwrap_or(0));
    }
    let _ = write!(
        text,
        "# HELP muster_bmc_visits_total Visits to BMCs since the start.\n# TYPE muster_bmc_visits_total counter\n\
         muster_bmc_visits_total{{outcome=\"answered\"}} {}\nmuster_bmc_visits_total{{outcome=\"silent\"}} {}\n\
         muster_bmc_visits_total{{outcome=\"refused\"}} {}\n\
         # HELP muster_bmc_visit_seconds_total How long visits took, waiting for their turn included.\n\
         # TYPE muster_bmc_visit_seconds_total counter\nmuster_bmc_visit_seconds_total {:.3}\n\
         # HELP muster_bmc_event_streams BMCs that are listened to.\n# TYPE muster_bmc_event_streams gauge\n\
         muster_bmc_event_streams {}\n\
         # HELP muster_bmc_hinted_visits_total Visits that came sooner because the BMC told of something.\n\
         # TYPE muster_bmc_hinted_visits_total counter\nmuster_bmc_hinted_visits_total {}\n\
         # HELP muster_bmc_at_once BMCs that may be visited at once.\n# TYPE muster_bmc_at_once gauge\n\
         muster_bmc_at_once {}\n\
         # HELP muster_bmc_answers_total Answers of BMCs, by whether they came in time.\n\
         # TYPE muster_bmc_answers_total counter\nmuster_bmc_answers_total{{late=\"no\"}} {}\n\
         muster_bmc_answers_total{{late=\"yes\"}} {}\n",
        visits.answered,
        visits.silent,
        visits.refused,
        visits.seconds,
        visits.streams,
        visits.hinted,
        pace.at_once,
        pace.answers - pace.late,
        pace.late,
    );
}
