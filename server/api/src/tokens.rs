//! API tokens: only digests are stored; a token is shown once, when it is made.

use crate::App;
use crate::policy::{Role, Who};
use crate::problem::Problem;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use muster_conductor::{Conductor, Error, fresh_id, fresh_token, now, sha256};
use muster_names::{Digest, Millis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// Who or what will use it; stands in the audit log.
    pub name: String,
    pub role: Role,
    /// Days until it expires; none for never.
    #[serde(default)]
    pub days: Option<u32>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct TokenMade {
    pub id: String,
    /// Shown this once.
    pub token: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct TokenShown {
    pub id: String,
    pub name: String,
    pub role: String,
    pub created: Millis,
    pub expires: Option<Millis>,
    pub revoked: Option<Millis>,
}

/// Makes a token and keeps its digest.
pub async fn mint(
    me: &Conductor,
    name: String,
    role: Role,
    expires: Option<Millis>,
) -> Result<(String, String), Error> {
    let token = fresh_token()?;
    let id = keep(me, "daemon".into(), name, role, expires, &token).await?;
    Ok((id, token))
}

/// Keeps the digest of the first admin's token, which somebody holds already.
pub async fn keep_first(me: &Conductor, token: &str) -> Result<(), Error> {
    keep(me, "daemon".into(), "first admin".into(), Role::Admin, None, token).await.map(drop)
}

/// `by` made it, and stands in the audit log.
async fn keep(
    me: &Conductor,
    by: String,
    name: String,
    role: Role,
    expires: Option<Millis>,
    token: &str,
) -> Result<String, Error> {
    let id = format!("{:032x}", fresh_id()?);
    let row = muster_store::Token {
        id: id.clone(),
        name,
        role: role.word().into(),
        sha256: sha256(token.as_bytes()),
        created: now(),
        expires,
        revoked: None,
    };
    me.write(move |w| {
        Box::pin(async move {
            muster_store::tokens::put(w.tx, &row).await.map_err(|source| Error::Store { source })?;
            let event = muster_store::Event {
                subject: muster_names::Subject::Site,
                cause: muster_names::Cause(format!("token/{}", row.id)),
                kind: "token-made".into(),
                actor: by,
                epoch: muster_names::Epoch(0),
                body: serde_json::json!({ "id": row.id, "name": row.name, "role": row.role }).to_string(),
                at: w.now,
            };
            w.tx.append(event).await.map_err(|source| Error::Store { source }).map(drop)
        })
    })
    .await?;
    Ok(id)
}

pub(crate) async fn who(app: &App, token: &str) -> Result<Option<Who>, Problem> {
    by_digest(app, sha256(token.as_bytes())).await
}

pub(crate) async fn by_digest(app: &App, token: Digest) -> Result<Option<Who>, Problem> {
    let mut tx = app.me.db.read().await?;
    let found = muster_store::tokens::by_hash(&mut tx, token).await?;
    let valid = found.filter(|row| row.is_valid(now()));
    Ok(valid.and_then(|row| Role::from_word(&row.role).map(|role| Who { name: row.name, role, token })))
}

pub(crate) async fn list(State(app): State<App>) -> Result<Json<Vec<TokenShown>>, Problem> {
    let mut tx = app.me.db.read().await?;
    let rows = muster_store::tokens::list(&mut tx).await?;
    let shown = |t: muster_store::Token| TokenShown {
        id: t.id,
        name: t.name,
        role: t.role,
        created: t.created,
        expires: t.expires,
        revoked: t.revoked,
    };
    Ok(Json(rows.into_iter().map(shown).collect()))
}

pub(crate) async fn make(
    State(app): State<App>,
    Extension(who): Extension<Who>,
    body: Result<Json<TokenRequest>, JsonRejection>,
) -> Result<Json<TokenMade>, Problem> {
    let Json(request) = body.map_err(|rejection| Problem::bad(rejection.body_text()))?;
    if request.name.trim().is_empty() || request.name.len() > 80 {
        return Err(Problem::bad("a token's name has 1 to 80 characters: who or what will use it"));
    }
    let expires = request.days.map(|days| Millis(now().0.saturating_add(i64::from(days) * 86_400_000)));
    let token = fresh_token()?;
    let id = keep(&app.me, who.name, request.name, request.role, expires, &token).await?;
    Ok(Json(TokenMade { id, token }))
}

pub(crate) async fn revoke(
    State(app): State<App>,
    Path(id): Path<String>,
    Extension(by): Extension<Who>,
) -> Result<Json<serde_json::Value>, Problem> {
    let wanted = id.clone();
    let done = app
        .me
        .write(move |w| {
            Box::pin(async move {
                let done =
                    muster_store::tokens::revoke(w.tx, &id, w.now).await.map_err(|source| Error::Store { source })?;
                let event = muster_store::Event {
                    subject: muster_names::Subject::Site,
                    cause: muster_names::Cause(format!("token-revoked/{id}")),
                    kind: "token-revoked".into(),
                    actor: by.name,
                    epoch: muster_names::Epoch(0),
                    body: serde_json::json!({ "id": id }).to_string(),
                    at: w.now,
                };
                if done {
                    w.tx.append(event).await.map_err(|source| Error::Store { source })?;
                }
                Ok(done)
            })
        })
        .await?;
    if done {
        Ok(Json(serde_json::json!({ "revoked": wanted })))
    } else {
        Err(Problem::not_found(format!("there is no valid token {wanted}")))
    }
}
