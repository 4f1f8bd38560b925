//! The agents' door, on a listener of its own: a bearer token, a key, and a signature over path and body.

use crate::problem::Problem;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use axum::{Json, Router};
use muster_conductor::{Caller, Conductor, TurnedAway, sha256};
use muster_wire::{
    KEY_HEADER, MAY_PROCEED_PATH, MayProceed, Permission, Reply, SIGNATURE_HEADER, TURN_PATH, Turn, signed_bytes,
};
use ring::signature::{ED25519, UnparsedPublicKey};
use std::sync::Arc;

/// The router of the agent listener.
pub fn agent_router(me: Arc<Conductor>) -> Router {
    Router::new()
        .route(TURN_PATH, post(turn))
        .route(MAY_PROCEED_PATH, post(may_proceed))
        .layer(DefaultBodyLimit::max(4 << 20))
        .layer(axum::middleware::map_response(crate::problem::whole))
        .with_state(me)
}

async fn turn(State(me): State<Arc<Conductor>>, headers: HeaderMap, body: Bytes) -> Result<Json<Reply>, Problem> {
    let caller = verified(&headers, TURN_PATH, &body)?;
    let turn: Turn = serde_json::from_slice(&body).map_err(|error| Problem::bad(error.to_string()))?;
    Ok(Json(me.turn(caller, turn).await.map_err(away)?))
}

async fn may_proceed(
    State(me): State<Arc<Conductor>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Permission>, Problem> {
    let caller = verified(&headers, MAY_PROCEED_PATH, &body)?;
    let ask: MayProceed = serde_json::from_slice(&body).map_err(|error| Problem::bad(error.to_string()))?;
    Ok(Json(me.may_proceed(caller, ask).await.map_err(away)?))
}

/// Who signed this body. Nothing of the body is read before its signature holds.
fn verified(headers: &HeaderMap, path: &str, body: &[u8]) -> Result<Caller, Problem> {
    let refused = |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, "not-signed", "Who are you?", detail);
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let token = text(header::AUTHORIZATION.as_str()).and_then(|text| text.strip_prefix("Bearer "));
    let token = token.ok_or_else(|| refused("an agent sends its boot token as bearer"))?;
    let key = text(KEY_HEADER).and_then(unhex).ok_or_else(|| refused("an agent sends its public key"))?;
    let signature = text(SIGNATURE_HEADER).and_then(unhex).ok_or_else(|| refused("an agent signs its request"))?;
    UnparsedPublicKey::new(&ED25519, &key)
        .verify(&signed_bytes(path, body), &signature)
        .map_err(|_| refused("the signature does not hold"))?;
    Ok(Caller { token: sha256(token.as_bytes()), key })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) || text.len() > 256 {
        return None;
    }
    let pair = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(pair).collect()
}

fn away(error: TurnedAway) -> Problem {
    let detail = error.to_string();
    match error {
        TurnedAway::Token => Problem::new(StatusCode::UNAUTHORIZED, "bad-token", "This token is not valid", detail),
        TurnedAway::OtherKey => Problem::new(StatusCode::CONFLICT, "other-key", "This token has another key", detail),
        TurnedAway::Version => Problem::new(StatusCode::UPGRADE_REQUIRED, "version", "No common version", detail),
        TurnedAway::Later { source } => source.into(),
    }
}
