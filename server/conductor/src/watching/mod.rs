//! The watch over the BMCs of our machines: every few minutes each is asked for power, sensors and what its logs have new.
//!
//! Nothing is changed there. What was read is kept in one transaction before it counts as read, so that a crash, or a
//! database that is away, costs a repetition and loses no entry of a log. Machines that nobody claimed are not visited.

mod hints;
mod judge;
mod schedule;
mod series;

pub use judge::{Reach, Seen, Unwell};
pub use series::{Grain, Sum};

use crate::adoption::Said;
use crate::apply::{self, Happened};
use crate::error::store;
use crate::hand::{BmcOf, HandError};
use crate::scribe::Write;
use crate::{BmcBody, Conductor, Error, body};
use futures_core::future::BoxFuture;
pub use hints::{Heard, Hearing, Listening};
use hints::{Hints, Told};
use judge::{News, judge};
use muster_bmc::{Health, Log, LogMark, PaceTold, Pin, Reading};
use muster_catalog::Catalog;
use muster_lifecycle::machine::Event as Life;
use muster_names::{Cause, Epoch, MachineId, Millis, Power, Subject, TicketId};
use muster_store::bmc_adoption::{self, PinRow};
use muster_store::bmc_watch::{self, SeenRow, SeriesRow};
use muster_store::{Event, machines, tickets};
use series::Span;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How often the list of machines is read again.
const FLEET: Duration = Duration::from_secs(30);
const TICK: Duration = Duration::from_secs(1);
/// Entries of its logs that are kept of each BMC.
const MOST_LOGGED: i64 = 2_000;
/// Lists of its sensors: one that is fitted with another part has another list.
const MOST_LISTS: i64 = 64;

/// The ticket of a BMC that speaks for another machine.
pub(crate) const FOREIGN: &str = "bmc-foreign";
/// In the place of a key: no key is good, and after it comes the serial number that the BMC told.
pub(crate) const REFUSED: &str = "refused:";

/// What a visit brought. Without power nothing else was asked.
#[derive(Clone, Debug)]
pub struct Visit {
    pub power: Result<Power, HandError>,
    pub readings: Result<Vec<Reading>, HandError>,
    pub logs: Result<Vec<Log>, HandError>,
    /// The key of a BMC that is not known by one yet.
    pub shown: Option<Shown>,
}

/// By what a BMC would be known from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub pin: Pin,
    /// Of the machine that it says it speaks for.
    pub serials: Vec<String>,
    pub uuids: Vec<String>,
}

/// What the watch asks of a BMC.
pub trait WatchHand: Send + Sync {
    /// Waits for its turn among many. Logs are read from these marks on.
    fn visit<'a>(&'a self, bmc: &'a BmcOf, after: &'a [LogMark]) -> BoxFuture<'a, Visit>;
    /// Listens to what the BMC tells by itself, until its stream ends or is given up.
    fn listen<'a>(&'a self, bmc: &'a BmcOf, listening: Listening<'a>) -> Hearing<'a>;
    /// How many are visited at once.
    fn pace(&self) -> PaceTold;
}

/// What a visit came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Came {
    /// Visits in a row that came to nothing.
    pub failures: u32,
    /// Something that the event log is told: an entry of weight, another power, a sensor that got worse.
    pub news: bool,
}

/// How the watch goes about it.
#[derive(Clone, Copy, Debug)]
pub struct Rounds {
    /// How long a round takes.
    pub period: Duration,
    /// How many BMCs at most are listened to meanwhile.
    pub streams: usize,
}

/// One BMC as the watch has it.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// When it was last visited.
    pub at: Option<Millis>,
    pub seen: Seen,
    /// Of the last visit that read them in this run of the daemon.
    pub readings: Vec<Reading>,
    /// The list that its numbers follow, and its number.
    sensors: Option<(i64, Vec<String>)>,
    /// The hour and the day that are being added to.
    spans: BTreeMap<i64, (Millis, Span)>,
}

/// What the watch did since the daemon's start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Visits {
    pub answered: u64,
    pub silent: u64,
    pub refused: u64,
    pub seconds: f64,
    /// Visits that were brought forward because the BMC told of something.
    pub hinted: u64,
    /// BMCs that are listened to.
    pub streams: usize,
}

#[derive(Default)]
pub(crate) struct Watching {
    bmcs: Mutex<BTreeMap<MachineId, Watched>>,
    visits: Mutex<Visits>,
    told: Told,
}

impl Watching {
    fn bmcs(&self) -> MutexGuard<'_, BTreeMap<MachineId, Watched>> {
        self.bmcs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A BMC sent something.
    pub(crate) fn pushed(&self, machine: MachineId) {
        self.told.push(machine);
    }

    /// When a BMC was visited that answered then.
    fn answered(&self, machine: MachineId) -> Option<Millis> {
        self.bmcs().get(&machine).filter(|one| one.seen.reach == Reach::Answers)?.at
    }

    fn count(&self, count: impl FnOnce(&mut Visits)) {
        count(&mut self.visits.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Visits every BMC of ours once a round until `cancel`, and between two rounds those that tell of something.
pub async fn watch_bmcs(me: Arc<Conductor>, rounds: Rounds, cancel: CancellationToken) {
    let period = i64::try_from(rounds.period.as_millis()).unwrap_or(i64::MAX).max(1);
    let mut due: BTreeMap<MachineId, (Millis, BmcBody)> = BTreeMap::new();
    let (mut running, mut read) = (JoinSet::<(BmcOf, Result<Came, Error>)>::new(), None::<tokio::time::Instant>);
    let (mut going, mut hints) = (BTreeSet::new(), Hints::new(rounds.streams, period, &cancel));
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            () = cancel.cancelled() => return hints.end().await,
            _ = tick.tick() => {}
            machine = hints.told(&me) => {
                match due.get_mut(&machine) {
                    Some(_) if going.contains(&machine) => hints.remember(machine),
                    Some((at, _)) => *at = hints.brings_forward(&me, machine, *at),
                    None => {}
                }
                continue;
            }
            Some(done) = running.join_next() => {
                // A visit that panicked is not to be made for ever: its machine stays in `going`.
                let Ok((bmc, visited)) = done else { continue };
                let machine = bmc.machine;
                going.remove(&machine);
                let came = visited.unwrap_or_else(|error| {
                    tracing::warn!(%machine, error = %error, label = error.label(), "what its BMC said was not kept");
                    Came { failures: 1, news: false }
                });
                // What another address or account came to says nothing of this one.
                if let Some((at, _)) = due.get_mut(&machine).filter(|(_, access)| *access == bmc.access) {
                    *at = schedule::next(machine, period, came.failures, crate::rim::now());
                    if came.failures == 0 {
                        *at = hints.visited(&me, bmc, came.news, *at);
                    }
                }
                continue;
            }
        }
        if read.is_none_or(|at| at.elapsed() >= FLEET) {
            match me.fleet_to_watch().await {
                Ok(fleet) => due = me.plan_visits(&due, fleet, period, crate::rim::now()),
                Err(error) => tracing::warn!(error = %error, label = error.label(), "the list of BMCs does not read"),
            }
            hints.keep(&due);
            read = Some(tokio::time::Instant::now());
        }
        me.watching.count(|visits| visits.streams = hints.streams());
        let now = crate::rim::now();
        for (machine, (at, access)) in &due {
            if *at <= now && going.insert(*machine) {
                let (me, bmc) = (me.clone(), BmcOf { machine: *machine, access: access.clone() });
                running.spawn(async move {
                    let visited = me.visit(&bmc).await;
                    (bmc, visited)
                });
            }
        }
    }
}

impl Conductor {
    /// Who is new begins soon; who is gone is left alone; another address or account is another BMC. Who refused a former
    /// run's login is not asked sooner because the daemon was started again.
    fn plan_visits(
        &self,
        before: &BTreeMap<MachineId, (Millis, BmcBody)>,
        fleet: Vec<(MachineId, BmcBody)>,
        period: i64,
        now: Millis,
    ) -> BTreeMap<MachineId, (Millis, BmcBody)> {
        let (all, bmcs) = (fleet.len(), self.watching.bmcs());
        let due = |machine: MachineId, access: BmcBody| {
            let refused = || {
                let one = bmcs.get(&machine).filter(|one| matches!(one.seen.reach, Reach::Refuses { .. }))?;
                Some(schedule::next(machine, period, schedule::REFUSED, one.at?))
            };
            let at = match before.get(&machine) {
                Some((at, old)) if *old == access => *at,
                Some(_) => schedule::first(machine, period, all, now),
                None => refused().unwrap_or_else(|| schedule::first(machine, period, all, now)),
            };
            (machine, (at, access))
        };
        fleet.into_iter().map(|(machine, access)| due(machine, access)).collect()
    }

    async fn fleet_to_watch(&self) -> Result<Vec<(MachineId, BmcBody)>, Error> {
        let mut tx = self.db.read().await.map_err(store)?;
        let rows = machines::ours_with_bmc(&mut tx).await.map_err(store)?;
        Ok(rows
            .into_iter()
            .filter_map(|(machine, text)| Some((machine, body::read("bmc", &machine, &text).ok()?)))
            .collect())
    }

    /// Reads what former runs of the daemon saw, so that logs are read on from where they were left.
    ///
    /// # Errors
    /// The database's.
    pub async fn remember_bmcs(&self) -> Result<usize, Error> {
        let mut tx = self.db.read().await.map_err(store)?;
        let rows = bmc_watch::seen(&mut tx).await.map_err(store)?;
        let mut bmcs = self.watching.bmcs();
        for row in &rows {
            bmcs.insert(row.machine, stored(row));
        }
        Ok(rows.len())
    }

    /// What is known of it; after a write that nobody knows the end of, what the database has.
    async fn known_of(&self, machine: MachineId) -> Result<Watched, Error> {
        if let Some(known) = self.watching.bmcs().get(&machine) {
            return Ok(known.clone());
        }
        let mut tx = self.db.read().await.map_err(store)?;
        Ok(bmc_watch::seen_of(&mut tx, machine).await.map_err(store)?.as_ref().map(stored).unwrap_or_default())
    }

    /// One visit, kept.
    ///
    /// # Errors
    /// The database's: then nothing of it counts, and the next visit reads the same again.
    pub async fn visit(&self, bmc: &BmcOf) -> Result<Came, Error> {
        let visited = self.visit_once(bmc).await;
        if visited.is_err() {
            // It may have been kept all the same.
            self.watching.bmcs().remove(&bmc.machine);
        }
        visited
    }

    async fn visit_once(&self, bmc: &BmcOf) -> Result<Came, Error> {
        let machine = bmc.machine;
        let before = self.known_of(machine).await?;
        let begun = std::time::Instant::now();
        let visit = self.watcher.visit(bmc, &before.seen.marks).await;
        let now = crate::rim::now();
        let (seen, news) = judge(&before.seen, &visit, now);
        let mut after = Watched { at: Some(now), seen, ..before };
        self.visited(&after.seen.reach, begun.elapsed());
        let series = match &visit.readings {
            Ok(readings) if visit.power.is_ok() => {
                after.readings.clone_from(readings);
                self.numbers(machine, &mut after, now).await?
            }
            _ => Vec::new(),
        };
        let entries = match (&visit.power, &visit.logs) {
            (Ok(_), Ok(logs)) => logs.iter().flat_map(|log| &log.entries).map(entry).collect(),
            _ => Vec::new(),
        };
        let came = Came { failures: after.seen.reach.failures(), news: !news.is_empty() };
        let sensors = after.sensors.clone().map(|(number, names)| (number, serde_json::json!(names).to_string()));
        let shown = visit.shown.clone();
        let catalog = self.catalog();
        let row = SeenRow { machine, at: now, body: body::write("bmc seen", &machine, &after.seen)? };
        self.scribe
            .write(move |mut w| {
                Box::pin(async move {
                    if let Some(shown) = shown {
                        know(&mut w, &catalog, machine, shown).await?;
                    }
                    bmc_watch::keep_seen(w.tx, &row).await.map_err(store)?;
                    if let Some((number, names)) = sensors.filter(|_| !series.is_empty()) {
                        bmc_watch::keep_sensors(w.tx, machine, number, &names, MOST_LISTS).await.map_err(store)?;
                        bmc_watch::keep_series(w.tx, &series).await.map_err(store)?;
                    }
                    if !entries.is_empty() {
                        bmc_watch::keep_logged(w.tx, machine, now, &entries, MOST_LOGGED).await.map_err(store)?;
                    }
                    for (n, one) in news.into_iter().enumerate() {
                        w.tx.append(event(machine, now, n, one)).await.map_err(store)?;
                    }
                    Ok(())
                })
            })
            .await?;
        self.watching.bmcs().insert(machine, after);
        Ok(came)
    }

    /// The rows that this visit's numbers make: its own, and the hour and the day with them added.
    async fn numbers(&self, machine: MachineId, after: &mut Watched, now: Millis) -> Result<Vec<SeriesRow>, Error> {
        if after.sensors.is_none() {
            let mut tx = self.db.read().await.map_err(store)?;
            let last = bmc_watch::newest_sensors(&mut tx, machine).await.map_err(store)?;
            after.sensors = last.and_then(|(number, text)| Some((number, serde_json::from_str(&text).ok()?)));
        }
        let (number, stands) = after.sensors.clone().unwrap_or_default();
        let (number, names) = match series::names(&stands, &after.readings) {
            Some(longer) => (number + 1, longer),
            None => (number, stands),
        };
        if names.is_empty() {
            return Ok(Vec::new());
        }
        if after.sensors.as_ref().is_none_or(|(old, _)| *old != number) {
            after.spans.clear();
        }
        let numbers = series::numbers(&names, &after.readings);
        after.sensors = Some((number, names));
        let row = |grain: Grain, at: Millis, body: String| SeriesRow {
            machine,
            grain: grain.millis(),
            at,
            sensors: number,
            body,
        };
        let mut rows = vec![row(Grain::Visit, now, serde_json::json!(numbers).to_string())];
        for grain in [Grain::Hour, Grain::Day] {
            let begins = grain.begins(now);
            let held = after.spans.remove(&grain.millis()).filter(|(at, _)| *at == begins);
            let mut span = match held {
                Some((_, span)) => span,
                None => self.span(machine, grain, begins, number).await?,
            };
            series::add(&mut span, &numbers);
            rows.push(row(grain, begins, serde_json::json!(span).to_string()));
            after.spans.insert(grain.millis(), (begins, span));
        }
        Ok(rows)
    }

    /// What of the span is stored already.
    async fn span(&self, machine: MachineId, grain: Grain, begins: Millis, number: i64) -> Result<Span, Error> {
        let mut tx = self.db.read().await.map_err(store)?;
        let until = Millis(begins.0.saturating_add(1));
        let rows = bmc_watch::series(&mut tx, machine, grain.millis(), (begins, until)).await.map_err(store)?;
        let stored = rows.into_iter().find(|row| row.sensors == number);
        Ok(stored.and_then(|row| serde_json::from_str(&row.body).ok()).unwrap_or_default())
    }

    fn visited(&self, reach: &Reach, took: Duration) {
        self.watching.count(|visits| {
            match reach {
                Reach::Answers => visits.answered += 1,
                Reach::Refuses { .. } => visits.refused += 1,
                Reach::Silent { .. } | Reach::Unvisited => visits.silent += 1,
            }
            visits.seconds += took.as_secs_f64();
        });
    }

    /// What is known of a machine's BMC; `None` where it was never visited.
    pub fn watched(&self, machine: MachineId) -> Option<Watched> {
        self.watching.bmcs().get(&machine).cloned()
    }

    /// What became of the visits since the start, and how many are made at once.
    pub fn visits(&self) -> (Visits, PaceTold) {
        (*self.watching.visits.lock().unwrap_or_else(PoisonError::into_inner), self.watcher.pace())
    }

    /// How many BMCs are in which reach, and how many of those that answer are how well.
    pub fn watched_counts(&self) -> (BTreeMap<&'static str, usize>, BTreeMap<&'static str, usize>) {
        let (mut reach, mut health) = (BTreeMap::new(), BTreeMap::new());
        for one in self.watching.bmcs().values() {
            *reach.entry(one.seen.reach.word()).or_default() += 1;
            if one.seen.reach == Reach::Answers {
                *health.entry(one.seen.health().word()).or_default() += 1;
            }
        }
        (reach, health)
    }

    /// Numbers of a machine's sensors: for each span when it begins and, by name, what was read in it.
    ///
    /// # Errors
    /// The database's.
    pub async fn series_of(
        &self,
        machine: MachineId,
        grain: Grain,
        between: (Millis, Millis),
    ) -> Result<Vec<(Millis, BTreeMap<String, Sum>)>, Error> {
        let mut tx = self.db.read().await.map_err(store)?;
        let lists: BTreeMap<i64, Vec<String>> = bmc_watch::sensors(&mut tx, machine)
            .await
            .map_err(store)?
            .into_iter()
            .filter_map(|(number, text)| Some((number, serde_json::from_str(&text).ok()?)))
            .collect();
        let rows = bmc_watch::series(&mut tx, machine, grain.millis(), between).await.map_err(store)?;
        let told = rows.iter().filter_map(|row| {
            let span: Span = match grain {
                Grain::Visit => {
                    let numbers: Vec<Option<f64>> = serde_json::from_str(&row.body).ok()?;
                    numbers.into_iter().map(|value| value.map(|value| Sum(1, value, value, value))).collect()
                }
                Grain::Hour | Grain::Day => serde_json::from_str(&row.body).ok()?,
            };
            let named = lists.get(&row.sensors)?.iter().cloned().zip(span);
            Some((row.at, named.filter_map(|(name, sum)| Some((name, sum?))).collect()))
        });
        Ok(told.collect())
    }

    /// Forgets numbers that are older than their grain is kept.
    pub(crate) async fn forget_series(&self) -> Result<(), Error> {
        self.scribe
            .write(move |w| {
                Box::pin(async move {
                    for (grain, kept) in series::KEPT {
                        let before = Millis(w.now.0.saturating_sub(kept));
                        bmc_watch::forget_series(w.tx, grain.millis(), before).await.map_err(store)?;
                    }
                    Ok(())
                })
            })
            .await
    }
}

/// A key is taken down at first sight where the BMC speaks for the machine that it is said to be of; a BMC of another
/// machine is an impostor.
async fn know(w: &mut Write<'_>, catalog: &Catalog, machine: MachineId, shown: Shown) -> Result<(), Error> {
    let Some(record) = machines::get(w.tx, machine).await.map_err(store)? else { return Ok(()) };
    if bmc_adoption::pin_of(w.tx, machine).await.map_err(store)?.is_some() {
        return Ok(());
    }
    let said = Said { serials: &shown.serials, uuids: &shown.uuids };
    let told = shown.serials.join(" or ");
    if !said.fits(record.serial.as_deref(), record.uuid.as_deref()) {
        let known = record.serial.as_deref().unwrap_or("unknown");
        let why = format!("its BMC speaks for the machine with serial number {told}, and its own is {known}");
        let title = format!(
            "{why}: nothing is asked of that BMC any more. Put the address in its rack layout right, or the serial number, \
             then `muster bmc trust {} --next`",
            record.name
        );
        let id = TicketId(crate::rim::fresh_id()?);
        tickets::open_ticket(w.tx, id, Subject::Bmc(machine), FOREIGN, &title, "{}", w.now).await.map_err(store)?;
        let pin = format!("{REFUSED}{told}");
        let row = PinRow { machine, pin, serial: Some(told.clone()), at: w.now, actor: "watch".into() };
        bmc_adoption::put_pin(w.tx, &row).await.map_err(store)?;
        let detail = serde_json::json!({ "why": why, "tls-pin": shown.pin.to_string() });
        let happened = Happened {
            cause: format!("bmc-foreign/{told}/{}", w.now.0),
            actor: "bmc",
            event: Life::ImpostorSeen,
            detail,
        };
        return apply::apply(w, catalog, machine, happened).await.map(drop);
    }
    let (pin, serial) = (shown.pin.to_string(), record.serial.or_else(|| shown.serials.first().cloned()));
    let detail = serde_json::json!({ "before": null, "after": pin, "serial": serial });
    let row = PinRow { machine, pin, serial, at: w.now, actor: "first-use".into() };
    bmc_adoption::put_pin(w.tx, &row).await.map_err(store)?;
    apply::note(w, machine, &format!("bmc-trusted/{}", w.now.0), "bmc-trusted", "first-use", detail).await.map(drop)
}

/// What an older program wrote and this one does not read is forgotten: the log is read from its beginning.
fn stored(row: &SeenRow) -> Watched {
    let seen: Seen = body::read("bmc seen", &row.machine, &row.body).unwrap_or_default();
    Watched { at: Some(row.at), seen, ..Watched::default() }
}

/// As the ring has it: without the bytes it came in.
fn entry(entry: &muster_bmc::LogEntry) -> String {
    serde_json::json!({
        "log": entry.log, "id": entry.id, "time": entry.time, "health": entry.health, "message-id": entry.message_id,
        "component": entry.component, "message": entry.message,
    })
    .to_string()
}

fn event(machine: MachineId, now: Millis, n: usize, news: News) -> Event {
    Event {
        subject: Subject::Bmc(machine),
        cause: Cause(format!("bmc-visit/{}/{n}", now.0)),
        kind: news.kind.into(),
        actor: "bmc".into(),
        epoch: Epoch(0),
        body: news.body.to_string(),
        at: now,
    }
}

impl Watched {
    /// The worst of its sensors.
    pub fn health(&self) -> Health {
        self.seen.health()
    }
}
