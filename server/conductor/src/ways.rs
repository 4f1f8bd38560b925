//! Which way a boot into the agent goes: what was chosen is frozen in the act, what came of it is kept with the machine, and
//! every change from one way to the next is in the log.
//!
//! The choice itself is `muster_lifecycle::ways`. Two things end a way: the deadline of the state that ordered the boot, and
//! the BMC's clear no, after which the act goes on with the next way before anything was powered.

use crate::apply::{self, ActBody};
use crate::error::store;
use crate::facts::{Known, known, state_of};
use crate::hand::Lead;
use crate::procedure::{Log, Refused};
use crate::scribe::Write;
use crate::{BmcOf, Conductor, Error, Medium, media, probing};
use futures_core::future::BoxFuture;
use muster_catalog::Catalog;
use muster_lifecycle::{Came, Tried, What, ways};
use muster_names::{Architecture, BootTarget, Digest, Epoch, Inventory, Key, MachineId, Millis, Way};
use muster_store::{boot_tokens, machines};
use std::sync::Arc;

/// Where a boot may lead, as its BMC is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Led {
    pub leads: Vec<Lead>,
    /// The order of the act, with what could not be made of it.
    ways: Vec<(Way, Option<String>)>,
}

/// What the act's frozen ways are in this site's addresses.
pub(crate) fn led(me: &Conductor, machine: &Known, act: &ActBody) -> Led {
    let inventory = machine.record.inventory.as_deref();
    let inventory = inventory.and_then(|text| serde_json::from_str::<Inventory>(text).ok());
    let architecture = inventory.and_then(|inventory| inventory.architecture).unwrap_or_default();
    leads(&me.catalog(), &me.settings.boot_http, architecture, act)
}

fn leads(catalog: &Catalog, base: &str, architecture: Architecture, act: &ActBody) -> Led {
    match act.what {
        What::BootInto { target: BootTarget::Disk } => return Led { leads: vec![Lead::Disk], ways: Vec::new() },
        What::BootInto { target: BootTarget::Agent } => {}
        What::PowerOff | What::PowerCycle => return Led::default(),
    }
    let address = |loader: &muster_catalog::Loader| format!("{base}/boot/{}", loader.file);
    let lead = |way: &Way| match way {
        Way::Pxe => Ok(Lead::Pxe),
        Way::Http => match catalog.http_loader(architecture) {
            Some(loader) => Ok(Lead::Http(address(loader))),
            None => Err(format!("no loader is for UEFI HTTP boot of {architecture}")),
        },
        Way::VirtualMedia => match catalog.disc(architecture) {
            Some(loader) => Ok(Lead::Disc(address(loader))),
            None => Err(format!("no loader is a boot disc for {architecture}")),
        },
    };
    let wanted: &[Way] = if act.ways.is_empty() { &[Way::Pxe] } else { &act.ways };
    let all: Vec<(Way, Result<Lead, String>)> = wanted.iter().map(|way| (*way, lead(way))).collect();
    let mut leads: Vec<Lead> = all.iter().filter_map(|(_, lead)| lead.clone().ok()).collect();
    if leads.is_empty() {
        // What no file is there for is as good as any: firmware is answered by whatever the network has.
        leads.push(Lead::Pxe);
    }
    Led { leads, ways: all.into_iter().map(|(way, lead)| (way, lead.err())).collect() }
}

/// The ways of a boot that is being ordered; a change from the last one is written down.
pub(crate) async fn chosen(w: &mut Write<'_>, machine: &Known) -> Result<Vec<Way>, Error> {
    let tried = machine.kept.way.as_ref();
    let order = ways(&machine.ways, tried);
    if let (Some(tried), Some(first)) = (tried.filter(|tried| tried.came == Came::Missed), order.first())
        && *first != tried.way
    {
        let why = format!("not seen for {}", span(w.now.0.saturating_sub(tried.since.0)));
        changed(w, machine.record.id, tried.epoch, (tried.way, *first, &why)).await?;
    }
    Ok(order)
}

/// `40 s`, `10 min`
fn span(millis: i64) -> String {
    match millis / 1000 {
        seconds @ ..120 => format!("{} s", seconds.max(0)),
        seconds => format!("{} min", seconds / 60),
    }
}

async fn changed(
    w: &mut Write<'_>,
    id: MachineId,
    epoch: Epoch,
    (from, to, why): (Way, Way, &str),
) -> Result<(), Error> {
    tracing::warn!(machine = %id, %from, %to, why, "the way into a machine changes");
    let word = serde_json::to_value(from).unwrap_or_default();
    let cause = format!("way/{}/{}", epoch.0, word.as_str().unwrap_or_default());
    let detail = serde_json::json!({ "from": from, "to": to, "why": why });
    apply::note(w, id, &cause, "way-changed", "conductor", detail).await.map(drop)
}

/// The time of a state has passed: a boot that it ordered, and of which nothing was seen, was missed.
pub(crate) async fn missed(w: &mut Write<'_>, machine: &mut Known, epoch: Epoch) -> Result<(), Error> {
    let Some(tried) = machine.kept.way.clone() else { return Ok(()) };
    let after = tried.clone().after_deadline(epoch);
    if after == tried {
        return Ok(());
    }
    machine.kept.way = Some(after);
    apply::keep(w, &mut machine.record, &machine.kept).await
}

/// A boot that began with a script at `scripted` is the machine's: whether it is the one that was ordered last.
pub(crate) async fn arrived(w: &mut Write<'_>, machine: &mut Known, scripted: Millis) -> Result<bool, Error> {
    let Some(tried) = machine.kept.way.as_mut().filter(|tried| tried.since <= scripted) else { return Ok(false) };
    if tried.came == Came::Awaited {
        tried.came = Came::Arrived;
        apply::keep(w, &mut machine.record, &machine.kept).await?;
    }
    Ok(true)
}

/// Its agent speaks, from RAM. By the time of its token it is told from one left over of an earlier boot, under which a disc
/// must not be ejected that the next boot shall read; and a machine whose ports nobody knew has arrived only now.
pub(crate) async fn spoke(w: &mut Write<'_>, catalog: &Catalog, id: MachineId, token: Digest) -> Result<(), Error> {
    let mut machine = known(w.tx, catalog, id).await?;
    if machine.kept.way.is_none() {
        return Ok(());
    }
    let row = boot_tokens::lookup(w.tx, token).await.map_err(store)?;
    if let Some(row) = row
        && arrived(w, &mut machine, row.created).await?
    {
        media::ask(w, &machine).await?;
    }
    Ok(())
}

/// Writes down which way a boot goes.
pub(crate) struct Journey<'a> {
    pub me: &'a Arc<Conductor>,
    pub id: MachineId,
    pub key: &'a Key,
    pub bmc: &'a BmcOf,
    pub led: &'a Led,
}

impl Log for Journey<'_> {
    /// A disc is written down before the BMC hears of it: whatever becomes of this courier, it is ejected.
    fn tries<'a>(&'a self, lead: &'a Lead) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let Lead::Disc(image) = lead else { return true };
            let image = image.clone();
            self.keep(move |machine, now| {
                machine.kept.medium = Some(Medium { image, since: now, left: None });
            })
            .await
        })
    }

    fn outlived(&self, held: bool) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Err(error) = probing::outlived(self.me, self.id, held).await {
                tracing::warn!(machine = %self.id, error = %error, "what its BMC does was not kept");
            }
        })
    }

    fn took<'a>(&'a self, lead: &'a Lead, refused: &'a [Refused]) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let epoch = self.key.epoch;
            let way = lead.way();
            let kept = self.keep(move |machine, now| {
                let Some(way) = way else { return };
                let same = |tried: &Tried| (tried.way, tried.epoch) == (way, epoch);
                if !machine.kept.way.as_ref().is_some_and(same) {
                    machine.kept.way = Some(Tried { way, epoch, since: now, came: Came::Awaited });
                }
            });
            if !kept.await || !self.note(lead, refused).await {
                return false;
            }
            if !matches!(lead, Lead::Disc(_)) {
                media::clear(self.me, self.id, self.bmc).await;
            }
            true
        })
    }
}

impl Journey<'_> {
    /// Changes what is kept of the machine, while the state that ordered the boot stands.
    async fn keep(&self, change: impl FnOnce(&mut Known, Millis) + Send + 'static) -> bool {
        let (me, id, epoch) = (self.me.clone(), self.id, self.key.epoch);
        let written = self.me.scribe.write(move |mut w| {
            Box::pin(async move {
                let mut machine = known(w.tx, &me.catalog(), id).await?;
                if machine.facts.epoch != epoch {
                    return Ok(false);
                }
                change(&mut machine, w.now);
                apply::keep(&mut w, &mut machine.record, &machine.kept).await?;
                Ok(true)
            })
        });
        written.await.unwrap_or(false)
    }

    /// What the BMC refused on the way, and what it shows now.
    async fn note(&self, lead: &Lead, refused: &[Refused]) -> bool {
        let mut steps: Vec<(Way, Way, String)> = Vec::new();
        let next = |at: usize| self.led.ways.get(at + 1).map(|(way, _)| *way);
        for (at, (way, unusable)) in self.led.ways.iter().enumerate() {
            if Some(*way) == lead.way() {
                break;
            }
            let said = refused.iter().find(|one| one.lead.way() == Some(*way));
            let said = said.map(|one| format!("its BMC refused it: {}", one.why));
            if let (Some(why), Some(next)) = (said.or_else(|| unusable.clone()), next(at)) {
                steps.push((*way, next, why));
            }
        }
        let disc = if let Lead::Disc(image) = lead { Some(image.clone()) } else { None };
        let (id, key) = (self.id, self.key.clone());
        let written = self.me.scribe.write(move |mut w| {
            Box::pin(async move {
                let (_, epoch) = state_of(w.tx, id).await?;
                for (from, to, why) in &steps {
                    changed(&mut w, id, epoch, (*from, *to, why)).await?;
                }
                if let Some(image) = disc {
                    let cause = format!("inserted/{}/{}", key.epoch.0, key.slot);
                    let detail = serde_json::json!({ "image": image });
                    apply::note(&mut w, id, &cause, "medium-inserted", "courier", detail).await?;
                }
                machines::get(w.tx, id).await.map_err(store).map(|found| found.is_some())
            })
        });
        written.await.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(target: BootTarget, ways: &[Way]) -> ActBody {
        ActBody { what: What::BootInto { target }, requester: "ops".into(), ways: ways.to_vec() }
    }

    fn catalog() -> Catalog {
        muster_catalog::read(&muster_tests::data_files::data_files()).unwrap()
    }

    const ALL: [Way; 3] = [Way::Pxe, Way::Http, Way::VirtualMedia];
    const BASE: &str = "http://10.0.0.1:8080";

    #[test]
    fn each_way_is_an_address_of_this_site() {
        let of = |act: &ActBody, architecture| leads(&catalog(), BASE, architecture, act);
        let agent = of(&body(BootTarget::Agent, &ALL), Architecture::X86_64);
        let (http, disc) = (format!("{BASE}/boot/ipxe.efi"), format!("{BASE}/boot/ipxe.iso"));
        assert_eq!(agent.leads, [Lead::Pxe, Lead::Http(http), Lead::Disc(disc)]);
        assert_eq!(of(&body(BootTarget::Disk, &ALL), Architecture::X86_64).leads, [Lead::Disk]);
        let arm = of(&body(BootTarget::Agent, &[Way::Http, Way::Pxe]), Architecture::Arm64);
        assert_eq!(arm.leads, [Lead::Pxe]);
        assert!(arm.ways[0].1.as_deref().is_some_and(|why| why.contains("arm64")), "{arm:?}");
        assert_eq!(of(&body(BootTarget::Agent, &[Way::Http]), Architecture::Arm64).leads, [Lead::Pxe]);
    }

    #[test]
    fn an_act_of_an_earlier_version_boots_by_pxe() {
        let old = r#"{"what":{"type":"boot-into","target":"agent"},"requester":"ops"}"#;
        let read: ActBody = serde_json::from_str(old).unwrap();
        assert_eq!(leads(&catalog(), BASE, Architecture::X86_64, &read).leads, [Lead::Pxe]);
        assert_eq!(serde_json::to_string(&read).unwrap(), old, "and is written as it was");
    }

    #[test]
    fn a_time_is_told_in_seconds_or_minutes() {
        assert_eq!([-5, 59_000, 600_000].map(span), ["0 s", "59 s", "10 min"]);
    }
}
