//! Figures for Prometheus, and two answers for load balancers.

use crate::App;
use crate::problem::Problem;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use muster_conductor::timeline::SECONDS;
use muster_store::{events, site, subjects};
use std::fmt::Write as _;

pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

pub(crate) async fn readyz(State(app): State<App>) -> Result<&'static str, Problem> {
    let mut tx = app.me.db.read().await?;
    events::head(&mut tx).await?;
    Ok("ready\n")
}

/// How long the stages of boots took, and what boots came to, since the daemon's start.
fn boots(app: &App, text: &mut String) {
    app.me.figures(|figures| {
        text.push_str(
            "# HELP muster_boot_stage_seconds How long the stages of boots took.\n\
             # TYPE muster_boot_stage_seconds histogram\n",
        );
        for (stage, histogram) in figures.stages() {
            let mut below = 0;
            for (count, bound) in histogram.counts.iter().zip(SECONDS) {
                below += count;
                let _ = writeln!(text, "muster_boot_stage_seconds_bucket{{stage=\"{stage}\",le=\"{bound}\"}} {below}");
            }
            let total = histogram.total();
            let (whole, rest) = (histogram.millis / 1000, histogram.millis % 1000);
            let _ = write!(
                text,
                "muster_boot_stage_seconds_bucket{{stage=\"{stage}\",le=\"+Inf\"}} {total}\n\
                 muster_boot_stage_seconds_sum{{stage=\"{stage}\"}} {whole}.{rest:03}\n\
                 muster_boot_stage_seconds_count{{stage=\"{stage}\"}} {total}\n"
            );
        }
        text.push_str(
            "# HELP muster_boot_diagnoses_total What boots came to.\n# TYPE muster_boot_diagnoses_total counter\n",
        );
        for (label, count) in figures.diagnoses() {
            let _ = writeln!(text, "muster_boot_diagnoses_total{{diagnosis=\"{label}\"}} {count}");
        }
    });
}

pub(crate) async fn metrics(State(app): State<App>) -> Result<impl IntoResponse, Problem> {
    let mut tx = app.me.db.read().await?;
    let mut text = String::from("# HELP muster_machines Machines by state.\n# TYPE muster_machines gauge\n");
    for (label, count) in subjects::count_by_label(&mut tx, "machine").await? {
        let _ = writeln!(text, "muster_machines{{state=\"{label}\"}} {count}");
    }
    let head = events::head(&mut tx).await?;
    let frozen = u8::from(site::frozen(&mut tx).await?.frozen);
    let _ = write!(
        text,
        "# HELP muster_events_total Events in the log.\n# TYPE muster_events_total counter\nmuster_events_total {}\n\
         # HELP muster_frozen Whether everything is frozen.\n# TYPE muster_frozen gauge\nmuster_frozen {frozen}\n\
         # HELP muster_sightings_dropped_total Entries of the boot timeline that found no room in the queue.\n\
         # TYPE muster_sightings_dropped_total counter\nmuster_sightings_dropped_total {}\n",
        head.seq.0,
        app.me.dropped_sightings(),
    );
    text.push_str("# HELP muster_conflicts Open conflicts on the boot networks.\n# TYPE muster_conflicts gauge\n");
    let open = app.me.open_conflicts();
    for kind in muster_conductor::CONFLICT_KINDS {
        let count = open.iter().filter(|conflict| conflict.kind == kind).count();
        let _ = writeln!(text, "muster_conflicts{{kind=\"{kind}\"}} {count}");
    }
    boots(&app, &mut text);
    crate::bmcs::figures(&app, &mut text);
    text.push_str(&(app.counters)());
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text))
}
