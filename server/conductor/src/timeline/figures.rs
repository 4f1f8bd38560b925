//! Figures of the boots that came to an end: how long each stage took, and what each boot came to. They count from the
//! start of the daemon, as counters do; the boots themselves are in the database.

use super::Told;
use crate::{Conductor, rim};
use muster_names::{Mac, MachineId, Millis};
use muster_netboot::timeline::{Boot, Diagnosis, Grade, Stage};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Upper bounds of the histogram, in seconds; firmware of large servers takes minutes.
pub const SECONDS: [i64; 12] = [1, 2, 5, 10, 20, 30, 60, 120, 180, 300, 600, 1200];
/// Ports that are looked after at once; what does not fit is not counted.
const MOST_HOT: usize = 10_000;
/// Ports judged in one round.
const ROUND: usize = 500;
const EVERY: Duration = Duration::from_secs(10);
/// A boot that went wrong may still mend itself: it is counted after so long without a word.
const QUIET_MS: i64 = 60_000;
/// Nobody is looked after for longer than this without a word.
const FORGET_MS: i64 = 1_200_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Machine(MachineId),
    Port(Mac),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Of each bound of [`SECONDS`], those at or below it and above the one before.
    pub counts: [u64; SECONDS.len()],
    pub over: u64,
    pub millis: u64,
}

impl Histogram {
    fn add(&mut self, millis: i64) {
        let found = self.counts.iter_mut().zip(SECONDS).find(|(_, bound)| millis <= bound.saturating_mul(1000));
        match found {
            Some((count, _)) => *count += 1,
            None => self.over += 1,
        }
        self.millis = self.millis.saturating_add(u64::try_from(millis).unwrap_or(0));
    }

    pub fn total(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.over
    }
}

/// What was counted, and which ports are to be looked at again.
#[derive(Debug, Default)]
pub struct Figures {
    stages: BTreeMap<Stage, Histogram>,
    diagnoses: BTreeMap<&'static str, u64>,
    hot: BTreeMap<Mac, Millis>,
    /// The begin of the last boot that was counted.
    counted: BTreeMap<Who, Millis>,
}

impl Figures {
    pub(crate) fn touched(&mut self, macs: impl IntoIterator<Item = Mac>, now: Millis) {
        for mac in macs {
            if self.hot.len() < MOST_HOT || self.hot.contains_key(&mac) {
                self.hot.insert(mac, now);
            }
        }
    }

    pub fn stages(&self) -> impl Iterator<Item = (Stage, &Histogram)> {
        self.stages.iter().map(|(stage, histogram)| (*stage, histogram))
    }

    /// Every diagnosis there is, with how often it was made.
    pub fn diagnoses(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Diagnosis::LABELS.into_iter().map(|label| (label, self.diagnoses.get(label).copied().unwrap_or(0)))
    }

    /// Counts the boots that have ended and were not counted; those newly counted are told. True: no boot is open.
    fn count<'a>(&mut self, who: Who, boots: &'a [Boot], now: Millis) -> (Vec<&'a Boot>, bool) {
        let mut fresh = Vec::new();
        let mut closed = true;
        for boot in boots {
            if self.counted.get(&who).is_some_and(|last| boot.began <= *last) {
                continue;
            }
            let newest = boot.entries.iter().map(muster_netboot::timeline::Entry::end).max().unwrap_or(boot.began);
            let settled = match boot.diagnosis.grade() {
                Grade::Well => true,
                Grade::Going => false,
                Grade::Wrong => now.0.saturating_sub(newest.0) >= QUIET_MS,
            };
            if boot.ended.is_none() && !settled {
                closed = false;
                continue;
            }
            self.counted.insert(who, boot.began);
            *self.diagnoses.entry(boot.diagnosis.label()).or_default() += 1;
            for span in &boot.stages {
                if let Some(millis) = span.millis {
                    self.stages.entry(span.stage).or_default().add(millis);
                }
            }
            fresh.push(boot);
        }
        (fresh, closed)
    }

    fn forget(&mut self, now: Millis) {
        self.hot.retain(|_, at| now.0.saturating_sub(at.0) < FORGET_MS);
        if self.counted.len() > MOST_HOT {
            // Oldest first; a boot of so long ago is not looked at again.
            self.counted.retain(|_, at| now.0.saturating_sub(at.0) < FORGET_MS);
        }
    }
}

/// Looks at the boots under way until `cancel`, and writes what each came to into the daemon's own log.
pub async fn judge_boots(me: Arc<Conductor>, cancel: CancellationToken) {
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        me.judge_once().await;
    }
}

impl Conductor {
    pub fn figures<T>(&self, look: impl FnOnce(&Figures) -> T) -> T {
        look(&self.timeline.figures.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One round.
    pub async fn judge_once(&self) {
        let now = rim::now();
        let hot: Vec<Mac> = {
            let mut figures = self.timeline.figures.lock().unwrap_or_else(PoisonError::into_inner);
            figures.forget(now);
            figures.hot.keys().copied().take(ROUND).collect()
        };
        let mut done: BTreeSet<Mac> = BTreeSet::new();
        for mac in hot {
            if done.contains(&mac) {
                continue;
            }
            match self.boots_of_mac(mac).await {
                Ok(told) => done.extend(self.count(&told, now)),
                Err(error) => {
                    tracing::debug!(%mac, error = %error, "its boots could not be looked at");
                    return;
                }
            }
        }
    }

    /// The ports that need no further look when they are silent.
    fn count(&self, told: &Told, now: Millis) -> Vec<Mac> {
        let who = match (told.machine, told.macs.first()) {
            (Some(id), _) => Who::Machine(id),
            (None, Some(mac)) => Who::Port(*mac),
            (None, None) => return Vec::new(),
        };
        let mut figures = self.timeline.figures.lock().unwrap_or_else(PoisonError::into_inner);
        let (fresh, closed) = figures.count(who, &told.boots, now);
        for boot in fresh {
            let (machine, macs) = (told.machine.map(|id| id.to_string()), &told.macs);
            let said = boot.diagnosis.to_string();
            match boot.diagnosis.grade() {
                Grade::Wrong => {
                    tracing::warn!(machine, ?macs, next = boot.diagnosis.next_step(), "a boot: {said}");
                }
                _ => tracing::info!(machine, ?macs, "a boot: {said}"),
            }
        }
        if closed {
            for mac in &told.macs {
                figures.hot.remove(mac);
            }
        }
        told.macs.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_netboot::timeline::{Entry, What, boots};

    #[test]
    fn a_boot_is_counted_once_and_when_it_has_ended() {
        let mac = Mac([2, 0, 0, 0, 0, 1]);
        let on = |at: i64| Entry::of(Millis(at), Some(mac), What::Power { on: true, agent: true });
        let mut figures = Figures::default();
        let who = Who::Port(mac);
        let young = boots(vec![on(0)], &[], Millis(10_000));
        assert_eq!(figures.count(who, &young, Millis(10_000)), (Vec::new(), false), "it is still going");
        let late = boots(vec![on(0)], &[], Millis(400_000));
        assert_eq!(figures.count(who, &late, Millis(400_000)).0.len(), 1);
        assert_eq!(figures.count(who, &late, Millis(401_000)), (Vec::new(), true));
        let told = figures.diagnoses().find(|(label, _)| *label == "never-asked");
        assert_eq!(told, Some(("never-asked", 1)));
        assert_eq!(figures.diagnoses().count(), Diagnosis::LABELS.len(), "a counter that is 0 is there too");
    }

    #[test]
    fn a_length_falls_into_the_first_bound_that_holds_it() {
        let mut histogram = Histogram::default();
        [900, 1_000, 1_001, 61_000, 5_000_000].into_iter().for_each(|millis| histogram.add(millis));
        assert_eq!(
            (histogram.counts.first(), histogram.counts.get(1), histogram.counts.get(7)),
            (Some(&2), Some(&1), Some(&1))
        );
        assert_eq!((histogram.over, histogram.total(), histogram.millis), (1, 5, 5_063_901));
    }

    #[test]
    fn a_flood_of_ports_takes_no_more_memory_than_set() {
        let mut figures = Figures::default();
        let mac = |number: u32| {
            let [a, b, c, d] = number.to_be_bytes();
            Mac([2, 0, a, b, c, d])
        };
        (0..20_000).for_each(|number| figures.touched([mac(number)], Millis(0)));
        assert_eq!(figures.hot.len(), MOST_HOT);
        figures.forget(Millis(FORGET_MS));
        assert!(figures.hot.is_empty());
    }
}
