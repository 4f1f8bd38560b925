//! What strangers leave behind goes by itself: tokens that were fetched and never used, MACs that were seen once, what is
//! remembered of agents that are gone.

use crate::error::store;
use crate::{Conductor, Error, rim};
use muster_names::Millis;
use muster_store::{boot_tokens, boots};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(300);
const DAY_MS: i64 = 86_400_000;
/// As long as boots are kept.
const TAPES: Duration = Duration::from_secs(90 * 86_400);
/// Ports whose boots are kept, those seen last first.
const MOST_MACS: u32 = 50_000;

/// Runs until `cancel`.
pub async fn tidy(me: Arc<Conductor>, cancel: CancellationToken) {
    while !cancel.is_cancelled() {
        if let Err(error) = me.tidy_once().await {
            tracing::warn!(error = %error, label = error.label(), "nothing was tidied up");
        }
        tokio::select! {
            () = cancel.cancelled() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

impl Conductor {
    /// One round.
    pub async fn tidy_once(&self) -> Result<(), Error> {
        let now = rim::now();
        let before = |millis: i64| Millis(now.0.saturating_sub(millis));
        self.boot_files().tidy(now);
        self.agents.tidy(before(DAY_MS));
        // The plain text of a token that its system has long called with, or never will.
        self.forget_resident_tokens();
        self.forget_series().await?;
        let tapes = self.consoles.tapes.clone();
        let forgotten = tokio::task::spawn_blocking(move || tapes.forget(TAPES)).await;
        if let Err(error) = forgotten.map_err(std::io::Error::other).flatten() {
            tracing::warn!(%error, "old recordings of consoles stay");
        }
        self.scribe
            .write(move |mut w| {
                Box::pin(async move {
                    crate::adoption::forget(&mut w).await?;
                    boot_tokens::forget(w.tx, Millis(w.now.0.saturating_sub(DAY_MS))).await.map_err(store)?;
                    boots::forget(w.tx, Millis(w.now.0.saturating_sub(90 * DAY_MS))).await.map_err(store)?;
                    boots::keep_newest(w.tx, MOST_MACS).await.map(drop).map_err(store)
                })
            })
            .await
    }
}
