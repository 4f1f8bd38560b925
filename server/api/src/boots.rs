//! How a machine boots, and why it does not: one list of everything that was seen, cut into boots.

use crate::App;
use crate::console::LineShown;
use crate::problem::Problem;
use axum::Json;
use axum::extract::{Path, Query, State};
use muster_conductor::plans;
use muster_conductor::timeline::{ConsoleOfBoot, Told};
use muster_names::{Mac, MachineId, Millis};
use muster_netboot::timeline::{Boot, Diagnosis, Entry, Running};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a boot came to.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DiagnosisShown {
    /// For programs: `never-asked`, `no-answer`, `cut-off`, `loop`, ...
    pub label: String,
    /// `well`, `going`, `wrong`.
    pub grade: String,
    /// For people.
    pub words: String,
    /// What a person does next; empty when nothing.
    pub next: String,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct StageShown {
    /// `power`, `address`, `loader`, `script`, `kernel`, `system`, `agent`, `disk`.
    pub stage: String,
    pub began: Millis,
    /// Until the next stage began; none while it lasts.
    pub millis: Option<i64>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct BootEntryShown {
    pub at: Millis,
    /// Milliseconds since the boot began.
    pub after: i64,
    /// `power`, `discover`, `request`, `tftp`, `http`, `script`, `log`, `agent`, `event`, ...
    pub kind: String,
    /// The port it came through.
    pub mac: Option<Mac>,
    /// Who asked, or for what.
    pub asked: String,
    /// The answer, the reason of silence, or what became of it.
    pub answer: String,
    /// The entry as it is kept.
    pub body: serde_json::Value,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct BootShown {
    pub began: Millis,
    /// When the next one began.
    pub ended: Option<Millis>,
    pub diagnosis: DiagnosisShown,
    pub stages: Vec<StageShown>,
    pub entries: Vec<BootEntryShown>,
    /// What was recorded of its console; none where nothing was, and in a brief answer.
    pub console: Option<BootConsoleShown>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct BootConsoleShown {
    pub first: Millis,
    pub last: Millis,
    pub bytes: usize,
    /// Its last lines, where the boot went wrong.
    pub lines: Vec<LineShown>,
}

/// A transfer that is under way.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RunningShown {
    pub path: String,
    pub began: Millis,
    pub bytes: u64,
    pub size: u64,
    pub bytes_per_second: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct BootsShown {
    pub machine: Option<MachineId>,
    /// The machine's ports, or the one that was asked for.
    pub macs: Vec<Mac>,
    /// The daemon's time, to which lengths are counted.
    pub now: Millis,
    /// Of the newest boot.
    pub diagnosis: DiagnosisShown,
    pub running: Vec<RunningShown>,
    /// Newest first.
    pub boots: Vec<BootShown>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootsQuery {
    /// So many boots, the newest first.
    #[serde(default = "all")]
    boots: usize,
    /// Without their entries.
    #[serde(default)]
    brief: bool,
}

fn all() -> usize {
    usize::MAX
}

/// A MAC whether it is known or not, else a machine's name, id or serial.
pub(crate) async fn show(
    State(app): State<App>,
    Path(word): Path<String>,
    Query(query): Query<BootsQuery>,
) -> Result<Json<BootsShown>, Problem> {
    let told = match word.parse::<Mac>() {
        Ok(mac) => app.me.boots_of_mac(mac).await?,
        Err(_) => {
            let found = plans::find(&app.me, word.trim()).await?;
            match found.as_slice() {
                [one] => app.me.boots_of(one.id).await?,
                [] => {
                    return Err(Problem::not_found(format!(
                        "{word:?} is neither a MAC (52:54:00:aa:bb:cc) nor the name, id or serial of a machine"
                    )));
                }
                several => {
                    let names: Vec<&str> = several.iter().map(|one| one.name.as_str()).collect();
                    return Err(Problem::bad(format!("{word:?} means several machines: {}", names.join(", "))));
                }
            }
        }
    };
    let consoles = if query.brief { Vec::new() } else { app.me.consoles_of(&told).await? };
    Ok(Json(shown(&told, consoles, &query)))
}

fn shown(told: &Told, mut consoles: Vec<Option<ConsoleOfBoot>>, query: &BootsQuery) -> BootsShown {
    consoles.resize(told.boots.len(), None);
    let boots = told.boots.iter().zip(consoles).rev().take(query.boots);
    BootsShown {
        machine: told.machine,
        macs: told.macs.clone(),
        now: told.now,
        diagnosis: diagnosis(&told.diagnosis()),
        running: told.running.iter().map(|one| running(one, told.now)).collect(),
        boots: boots.map(|(one, console)| boot(one, console, query.brief)).collect(),
    }
}

fn diagnosis(found: &Diagnosis) -> DiagnosisShown {
    DiagnosisShown {
        label: found.label().into(),
        grade: found.grade().label().into(),
        words: found.to_string(),
        next: found.next_step().into(),
    }
}

fn running(one: &Running, now: Millis) -> RunningShown {
    let passed = u64::try_from(now.0.saturating_sub(one.began.0)).unwrap_or(0).max(1);
    RunningShown {
        path: one.path.clone(),
        began: one.began,
        bytes: one.bytes,
        size: one.size,
        bytes_per_second: one.bytes.saturating_mul(1000) / passed,
    }
}

fn boot(boot: &Boot, console: Option<ConsoleOfBoot>, brief: bool) -> BootShown {
    let stage = |span: &muster_netboot::timeline::Span| StageShown {
        stage: span.stage.label().into(),
        began: span.began,
        millis: span.millis,
    };
    let entries = if brief { &[] } else { boot.entries.as_slice() };
    BootShown {
        began: boot.began,
        ended: boot.ended,
        diagnosis: diagnosis(&boot.diagnosis),
        stages: boot.stages.iter().map(stage).collect(),
        entries: entries.iter().map(|one| entry(one, boot.began)).collect(),
        console: console.map(|console| BootConsoleShown {
            first: console.first,
            last: console.last,
            bytes: console.bytes,
            lines: console.lines.into_iter().map(crate::console::shown).collect(),
        }),
    }
}

fn entry(entry: &Entry, began: Millis) -> BootEntryShown {
    BootEntryShown {
        at: entry.at,
        after: entry.at.0.saturating_sub(began.0),
        kind: entry.kind().into(),
        mac: entry.mac,
        asked: entry.asked(),
        answer: entry.to_string(),
        body: serde_json::to_value(&entry.what).unwrap_or_default(),
    }
}
