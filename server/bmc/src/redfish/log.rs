//! Reading the event logs that Redfish serves: those of the system, of its managers and of its chassis (B7.14).
//!
//! Every reading asks again which logs there are: firmware brings some and takes others away, and a list that was kept would
//! have to be mistrusted anyway. What a BMC pushes is no part of this; the log read by id is the truth.

use super::entry::{self, Read};
use super::fields::{Fields, items, target};
use super::pages::{Budget, Listed, Member, Pages};
use super::services::{Clock, Rank, Service};
use super::settle;
use super::visit::{Visit, ends};
use crate::{Fault, Kind, Log, LogEntry, LogMark, Since};
use serde_json::Value;
use std::collections::BTreeSet;

/// Managers or chassis of one machine.
const MOST_HOLDERS: usize = 4;
const MOST_SERVICES: usize = 24;
/// For the whole of it, whatever the BMC links to.
const MOST_READS: usize = 400;

/// A log with events of the hardware.
const WHOLE: Budget = Budget { pages: 64, entries: 4096 };
/// Of a log that only links to its entries.
const LINKED: usize = 256;
/// One without, as far as it is cheap.
const CHEAP: Budget = Budget { pages: 2, entries: 512 };
const LINKED_CHEAP: usize = 16;

/// Every log of the machine, the hardware's first, each from the mark that `after` has for it.
pub async fn event_log(visit: Visit<'_>, after: &[LogMark]) -> Result<Vec<Log>, Fault> {
    let mut reader = Reader { visit, reads: 0, fault: None };
    let mut services = reader.services().await?;
    services.sort_by_key(|service| service.rank);
    let (mut logs, mut all, mut left) = (Vec::new(), Vec::new(), None);
    let mut any = false;
    for (place, service) in services.iter().enumerate() {
        let mark = after.iter().find(|mark| mark.log == service.name || (mark.log.is_empty() && place == 0));
        let read = match &left {
            Some(reason) => Err(Fault::Busy(String::clone(reason))),
            None if service.rank == Rank::Foreign => Err(Fault::NotOffered("a list of events there".into())),
            None => reader.entries(service, mark).await,
        };
        match read {
            Ok((log, whole)) => {
                any = true;
                logs.push(log);
                all.push(whole);
            }
            Err(fault) if ends(&fault) => return Err(fault),
            Err(fault) => {
                // A BMC that falls silent over one of its lesser logs is not asked for the next.
                if fault.kind() == Kind::Unreachable {
                    left = Some(format!("it fell silent over {}", service.name));
                }
                logs.push(unread(service, mark, &fault));
                all.push(Vec::new());
                if service.rank != Rank::Foreign {
                    reader.fault.get_or_insert(fault);
                }
            }
        }
    }
    if !any {
        return Err(reader.fault.unwrap_or_else(|| Fault::NotOffered("an event log over Redfish".into())));
    }
    settle::without_copies(&mut logs, &all);
    Ok(logs)
}

fn unread(service: &Service, mark: Option<&LogMark>, fault: &Fault) -> Log {
    Log {
        name: service.name.clone(),
        entries: Vec::new(),
        since: if mark.is_some() { Since::Mark } else { Since::Beginning },
        mark: mark.map(|mark| LogMark { log: service.name.clone(), ..mark.clone() }),
        more: false,
        clock_offset: service.clock.offset,
        overflowed: false,
        gap: Some(fault.to_string()),
    }
}

struct Reader<'a> {
    visit: Visit<'a>,
    reads: usize,
    /// The first thing that could not be read.
    fault: Option<Fault>,
}

impl Reader<'_> {
    async fn get(&mut self, path: &str) -> Result<Value, Fault> {
        self.reads += 1;
        if self.reads > MOST_READS {
            return Err(Fault::Garbled(format!("it takes more than {MOST_READS} reads to have its logs")));
        }
        self.visit.get(path).await
    }

    /// What others are found by is told or it is not; what ends the whole reading does.
    async fn optional(&mut self, path: &str) -> Result<Option<Value>, Fault> {
        match self.get(path).await {
            Ok(body) => Ok(Some(body)),
            Err(fault) if ends(&fault) || fault.kind() == Kind::Unreachable => Err(fault),
            Err(fault) => {
                self.fault.get_or_insert(fault);
                Ok(None)
            }
        }
    }

    async fn services(&mut self) -> Result<Vec<Service>, Fault> {
        let (_, system) = self.visit.system().await?;
        let fields = Fields(&system);
        let mut managers: Vec<String> = fields.list("Links/ManagedBy").filter_map(target).collect();
        if managers.is_empty() {
            managers = self.all_managers().await?;
        }
        let chassis: Vec<String> = fields.list("Links/Chassis").filter_map(target).take(MOST_HOLDERS).collect();
        let (mut holders, mut clock) = (vec![system], Clock::default());
        for path in managers.into_iter().take(MOST_HOLDERS) {
            if let Some(manager) = self.optional(&path).await? {
                clock = clock.or(Clock::read(&manager));
                holders.push(manager);
            }
        }
        for path in chassis {
            holders.extend(self.optional(&path).await?);
        }
        let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
        for holder in holders {
            let fields = Fields(&holder);
            let link = ["LogServices", "Links/LogServices"].iter().find_map(|name| target(fields.get(name)?));
            let Some(path) = link.filter(|path| seen.insert(key(path))) else { continue };
            let Some(list) = self.optional(&path).await? else { continue };
            for item in Fields(&list).get("Members").map(items).unwrap_or_default() {
                let Some(path) = target(item).filter(|path| seen.insert(key(path))) else { continue };
                if found.len() >= MOST_SERVICES {
                    break;
                }
                let body = if Fields(item).get("Entries").is_some() {
                    Some(item.clone())
                } else {
                    self.optional(&path).await?
                };
                found.extend(body.map(|body| Service::read(&path, &body, clock)));
            }
        }
        Ok(found)
    }

    async fn all_managers(&mut self) -> Result<Vec<String>, Fault> {
        let root = self.visit.root().await?;
        let Some(path) = Fields(&root).get("Managers").and_then(target) else { return Ok(Vec::new()) };
        let list = self.optional(&path).await?.unwrap_or_default();
        Ok(Fields(&list).get("Members").map(items).unwrap_or_default().iter().filter_map(target).collect())
    }

    /// One log: what is new in it, and all that was read of it.
    async fn entries(&mut self, service: &Service, mark: Option<&LogMark>) -> Result<(Log, Vec<LogEntry>), Fault> {
        let whole = service.rank <= Rank::Likely;
        let mut listed = self.pages(service, mark, if whole { WHOLE } else { CHEAP }).await?;
        let members = settle::order(std::mem::take(&mut listed.members));
        let most = if whole { LINKED } else { LINKED_CHEAP };
        let (read, gap) = self.bodies(service, members, mark, most).await?;
        let news = settle::news(&service.name, &read, mark);
        let log = Log {
            name: service.name.clone(),
            entries: news.entries,
            since: news.since,
            mark: news.mark,
            more: listed.more,
            clock_offset: service.clock.offset,
            overflowed: service.stops_at.is_some_and(|most| listed.count >= most),
            gap: listed.gap.or(gap),
        };
        Ok((log, read.into_iter().map(|one| one.entry).collect()))
    }

    async fn pages(&mut self, service: &Service, mark: Option<&LogMark>, budget: Budget) -> Result<Listed, Fault> {
        let mut pages = Pages::new(&service.entries, mark.map(|mark| mark.id.as_str()), budget);
        let mut first = true;
        while let Some(path) = pages.next() {
            match self.get(&path).await {
                Ok(body)
                    if first && !Fields(&body).get("Members").is_some_and(|list| list.is_array() || list.is_null()) =>
                {
                    return Err(Fault::Garbled(format!("the Members of {path} are no list")));
                }
                Ok(body) => pages.read(&body),
                Err(fault) if first || ends(&fault) || fault.kind() == Kind::Unreachable => return Err(fault),
                Err(fault) => pages.missed(&fault.to_string()),
            }
            first = false;
        }
        Ok(pages.finish())
    }

    /// The entries themselves: those that lie on the page, and of those that are only linked the newest, from the mark on.
    async fn bodies(
        &mut self,
        service: &Service,
        members: Vec<Member>,
        mark: Option<&LogMark>,
        most: usize,
    ) -> Result<(Vec<Read>, Option<String>), Fault> {
        let known = mark.and_then(|mark| members.iter().rposition(|one| one.id == mark.id)).unwrap_or(0);
        let linked = members.iter().skip(known).filter(|one| one.body.is_none()).count();
        let mut skipped = linked.saturating_sub(most);
        let mut gap = (skipped > 0).then(|| format!("{most} of {linked} entries were read: each is a read of its own"));
        let mut read = Vec::new();
        for (place, member) in members.into_iter().enumerate() {
            let body = match (member.body, member.path) {
                (Some(body), _) => body,
                (None, Some(path)) if place >= known => {
                    if skipped > 0 {
                        skipped -= 1;
                        continue;
                    }
                    match self.get(&path).await {
                        Ok(body) => body,
                        Err(fault) if ends(&fault) || fault.kind() == Kind::Unreachable => return Err(fault),
                        // Cleared since it was listed.
                        Err(Fault::NotOffered(_)) => continue,
                        Err(fault) => {
                            gap.get_or_insert(format!("entry {}: {fault}", member.id));
                            continue;
                        }
                    }
                }
                _ => continue,
            };
            read.extend(entry::read(&body, &service.name, &member.id, service.clock.zone));
        }
        Ok((read, gap))
    }
}

fn key(path: &str) -> String {
    path.trim_end_matches('/').to_string()
}
