//! Reading a machine whole: carries out what [`Walk`] decides, two reads at a time (B7.12).

use super::inventory;
use super::visit::{Visit, ends};
use super::walk::{Step, Walk};
use crate::{Fault, Hardware, Kind, Running};
use muster_catalog::{Catalog, Resource};
use serde_json::Value;

/// So many reads in a row without an answer, and the BMC is gone rather than busy.
const MOST_SILENT: u32 = 3;

/// Told after each round of reads: how many are done.
pub type Progress<'a> = &'a (dyn Fn(usize) + Send + Sync);

/// Everything the BMC tells of the machine that the target means.
pub async fn inspect(visit: Visit<'_>, catalog: &Catalog, progress: Progress<'_>) -> Result<Hardware, Fault> {
    look(visit, catalog, progress, &[]).await
}

/// Which firmware runs, without the machine's parts.
pub async fn firmware(visit: Visit<'_>, catalog: &Catalog, progress: Progress<'_>) -> Result<Running, Fault> {
    let hardware = look(visit, catalog, progress, &[Resource::Firmware]).await?;
    Ok(Running { profile: hardware.bmc.profile, firmware: hardware.firmware, gaps: hardware.gaps })
}

/// `only`: what is read beside who is there; everything where it is empty.
async fn look(
    visit: Visit<'_>,
    catalog: &Catalog,
    progress: Progress<'_>,
    only: &'static [Resource],
) -> Result<Hardware, Fault> {
    let target = visit.target();
    let reader = Reader { visit };
    let (mut walk, mut missed) = (Walk::from_root(visit.root().await?), Missed::default());
    walk.only(only);
    reader.round(&mut walk, &mut missed, progress).await?;
    if [Resource::System, Resource::Chassis].iter().all(|kind| walk.of(*kind).next().is_none()) {
        let nothing = || Fault::Garbled("it tells of no system and of no chassis".into());
        return Err(missed.first.unwrap_or_else(nothing));
    }
    walk.choose(target.system.as_deref());
    let profile = catalog.recognise(&inventory::signs(&walk));
    if !walk.lead(profile.map(|profile| profile.link.clone()).unwrap_or_default()) {
        let named = inventory::tell(&walk, None).systems;
        let serials: Vec<String> = named.into_iter().filter_map(|system| system.serial.or(system.uuid)).collect();
        let wanted = target.system.as_deref().unwrap_or_default();
        return Err(Fault::Declined(format!("it serves no system {wanted}; it has: {}", serials.join(", "))));
    }
    reader.round(&mut walk, &mut missed, progress).await?;
    let mut hardware = inventory::tell(&walk, profile);
    hardware.bmc.tls_pin = visit.lane().seen.pin().map(|pin| pin.to_string());
    Ok(hardware)
}

struct Reader<'a> {
    visit: Visit<'a>,
}

impl Reader<'_> {
    async fn round(&self, walk: &mut Walk, missed: &mut Missed, progress: Progress<'_>) -> Result<(), Fault> {
        // The first goes alone: two at once would try a wrong password twice, and a third locks many an account (A5.6).
        let mut alone = true;
        while let Some(one) = walk.next() {
            let other = if alone { None } else { walk.next() };
            alone = false;
            let second = async {
                match &other {
                    Some(step) => Some(self.visit.get(&step.path).await),
                    None => None,
                }
            };
            let (first, second) = tokio::join!(self.visit.get(&one.path), second);
            missed.settle(walk, &one, first)?;
            if let (Some(step), Some(outcome)) = (&other, second) {
                missed.settle(walk, step, outcome)?;
            }
            progress(walk.reads());
        }
        Ok(())
    }
}

/// What could not be read so far.
#[derive(Default)]
struct Missed {
    /// Without an answer, in a row.
    silent: u32,
    first: Option<Fault>,
}

impl Missed {
    /// What one resource lacks is a gap; what the whole BMC lacks ends the walk.
    fn settle(&mut self, walk: &mut Walk, step: &Step, outcome: Result<Value, Fault>) -> Result<(), Fault> {
        let fault = match outcome {
            Ok(body) => {
                self.silent = 0;
                walk.read(step, body);
                return Ok(());
            }
            Err(fault) => fault,
        };
        self.silent = if fault.kind() == Kind::Unreachable { self.silent + 1 } else { 0 };
        if ends(&fault) || self.silent >= MOST_SILENT {
            return Err(fault);
        }
        let reason = match &fault {
            // The path stands beside it.
            Fault::NotOffered(said) => said.trim_start_matches(&step.path).trim_start_matches([':', ' ']).to_string(),
            fault => fault.to_string(),
        };
        walk.missed(step, reason);
        if !step.is_guess() {
            self.first.get_or_insert(fault);
        }
        Ok(())
    }
}
