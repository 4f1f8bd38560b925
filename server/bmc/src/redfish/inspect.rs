//! Reading a machine whole: carries out what [`Walk`] decides, two reads at a time (B7.12).

use super::walk::{Step, Walk};
use super::{Connection, inventory};
use crate::lane::Lane;
use crate::{Fault, Hardware, Inner, Kind, Target};
use muster_catalog::Catalog;
use serde_json::Value;

/// So many reads in a row without an answer, and the BMC is gone rather than busy.
const MOST_SILENT: u32 = 3;

/// Told after each round of reads: how many are done.
pub type Progress<'a> = &'a (dyn Fn(usize) + Send + Sync);

/// Everything the BMC tells of the machine that the target means.
pub async fn inspect(
    engine: &Inner,
    lane: &Lane,
    target: &Target,
    catalog: &Catalog,
    progress: Progress<'_>,
) -> Result<Hardware, Fault> {
    let reader = Reader { engine, lane, target };
    let mut walk = Walk::from_root(reader.root().await?);
    reader.round(&mut walk, progress).await?;
    walk.choose(target.system.as_deref());
    let profile = catalog.recognise(&inventory::signs(&walk));
    if !walk.lead(profile.map(|profile| profile.link.clone()).unwrap_or_default()) {
        let named = inventory::tell(&walk, None).systems;
        let serials: Vec<String> = named.into_iter().filter_map(|system| system.serial.or(system.uuid)).collect();
        let wanted = target.system.as_deref().unwrap_or_default();
        return Err(Fault::Declined(format!("it serves no system {wanted}; it has: {}", serials.join(", "))));
    }
    reader.round(&mut walk, progress).await?;
    let mut hardware = inventory::tell(&walk, profile);
    hardware.bmc.tls_pin = lane.seen.pin().map(|pin| pin.to_string());
    Ok(hardware)
}

struct Reader<'a> {
    engine: &'a Inner,
    lane: &'a Lane,
    target: &'a Target,
}

impl Reader<'_> {
    async fn root(&self) -> Result<Value, Fault> {
        let settings = &self.engine.settings;
        let reading = async { Ok(self.connection().await?.root(self.lane).await?.body) };
        self.lane.run(settings, reading).await
    }

    async fn connection(&self) -> Result<Connection, Fault> {
        self.lane.connection(self.engine, self.target).await
    }

    async fn read(&self, step: &Step) -> Result<Value, Fault> {
        let reading = async {
            let turn = self.lane.redfish_read(self.engine, self.target).await?;
            Ok(turn.get(&step.path).await?.body)
        };
        self.lane.run(&self.engine.settings, reading).await
    }

    async fn round(&self, walk: &mut Walk, progress: Progress<'_>) -> Result<(), Fault> {
        let mut silent = 0;
        while let Some(one) = walk.next() {
            let other = walk.next();
            let second = async {
                match &other {
                    Some(step) => Some(self.read(step).await),
                    None => None,
                }
            };
            let (first, second) = tokio::join!(self.read(&one), second);
            settle(walk, &one, first, &mut silent)?;
            if let (Some(step), Some(outcome)) = (&other, second) {
                settle(walk, step, outcome, &mut silent)?;
            }
            progress(walk.reads());
        }
        Ok(())
    }
}

/// What one resource lacks is a gap; what the whole BMC lacks ends the walk.
fn settle(walk: &mut Walk, step: &Step, outcome: Result<Value, Fault>, silent: &mut u32) -> Result<(), Fault> {
    let fault = match outcome {
        Ok(body) => {
            *silent = 0;
            walk.read(step, body);
            return Ok(());
        }
        Err(fault) => fault,
    };
    *silent = if fault.kind() == Kind::Unreachable { *silent + 1 } else { 0 };
    let ends = matches!(
        fault,
        Fault::Login
            | Fault::LoginsHeld(_)
            | Fault::ForeignKey { .. }
            | Fault::PlainHttp
            | Fault::NoSlot
            | Fault::Resting(_)
    );
    if ends || *silent >= MOST_SILENT {
        return Err(fault);
    }
    let reason = match fault {
        // The path stands beside it.
        Fault::NotOffered(said) => said.trim_start_matches(&step.path).trim_start_matches([':', ' ']).to_string(),
        fault => fault.to_string(),
    };
    walk.missed(step, reason);
    Ok(())
}
