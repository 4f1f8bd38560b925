//! What a boot came to. The deepest stage that left a trace is judged, for what came before it went well enough.

use super::Stage;
use super::boots::{Boot, Running};
use super::diagnosis::Diagnosis;
use super::entry::{AgentSeen, Entry, Fetch, File, Got, How, Led, LogLine, Packet, What};
use crate::choice::Client;
use crate::sighting::SightingKind;
use muster_names::Millis;
use std::collections::BTreeMap;

/// The longest that the firmware of a large server takes before it asks.
const POST_MS: i64 = 300_000;
/// From an offer to its being taken.
const TAKE_MS: i64 = 15_000;
/// Until the next thing is asked for.
const NEXT_MS: i64 = 30_000;
/// Until a loader that came whole speaks.
const START_MS: i64 = 60_000;
/// From the kernel's last file to the agent's first word.
const AGENT_MS: i64 = 180_000;
/// So often in so short a time is a loop: one more than the brake allows.
const LOOP: usize = 4;
const LOOP_GAP_MS: i64 = 300_000;

struct Facts<'a> {
    boot: &'a Boot,
    /// Until when this boot was to be heard of.
    until: Millis,
    over: bool,
}

impl Facts<'_> {
    /// Whether nothing more is to be expected after `since`.
    fn late(&self, since: Millis, patience: i64) -> bool {
        self.over || self.until.0.saturating_sub(since.0) > patience
    }

    fn seconds(&self, since: Millis) -> i64 {
        self.until.0.saturating_sub(since.0).max(0) / 1000
    }

    fn going(&self, stage: Stage, since: Millis) -> Diagnosis {
        Diagnosis::Going { stage, seconds: self.seconds(since) }
    }
}

pub(super) fn judge(all: &[Boot], at: usize, running: &[Running], now: Millis) -> Diagnosis {
    let Some(boot) = all.get(at) else { return Diagnosis::NeverSeen };
    let facts = Facts { boot, until: boot.ended.unwrap_or(now).max(boot.began), over: boot.ended.is_some() };
    let running = if facts.over { None } else { running.iter().max_by_key(|one| one.began) };
    agent(&facts)
        .or_else(|| again_and_again(all, at))
        .or_else(|| running.map(|one| fetching(one, now)))
        .or_else(|| kernel(&facts))
        .or_else(|| script(&facts))
        .or_else(|| address(&facts, &[Client::Ipxe]))
        .or_else(|| loader(&facts))
        .or_else(|| address(&facts, &[Client::Pxe, Client::Http, Client::BareIpxe, Client::Other]))
        .or_else(|| address(&facts, &[Client::Plain]))
        .unwrap_or_else(|| power(&facts))
}

fn agent(facts: &Facts<'_>) -> Option<Diagnosis> {
    let spoke = facts.boot.entries.iter().find_map(|entry| match &entry.what {
        What::Agent(AgentSeen { resident, .. }) => Some((entry.at, *resident)),
        _ => None,
    });
    let (at, resident) = spoke?;
    // A log line or an event may be the first entry; only a stage says when the boot began.
    let began = facts.boot.stages.first().filter(|span| span.stage < Stage::Agent).map(|span| span.began);
    Some(Diagnosis::AgentSpoke { resident, seconds: began.map(|began| at.0.saturating_sub(began.0).max(0) / 1000) })
}

fn fetching(one: &Running, now: Millis) -> Diagnosis {
    let passed = u64::try_from(now.0.saturating_sub(one.began.0)).unwrap_or(0).max(1);
    let percent = (one.size > 0).then(|| one.bytes.min(one.size).saturating_mul(100) / one.size);
    Diagnosis::Fetching { path: one.path.clone(), percent, rate: one.bytes.saturating_mul(1000) / passed }
}

/// How often in a row the same was fetched without the agent ever speaking, or the brake's own word.
fn again_and_again(all: &[Boot], at: usize) -> Option<Diagnosis> {
    let boot = all.get(at)?;
    let braked = boot.packets().any(|(_, packet)| matches!(packet.led, Led::Disk { brake: true, .. }));
    let (mut times, mut first, mut stage) = (0, boot.began, None);
    for (index, boot) in all.iter().enumerate().take(at + 1).rev() {
        let wanted = boot.entries.iter().any(|entry| match &entry.what {
            What::Agent(_) | What::Script { agent: false, wanted: true, .. } => true,
            What::Packet(packet) => matches!(packet.led, Led::Disk { wanted: true, .. }),
            _ => false,
        });
        let far = boot.ended.is_some_and(|ended| index < at && ended.0.saturating_sub(boot.began.0) > LOOP_GAP_MS);
        if wanted || far {
            break;
        }
        let tries = tries(boot);
        if tries > 0 {
            (times, first) = (times + tries, boot.began);
            stage = stage.or(boot.reached().filter(|reached| *reached < Stage::Disk));
        }
        // What we ordered begins a new count, as it does for the brake.
        if boot.entries.iter().any(|entry| matches!(entry.what, What::Power { on: true, .. })) {
            break;
        }
    }
    let newest = boot.entries.last().map_or(boot.began, |entry| entry.at);
    let minutes = newest.0.saturating_sub(first.0) / 60_000 + 1;
    (braked || times >= LOOP).then_some(Diagnosis::Loop {
        times,
        minutes,
        stage: stage.unwrap_or(Stage::Address),
        braked,
    })
}

/// How often a boot got what carries it on: its loader, or its script where the card holds the loader.
fn tries(boot: &Boot) -> usize {
    let loaders = boot.fetches().filter(|(_, fetch)| fetch.file == File::Loader && fetch.how == How::Whole).count();
    let scripts = boot.entries.iter().filter(|entry| matches!(entry.what, What::Script { agent: true, .. })).count();
    if loaders > 0 { loaders } else { scripts }
}

fn kernel(facts: &Facts<'_>) -> Option<Diagnosis> {
    let of_the_kernel = |fetch: &Fetch| fetch.file.stage() == Some(Stage::Kernel);
    let newest = facts.boot.fetches().filter(|(_, fetch)| of_the_kernel(fetch)).map(|(entry, _)| entry.end()).max()?;
    if let Some(failed) = failed(facts.boot, of_the_kernel, Stage::Kernel) {
        return Some(failed);
    }
    let Some(loaded) = facts.boot.loaded() else {
        let late = facts.late(newest, START_MS);
        return Some(if late { Diagnosis::KernelIncomplete } else { facts.going(Stage::Kernel, newest) });
    };
    if !facts.late(loaded, AGENT_MS) {
        return Some(facts.going(Stage::System, loaded));
    }
    let grave = |line: &&LogLine| line.is_grave();
    let lines = facts.boot.entries.iter().rev().filter_map(|entry| match &entry.what {
        What::Log(line) => Some(line),
        _ => None,
    });
    let said = lines.clone().find(grave).or_else(|| lines.clone().next()).map(|line| line.text.clone());
    Some(Diagnosis::KernelSilent { seconds: facts.seconds(loaded), said })
}

fn script(facts: &Facts<'_>) -> Option<Diagnosis> {
    let given = facts.boot.entries.iter().rev().find_map(|entry| match &entry.what {
        What::Script { agent, wanted, why } => Some((entry, *agent, *wanted, why.as_str())),
        _ => None,
    });
    let refused = failed(facts.boot, |fetch| fetch.file == File::Script, Stage::Script);
    match given {
        None => refused,
        Some((entry, true, ..)) => {
            let late = facts.late(entry.at, NEXT_MS);
            Some(if late { Diagnosis::KernelNotFetched } else { facts.going(Stage::Script, entry.at) })
        }
        // The reason came with its address.
        Some((entry, false, _, "")) => Some(match led_to_disk(facts.boot) {
            Some((wanted, why)) => to_disk(facts, entry, wanted, why),
            None => to_disk(facts, entry, true, ""),
        }),
        Some((entry, false, wanted, why)) => Some(to_disk(facts, entry, wanted, why)),
    }
}

fn led_to_disk(boot: &Boot) -> Option<(bool, &str)> {
    boot.packets().rev().find_map(|(_, packet)| match packet.led {
        Led::Disk { wanted, .. } => Some((wanted, packet.words.as_str())),
        _ => None,
    })
}

fn to_disk(facts: &Facts<'_>, since: &Entry, wanted: bool, why: &str) -> Diagnosis {
    let runs = |packet: &Packet| packet.client == Client::Plain && packet.got == Got::Ack;
    if wanted && facts.boot.packets().any(|(entry, packet)| entry.at >= since.at && runs(packet)) {
        return Diagnosis::SystemRuns;
    }
    Diagnosis::ToDisk { wanted, why: why.to_owned() }
}

fn loader(facts: &Facts<'_>) -> Option<Diagnosis> {
    let of_the_loader = |fetch: &Fetch| fetch.file == File::Loader;
    let (entry, fetch) = facts.boot.fetches().rev().find(|(_, fetch)| of_the_loader(fetch))?;
    if let Some(failed) = failed(facts.boot, of_the_loader, Stage::Loader) {
        return Some(failed);
    }
    let late = facts.late(entry.end(), START_MS);
    Some(match fetch.how {
        _ if !late => facts.going(Stage::Loader, entry.end()),
        How::Whole => Diagnosis::LoaderSilent { path: fetch.path.clone(), seconds: facts.seconds(entry.end()) },
        _ => Diagnosis::LoaderNotFetched { file: fetch.path.clone() },
    })
}

/// The newest transfer of each file decides: what failed and then came is no failure.
fn failed(boot: &Boot, of: impl Fn(&Fetch) -> bool, stage: Stage) -> Option<Diagnosis> {
    let mut newest: BTreeMap<&str, &Fetch> = BTreeMap::new();
    for (_, fetch) in boot.fetches().filter(|(_, fetch)| of(fetch)) {
        newest.insert(&fetch.path, fetch);
    }
    // Firmware that tries one name after another has failed only when none of them came.
    let came = |fetch: &&Fetch| fetch.how == How::Whole;
    if stage != Stage::Kernel && newest.values().any(came) {
        return None;
    }
    let fetch = newest.into_values().find(|fetch| !fetch.how.went_well())?;
    let path = fetch.path.clone();
    Some(match fetch.how {
        How::NotFound | How::Refused(_) => Diagnosis::NotGiven { stage, path, how: fetch.how },
        _ => Diagnosis::CutOff { stage, path, via: fetch.via, percent: fetch.percent(), bytes: fetch.bytes },
    })
}

fn address(facts: &Facts<'_>, clients: &[Client]) -> Option<Diagnosis> {
    let asks = |kind| !matches!(kind, SightingKind::Decline | SightingKind::Release | SightingKind::Inform);
    let packets: Vec<(&Entry, &Packet)> =
        facts.boot.packets().filter(|(_, packet)| clients.contains(&packet.client) && asks(packet.kind)).collect();
    let (last, packet) = packets.iter().rev().find(|(_, packet)| packet.got != Got::Noted)?;
    if let Some((entry, acked)) = packets.iter().rev().find(|(_, packet)| packet.got == Got::Ack) {
        return Some(given(facts, entry, acked));
    }
    let times = packets.iter().filter(|(_, packet)| packet.kind.begins()).count().max(1);
    let why = packet.words.split_once(": ").map_or(packet.words.as_str(), |(_, why)| why).to_owned();
    Some(match packet.got {
        Got::Nak => Diagnosis::Refused { why },
        Got::Offer if !facts.late(last.at, TAKE_MS) => facts.going(Stage::Address, last.at),
        Got::Offer => Diagnosis::NotTaken { times },
        _ => Diagnosis::NoAnswer { times, why },
    })
}

/// It has an address: what was it led to?
fn given(facts: &Facts<'_>, entry: &Entry, packet: &Packet) -> Diagnosis {
    match &packet.led {
        Led::Loader { file } if let Some(untrusted) = no_tls(facts, entry) => {
            Diagnosis::NoTls { file: file.clone(), untrusted }
        }
        Led::Loader { file } if facts.late(entry.at, NEXT_MS) => Diagnosis::LoaderNotFetched { file: file.clone() },
        Led::Script if facts.late(entry.at, NEXT_MS) => Diagnosis::ScriptNotFetched,
        Led::Loader { .. } | Led::Script => facts.going(Stage::Address, entry.at),
        Led::Disk { wanted, .. } => to_disk(facts, entry, *wanted, &packet.words),
        Led::Nothing if packet.client == Client::Plain => {
            let ordered = |entry: &Entry| matches!(entry.what, What::Power { on: true, agent: true });
            if facts.boot.entries.iter().any(ordered) { Diagnosis::DiskInstead } else { Diagnosis::SystemRuns }
        }
        Led::Nothing => Diagnosis::ToDisk { wanted: false, why: packet.words.clone() },
    }
}

/// Whether its newest try since then ended before it could ask for anything, and whether that was for our certificate.
fn no_tls(facts: &Facts<'_>, since: &Entry) -> Option<bool> {
    let (_, newest) = facts.boot.fetches().rev().find(|(entry, _)| entry.end() >= since.at)?;
    newest.path.is_empty().then_some(newest.how == How::Untrusted)
}

fn power(facts: &Facts<'_>) -> Diagnosis {
    let switched = facts.boot.entries.iter().rev().find_map(|entry| match entry.what {
        What::Power { on, .. } => Some((entry.at, on)),
        _ => None,
    });
    match switched {
        None => Diagnosis::NeverSeen,
        Some((_, false)) => Diagnosis::SwitchedOff,
        Some((at, true)) => Diagnosis::NeverAsked { seconds: facts.seconds(at), over: facts.late(at, POST_MS) },
    }
}
