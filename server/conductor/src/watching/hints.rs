//! BMCs that tell by themselves when something happens: their next visit is brought forward. Nothing else follows from it,
//! since what is pushed may be lost, late or made up, and the log read by its ids is the truth (B7.14).

use super::WatchHand;
use crate::hand::{BmcOf, HandError};
use crate::{BmcBody, Conductor};
use futures_core::future::BoxFuture;
use muster_names::{MachineId, Millis};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const MINUTE_MS: i64 = 60_000;
/// A stream that ended sooner than this is one that does not hold.
const HELD: Duration = Duration::from_secs(600);
/// Whoever has no stream gets one with other firmware, if ever.
const DEAF_MS: i64 = 24 * 60 * MINUTE_MS;
const UNSTEADY_MS: i64 = 15 * MINUTE_MS;
const REFUSED_MS: i64 = 60 * MINUTE_MS;
/// Between a visit and one that a hint asks for.
const SOONEST_MS: i64 = 10_000;
/// For the sessions of all streams to be given back when the daemon stops.
const GOODBYE: Duration = Duration::from_secs(5);

/// How listening to a BMC ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    NoStream,
    /// It has one, and there is no place for one more.
    NoPlace,
    /// By the BMC's wish, after an hour, or because it was given up.
    Ended,
}

/// What listening needs besides the BMC.
pub struct Listening<'a> {
    /// Called for what the BMC tells.
    pub pushed: &'a (dyn Fn() + Send + Sync),
    /// A place is taken by a stream that is open, and by nothing else.
    pub places: &'a Semaphore,
    pub cancel: &'a CancellationToken,
}

/// A future of one that listens.
pub type Hearing<'a> = BoxFuture<'a, Result<Heard, HandError>>;

/// BMCs that told of something and were not looked at since: one that tells a thousand times is one.
#[derive(Default)]
pub(super) struct Told {
    machines: Mutex<BTreeSet<MachineId>>,
    bell: Notify,
}

impl Told {
    pub fn push(&self, machine: MachineId) {
        if self.machines.lock().unwrap_or_else(PoisonError::into_inner).insert(machine) {
            self.bell.notify_one();
        }
    }

    fn take(&self) -> Option<MachineId> {
        self.machines.lock().unwrap_or_else(PoisonError::into_inner).pop_first()
    }
}

/// How far the hints of a BMC are believed: one that cries wolf is visited by them ever less often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Belief {
    pause: i64,
}

impl Belief {
    const NEW: Self = Self { pause: SOONEST_MS };

    /// After a visit that a hint asked for.
    fn after(self, news: bool, period: i64) -> Self {
        let pause = if news { self.pause / 2 } else { self.pause.saturating_mul(2) };
        Self { pause: pause.min(period).max(SOONEST_MS) }
    }

    /// When a hint has it visited that was visited then and is due at another time.
    fn visit(self, visited: Millis, due: Millis, now: Millis) -> Millis {
        Millis(visited.0.saturating_add(self.pause).max(now.0).min(due.0))
    }
}

/// What listening to one BMC came to, and how long it is not tried again for.
fn pause(outcome: &Result<Heard, HandError>, lasted: Duration) -> i64 {
    match outcome {
        Ok(Heard::NoStream) => DEAF_MS,
        Ok(Heard::NoPlace) | Err(_) => REFUSED_MS,
        Ok(Heard::Ended) if lasted < HELD => UNSTEADY_MS,
        Ok(Heard::Ended) => 0,
    }
}

struct Ear {
    access: BmcBody,
    /// Gives the stream up.
    cancel: CancellationToken,
    listens: bool,
    /// When it is worth trying to listen again.
    again: Millis,
    belief: Belief,
    /// The visit that is due or made was asked for by a hint.
    hinted: bool,
    /// It told of something while it was visited, which that visit may have missed.
    meanwhile: bool,
}

struct Listened {
    machine: MachineId,
    outcome: Result<Heard, HandError>,
    lasted: Duration,
    /// The ear that it belonged to is another BMC's now, or gone.
    given_up: bool,
}

/// The BMCs that are listened to.
pub(super) struct Hints {
    places: Arc<Semaphore>,
    most: usize,
    period: i64,
    ears: BTreeMap<MachineId, Ear>,
    running: JoinSet<Listened>,
    cancel: CancellationToken,
}

impl Hints {
    /// So many streams at once at most.
    pub fn new(most: usize, period: i64, cancel: &CancellationToken) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        let (places, ears, running) = (Arc::new(Semaphore::new(most)), BTreeMap::new(), JoinSet::new());
        Self { places, most, period, ears, running, cancel: cancel.child_token() }
    }

    /// The next BMC that told of something. What has ended meanwhile is put away.
    pub async fn told(&mut self, me: &Conductor) -> MachineId {
        loop {
            if let Some(machine) = me.watching.told.take() {
                return machine;
            }
            tokio::select! {
                () = me.watching.told.bell.notified() => {}
                Some(ended) = self.running.join_next() => {
                    // One that panicked is not listened to for ever: its ear says that it listens.
                    let Ok(Listened { machine, outcome, lasted, given_up }) = ended else { continue };
                    if let Err(error) = &outcome {
                        tracing::info!(%machine, %error, "its BMC's events are not heard");
                    }
                    if let Some(ear) = self.ears.get_mut(&machine).filter(|_| !given_up) {
                        ear.listens = false;
                        ear.again = Millis(crate::rim::now().0.saturating_add(pause(&outcome, lasted)));
                    }
                }
            }
        }
    }

    /// When a BMC that told of something is visited now, instead of when it is due. One that is silent or refuses the login
    /// is asked at its time, whatever it tells (A5.6).
    pub fn brings_forward(&mut self, me: &Conductor, machine: MachineId, due: Millis) -> Millis {
        let (Some(ear), Some(answered)) = (self.ears.get_mut(&machine), me.watching.answered(machine)) else {
            return due;
        };
        let at = ear.belief.visit(answered, due, crate::rim::now());
        ear.hinted |= at < due;
        me.watching.count(|visits| visits.hinted += u64::from(at < due));
        at
    }

    /// It tells of something while it is visited.
    pub fn remember(&mut self, machine: MachineId) {
        if let Some(ear) = self.ears.get_mut(&machine) {
            ear.meanwhile = true;
        }
    }

    /// A BMC was visited and answered: it is worth being listened to, and what its hint was worth is known. Says when it is
    /// visited next, instead of when it is due.
    pub fn visited(&mut self, me: &Arc<Conductor>, bmc: BmcOf, news: bool, due: Millis) -> Millis {
        let (now, machine) = (crate::rim::now(), bmc.machine);
        let fresh = || Ear {
            access: bmc.access.clone(),
            cancel: self.cancel.child_token(),
            listens: false,
            again: now,
            belief: Belief::NEW,
            hinted: false,
            meanwhile: false,
        };
        let ear = self.ears.entry(machine).or_insert_with(fresh);
        if std::mem::take(&mut ear.hinted) {
            ear.belief = ear.belief.after(news, self.period);
        }
        let meanwhile = std::mem::take(&mut ear.meanwhile);
        if !ear.listens && ear.again <= now {
            ear.listens = true;
            let listened = listen(me.clone(), bmc, self.places.clone(), self.most > 0, ear.cancel.clone());
            self.running.spawn(listened);
        }
        if meanwhile { self.brings_forward(me, machine, due) } else { due }
    }

    /// Whose BMC is not watched any more, or is another one, is not listened to.
    pub fn keep(&mut self, due: &BTreeMap<MachineId, (Millis, BmcBody)>) {
        self.ears.retain(|machine, ear| {
            let stays = due.get(machine).is_some_and(|(_, access)| *access == ear.access);
            if !stays {
                ear.cancel.cancel();
            }
            stays
        });
    }

    pub fn streams(&self) -> usize {
        self.most - self.places.available_permits()
    }

    pub async fn end(mut self) {
        self.cancel.cancel();
        let all = async { while self.running.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(GOODBYE, all).await;
    }
}

/// Listens to one BMC until that ends, and then settles whether it shall send its events instead.
async fn listen(
    me: Arc<Conductor>,
    bmc: BmcOf,
    places: Arc<Semaphore>,
    wanted: bool,
    cancel: CancellationToken,
) -> Listened {
    let (begun, machine) = (tokio::time::Instant::now(), bmc.machine);
    let pushed = || me.watching.told.push(machine);
    let listening = Listening { pushed: &pushed, places: &places, cancel: &cancel };
    let watcher: &dyn WatchHand = me.watcher.as_ref();
    let outcome = if wanted { watcher.listen(&bmc, listening).await } else { Ok(Heard::NoStream) };
    if let Ok(heard) = outcome
        && !cancel.is_cancelled()
        && let Err(error) = me.settle_events(&bmc, heard == Heard::Ended).await
    {
        tracing::warn!(%machine, error = %error, label = error.label(), "where its BMC sends events is not settled");
    }
    Listened { machine, outcome, lasted: begun.elapsed(), given_up: cancel.is_cancelled() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: i64 = 300_000;

    #[test]
    fn b7_14_a_hint_brings_the_visit_forward_and_never_puts_it_off() {
        let (now, due) = (Millis(1_000_000), Millis(1_200_000));
        assert_eq!(Belief::NEW.visit(Millis(0), due, now), now);
        assert_eq!(Belief::NEW.visit(now, due, now), Millis(now.0 + SOONEST_MS));
        let soon = Millis(now.0 + 5);
        assert_eq!(Belief::NEW.visit(now, soon, now), soon);
    }

    #[test]
    fn who_cries_wolf_is_believed_less_and_news_mend_that_slowly() {
        let mut belief = Belief::NEW;
        let mut pauses = vec![];
        for news in [false, false, false, false, false, false, true, true, false, true, true, true, true, true] {
            belief = belief.after(news, PERIOD);
            pauses.push(belief.pause / 1000);
        }
        assert_eq!(pauses, [20, 40, 80, 160, 300, 300, 150, 75, 150, 75, 37, 18, 10, 10]);
    }

    #[test]
    fn a_stream_that_held_is_opened_again_at_once_and_one_that_is_not_there_a_day_later() {
        let refused = HandError { reason: "no".into(), may_have_happened: false, later: false };
        let pauses = [
            pause(&Ok(Heard::Ended), Duration::from_secs(3600)),
            pause(&Ok(Heard::Ended), Duration::from_secs(2)),
            pause(&Ok(Heard::NoPlace), Duration::ZERO),
            pause(&Err(refused), Duration::ZERO),
            pause(&Ok(Heard::NoStream), Duration::ZERO),
        ];
        assert!(pauses[0] == 0 && pauses.is_sorted(), "{pauses:?}");
    }

    #[test]
    fn who_tells_a_thousand_times_is_looked_at_once_and_the_others_are_not_drowned() {
        let told = Told::default();
        for _ in 0..1000 {
            told.push(MachineId(1));
        }
        told.push(MachineId(2));
        assert_eq!([told.take(), told.take(), told.take()], [Some(MachineId(1)), Some(MachineId(2)), None]);
    }
}
