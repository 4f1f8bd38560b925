//! A bad cable between two tap interfaces, for a kernel that has no netem: it loses, doubles and holds back frames of both
//! directions, and says at its end how many.
//!
//! It knows nothing of what a frame carries: whoever speaks over it, with whatever protocol, speaks over the same cable.

mod link;
mod tap;

use anyhow::{Context, Result};
use link::{Line, Shares};
use muster_tests::told::Told;
use serde_json::json;
use std::io::Write as _;
use std::time::Instant;
use tap::{FRAME, Stop, Tap};

const USAGE: &str = "usage: hop left=TAP right=TAP seed=N [lost=5] [doubled=2] [held=5]
  Joins two taps that are there, until SIGTERM. Shares are of a hundred frames in each direction; `held` frames leave 20 ms
  late, behind what came meanwhile. The last line on standard output is JSON: for each tap, what became of its frames.";

/// So many frames of one end before the other end's turn.
const AT_ONCE: usize = 64;

fn main() -> Result<()> {
    let told = Told::read(std::env::args().skip(1), USAGE)?;
    let names: [String; 2] = [told.must("left")?, told.must("right")?];
    let seed: u64 = told.must("seed")?;
    let share = |key, usual| Ok::<u64, anyhow::Error>(told.maybe(key)?.unwrap_or(usual));
    let shares = Shares::new(share("lost", 5)?, share("doubled", 2)?, share("held", 5)?)?;
    let stop = Stop::new().context("cannot wait for signals")?;
    let [left, right] = &names;
    let taps = [Tap::open(left)?, Tap::open(right)?];
    let mut lines = [Line::new(shares, seed, 0), Line::new(shares, seed, 1)];
    writeln!(std::io::stdout(), "{left} and {right} are joined, seed {seed}")?;
    carry(&taps, &mut lines, &stop)?;
    let [from_left, from_right] = lines.map(|line| line.counts());
    writeln!(std::io::stdout(), "{}", json!({ "seed": seed, "from": { left: from_left, right: from_right } }))?;
    Ok(())
}

fn carry(taps: &[Tap; 2], lines: &mut [Line; 2], stop: &Stop) -> Result<()> {
    let [left, right] = taps;
    let began = Instant::now();
    let mut room = [0; FRAME];
    loop {
        let wake = lines.iter().filter_map(Line::wake).min();
        if tap::wait(taps, stop, wake.map(|wake| wake.saturating_sub(began.elapsed())))? {
            return Ok(());
        }
        for ((from, to), line) in [(left, right), (right, left)].into_iter().zip(lines.iter_mut()) {
            line.release(began.elapsed(), &mut |frame| to.send(frame));
            for _ in 0..AT_ONCE {
                let Some(frame) = from.receive(&mut room).context("an end of the cable is gone")? else { break };
                line.take(began.elapsed(), frame, &mut |frame| to.send(frame));
            }
        }
    }
}
