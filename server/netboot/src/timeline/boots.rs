//! From a list of entries to boots with stages.

use super::Stage;
use super::course::Course;
use super::diagnosis::Diagnosis;
use super::entry::{Entry, Fetch, File, Got, How, Led, Packet, Via, What};
use super::judge;
use crate::choice::Client;
use muster_names::Millis;

/// A transfer that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    pub began: Millis,
    pub via: Via,
    pub file: File,
    pub path: String,
    pub bytes: u64,
    pub size: u64,
}

/// One stage of a boot; without a length while it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub stage: Stage,
    pub began: Millis,
    pub millis: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    pub began: Millis,
    /// The begin of the next one.
    pub ended: Option<Millis>,
    pub entries: Vec<Entry>,
    pub stages: Vec<Span>,
    pub diagnosis: Diagnosis,
}

impl Boot {
    /// The stage it came to.
    pub fn reached(&self) -> Option<Stage> {
        self.stages.last().map(|span| span.stage)
    }

    pub(super) fn fetches(&self) -> impl DoubleEndedIterator<Item = (&Entry, &Fetch)> {
        self.entries.iter().filter_map(|entry| match &entry.what {
            What::Fetch(fetch) => Some((entry, fetch)),
            _ => None,
        })
    }

    pub(super) fn packets(&self) -> impl DoubleEndedIterator<Item = (&Entry, &Packet)> {
        self.entries.iter().filter_map(|entry| match &entry.what {
            What::Packet(packet) => Some((entry, packet)),
            _ => None,
        })
    }

    /// When kernel and initramfs had come whole.
    pub(super) fn loaded(&self) -> Option<Millis> {
        let whole =
            |wanted: File| self.fetches().any(|(_, fetch)| fetch.file == wanted && matches!(fetch.how, How::Whole));
        let of_the_kernel = |fetch: &Fetch| fetch.file.stage() == Some(Stage::Kernel);
        let newest = || self.fetches().filter(|(_, fetch)| of_the_kernel(fetch)).map(|(entry, _)| entry.end()).max();
        if whole(File::Kernel) && whole(File::Initrd) { newest() } else { None }
    }
}

/// Cuts a list, in whatever order it comes, into boots, oldest first. `running` is of the newest one.
pub fn boots(mut entries: Vec<Entry>, running: &[Running], now: Millis) -> Vec<Boot> {
    entries.sort_by_key(|entry| entry.at);
    let mut all: Vec<Boot> = Vec::new();
    let mut course = Course::default();
    for mut entry in entries {
        course.attribute(&mut entry);
        if all.is_empty() || course.ends_before(&entry) {
            course = Course::default();
            match all.last_mut() {
                // What was decided before the first power is no boot, but what led to one.
                Some(last) if last.entries.iter().all(|entry| matches!(entry.what, What::Event { .. })) => {
                    last.began = entry.at;
                }
                last => {
                    if let Some(last) = last {
                        last.ended = Some(entry.at);
                    }
                    let (stages, diagnosis) = (Vec::new(), Diagnosis::NeverSeen);
                    all.push(Boot { began: entry.at, ended: None, entries: Vec::new(), stages, diagnosis });
                }
            }
        }
        course.take(&entry);
        if let Some(last) = all.last_mut() {
            last.entries.push(entry);
        }
    }
    for boot in &mut all {
        boot.stages = stages(boot);
    }
    let judged: Vec<Diagnosis> = (0..all.len()).map(|at| judge::judge(&all, at, running, now)).collect();
    for (boot, diagnosis) in all.iter_mut().zip(judged) {
        boot.diagnosis = diagnosis;
    }
    all
}

fn stages(boot: &Boot) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut begin = |stage: Stage, began: Millis| {
        let last = spans.last().map(|span| span.stage);
        // Its own disk is the last stage of the network's, and a resident agent speaks after it.
        if last.is_none_or(|last| stage > last || (stage == Stage::Agent && last == Stage::Disk)) {
            spans.push(Span { stage, began, millis: None });
        }
    };
    let loaded = boot.loaded();
    let mut kernel_ran = false;
    for entry in &boot.entries {
        if let Some(at) = loaded.filter(|at| !kernel_ran && entry.at > *at) {
            begin(Stage::System, at);
            kernel_ran = true;
        }
        if let Some(stage) = stage_of(entry, loaded.is_some() || kernel_ran) {
            begin(stage, entry.at);
        }
        if leads_to_disk(entry) {
            begin(Stage::Disk, entry.end());
        }
    }
    if let Some(at) = loaded.filter(|_| !kernel_ran) {
        begin(Stage::System, at);
    }
    let begins: Vec<Millis> = spans.iter().skip(1).map(|span| span.began).collect();
    for (span, next) in spans.iter_mut().zip(begins) {
        span.millis = Some(next.0.saturating_sub(span.began.0).max(0));
    }
    spans
}

fn stage_of(entry: &Entry, kernel: bool) -> Option<Stage> {
    match &entry.what {
        What::Power { on, .. } => on.then_some(Stage::Power),
        What::Packet(packet) => match packet.client {
            Client::Pxe | Client::Http | Client::BareIpxe | Client::Other => Some(Stage::Address),
            Client::Ipxe => Some(Stage::Script),
            Client::Plain if !packet.kind.wants_address() => None,
            Client::Plain if kernel => Some(Stage::System),
            Client::Plain => Some(Stage::Disk),
        },
        What::Fetch(fetch) => fetch.file.stage(),
        What::Script { .. } => Some(Stage::Script),
        What::Agent(_) => Some(Stage::Agent),
        What::Log(_) | What::Event { .. } | What::Unknown => None,
    }
}

fn leads_to_disk(entry: &Entry) -> bool {
    match &entry.what {
        What::Script { agent, .. } => !agent,
        What::Packet(packet) => packet.got == Got::Ack && matches!(packet.led, Led::Disk { .. }),
        _ => false,
    }
}
