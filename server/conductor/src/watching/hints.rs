//! BMCs that tell by themselves when something happens: their next visit is brought forward. Nothing else follows from it,
//! since what is pushed may be lost, late or made up, and the log read by its ids is the truth (B7.14).

use crate::hand::{BmcOf, HandError};
use crate::{BmcBody, Conductor};
use muster_names::{MachineId, Millis};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
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
/// Hints that wait to be looked at. More say nothing more: each of their BMCs is visited anyway.
const WAITING: usize = 1024;
/// For the sessions of all streams to be given back when the daemon stops.
const GOODBYE: Duration = Duration::from_secs(5);

/// How far the hints of a BMC are believed: one that cries wolf is visited by them ever less often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Belief {
    pause: i64,
}

impl Belief {
    const NEW: Self = Self { pause: SOONEST_MS };

    /// After a visit that a hint asked for.
    fn after(self, news: bool, period: i64) -> Self {
        if news { Self::NEW } else { Self { pause: self.pause.saturating_mul(2).min(period.max(SOONEST_MS)) } }
    }

    /// When a hint has it visited that was visited then and is due at another time.
    fn visit(self, visited: Option<Millis>, due: Millis, now: Millis) -> Millis {
        let soonest = visited.map_or(now.0, |at| at.0.saturating_add(self.pause));
        Millis(soonest.max(now.0).min(due.0))
    }
}

/// What listening to one BMC came to, and how long it is not tried again for.
fn pause(outcome: &Result<bool, HandError>, lasted: Duration) -> i64 {
    match outcome {
        Ok(false) => DEAF_MS,
        Err(_) => REFUSED_MS,
        Ok(true) if lasted < HELD => UNSTEADY_MS,
        Ok(true) => 0,
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
}

struct Listened {
    machine: MachineId,
    outcome: Result<bool, HandError>,
    lasted: Duration,
    /// The ear that it belonged to is another BMC's now, or gone.
    given_up: bool,
}

/// The BMCs that are listened to.
pub(super) struct Hints {
    places: usize,
    period: i64,
    ears: BTreeMap<MachineId, Ear>,
    pushes: (mpsc::Sender<MachineId>, mpsc::Receiver<MachineId>),
    running: JoinSet<Listened>,
    cancel: CancellationToken,
}

impl Hints {
    /// So many streams at once at most.
    pub fn new(places: usize, period: i64, cancel: &CancellationToken) -> Self {
        let (ears, pushes, running) = (BTreeMap::new(), mpsc::channel(WAITING), JoinSet::new());
        Self { places, period, ears, pushes, running, cancel: cancel.child_token() }
    }

    /// By this hints come in from elsewhere.
    pub fn door(&self) -> mpsc::Sender<MachineId> {
        self.pushes.0.clone()
    }

    /// The next BMC that told of something. What has ended meanwhile is put away.
    pub async fn told(&mut self) -> MachineId {
        loop {
            tokio::select! {
                Some(machine) = self.pushes.1.recv() => return machine,
                Some(ended) = self.running.join_next() => {
                    // One that panicked is not listened to for ever: its ear says that it listens.
                    let Ok(Listened { machine, outcome, lasted, given_up }) = ended else { continue };
                    if let Err(error) = &outcome {
                        tracing::debug!(%machine, %error, "its BMC's events are not heard");
                    }
                    if let Some(ear) = self.ears.get_mut(&machine).filter(|_| !given_up) {
                        ear.listens = false;
                        ear.again = Millis(crate::rim::now().0.saturating_add(pause(&outcome, lasted)));
                    }
                }
            }
        }
    }

    /// When the BMC that told of something is visited now, instead of when it is due.
    pub fn brings_forward(&mut self, machine: MachineId, visited: Option<Millis>, due: Millis) -> Millis {
        let Some(ear) = self.ears.get_mut(&machine) else { return due };
        let at = ear.belief.visit(visited, due, crate::rim::now());
        ear.hinted |= at < due;
        at
    }

    /// A BMC was visited and answered: it is worth being listened to, and what its hint was worth is known.
    pub fn visited(&mut self, me: &Arc<Conductor>, bmc: BmcOf, news: bool) {
        let now = crate::rim::now();
        let fresh = || Ear {
            access: bmc.access.clone(),
            cancel: self.cancel.child_token(),
            listens: false,
            again: now,
            belief: Belief::NEW,
            hinted: false,
        };
        let ear = self.ears.entry(bmc.machine).or_insert_with(fresh);
        if std::mem::take(&mut ear.hinted) {
            ear.belief = ear.belief.after(news, self.period);
        }
        // Without a place the next visit tries again; a site that wants no streams still has subscriptions.
        let listens = self.places > 0;
        if ear.listens || ear.again > now || (listens && self.running.len() >= self.places) {
            return;
        }
        ear.listens = true;
        let (me, told, cancel) = (me.clone(), self.pushes.0.clone(), ear.cancel.clone());
        self.running.spawn(async move {
            let begun = tokio::time::Instant::now();
            let machine = bmc.machine;
            // A full queue loses the hint: the visit comes at its time.
            let pushed = || {
                let _ = told.try_send(machine);
            };
            let outcome = if listens { me.watcher.listen(&bmc, &pushed, &cancel).await } else { Ok(false) };
            if let Ok(has_stream) = outcome
                && let Err(error) = me.settle_events(&bmc, has_stream).await
            {
                tracing::warn!(%machine, error = %error, label = error.label(), "where its BMC sends events is not settled");
            }
            Listened { machine, outcome, lasted: begun.elapsed(), given_up: cancel.is_cancelled() }
        });
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
        self.running.len()
    }

    pub async fn end(mut self) {
        self.cancel.cancel();
        let all = async { while self.running.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(GOODBYE, all).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: i64 = 300_000;

    #[test]
    fn b7_14_a_hint_brings_the_visit_forward_and_never_puts_it_off() {
        let (now, due) = (Millis(1_000_000), Millis(1_200_000));
        let long_ago = Some(Millis(0));
        assert_eq!(Belief::NEW.visit(long_ago, due, now), now);
        assert_eq!(Belief::NEW.visit(None, due, now), now);
        assert_eq!(Belief::NEW.visit(Some(now), due, now), Millis(now.0 + SOONEST_MS));
        let soon = Millis(now.0 + 5);
        assert_eq!(Belief::NEW.visit(Some(now), soon, now), soon);
    }

    #[test]
    fn who_cries_wolf_is_believed_less_and_news_mend_that() {
        let mut belief = Belief::NEW;
        let mut pauses = vec![];
        for _ in 0..8 {
            belief = belief.after(false, PERIOD);
            pauses.push(belief.pause);
        }
        assert_eq!(pauses, [20_000, 40_000, 80_000, 160_000, PERIOD, PERIOD, PERIOD, PERIOD]);
        assert_eq!(belief.after(true, PERIOD), Belief::NEW);
    }

    #[test]
    fn a_stream_that_held_is_opened_again_at_once_and_one_that_is_not_there_a_day_later() {
        let refused = HandError { reason: "no".into(), may_have_happened: false, later: false };
        let pauses = [
            pause(&Ok(true), Duration::from_secs(3600)),
            pause(&Ok(true), Duration::from_secs(2)),
            pause(&Err(refused), Duration::ZERO),
            pause(&Ok(false), Duration::ZERO),
        ];
        assert!(pauses[0] == 0 && pauses.is_sorted(), "{pauses:?}");
    }
}
