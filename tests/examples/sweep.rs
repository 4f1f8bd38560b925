//! `sweep power|inspect FIRST COUNT [ROUNDS]`: what a daemon that goes on watching asks of many BMCs, round after round in
//! one process: the first round logs in, the others find their sessions. Prints a line of JSON a round.
//!
//! FIRST is `ipmi://127.4.0.1` or `https://127.5.0.1`; the others count on from it.

#![allow(clippy::print_stdout, reason = "a program for measuring")]

use anyhow::{Context as _, Result, bail};
use muster_bmc::{Bmcs, Protocol, Secret, Settings, Target};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinSet;

const USAGE: &str = "usage: sweep power|inspect ipmi://ADDRESS|https://ADDRESS COUNT [ROUNDS]";

#[tokio::main]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [verb, first, count, rest @ ..] = words.as_slice() else { bail!("{USAGE}") };
    let rounds: usize = rest.first().map_or(Ok(1), |text| text.parse()).context(USAGE)?;
    let (scheme, first) = first.split_once("://").context(USAGE)?;
    let first: Ipv4Addr = first.parse().context(USAGE)?;
    let targets: Vec<Target> = (0..count.parse().context(USAGE)?)
        .map(|n| {
            let host = Ipv4Addr::from_bits(first.to_bits() + n);
            let (protocol, address) = match scheme {
                "ipmi" => (Protocol::Ipmi, host.to_string()),
                _ => (Protocol::Redfish, format!("{scheme}://{host}")),
            };
            Target::new(protocol, address, "admin", Secret::new("secret"))
        })
        .collect();
    let texts = muster_tests::data_files::data_files()
        .into_iter()
        .filter(|(name, _)| name.contains("bmcs/"))
        .collect::<Vec<_>>();
    let catalog = Arc::new(muster_catalog::read(&texts).map_err(|slips| anyhow::anyhow!("{slips:?}"))?);
    // Sessions stay open from round to round, as a watch that comes by in time keeps them.
    let bmcs = Bmcs::new(Settings { idle_close: std::time::Duration::from_secs(600), ..Settings::default() });
    for round in 0..rounds {
        let (begun, mut asked) = (Instant::now(), JoinSet::new());
        for target in targets.clone() {
            let (bmcs, catalog, inspects) = (bmcs.clone(), catalog.clone(), verb == "inspect");
            asked.spawn(async move {
                let reading = async {
                    if inspects {
                        bmcs.inspect(&target, &catalog, &|_| {}).await.map(|found| found.memory.len())
                    } else {
                        bmcs.power(&target).await.map(|_| 0)
                    }
                };
                let read = bmcs.among_many(&target, reading).await;
                (begun.elapsed().as_secs_f64(), read)
            });
        }
        let (mut good, mut last, mut parts) = (0, 0.0_f64, 0);
        while let Some(one) = asked.join_next().await {
            if let (at, Ok(found)) = one? {
                good += 1;
                parts += found;
                last = last.max(at);
            }
        }
        let pace = bmcs.pace();
        println!(
            "{}",
            serde_json::json!({"round": round, "bmcs": targets.len(), "answered": good, "seconds": last, "parts": parts,
                "all_seconds": begun.elapsed().as_secs_f64(), "at_once": pace.at_once, "late": pace.late})
        );
    }
    bmcs.close_all().await;
    Ok(())
}
