//! A machine's console over a WebSocket, and what was recorded of it.
//!
//! A binary message is text, in both directions. A message of text is JSON: `{"note": "..."}` and `{"end": "..."}` from
//! here, `{"break": true}` from the client. Whoever may read may look; typing, and taking a console from others, takes
//! what else changes machines takes.

use crate::machines::id_of;
use crate::policy::{Role, Who};
use crate::problem::Problem;
use crate::{App, tokens};
use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use muster_conductor::console::{Line, Said, Seat, Shown, Visitor, lines};
use muster_names::Millis;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

const MOST_SEATS: usize = 512;
const MOST_OF_ONE: usize = 64;
const LEAVING: Duration = Duration::from_secs(2);
static SEATS: Semaphore = Semaphore::const_new(MOST_SEATS);
/// Keys come in small pieces; a paste in some larger ones.
const LONGEST: usize = 64 * 1024;
/// Between two words that keep proxies from giving up, and looks at the token.
const LOOK: Duration = Duration::from_secs(15);
/// A reader whose connection takes nothing for so long has gone.
const STALLED: Duration = Duration::from_secs(30);

/// Who may type.
pub(crate) const WRITERS: [Role; 3] = [Role::Operator, Role::Approver, Role::Admin];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SitQuery {
    /// Look on alone, whatever the token may do.
    #[serde(default)]
    read_only: bool,
    /// Take it from another session of the BMC, and the keyboard from another writer here.
    #[serde(default)]
    take_over: bool,
}

/// A place of one token's, so that nobody takes all there are.
struct Chair(String);

static TAKEN: Mutex<BTreeMap<String, usize>> = Mutex::new(BTreeMap::new());

impl Chair {
    fn take(name: &str) -> Option<Self> {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(name.to_owned()).or_default();
        (*count < MOST_OF_ONE).then(|| {
            *count += 1;
            Self(name.to_owned())
        })
    }
}

impl Drop for Chair {
    fn drop(&mut self) {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.0) {
            *count -= 1;
        }
        taken.retain(|_, count| *count > 0);
    }
}

pub(crate) async fn sit(
    State(app): State<App>,
    Extension(who): Extension<Who>,
    Path(id): Path<String>,
    Query(query): Query<SitQuery>,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(|_| {
        Problem::bad("this is a WebSocket (RFC 6455): ask for an upgrade; `muster console MACHINE` does")
    })?;
    let id = id_of(&id)?;
    let may_write = WRITERS.contains(&who.role);
    if query.take_over && !may_write {
        let detail = format!("{} has the role {}; to take a console over takes operator", who.name, who.role.word());
        return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", "Not with this token", detail));
    }
    let chair = Chair::take(&who.name).ok_or_else(|| {
        let detail = format!("{} has {MOST_OF_ONE} places at consoles already; leave one", who.name);
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "later", "Try again", detail)
    })?;
    let seat = SEATS.try_acquire().map_err(|_| {
        let detail = format!("{MOST_SEATS} places at consoles are taken already; leave one");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "later", "Try again", detail)
    })?;
    let visitor =
        Visitor { name: who.name.clone(), may_write: may_write && !query.read_only, take_over: query.take_over };
    let console = app.me.join_console(id, visitor).await?;
    let limited = upgrade.max_message_size(LONGEST).max_frame_size(LONGEST);
    Ok(limited.on_upgrade(async move |socket| {
        let _seats = (seat, chair);
        carry(&app, &who, console, socket).await;
        // Who comes and goes without end fills the event log no faster than this.
        tokio::time::sleep(LEAVING).await;
    }))
}

/// Until one side ends it, the token is over, or the connection takes nothing.
async fn carry(app: &App, who: &Who, mut console: Seat, mut socket: WebSocket) {
    let mut look = tokio::time::interval(LOOK);
    loop {
        let message = tokio::select! {
            shown = console.shown() => match shown {
                Some(Shown::Text(bytes)) => Message::Binary(bytes.into()),
                Some(Shown::Note(text)) => json(&serde_json::json!({ "note": text })),
                Some(Shown::End(text)) => {
                    let _ = put(&mut socket, json(&serde_json::json!({ "end": text }))).await;
                    break;
                }
                None => break,
            },
            typed = socket.recv() => match typed {
                Some(Ok(Message::Binary(bytes))) => {
                    console.write(bytes.to_vec()).await;
                    continue;
                }
                Some(Ok(Message::Text(text))) => {
                    if serde_json::from_str::<Asked>(&text).is_ok_and(|asked| asked.r#break) {
                        console.send_break().await;
                        continue;
                    }
                    json(&serde_json::json!({ "note": "this message does not read: expected {\"break\": true}" }))
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
            },
            _ = look.tick() => {
                if !matches!(tokens::by_digest(app, who.token).await, Ok(Some(_))) {
                    let _ = put(&mut socket, json(&serde_json::json!({ "end": "the token is not valid any more" }))).await;
                    break;
                }
                Message::Ping(Bytes::new())
            }
        };
        if !put(&mut socket, message).await {
            break;
        }
    }
    let _ = put(&mut socket, Message::Close(None)).await;
}

async fn put(socket: &mut WebSocket, message: Message) -> bool {
    matches!(tokio::time::timeout(STALLED, socket.send(message)).await, Ok(Ok(())))
}

fn json(value: &serde_json::Value) -> Message {
    Message::Text(value.to_string().into())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    r#break: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedQuery {
    /// Milliseconds since 1970; all that is kept without it.
    #[serde(default)]
    since: i64,
    #[serde(default = "ever")]
    until: i64,
    /// The bytes as the machine sent them, instead of JSON.
    #[serde(default)]
    raw: bool,
}

fn ever() -> i64 {
    i64::MAX
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct LineShown {
    pub at: Millis,
    /// Without the orders to a terminal.
    pub text: String,
    /// Not of the machine: who came and left, what was lost.
    pub note: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Recorded {
    /// Of the machine's text.
    pub bytes: usize,
    pub first: Option<Millis>,
    pub last: Option<Millis>,
    /// Older text was recorded and had to go.
    pub cut: bool,
    /// Oldest first.
    pub lines: Vec<LineShown>,
}

pub(crate) fn shown(line: Line) -> LineShown {
    LineShown { at: line.at, text: line.text, note: line.note }
}

pub(crate) async fn recorded(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<RecordedQuery>,
) -> Result<Response, Problem> {
    let id = id_of(&id)?;
    let recording = app.me.recorded_console(id, Millis(query.since), Millis(query.until)).await?;
    let text =
        || recording.pieces.iter().filter_map(|one| if let Said::Text(text) = &one.what { Some(text) } else { None });
    if query.raw {
        let bytes: Vec<u8> = text().flatten().copied().collect();
        return Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response());
    }
    let at = |piece: Option<&muster_conductor::console::Piece>| piece.map(|piece| piece.at);
    Ok(Json(Recorded {
        bytes: text().map(Vec::len).sum(),
        first: at(recording.pieces.first()),
        last: at(recording.pieces.last()),
        cut: recording.cut,
        lines: lines(&recording.pieces).into_iter().map(shown).collect(),
    })
    .into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_token_has_so_many_places_and_leaving_frees_them() {
        let mut taken: Vec<Chair> = (0..MOST_OF_ONE).filter_map(|_| Chair::take("ann")).collect();
        assert_eq!(taken.len(), MOST_OF_ONE);
        assert!(Chair::take("ann").is_none() && Chair::take("bob").is_some());
        taken.pop();
        assert!(Chair::take("ann").is_some());
    }
}
