//! Consoles of machines: one session at each BMC however many look on, one writer at a time, and all of it recorded.
//!
//! A console is a room. Whoever comes is shown what the machine says; a room with nobody in it is left, and the BMC has
//! its session back. A slow reader misses text and is told so: it never holds up the machine, the tape or another
//! reader. Whoever may write and types first is the writer, until they leave or another one who may takes the keyboard.

mod keep;
mod lines;
mod room;
mod tape;

pub use keep::keep_consoles;
pub use lines::{Line, lines};
pub use room::{Seat, Shown, Visitor};
pub use tape::{Piece, Recording, Said, Tapes};

use crate::error::store;
use crate::{BmcOf, Conductor, Error, apply, body, rim};
use muster_names::{MachineId, Millis};
use muster_store::machines;
use room::{Ask, Room};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

/// A room's door: the way into it while it stands. Held while it is opened, so that two who come at once share it.
type Door = Arc<tokio::sync::Mutex<Option<mpsc::Sender<Ask>>>>;

/// For so long a room that is ending is waited for.
const ENDING: std::time::Duration = std::time::Duration::from_secs(5);

/// All rooms.
pub(crate) struct Consoles {
    pub tapes: Tapes,
    doors: Mutex<HashMap<MachineId, Door>>,
    /// The room that was opened last at each machine.
    last: Mutex<HashMap<MachineId, tokio::task::JoinHandle<()>>>,
    pub rooms: TaskTracker,
}

impl Consoles {
    pub fn new(tapes: Tapes) -> Self {
        Self { tapes, doors: Mutex::default(), last: Mutex::default(), rooms: TaskTracker::new() }
    }

    fn last(&self) -> std::sync::MutexGuard<'_, HashMap<MachineId, tokio::task::JoinHandle<()>>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn door(&self, id: MachineId) -> Door {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner).entry(id).or_default().clone()
    }
}

impl Conductor {
    /// Sits down at a machine's console, which is opened for it if nobody is there. Where another session has the console
    /// it is taken from it only if the visitor says so.
    pub async fn join_console(self: &Arc<Self>, id: MachineId, visitor: Visitor) -> Result<Seat, Error> {
        let (door, cause) = (self.consoles.door(id), format!("console/{:032x}", rim::fresh_id()?));
        let mut way = door.lock().await;
        // The room may be left at this very moment: then it is opened anew.
        let seat = match &*way {
            Some(room) => Seat::take(room.clone(), &visitor).await,
            None => None,
        };
        let seat = match seat {
            Some(seat) => seat,
            None => {
                let room = self.open_room(id, visitor.take_over).await?;
                let seat = Seat::take(room.clone(), &visitor).await;
                *way = Some(room);
                seat.ok_or_else(|| Error::refused("the console ended as it was opened; open it again"))?
            }
        };
        drop(way);
        let detail = serde_json::json!({ "writes": visitor.may_write, "take-over": visitor.take_over });
        self.note_console(id, format!("{cause}/opened"), "console-opened", visitor.name.clone(), detail).await?;
        Ok(seat.named(Arc::downgrade(self), id, visitor.name, cause))
    }

    /// Opens a machine's console and begins to record it.
    pub(crate) async fn open_room(
        self: &Arc<Self>,
        id: MachineId,
        take_over: bool,
    ) -> Result<mpsc::Sender<Ask>, Error> {
        let bmc = self.console_of(id).await?;
        // One that is ending has the BMC's console until it has.
        let last = self.consoles.last().remove(&id);
        if let Some(last) = last {
            let _ = tokio::time::timeout(ENDING, last).await;
        }
        let console = self.hands_console.console(&bmc, take_over).await.map_err(|error| Error::Bmc {
            reason: format!("no console of {}: {error}", bmc.access.address),
            later: error.later,
        })?;
        let (room, asks) = mpsc::channel(64);
        let tapes = self.consoles.tapes.clone();
        let tape = tokio::task::spawn_blocking(move || tapes.append(id)).await;
        let tape = match tape.map_err(std::io::Error::other).flatten() {
            Ok(tape) => Some(tape),
            Err(error) => {
                tracing::warn!(machine = %id, %error, "its console is not recorded");
                None
            }
        };
        let running = self.consoles.rooms.spawn(Room::new(id, console, tape).run(asks));
        self.consoles.last().insert(id, running);
        Ok(room)
    }

    async fn console_of(&self, id: MachineId) -> Result<BmcOf, Error> {
        let mut tx = self.db.read().await.map_err(store)?;
        let record = machines::get(&mut tx, id).await.map_err(store)?.ok_or(Error::NoMachine { id })?;
        let name = record.name;
        let text = record.bmc.filter(|_| record.ours).ok_or_else(|| {
            Error::refused(format!(
                "{name} has no BMC that is ours to log in to; its rack layout names one with its account (`bmc = ...`)"
            ))
        })?;
        Ok(BmcOf { machine: id, access: body::read("bmc", &id, &text)? })
    }

    pub(crate) async fn note_console(
        &self,
        id: MachineId,
        cause: String,
        kind: &'static str,
        actor: String,
        detail: serde_json::Value,
    ) -> Result<(), Error> {
        self.scribe
            .write(move |mut w| {
                Box::pin(async move { apply::note(&mut w, id, &cause, kind, &actor, detail).await.map(drop) })
            })
            .await
    }

    /// What is kept of a machine's console between two times.
    pub async fn recorded_console(&self, id: MachineId, since: Millis, until: Millis) -> Result<Recording, Error> {
        let tapes = self.consoles.tapes.clone();
        let read = tokio::task::spawn_blocking(move || tapes.read(id)).await;
        let mut recording = read.map_err(std::io::Error::other).flatten().map_err(|source| Error::Tape { source })?;
        recording.pieces.retain(|piece| (since..=until).contains(&piece.at));
        Ok(recording)
    }
}
