//! The timeline as it is told: what the boot path kept of a machine's ports, and what its own log says of power, agents
//! and installs, cut into boots.

use crate::console::{Line, Piece, Said, lines};
use crate::error::store;
use crate::{Conductor, Error, rim};
use muster_lifecycle::What as Act;
use muster_names::{BootTarget, Mac, MachineId, Millis, Subject, SwitchPort, Way};
use muster_netboot::timeline::{AgentSeen, Boot, Diagnosis, Entry, Grade, Running, What, boots};
use muster_store::{Logged, Tx, boots as rows, events, machines};
use serde_json::Value;
use std::collections::BTreeSet;

/// Boots of a machine that are told at most.
const MOST_BOOTS: usize = 10;
/// Lines of a console beside a boot that went wrong.
const LAST_WORDS: usize = 20;
/// Events of a machine that are looked through.
const MOST_EVENTS: u32 = 500;

/// All that is known of how a machine, or a port that belongs to none, boots.
#[derive(Clone, Debug)]
pub struct Told {
    pub machine: Option<MachineId>,
    pub macs: Vec<Mac>,
    /// Oldest first.
    pub boots: Vec<Boot>,
    pub running: Vec<Running>,
    pub now: Millis,
}

/// What was recorded of a console during one boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleOfBoot {
    pub first: Millis,
    pub last: Millis,
    pub bytes: usize,
    /// The last words, where the boot went wrong.
    pub lines: Vec<Line>,
}

impl Told {
    /// Of the newest boot.
    pub fn diagnosis(&self) -> Diagnosis {
        self.boots.last().map_or(Diagnosis::NeverSeen, |boot| boot.diagnosis.clone())
    }
}

impl Conductor {
    /// The boots of whoever has this MAC: of the whole machine where it is known.
    pub async fn boots_of_mac(&self, mac: Mac) -> Result<Told, Error> {
        let mut tx = self.db.read().await.map_err(store)?;
        let machine = machines::by_mac(&mut tx, mac).await.map_err(store)?.map(|record| record.id);
        self.told(&mut tx, machine, Some(mac)).await
    }

    pub async fn boots_of(&self, id: MachineId) -> Result<Told, Error> {
        let mut tx = self.db.read().await.map_err(store)?;
        self.told(&mut tx, Some(id), None).await
    }

    async fn told(&self, tx: &mut Tx, machine: Option<MachineId>, mac: Option<Mac>) -> Result<Told, Error> {
        let mut macs: BTreeSet<Mac> = mac.into_iter().collect();
        let mut entries = Vec::new();
        if let Some(id) = machine {
            macs.extend(machines::macs_of(tx, id).await.map_err(store)?);
            let newest = events::newest_of(tx, Subject::Machine(id), MOST_EVENTS).await.map_err(store)?;
            entries.extend(of_events(newest.into_iter().rev()));
        }
        for mac in &macs {
            for row in rows::of_mac(tx, *mac).await.map_err(store)? {
                let unread = |_| Entry::of(row.at, Some(*mac), What::Unknown);
                entries.push(serde_json::from_str(&row.body).unwrap_or_else(unread));
            }
        }
        let macs: Vec<Mac> = macs.into_iter().collect();
        let (running, now) = (self.timeline.running(&macs), rim::now());
        let mut boots = boots(entries, &running, now);
        boots.drain(..boots.len().saturating_sub(MOST_BOOTS));
        Ok(Told { machine, macs, boots, running, now })
    }

    /// What the console said during each of these boots.
    pub async fn consoles_of(&self, told: &Told) -> Result<Vec<Option<ConsoleOfBoot>>, Error> {
        match (told.machine, told.boots.first()) {
            (Some(id), Some(first)) => {
                let recording = self.recorded_console(id, first.began, told.now).await?;
                Ok(consoles(&told.boots, &recording.pieces))
            }
            _ => Ok(Vec::new()),
        }
    }
}

/// Each boot's part of a recording.
fn consoles(boots: &[Boot], pieces: &[Piece]) -> Vec<Option<ConsoleOfBoot>> {
    let of = |boot: &Boot| {
        let until = boot.ended.unwrap_or(Millis(i64::MAX));
        let part: Vec<Piece> = pieces.iter().filter(|one| one.at >= boot.began && one.at < until).cloned().collect();
        let (first, last) = (part.first()?.at, part.last()?.at);
        let bytes = part.iter().map(|one| if let Said::Text(text) = &one.what { text.len() } else { 0 }).sum();
        let mut lines = if boot.diagnosis.grade() == Grade::Wrong { lines(&part) } else { Vec::new() };
        lines.drain(..lines.len().saturating_sub(LAST_WORDS));
        Some(ConsoleOfBoot { first, last, bytes, lines })
    };
    boots.iter().map(of).collect()
}

/// Where a relay said that a port hangs, as written down: what was seen before this run of the daemon.
pub(crate) async fn noted_port(tx: &mut Tx, mac: Mac) -> Result<Option<SwitchPort>, Error> {
    let rows = rows::of_mac(tx, mac).await.map_err(store)?;
    Ok(rows.iter().rev().find_map(|row| match serde_json::from_str::<Entry>(&row.body).ok()?.what {
        What::Packet(packet) => {
            let relay = packet.giaddr?.to_string();
            Some(SwitchPort { switch: packet.remote_id.unwrap_or(relay), port: packet.circuit_id? })
        }
        _ => None,
    }))
}

/// What a machine's own log says of its boots, oldest first.
fn of_events(log: impl Iterator<Item = Logged>) -> Vec<Entry> {
    let (mut entries, mut agents, mut target) = (Vec::new(), BTreeSet::new(), None);
    for event in log {
        let body: Value = serde_json::from_str(&event.body).unwrap_or_default();
        let detail = body.get("detail").cloned().unwrap_or_default();
        let word = |key: &str| detail.get(key).and_then(Value::as_str).unwrap_or_default();
        // Whatever an agent reports proves that it runs; its first report may find no record of the machine yet.
        let boot = event.cause.0.strip_prefix("boot/").and_then(|rest| rest.split('/').next());
        if let Some(boot) = boot.filter(|_| event.actor == "agent")
            && agents.insert(boot.to_owned())
        {
            let kernel_ms = detail.get("kernel-ms").and_then(Value::as_u64);
            let seen = AgentSeen { boot: boot.to_owned(), resident: word("mode") == "resident", kernel_ms };
            entries.push(Entry::of(event.at, None, What::Agent(seen)));
        }
        let what = match event.kind.as_str() {
            "act-claimed" => {
                let act = detail.get("act").and_then(|act| serde_json::from_value::<Act>(act.clone()).ok());
                target = act.and_then(|act| if let Act::BootInto { target } = act { Some(target) } else { None });
                continue;
            }
            "act-phase" if word("phase") == "on" => What::Power { on: true, agent: target == Some(BootTarget::Agent) },
            "act-phase" if word("phase") == "off" => What::Power { on: false, agent: false },
            "act-phase" => What::Event { words: "the BMC was told where to boot".into() },
            "act-failed" => What::Event { words: format!("the BMC did not do it: {}", word("why")) },
            "way-changed" => {
                let (from, to) = (way(&detail, "from"), way(&detail, "to"));
                What::Event { words: format!("boot by {from} failed ({}), next by {to}", word("why")) }
            }
            "medium-inserted" => What::Event { words: format!("its BMC shows it the boot disc {}", word("image")) },
            "medium-ejected" => What::Event { words: "the boot disc was ejected".into() },
            "medium-left" => What::Event { words: format!("the boot disc could not be ejected: {}", word("why")) },
            "agent-refused" => What::Event { words: format!("the agent refused: {}", word("reason")) },
            "install-reported" if detail.get("failure").is_some() => {
                let failure = detail.get("failure").map(ToString::to_string).unwrap_or_default();
                What::Event { words: format!("the install failed: {failure}") }
            }
            "install-reported" => What::Event { words: "the image is written".into() },
            "entered" => {
                let to = body.get("to").and_then(|to| to.get("at")).and_then(|at| at.get("state"));
                What::Event { words: format!("the machine is {}", to.and_then(Value::as_str).unwrap_or("moved on")) }
            }
            _ => continue,
        };
        entries.push(Entry::of(event.at, None, what));
    }
    entries
}

/// A way by its name for people; a word that this version does not know as it is.
fn way(detail: &Value, key: &str) -> String {
    let told = detail.get(key).cloned().unwrap_or_default();
    let text = told.as_str().unwrap_or("another way").to_string();
    serde_json::from_value::<Way>(told).map_or(text, |way| way.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(at: i64, text: &str) -> Piece {
        Piece { at: Millis(at), what: Said::Text(text.as_bytes().to_vec()) }
    }

    #[test]
    fn a_boot_has_its_part_of_the_console_and_its_last_words_when_it_went_wrong() {
        let power = |at| Entry::of(Millis(at), None, What::Power { on: true, agent: true });
        let hour = 3_600_000;
        let all = boots(vec![power(0), power(hour)], &[], Millis(hour + 1));
        let grades: Vec<Grade> = all.iter().map(|boot| boot.diagnosis.grade()).collect();
        assert_eq!(grades, [Grade::Wrong, Grade::Going], "{all:?}");
        let long: String = (0..50).map(|line| format!("line {line}\n")).collect();
        let pieces = [said(-5, "before"), said(10, &long), said(hour + 1, "Booting\n")];
        let found: Vec<ConsoleOfBoot> = consoles(&all, &pieces).into_iter().flatten().collect();
        let [wrong, going] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((wrong.first, wrong.last, wrong.bytes), (Millis(10), Millis(10), long.len()));
        let last: Vec<&str> = wrong.lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!((last.len(), last.first(), last.last()), (LAST_WORDS, Some(&"line 30"), Some(&"line 49")));
        assert!(going.lines.is_empty() && going.bytes == 8, "{going:?}");
        assert_eq!(consoles(&all, &[]), [None, None]);
    }
}
