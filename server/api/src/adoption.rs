//! BMCs that answer, BMCs that are said to be ours, and the keys by which they are known again.

use crate::App;
use crate::machines::id_of;
use crate::policy::Who;
use crate::problem::Problem;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use muster_conductor::{AwaitedShown, FoundBmc, LearntShown, Manifest, ManifestPlanned, Pin, ScanTold};
use schemars::JsonSchema;
use serde::Deserialize;

/// Which key a BMC shall have.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustRequest {
    /// SHA-256 of its public key, 64 hexadecimal digits; null: the next that it shows.
    pub pin: Option<String>,
}

pub(crate) async fn found(State(app): State<App>) -> Result<Json<Vec<FoundBmc>>, Problem> {
    Ok(Json(app.me.found_bmcs().await?))
}

pub(crate) async fn learnt(State(app): State<App>) -> Result<Json<Vec<LearntShown>>, Problem> {
    Ok(Json(app.me.learnt_bmcs().await?))
}

pub(crate) async fn scanned(State(app): State<App>) -> Json<ScanTold> {
    Json(app.me.scan_told())
}

pub(crate) async fn scan(State(app): State<App>) -> Result<Json<ScanTold>, Problem> {
    Ok(Json(app.me.scan_for_bmcs()?))
}

pub(crate) async fn awaited(State(app): State<App>) -> Result<Json<Vec<AwaitedShown>>, Problem> {
    Ok(Json(app.me.awaited_bmcs().await?))
}

pub(crate) async fn manifest(
    State(app): State<App>,
    Extension(who): Extension<Who>,
    body: Result<Json<Manifest>, JsonRejection>,
) -> Result<Json<ManifestPlanned>, Problem> {
    let Json(manifest) = body.map_err(|rejection| Problem::bad(rejection.body_text()))?;
    Ok(Json(app.me.take_manifest(who.name, manifest).await?))
}

pub(crate) async fn forget(
    State(app): State<App>,
    Extension(who): Extension<Who>,
    Path(id): Path<String>,
) -> Result<Json<serde_json::Value>, Problem> {
    app.me.forget_awaited(who.name, id.clone()).await?;
    Ok(Json(serde_json::json!({ "forgotten": id })))
}

pub(crate) async fn trust(
    State(app): State<App>,
    Extension(who): Extension<Who>,
    Path(id): Path<String>,
    body: Result<Json<TrustRequest>, JsonRejection>,
) -> Result<Json<serde_json::Value>, Problem> {
    let Json(TrustRequest { pin }) = body.map_err(|rejection| Problem::bad(rejection.body_text()))?;
    let machine = id_of(&id)?;
    let wrong = || Problem::bad("a pin is a SHA-256: 64 hexadecimal digits are expected");
    let key = pin.as_deref().map(|text| Pin::read(text).ok_or_else(wrong)).transpose()?;
    app.me.trust_bmc(who.name, machine, key).await?;
    Ok(Json(serde_json::json!({ "machine": machine, "pin": pin })))
}
