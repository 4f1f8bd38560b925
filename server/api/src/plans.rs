//! Plan, approve, execute.

use crate::App;
use crate::policy::{Role, Who};
use crate::problem::Problem;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use muster_conductor::import::{ImportPlanned, ImportRequest, Imported};
use muster_conductor::plans::{Action, Executed, PlanRequest, Planned};
use muster_names::Digest;
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The number of machines, typed by hand.
    pub count: usize,
}

/// What a technician may ask for without an operator.
fn light(what: &Action) -> bool {
    matches!(what, Action::Hold { .. } | Action::ReportFault { .. } | Action::Discover)
}

fn allowed(who: &Who, what: &Action) -> Result<(), Problem> {
    if who.role == Role::Tech && !light(what) {
        let detail = "a tech may discover, hold and report faults; an operator's token does the rest";
        return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", "Not with this token", detail));
    }
    Ok(())
}

pub(crate) async fn make(
    State(app): State<App>,
    Extension(who): Extension<Who>,
    body: Result<Json<PlanRequest>, JsonRejection>,
) -> Result<Json<Planned>, Problem> {
    let Json(request) = body.map_err(|rejection| Problem::bad(rejection.body_text()))?;
    allowed(&who, &request.what)?;
    Ok(Json(app.me.plan(who.name, request).await?))
}

fn digest_of(text: &str) -> Result<Digest, Problem> {
    text.parse().map_err(|_| Problem::bad(format!("{text:?} is not a plan's digest; POST /api/v1/plans answers it")))
}

pub(crate) async fn execute(
    State(app): State<App>,
    Extension(who): Extension<Who>,
    Path(digest): Path<String>,
) -> Result<Json<Executed>, Problem> {
    let digest = digest_of(&digest)?;
    if who.role == Role::Tech {
        let what = app.me.planned_action(digest).await?;
        allowed(&who, &what)?;
    }
    Ok(Json(app.me.execute(who.name, digest).await?))
}

pub(crate) async fn approve(
    State(app): State<App>,
    Extension(who): Extension<Who>,
    Path(digest): Path<String>,
    body: Result<Json<Approval>, JsonRejection>,
) -> Result<Json<serde_json::Value>, Problem> {
    let Json(approval) = body.map_err(|rejection| Problem::bad(rejection.body_text()))?;
    let digest = digest_of(&digest)?;
    app.me.approve(who.name, digest, approval.count).await?;
    Ok(Json(serde_json::json!({ "approved": digest })))
}

pub(crate) async fn plan_import(
    State(app): State<App>,
    Extension(who): Extension<Who>,
    body: Result<Json<ImportRequest>, JsonRejection>,
) -> Result<Json<ImportPlanned>, Problem> {
    let Json(request) = body.map_err(|rejection| Problem::bad(rejection.body_text()))?;
    Ok(Json(app.me.plan_import(who.name, request).await?))
}

pub(crate) async fn execute_import(
    State(app): State<App>,
    Extension(who): Extension<Who>,
    Path(digest): Path<String>,
) -> Result<Json<Imported>, Problem> {
    Ok(Json(app.me.execute_import(who.name, digest_of(&digest)?).await?))
}
