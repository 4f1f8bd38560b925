//! The highest rate that a server holds: a window first, to learn where to look, then steps of a twentieth of that by
//! the clock until one fails; from one that fails at once, down until one holds.

use super::step::{Load, Outcome};
use anyhow::Result;
use serde_json::json;
use std::time::Duration;

/// At most this many steps up or down.
const STEPS: u32 = 14;
const DRAIN: Duration = Duration::from_secs(1);

/// The report of one server: the highest rate under one per cent drops, and what half of it costs.
pub fn highest(load: &mut Load, seconds: f64) -> Result<serde_json::Value> {
    load.closed(32, 0.5)?;
    let mut reached: f64 = 0.0;
    for window in [32, 256] {
        reached = reached.max(load.closed(window, seconds / 2.0)?.rate);
    }
    let step = (reached / 20.0).max(1.0);
    let first = step * 16.0;
    let mut tried = Vec::new();
    let mut rate = first;
    let mut best: Option<Outcome> = None;
    for _ in 0..STEPS {
        let outcome = load.open(rate, seconds)?;
        tried.push(outcome.json());
        match (outcome.holds(), best.is_some()) {
            (true, _) => best = Some(outcome),
            (false, true) => break,
            (false, false) => {
                // What it still has in its queue is not to be held against the next step.
                std::thread::sleep(DRAIN);
                rate *= 0.85;
                continue;
            }
        }
        // Once down, the first that holds is the one.
        if rate < first {
            break;
        }
        rate += step;
    }
    let best = best.unwrap_or_default();
    // The step that was too much has left its queue behind, too.
    std::thread::sleep(DRAIN);
    let half = if best.rate > 0.0 { load.open(best.asked_rate / 2.0, seconds)? } else { Outcome::default() };
    Ok(json!({ "closed": reached.round(), "best": best.json(), "half": half.json(), "tried": tried }))
}
