//! BMCs that answer, BMCs that are said to be ours, and the keys by which they are known again.

use crate::App;
use crate::machines::id_of;
use crate::policy::Who;
use crate::problem::Problem;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, JsonRejection};
use axum::extract::{Path, State};
use axum::{Extension, Json};
use muster_conductor::{AwaitedShown, FoundBmc, LearntShown, Manifest, ManifestPlanned, Pin, ScanTold};
use schemars::JsonSchema;
use serde::Deserialize;

/// Which key a BMC shall have.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustRequest {
    /// SHA-256 of its public key, 64 hexadecimal digits.
    #[serde(default)]
    pub pin: Option<String>,
    /// The next key that it shows; either this or `pin`.
    #[serde(default)]
    pub next: bool,
}

/// Where a BMC is now.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveRequest {
    /// `10.0.0.5`, `HOST:PORT`
    pub address: String,
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
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<ManifestPlanned>, Problem> {
    let body = body.map_err(|rejection| Problem::bad(rejection.body_text()))?;
    let manifest: Manifest = serde_json::from_slice(&body).map_err(|error| Problem::bad(unread(&error)))?;
    Ok(Json(app.me.take_manifest(who.name, manifest).await?))
}

/// Where a manifest does not read. What stands there is not repeated: it may be a password.
fn unread(error: &serde_json::Error) -> String {
    let said = error.to_string();
    let named = said.starts_with("unknown field") || said.starts_with("missing field");
    let what = if named { said } else { format!("line {}, column {}", error.line(), error.column()) };
    format!("the manifest does not read: {what}")
}

pub(crate) async fn moved(
    State(app): State<App>,
    Extension(who): Extension<Who>,
    Path(id): Path<String>,
    body: Result<Json<MoveRequest>, JsonRejection>,
) -> Result<Json<serde_json::Value>, Problem> {
    let Json(MoveRequest { address }) = body.map_err(|rejection| Problem::bad(rejection.body_text()))?;
    let machine = id_of(&id)?;
    app.me.move_bmc(who.name, machine, address.clone()).await?;
    Ok(Json(serde_json::json!({ "machine": machine, "address": address })))
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
    let Json(TrustRequest { pin, next }) = body.map_err(|rejection| Problem::bad(rejection.body_text()))?;
    if pin.is_some() == next {
        return Err(Problem::bad("say which key it is: either a pin, or next = true for whatever it shows next"));
    }
    let machine = id_of(&id)?;
    let wrong = || Problem::bad("a pin is a SHA-256: 64 hexadecimal digits are expected");
    let key = pin.as_deref().map(|text| Pin::read(text).ok_or_else(wrong)).transpose()?;
    app.me.trust_bmc(who.name, machine, key).await?;
    Ok(Json(serde_json::json!({ "machine": machine, "pin": pin })))
}
