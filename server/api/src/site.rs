//! The site: racks, models, images, orders, tickets and the red button.

use crate::App;
use crate::policy::{Role, Who};
use crate::problem::Problem;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::{Extension, Json};
use muster_catalog::{Model, Rack};
use muster_names::{Digest, ImageId, Mac, MachineId, Millis, OrderId, Subject, SwitchPort};
use muster_store::{Tx, orders as order_rows, site as site_rows, tickets as ticket_rows};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

pub(crate) async fn racks(State(app): State<App>) -> Json<Vec<Rack>> {
    Json(app.me.catalog().racks.clone())
}

pub(crate) async fn models(State(app): State<App>) -> Json<Vec<Model>> {
    Json(app.me.catalog().models.clone())
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ImageShown {
    pub id: ImageId,
    pub title: String,
    pub version: String,
    /// Of the compressed file.
    pub digest: Digest,
    pub bytes: u64,
    pub raw_bytes: u64,
    pub root_uuid: String,
}

pub(crate) async fn images(State(app): State<App>) -> Json<Vec<ImageShown>> {
    let shown = |built: muster_conductor::Built| ImageShown {
        id: built.image.os.id,
        title: built.image.os.title,
        version: built.image.built.version,
        digest: built.image.built.sha256,
        bytes: built.image.built.bytes,
        raw_bytes: built.image.built.raw_bytes,
        root_uuid: built.image.built.root_uuid,
    };
    Json(app.me.images().into_iter().map(shown).collect())
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct OrderShown {
    pub id: OrderId,
    pub machine: MachineId,
    /// The machine's name.
    pub name: String,
    pub image: ImageId,
    /// `open`, `started`, `closed`.
    pub permit: String,
    pub by: String,
    pub created: Millis,
    pub started: Option<Millis>,
    pub outcome: Option<String>,
}

pub(crate) async fn orders(State(app): State<App>) -> Result<Json<Vec<OrderShown>>, Problem> {
    let mut tx = app.me.db.read().await?;
    let found = order_rows::list_open(&mut tx).await?;
    let mut shown = Vec::with_capacity(found.len());
    for order in found {
        shown.push(OrderShown {
            name: name_of(&mut tx, order.machine).await?,
            id: order.id,
            machine: order.machine,
            image: order.image,
            permit: order.permit.word().into(),
            by: order.by,
            created: order.created,
            started: order.started_at,
            outcome: order.outcome,
        });
    }
    Ok(Json(shown))
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TicketShown {
    pub id: String,
    pub subject: String,
    /// The machine's name, where the ticket is about one.
    pub name: Option<String>,
    pub cause: String,
    /// What to do.
    pub title: String,
    pub opened: Millis,
}

pub(crate) async fn tickets(State(app): State<App>) -> Result<Json<Vec<TicketShown>>, Problem> {
    let mut tx = app.me.db.read().await?;
    let found = ticket_rows::list_open(&mut tx).await?;
    let mut shown = Vec::with_capacity(found.len());
    for ticket in found {
        let name = match ticket.subject {
            Subject::Machine(id) | Subject::Bmc(id) => Some(name_of(&mut tx, id).await?),
            _ => None,
        };
        shown.push(TicketShown {
            name,
            id: ticket.id.to_string(),
            subject: ticket.subject.to_string(),
            cause: ticket.cause,
            title: ticket.title,
            opened: ticket.opened,
        });
    }
    Ok(Json(shown))
}

async fn name_of(tx: &mut Tx, id: MachineId) -> Result<String, Problem> {
    Ok(muster_store::machines::get(tx, id).await?.map(|found| found.name).unwrap_or_default())
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ConflictShown {
    /// `dhcp-server`, `boot-server`, `own-address`, `address`, `reservation`.
    pub kind: String,
    pub network: String,
    pub address: Ipv4Addr,
    /// Who is there.
    pub mac: Option<Mac>,
    /// Whose lease or reservation it disturbs.
    pub holder: Option<Mac>,
    /// The machine of ours that it is, where it is one.
    pub machine: Option<String>,
    /// Where its cable ends, as option 82 or LLDP told.
    pub port: Option<SwitchPort>,
    pub first: Millis,
    pub last: Millis,
    pub seen: u64,
    /// What it is, and what to do.
    pub words: String,
}

pub(crate) async fn conflicts(State(app): State<App>) -> Json<Vec<ConflictShown>> {
    let shown = |open: muster_conductor::OpenConflict| ConflictShown {
        kind: open.kind,
        network: open.network,
        address: open.address,
        mac: open.mac,
        holder: open.holder,
        machine: open.machine,
        port: open.port,
        first: open.first,
        last: open.last,
        seen: open.seen,
        words: open.words,
    };
    Json(app.me.open_conflicts().into_iter().map(shown).collect())
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Freeze {
    pub frozen: bool,
    pub by: String,
    pub why: String,
    pub at: Millis,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FreezeRequest {
    pub frozen: bool,
    pub why: String,
}

pub(crate) async fn frozen(State(app): State<App>) -> Result<Json<Freeze>, Problem> {
    let mut tx = app.me.db.read().await?;
    let found = site_rows::frozen(&mut tx).await?;
    Ok(Json(Freeze { frozen: found.frozen, by: found.by, why: found.why, at: found.at }))
}

pub(crate) async fn freeze(
    State(app): State<App>,
    Extension(who): Extension<Who>,
    body: Result<Json<FreezeRequest>, JsonRejection>,
) -> Result<Json<serde_json::Value>, Problem> {
    let Json(request) = body.map_err(|rejection| Problem::bad(rejection.body_text()))?;
    if request.why.trim().is_empty() {
        return Err(Problem::bad("say why, for whoever finds everything standing still"));
    }
    // Whoever sees something wrong may stop everything; to let everything go again is another word.
    if !request.frozen && who.role == Role::Tech {
        let detail = "a tech may freeze; an operator's token lets everything go on";
        return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", "Not with this token", detail));
    }
    app.me.freeze(request.frozen, who.name, request.why).await?;
    Ok(Json(serde_json::json!({ "frozen": request.frozen })))
}

pub(crate) async fn reload(State(app): State<App>) -> Result<Json<serde_json::Value>, Problem> {
    let done = (app.reload)().map_err(Problem::bad)?;
    let new = app.me.follow_layouts().await?;
    Ok(Json(serde_json::json!({ "read": done, "new-machines": new })))
}
