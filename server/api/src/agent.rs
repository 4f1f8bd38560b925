//! The agents' door, on a listener of its own: a bearer token, a key, and a signature over path and body. By it BMCs tell of
//! events too, known by an address that was told to them alone.

use crate::problem::Problem;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use axum::{Json, Router};
use muster_conductor::{Caller, Conductor, EVENTS_PATH, TurnedAway, sha256};
use muster_wire::{
    KEY_HEADER, MAY_PROCEED_PATH, MayProceed, Permission, Reply, SIGNATURE_HEADER, TURN_PATH, Turn, signed_bytes,
};
use ring::signature::{ED25519, UnparsedPublicKey};
use std::sync::Arc;
use std::time::Duration;

/// The router of the agent listener.
pub fn agent_router(me: Arc<Conductor>) -> Router {
    Router::new()
        .route(TURN_PATH, post(turn))
        .route(MAY_PROCEED_PATH, post(may_proceed))
        .route(&format!("{EVENTS_PATH}{{token}}"), post(event_pushed))
        .layer(axum::middleware::map_response(crate::problem::whole))
        .with_state(me)
}

async fn turn(State(me): State<Arc<Conductor>>, request: Request) -> Result<Json<Reply>, Problem> {
    let (caller, body) = heard(&me, TURN_PATH, request).await?;
    let turn: Turn = serde_json::from_slice(&body).map_err(|error| Problem::bad(error.to_string()))?;
    Ok(Json(me.turn(caller, turn).await.map_err(away)?))
}

async fn may_proceed(State(me): State<Arc<Conductor>>, request: Request) -> Result<Json<Permission>, Problem> {
    let (caller, body) = heard(&me, MAY_PROCEED_PATH, request).await?;
    let ask: MayProceed = serde_json::from_slice(&body).map_err(|error| Problem::bad(error.to_string()))?;
    Ok(Json(me.may_proceed(caller, ask).await.map_err(away)?))
}

/// An event is some KB.
const MOST_EVENT: usize = 64 << 10;

/// What a BMC sends is thrown away: it says that there is something to read in its log. It is heard out all the same, since
/// one that is cut off counts that as a failure.
async fn event_pushed(
    State(me): State<Arc<Conductor>>,
    Path(token): Path<String>,
    request: Request,
) -> Result<StatusCode, Problem> {
    if !me.event_pushed(&token).await? {
        return Err(Problem::not_found("no BMC was told to send its events here"));
    }
    let _ = tokio::time::timeout(BODY, to_bytes(request.into_body(), MOST_EVENT)).await;
    Ok(StatusCode::NO_CONTENT)
}

/// A machine with hundreds of parts describes itself in some 200 KB.
const MOST_BODY: usize = 4 << 20;
const BODY: Duration = Duration::from_secs(30);

/// Reads a request whose token is known: anybody may connect here, and memory is for those who were given a token.
async fn heard(me: &Conductor, path: &str, request: Request) -> Result<(Caller, Bytes), Problem> {
    let (parts, body) = request.into_parts();
    if !me.knows_token(&sha256(token_of(&parts.headers)?.as_bytes())).await? {
        return Err(away(TurnedAway::Token));
    }
    let slow = || {
        let detail = format!("the body did not come within {} s", BODY.as_secs());
        Problem::new(StatusCode::REQUEST_TIMEOUT, "slow", "Too slow", detail)
    };
    let read = tokio::time::timeout(BODY, to_bytes(body, MOST_BODY)).await.map_err(|_| slow())?;
    let body = read.map_err(|_| {
        let detail = format!("an agent's request has at most {MOST_BODY} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Too large", detail)
    })?;
    Ok((verified(&parts.headers, path, &body)?, body))
}

fn refused(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "not-signed", "Who are you?", detail)
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn token_of(headers: &HeaderMap) -> Result<&str, Problem> {
    let token = text(headers, header::AUTHORIZATION.as_str()).and_then(|text| text.strip_prefix("Bearer "));
    token.ok_or_else(|| refused("an agent sends its boot token as bearer"))
}

/// Who signed this body. Nothing of the body is read before its signature holds.
fn verified(headers: &HeaderMap, path: &str, body: &[u8]) -> Result<Caller, Problem> {
    let token = token_of(headers)?;
    let key = text(headers, KEY_HEADER).and_then(unhex).ok_or_else(|| refused("an agent sends its public key"))?;
    let signature =
        text(headers, SIGNATURE_HEADER).and_then(unhex).ok_or_else(|| refused("an agent signs its request"))?;
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
