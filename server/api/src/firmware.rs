//! Firmware and BIOS attributes against the models, read from the BMCs while the caller waits.

use crate::App;
use crate::machines::id_of;
use crate::problem::Problem;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use muster_conductor::FirmwareReport;
use muster_names::MachineId;
use serde::Deserialize;

/// One answer is waited for as long as its slowest BMC takes.
const MOST: usize = 64;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// Ids, with commas between.
    machines: String,
}

pub(crate) async fn plan(
    State(app): State<App>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<FirmwareReport>, Problem> {
    let Query(asked) = asked.map_err(|rejection| Problem::bad(rejection.body_text()))?;
    let mut ids: Vec<MachineId> = Vec::new();
    for text in asked.machines.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        let id = id_of(text)?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    if ids.is_empty() || ids.len() > MOST {
        let said = format!("machines= names {} machines; expected 1 to {MOST} ids with commas between", ids.len());
        return Err(Problem::bad(said));
    }
    Ok(Json(app.me.firmware(ids).await?))
}
