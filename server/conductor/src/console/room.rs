//! One console and those who sit at it.

use super::tape::{Piece, Said, Tape};
use crate::{Conductor, rim};
use muster_bmc::{Console, Heard, Keys};
use muster_names::MachineId;
use std::collections::BTreeMap;
use std::sync::Weak;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Pieces that wait for one reader; what comes beyond is skipped and marked.
const SCREEN: usize = 256;
/// So often is the tape written, and sooner when so much waits.
const FLUSH: Duration = Duration::from_secs(1);
const WAITING: usize = 32 * 1024;

/// Who sits down.
#[derive(Clone, Debug)]
pub struct Visitor {
    pub name: String,
    pub may_write: bool,
    /// Takes the console from another session of the BMC, and the keyboard from another writer here.
    pub take_over: bool,
}

/// What a reader is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// As the machine sent it: any bytes.
    Text(Vec<u8>),
    Note(String),
    /// The last word.
    End(String),
}

pub(crate) enum Ask {
    Sit {
        visitor: Visitor,
        screen: mpsc::Sender<Shown>,
        number: oneshot::Sender<u64>,
    },
    Leave(u64),
    Type(u64, Vec<u8>),
    Break(u64),
    /// It is recorded with nobody there, or no longer.
    Keep(bool),
}

/// A place at a console. Dropped, it is left.
pub struct Seat {
    shown: mpsc::Receiver<Shown>,
    room: mpsc::Sender<Ask>,
    number: u64,
    left: Option<Left>,
}

/// What is written down when somebody leaves.
struct Left {
    me: Weak<Conductor>,
    id: MachineId,
    name: String,
    cause: String,
}

impl Seat {
    /// `None` when the room is left already.
    pub(crate) async fn take(room: mpsc::Sender<Ask>, visitor: &Visitor) -> Option<Self> {
        let (screen, shown) = mpsc::channel(SCREEN);
        let (number, told) = oneshot::channel();
        room.send(Ask::Sit { visitor: visitor.clone(), screen, number }).await.ok()?;
        Some(Self { shown, room, number: told.await.ok()?, left: None })
    }

    pub(crate) fn named(mut self, me: Weak<Conductor>, id: MachineId, name: String, cause: String) -> Self {
        self.left = Some(Left { me, id, name, cause });
        self
    }

    /// What comes next; `None` after the end.
    pub async fn shown(&mut self) -> Option<Shown> {
        self.shown.recv().await
    }

    /// Types. What cannot be typed is told on the screen.
    pub async fn write(&self, bytes: Vec<u8>) {
        let _ = self.room.send(Ask::Type(self.number, bytes)).await;
    }

    pub async fn send_break(&self) {
        let _ = self.room.send(Ask::Break(self.number)).await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // A room whose asks are many finds out by the screen that nobody looks at.
        let _ = self.room.try_send(Ask::Leave(self.number));
        let (Some(Left { me, id, name, cause }), Ok(runtime)) =
            (self.left.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        runtime.spawn(async move {
            let Some(me) = me.upgrade() else { return };
            let noted = me.note_console(id, format!("{cause}/closed"), "console-closed", name, serde_json::Value::Null);
            if let Err(error) = noted.await {
                tracing::debug!(%error, "that a console was left is not in the log");
            }
        });
    }
}

struct Viewer {
    visitor: Visitor,
    screen: mpsc::Sender<Shown>,
    skipped: usize,
}

pub(super) struct Room {
    id: MachineId,
    console: Console,
    keys: Keys,
    tape: Option<Tape>,
    viewers: BTreeMap<u64, Viewer>,
    next: u64,
    /// Who types.
    writer: Option<u64>,
    kept: bool,
    /// Somebody was here: a room that nobody entered yet is not left.
    entered: bool,
}

impl Room {
    pub fn new(id: MachineId, console: Console, tape: Option<Tape>) -> Self {
        let keys = console.keys();
        let (viewers, next, writer) = (BTreeMap::new(), 0, None);
        Self { id, console, keys, tape, viewers, next, writer, kept: false, entered: false }
    }

    pub async fn run(mut self, mut asks: mpsc::Receiver<Ask>) {
        self.record(Said::Note("the console is open".into()));
        let mut flush = tokio::time::interval(FLUSH);
        let why = loop {
            tokio::select! {
                heard = self.console.heard() => match heard {
                    Heard::Text(bytes) => self.say(Said::Text(bytes)),
                    Heard::Mark(mark) => self.say(Said::Note(mark.to_string())),
                    Heard::Ended(end) => break end.to_string(),
                },
                ask = asks.recv() => match ask {
                    Some(ask) => self.answer(ask),
                    None => break "nobody is there any more".into(),
                },
                _ = flush.tick() => self.flush().await,
            }
            if self.tape.as_ref().is_some_and(|tape| tape.waits() >= WAITING) {
                self.flush().await;
            }
            // Who leaves may be seen to have gone before that is heard.
            let gone = self.viewers.iter().filter(|(_, viewer)| viewer.screen.is_closed()).map(|(number, _)| *number);
            for number in gone.collect::<Vec<_>>() {
                self.answer(Ask::Leave(number));
            }
            if self.writer.is_some_and(|writer| !self.viewers.contains_key(&writer)) {
                self.writer = None;
            }
            if self.entered && self.viewers.is_empty() && !self.kept {
                break "the last one has left".into();
            }
        };
        // Nobody sits down in a room that is being left.
        drop(asks);
        self.record(Said::Note(why.clone()));
        for viewer in self.viewers.values() {
            let _ = viewer.screen.try_send(Shown::End(why.clone()));
        }
        self.viewers.clear();
        self.flush().await;
        self.console.close().await;
    }

    fn record(&mut self, what: Said) {
        if let Some(tape) = &mut self.tape {
            tape.push(&Piece { at: rim::now(), what });
        }
    }

    async fn flush(&mut self) {
        let Some(mut tape) = self.tape.take() else { return };
        let written = tokio::task::spawn_blocking(move || tape.flush().map(|()| tape)).await;
        match written.map_err(std::io::Error::other).flatten() {
            Ok(tape) => self.tape = Some(tape),
            Err(error) => {
                tracing::error!(machine = %self.id, %error, "its console is not recorded any more");
                self.show(&Shown::Note(format!("this console is not recorded any more: {error}")));
            }
        }
    }

    fn say(&mut self, what: Said) {
        self.show(&match &what {
            Said::Text(bytes) => Shown::Text(bytes.clone()),
            Said::Note(text) => Shown::Note(text.clone()),
        });
        self.record(what);
    }

    fn show(&mut self, what: &Shown) {
        for viewer in self.viewers.values_mut() {
            viewer.show(what);
        }
    }

    fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Sit { visitor, screen, number } => self.sit(visitor, screen, number),
            Ask::Leave(number) => {
                if let Some(viewer) = self.viewers.remove(&number) {
                    self.say(Said::Note(format!("{} has left", viewer.visitor.name)));
                }
            }
            Ask::Keep(kept) => {
                self.kept = kept;
                self.entered = true;
            }
            Ask::Type(number, bytes) => {
                if self.may_type(number) && !self.keys.write(&bytes) {
                    self.tell(number, "the machine takes nothing now; what was typed last is lost");
                }
            }
            Ask::Break(number) => {
                if self.may_type(number) && self.keys.send_break() {
                    self.say(Said::Note("a break was sent".into()));
                }
            }
        }
    }

    fn sit(&mut self, visitor: Visitor, screen: mpsc::Sender<Shown>, number: oneshot::Sender<u64>) {
        self.next += 1;
        let (here, name) = (self.next, visitor.name.clone());
        let others: Vec<String> = self.viewers.values().map(|viewer| viewer.visitor.name.clone()).collect();
        let takes = visitor.take_over && visitor.may_write;
        self.entered = true;
        if number.send(here).is_err() {
            return;
        }
        self.viewers.insert(here, Viewer { visitor, screen, skipped: 0 });
        if !others.is_empty() {
            self.tell(here, &format!("here already: {}", others.join(", ")));
        }
        self.say(Said::Note(format!("{name} is here")));
        if takes && self.writer.is_some() {
            self.writer = Some(here);
            self.say(Said::Note(format!("{name} has the keyboard now")));
        }
    }

    /// Whether this one types; the first who may and does is the writer.
    fn may_type(&mut self, number: u64) -> bool {
        let Some(viewer) = self.viewers.get(&number) else { return false };
        if !viewer.visitor.may_write {
            self.tell(number, "you look on here: typing takes an operator's token");
            return false;
        }
        let writer = *self.writer.get_or_insert(number);
        if writer == number {
            return true;
        }
        let name = self.viewers.get(&writer).map_or("another one", |writer| writer.visitor.name.as_str());
        let told = format!("{name} is typing here; come back with --take-over to have the keyboard");
        self.tell(number, &told);
        false
    }

    fn tell(&mut self, number: u64, text: &str) {
        if let Some(viewer) = self.viewers.get_mut(&number) {
            viewer.show(&Shown::Note(text.to_owned()));
        }
    }
}

impl Viewer {
    fn show(&mut self, what: &Shown) {
        if self.skipped > 0 {
            let mark = Shown::Note(format!("{} bytes were skipped: this reader was too slow", self.skipped));
            if self.screen.try_send(mark).is_err() {
                return self.skip(what);
            }
            self.skipped = 0;
        }
        if self.screen.try_send(what.clone()).is_err() {
            self.skip(what);
        }
    }

    fn skip(&mut self, what: &Shown) {
        if let Shown::Text(bytes) = what {
            self.skipped = self.skipped.saturating_add(bytes.len());
        }
    }
}
