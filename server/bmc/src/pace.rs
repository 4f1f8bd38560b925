//! How many BMCs are read at once: as many as this host and its network bear, found out while reading.
//!
//! A place more for every operation that ended well, a third fewer when answers come late: the rule by which TCP shares a
//! line. Only a BMC that answers in the end is a witness against us; one that is silent says nothing about the pace, and
//! gives its place away while it is waited for, so that dead ones do not slow the others: sooner if it was silent before.

use crate::lane::Lane;
use std::future::Future;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

const FIRST: usize = 16;
const LEAST: usize = 4;
/// One late answer in so many is the network's everyday loss.
const LATE: usize = 8;
const REST: Duration = Duration::from_secs(1);
const WHOLE: usize = 1000;
/// A BMC that has not answered for so many usual answers is waited for without a place.
const PATIENCE: u32 = 8;
const LEAST_PATIENCE: Duration = Duration::from_millis(5);
/// One that was silent the last time.
const DOUBT: u32 = 2;
const LEAST_DOUBT: Duration = Duration::from_millis(2);
/// What is usual changes meanwhile, and a bench may be free for one that had none: looked at so often.
const LOOK: Duration = Duration::from_millis(20);

/// How many operations run, and how many may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaceTold {
    /// Operations at once.
    pub at_once: usize,
    /// Answers since the start.
    pub answers: u64,
    /// Of these, such as came late: after the question was sent again, or much later than usual.
    pub late: u64,
}

pub struct Pace {
    places: Semaphore,
    /// For those that are waited for without a place: they have file descriptors too.
    benches: Semaphore,
    gauge: Mutex<Gauge>,
}

impl Pace {
    /// `most` at once whatever happens: what file descriptors there are for.
    pub fn new(most: usize) -> Self {
        let gauge = Gauge::new(most);
        Self { places: Semaphore::new(gauge.limit()), benches: Semaphore::new(gauge.most), gauge: Mutex::new(gauge) }
    }

    /// Runs one operation on a lane's BMC when there is room for it.
    pub async fn run<T>(&self, lane: &Lane, answer: Duration, operation: impl Future<Output = T>) -> T {
        let (mut place, mut bench) = (self.place().await, None);
        let mut operation = pin!(operation);
        let (begun, was_silent, mut crowded) = (Instant::now(), lane.was_silent(), false);
        loop {
            let patience = self.gauge().patience(answer, was_silent);
            tokio::select! {
                biased;
                done = &mut operation => {
                    self.ended(place.take());
                    drop(bench);
                    return done;
                }
                // What is usual may be known by then.
                () = tokio::time::sleep(if crowded { LOOK } else { patience.min(LOOK) }), if place.is_some() => {
                    if lane.heard().is_none_or(|at| at.max(begun).elapsed() >= patience) {
                        bench = self.benches.try_acquire().ok();
                        crowded = bench.is_none();
                        if !crowded {
                            let more = self.gauge().was_silent(Instant::now());
                            self.leave(place.take());
                            self.places.add_permits(more);
                        }
                    }
                }
            }
        }
    }

    /// An answer came, so long after it was asked for.
    pub fn answered(&self, took: Duration, late: bool) {
        self.gauge().answered(took, late, Instant::now());
    }

    pub fn told(&self) -> PaceTold {
        let gauge = self.gauge();
        PaceTold { at_once: gauge.limit(), ..gauge.told }
    }

    async fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.places.acquire().await.ok()
    }

    fn ended(&self, place: Option<SemaphorePermit<'_>>) {
        let waited_for = self.places.available_permits() == 0;
        let more = if place.is_some() && waited_for { self.gauge().ended_well(Instant::now()) } else { 0 };
        self.leave(place);
        self.places.add_permits(more);
    }

    /// Gives the place back, unless there are more of them than there may be.
    fn leave(&self, place: Option<SemaphorePermit<'_>>) {
        let Some(place) = place else { return };
        if self.gauge().owed() {
            place.forget();
        }
    }

    fn gauge(&self) -> MutexGuard<'_, Gauge> {
        self.gauge.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rule itself, which waits for nothing.
#[derive(Debug)]
struct Gauge {
    /// In thousandths, so that it may grow by less than one.
    limit: usize,
    most: usize,
    /// In the semaphore and in use: they follow the limit.
    places: usize,
    /// Until answers first come late, each operation that ends makes room for one more.
    starting: bool,
    /// Since the window began.
    answered: usize,
    late: usize,
    /// A change shows in the answers only after a while, in which nothing grows.
    rests_until: Option<Instant>,
    usual: Option<Duration>,
    told: PaceTold,
}

impl Gauge {
    fn new(most: usize) -> Self {
        let most = most.clamp(LEAST, 1 << 20);
        let first = FIRST.min(most);
        Self {
            limit: first * WHOLE,
            most,
            places: first,
            starting: true,
            answered: 0,
            late: 0,
            rests_until: None,
            usual: None,
            told: PaceTold { at_once: first, answers: 0, late: 0 },
        }
    }

    fn limit(&self) -> usize {
        self.limit / WHOLE
    }

    fn answered(&mut self, took: Duration, late: bool, now: Instant) {
        self.told.answers += 1;
        self.told.late += u64::from(late);
        self.answered += 1;
        self.late += usize::from(late);
        let usual = self.usual.unwrap_or(took);
        // One that took very long says little of the others.
        self.usual = Some(usual * 7 / 8 + took.min(usual * PATIENCE + LEAST_PATIENCE) / 8);
        if self.answered < self.limit().max(FIRST) {
            return;
        }
        let (answered, late) = (std::mem::take(&mut self.answered), std::mem::take(&mut self.late));
        if late.saturating_mul(LATE) > answered && !self.rests(now) {
            self.starting = false;
            self.limit = (self.limit * 7 / 10).max(LEAST * WHOLE);
            self.rests_until = Some(now + REST);
        }
    }

    /// An operation ended in time while others waited for its place: how many places there are more.
    fn ended_well(&mut self, now: Instant) -> usize {
        if self.rests(now) {
            return 0;
        }
        let more = if self.starting { WHOLE } else { WHOLE * WHOLE / self.limit };
        self.limit = (self.limit + more).min(self.most * WHOLE);
        let more = self.limit().saturating_sub(self.places);
        self.places += more;
        more
    }

    /// A silent BMC is no witness, but until the first late answer nobody speaks for going slowly either: in a fleet that is
    /// dark all silences are waited for together.
    fn was_silent(&mut self, now: Instant) -> usize {
        if self.starting { self.ended_well(now) } else { 0 }
    }

    fn rests(&self, now: Instant) -> bool {
        self.rests_until.is_some_and(|until| now < until)
    }

    /// Whether a place that comes back is one too many.
    fn owed(&mut self) -> bool {
        let owed = self.places > self.limit();
        self.places -= usize::from(owed);
        owed
    }

    fn patience(&self, answer: Duration, was_silent: bool) -> Duration {
        let (times, least) = if was_silent { (DOUBT, LEAST_DOUBT) } else { (PATIENCE, LEAST_PATIENCE) };
        self.usual.map_or(answer, |usual| (usual * times).max(least).min(answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const MS: Duration = Duration::from_millis(1);

    /// A host that bears so many operations at once: beyond that every answer is late.
    fn settled(bears: usize) -> Vec<usize> {
        let (mut gauge, mut now, mut seen) = (Gauge::new(4096), Instant::now(), Vec::new());
        for _ in 0..3000 {
            let at_once = gauge.limit();
            for _ in 0..at_once {
                gauge.answered(MS, at_once > bears, now);
                gauge.ended_well(now);
            }
            now += Duration::from_millis(50);
            seen.push(gauge.limit());
        }
        seen
    }

    #[test]
    fn the_pace_finds_what_is_borne_without_being_told() {
        for bears in [10, 60, 700] {
            let seen = settled(bears);
            assert!(
                seen[..12].iter().any(|at_once| *at_once > bears),
                "{bears}: it finds the edge within a dozen rounds"
            );
            let later = &seen[500..];
            let (least, most) = (later.iter().min().unwrap(), later.iter().max().unwrap());
            assert!(*least >= bears / 2 && *most <= bears + bears / 2 + 25, "{bears}: between {least} and {most}");
        }
    }

    #[test]
    fn everyday_loss_slows_nothing_and_the_limit_keeps_to_its_bounds() {
        let (mut gauge, now) = (Gauge::new(100), Instant::now());
        for n in 0..10_000 {
            gauge.answered(MS, n % 20 == 0, now);
            gauge.ended_well(now);
        }
        assert_eq!((gauge.limit(), gauge.told.late), (100, 500));
        for n in 0..10_000_u32 {
            gauge.answered(MS, true, now + 2 * REST * n);
        }
        assert_eq!(gauge.limit(), LEAST);
        assert_eq!((0..200).filter(|_| gauge.owed()).count(), 100 - LEAST);
    }

    #[tokio::test]
    async fn who_is_silent_gives_the_place_away_and_is_waited_for() {
        let pace = Arc::new(Pace::new(LEAST));
        pace.answered(MS, false);
        let dead = (0..LEAST).map(|_| {
            let pace = pace.clone();
            tokio::spawn(async move {
                pace.run(&Lane::default(), 1000 * MS, tokio::time::sleep(1500 * MS)).await;
            })
        });
        let dead: Vec<_> = dead.collect();
        tokio::task::yield_now().await;
        let begun = Instant::now();
        pace.run(&Lane::default(), 1000 * MS, tokio::time::sleep(MS)).await;
        assert!(begun.elapsed() < 1200 * MS, "{:?}", begun.elapsed());
        for one in dead {
            one.await.unwrap();
        }
        assert_eq!(pace.places.available_permits(), LEAST, "every place came back");
    }

    #[tokio::test]
    async fn who_was_silent_before_gives_its_place_away_sooner_and_only_so_many_are_waited_for() {
        let (pace, silent, settings) = (Arc::new(Pace::new(LEAST)), Lane::default(), crate::Settings::default());
        pace.answered(MS, false);
        let [doubtful, usual] = [true, false].map(|was_silent| pace.gauge().patience(1000 * MS, was_silent));
        assert!(doubtful < usual, "{doubtful:?} {usual:?}");
        let _ = silent.run(&settings, async { Err::<(), _>(crate::Fault::NoAnswer(MS)) }).await;
        assert!(silent.was_silent());
        let silent = Arc::new(silent);
        let dead: Vec<_> = (0..2 * LEAST)
            .map(|_| {
                let (pace, silent) = (pace.clone(), silent.clone());
                tokio::spawn(async move { pace.run(&silent, 1000 * MS, tokio::time::sleep(1000 * MS)).await })
            })
            .collect();
        tokio::time::sleep(100 * MS).await;
        let waiting = (pace.places.available_permits(), pace.benches.available_permits());
        assert_eq!(waiting, (0, 0), "as many without a place as there may be, and no more");
        for one in dead {
            one.await.unwrap();
        }
        assert_eq!((pace.places.available_permits(), pace.benches.available_permits()), (LEAST, LEAST));
    }

    #[test]
    fn a_fleet_that_is_dark_is_waited_for_together() {
        let (mut gauge, mut asked, mut rounds) = (Gauge::new(4096), 0, 0);
        while asked < 1000 {
            let at_once = gauge.limit();
            (0..at_once).for_each(|_| assert_eq!(gauge.was_silent(Instant::now()), 1));
            (asked, rounds) = (asked + at_once, rounds + 1);
        }
        assert_eq!(rounds, 6);
        gauge.starting = false;
        assert_eq!((gauge.was_silent(Instant::now()), gauge.patience(MS * 1000, true)), (0, MS * 1000));
    }

    #[tokio::test]
    async fn who_answers_keeps_the_place_however_long_it_takes() {
        let (pace, most) = (Arc::new(Pace::new(LEAST)), Arc::new(AtomicUsize::new(0)));
        pace.answered(50 * MS, false);
        let now = Arc::new(AtomicUsize::new(0));
        let tasks = (0..40).map(|_| {
            let (pace, most, now) = (pace.clone(), most.clone(), now.clone());
            tokio::spawn(async move {
                let lane = Lane::default();
                let talks = async {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    for _ in 0..20 {
                        tokio::time::sleep(10 * MS).await;
                        lane.hears();
                    }
                    now.fetch_sub(1, Ordering::SeqCst);
                };
                pace.run(&lane, 1000 * MS, talks).await;
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        assert_eq!(most.load(Ordering::SeqCst), LEAST);
    }
}
