//! Consoles that are recorded with nobody there: of machines that are being booted, so that a boot that failed can be read
//! afterwards.
//!
//! It never takes a console from anybody. Who sits down through us shares it; who takes it at the BMC keeps it for as
//! long as they like, and the recorder comes back when it is free.

use super::room::Ask;
use crate::error::store;
use crate::{Conductor, Error, rim};
use muster_names::{MachineId, Millis, Subject};
use muster_store::{machines, subjects};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(5);
const PAGE: u32 = 1000;
/// Consoles that are opened at one moment.
const AT_ONCE: usize = 16;
/// A BMC that gave no console, or took it away, is asked again: it says no for as long as another one has it.
const AGAIN_MS: i64 = 120_000;
/// How long rooms have to give their consoles back when the daemon stops.
const PARTING: Duration = Duration::from_secs(5);

/// States in which a machine boots, or is about to.
const BOOTING: [&str; 7] =
    ["discovering", "commissioning", "installing", "checking", "repairing", "releasing", "retiring"];

/// One machine that is recorded, or will be.
enum Kept {
    /// Its BMC is asked.
    Opening,
    On(mpsc::Sender<Ask>),
    /// Not before this.
    Later(Millis),
}

/// Records booting machines if `record`, until `cancel`; then waits until every console is given back.
pub async fn keep_consoles(me: Arc<Conductor>, record: bool, cancel: CancellationToken) {
    let (mut kept, mut opening) = (BTreeMap::new(), Opening::new());
    let (room, mut every) = (Arc::new(Semaphore::new(AT_ONCE)), tokio::time::interval(EVERY));
    loop {
        tokio::select! {
            () = cancel.cancelled() => break,
            _ = every.tick(), if record => {
                if let Err(error) = round(&me, &mut kept, &mut opening, &room).await {
                    tracing::warn!(error = %error, label = error.label(), "no console was looked at");
                }
            }
            Some(Ok((id, one))) = opening.join_next() => opened(&mut kept, id, one),
        }
    }
    // Those that wait for a BMC are given up: what they had begun gives itself back.
    opening.shutdown().await;
    for (_, one) in kept {
        if let Kept::On(room) = one {
            let _ = room.try_send(Ask::Keep(false));
        }
    }
    me.consoles.rooms.close();
    let _ = tokio::time::timeout(PARTING, me.consoles.rooms.wait()).await;
}

type Opening = JoinSet<(MachineId, Result<mpsc::Sender<Ask>, Error>)>;

async fn round(
    me: &Arc<Conductor>,
    kept: &mut BTreeMap<MachineId, Kept>,
    opening: &mut Opening,
    room: &Arc<Semaphore>,
) -> Result<(), Error> {
    let (wanted, now) = (booting(me).await?, rim::now());
    for id in settle(kept, &wanted, now) {
        kept.insert(id, Kept::Opening);
        let (me, room) = (me.clone(), room.clone());
        opening.spawn(async move {
            let _seat = room.acquire_owned().await;
            (id, me.record_console(id).await)
        });
    }
    Ok(())
}

fn opened(kept: &mut BTreeMap<MachineId, Kept>, id: MachineId, opened: Result<mpsc::Sender<Ask>, Error>) {
    let one = opened.map_or_else(
        |error| {
            tracing::debug!(machine = %id, %error, "its console is not recorded");
            Kept::Later(Millis(rim::now().0.saturating_add(AGAIN_MS)))
        },
        Kept::On,
    );
    kept.insert(id, one);
}

/// Lets go of those that boot no more, and says whose turn it is.
fn settle(kept: &mut BTreeMap<MachineId, Kept>, wanted: &BTreeSet<MachineId>, now: Millis) -> Vec<MachineId> {
    kept.retain(|id, one| {
        match one {
            _ if wanted.contains(id) => true,
            // A room that is busy is told at the next round.
            Kept::On(room) => matches!(room.try_send(Ask::Keep(false)), Err(mpsc::error::TrySendError::Full(_))),
            // Until it is known what came of it.
            Kept::Opening => true,
            Kept::Later(_) => false,
        }
    });
    for one in kept.values_mut() {
        if matches!(&*one, Kept::On(room) if room.is_closed()) {
            *one = Kept::Later(Millis(now.0.saturating_add(AGAIN_MS)));
        }
    }
    let due = |id: &&MachineId| match kept.get(id) {
        None => true,
        Some(Kept::Later(at)) => *at <= now,
        Some(Kept::On(_) | Kept::Opening) => false,
    };
    wanted.iter().filter(due).copied().collect()
}

/// Machines of ours with a BMC that are being booted.
async fn booting(me: &Conductor) -> Result<BTreeSet<MachineId>, Error> {
    let mut tx = me.db.read().await.map_err(store)?;
    let mut found = BTreeSet::new();
    let mut after = String::new();
    loop {
        let page = subjects::list(&mut tx, "machine", &after, PAGE).await.map_err(store)?;
        for (subject, stored) in &page {
            if let Subject::Machine(id) = subject
                && BOOTING.contains(&stored.label.as_str())
            {
                found.insert(*id);
            }
        }
        match page.last() {
            Some((last, _)) if page.len() == PAGE as usize => after = last.key(),
            _ => break,
        }
    }
    if found.is_empty() {
        return Ok(found);
    }
    let ours: BTreeSet<MachineId> =
        machines::ours_with_bmc(&mut tx).await.map_err(store)?.into_iter().map(|(id, _)| id).collect();
    Ok(found.intersection(&ours).copied().collect())
}

impl Conductor {
    /// Records a machine's console with nobody there, beside whoever is.
    async fn record_console(self: &Arc<Self>, id: MachineId) -> Result<mpsc::Sender<Ask>, Error> {
        let door = self.consoles.door(id);
        let mut way = door.lock().await;
        if let Some(room) = &*way
            && room.send(Ask::Keep(true)).await.is_ok()
        {
            return Ok(room.clone());
        }
        let room = self.open_room(id, false).await?;
        // It stands, for nobody has been there yet.
        let _ = room.send(Ask::Keep(true)).await;
        *way = Some(room.clone());
        drop(way);
        let cause = format!("console/{:032x}/opened", rim::fresh_id()?);
        // It is recorded whether the log takes that or not: who begins it has to be the one who ends it.
        if let Err(error) =
            self.note_console(id, cause, "console-opened", "recorder".into(), serde_json::Value::Null).await
        {
            tracing::warn!(machine = %id, %error, "that its console is recorded is not in the event log");
        }
        Ok(room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_whose_console_was_taken_away_is_left_alone_and_one_that_boots_no_more_is_let_go() {
        let (stands, mut asked) = mpsc::channel(4);
        let (gone, _) = mpsc::channel(4);
        let [a, b, c, d] = [1, 2, 3, 4].map(MachineId);
        let mut kept = BTreeMap::from([(a, Kept::On(stands)), (b, Kept::On(gone)), (c, Kept::Later(Millis(500)))]);
        assert_eq!(settle(&mut kept, &BTreeSet::from([a, b, c, d]), Millis(400)), [d]);
        assert_eq!(settle(&mut kept, &BTreeSet::from([b, c]), Millis(500)), [c]);
        assert!(matches!(asked.try_recv(), Ok(Ask::Keep(false))) && !kept.contains_key(&a));
        assert!(settle(&mut kept, &BTreeSet::from([b]), Millis(400 + AGAIN_MS - 1)).is_empty());
        assert_eq!(settle(&mut kept, &BTreeSet::from([b]), Millis(400 + AGAIN_MS)), [b]);
    }
}
