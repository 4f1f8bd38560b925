//! The event log: a page, a stream that never skips, a proof that nothing was altered.

use crate::policy::Who;
use crate::problem::Problem;
use crate::{App, tokens};
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use muster_conductor::Error;
use muster_names::{Digest, Epoch, Millis, Seq};
use muster_store::events;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Semaphore;

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct EventShown {
    pub seq: Seq,
    pub at: Millis,
    /// `machine/0123...` or `site`.
    pub subject: String,
    /// A past participle: `install-reported`.
    pub kind: String,
    pub actor: String,
    pub epoch: Epoch,
    pub cause: String,
    pub body: serde_json::Value,
    pub hash: Digest,
}

pub(crate) fn shown(row: muster_store::Logged) -> EventShown {
    EventShown {
        seq: row.seq,
        at: row.at,
        subject: row.subject.to_string(),
        kind: row.kind,
        actor: row.actor,
        epoch: row.epoch,
        cause: row.cause.0,
        body: serde_json::from_str(&row.body).unwrap_or_default(),
        hash: row.hash,
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct After {
    #[serde(default)]
    after: i64,
    #[serde(default)]
    limit: Option<u32>,
}

const PAGE: u32 = 500;

pub(crate) async fn page(State(app): State<App>, Query(query): Query<After>) -> Result<Json<Vec<EventShown>>, Problem> {
    let mut tx = app.me.db.read().await?;
    let limit = query.limit.unwrap_or(PAGE).clamp(1, 1000);
    let rows = events::events(&mut tx, Seq(query.after), limit, None).await?;
    Ok(Json(rows.into_iter().map(shown).collect()))
}

/// Server-sent events after a number, or after the `Last-Event-ID` that a browser sends when it comes back. The stream is
/// read from the log page by page: a slow reader loses nothing and holds nothing up.
pub(crate) async fn stream(
    State(app): State<App>,
    Extension(who): Extension<Who>,
    headers: HeaderMap,
    Query(query): Query<After>,
) -> Response {
    let Ok(seat) = STREAMS.try_acquire() else {
        let detail = format!("{MOST_STREAMS} streams are open already; ask for pages at /api/v1/log");
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "later", "Try again", detail).into_response();
    };
    let resumed = headers.get("last-event-id").and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    let after = Seq(resumed.unwrap_or(query.after));
    let (mut writer, reader) = tokio::io::duplex(64 * 1024);
    tokio::spawn(async move {
        let _seat = seat;
        // Ends when the reader has gone or takes nothing, when its token is over, or when the database is away.
        if let Err(error) = feed(&app, &who, after, &mut writer).await {
            tracing::debug!(%error, "an event stream ended");
        }
    });
    let body = Body::from_stream(tokio_util::io::ReaderStream::new(reader));
    ([(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")], body).into_response()
}

const MOST_STREAMS: usize = 512;
static STREAMS: Semaphore = Semaphore::const_new(MOST_STREAMS);
/// A reader that takes nothing for so long comes again with the last number it has.
const STALLED: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_secs(15);

async fn put(writer: &mut tokio::io::DuplexStream, text: &str) -> std::io::Result<()> {
    tokio::time::timeout(STALLED, writer.write_all(text.as_bytes())).await?
}

async fn feed(app: &App, who: &Who, mut after: Seq, writer: &mut tokio::io::DuplexStream) -> std::io::Result<()> {
    let mut newest = app.me.follow();
    let mut looked = Instant::now();
    loop {
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            // A token that was revoked ends its streams too.
            let still = tokens::by_digest(app, who.token).await;
            if !matches!(still, Ok(Some(_))) {
                return Ok(());
            }
        }
        newest.borrow_and_update();
        let rows = {
            let mut tx = app.me.db.read().await.map_err(std::io::Error::other)?;
            events::events(&mut tx, after, PAGE, None).await.map_err(std::io::Error::other)?
        };
        if rows.is_empty() {
            let waited = tokio::time::timeout(LOOK, newest.changed()).await;
            match waited {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Ok(()),
                // Keeps proxies and readers from giving up.
                Err(_) => put(writer, ": still here\n\n").await?,
            }
            continue;
        }
        for row in rows {
            after = row.seq;
            let kind = row.kind.clone();
            let data = serde_json::to_string(&shown(row)).map_err(std::io::Error::other)?;
            put(writer, &format!("id: {}\nevent: {kind}\ndata: {data}\n\n", after.0)).await?;
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Verified {
    pub whole: bool,
    pub rows: u64,
    /// The first row that does not fit, and why.
    pub broken: Option<String>,
}

pub(crate) async fn verify(State(app): State<App>) -> Result<Json<Verified>, Problem> {
    let (mut after, mut rows) = (Seq(0), 0);
    loop {
        let mut tx = app.me.db.read().await?;
        let found = events::verify(&mut tx, after, 5000).await.map_err(|source| Error::Store { source })?;
        match found {
            Err(broken) => {
                let broken = Some(format!("event {}: {}", broken.seq.0, broken.why));
                return Ok(Json(Verified { whole: false, rows, broken }));
            }
            Ok(checked) => {
                rows += checked.rows;
                if checked.whole || checked.upto == after {
                    return Ok(Json(Verified { whole: checked.whole, rows, broken: None }));
                }
                after = checked.upto;
            }
        }
    }
}
