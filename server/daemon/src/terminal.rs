//! A person's terminal as the keyboard and screen of a console: raw while it lasts, restored on every way out, and left
//! by a sequence that no shell types by accident.
//!
//! The escapes are those of ssh, which fingers know: at the beginning of a line `~.` leaves, `~B` sends a break, `~?`
//! helps and `~~` is one tilde. Where input is no terminal there are no escapes, and its end does not end the console:
//! `muster console NAME </dev/null | tee boot.log` listens until it is interrupted.

use anyhow::Result;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

pub const HELP: &str =
    "\r\n~.  leave\r\n~B  send a break\r\n~~  one tilde\r\n~?  this help\r\n(each at the beginning of a line)\r\n";

/// What a person does.
#[derive(Debug, PartialEq, Eq)]
pub enum Key {
    Bytes(Vec<u8>),
    Break,
    Help,
    Leave,
}

/// What is shown.
#[derive(Debug, PartialEq, Eq)]
pub enum Shown {
    /// Of the machine, as it is.
    Bytes(Vec<u8>),
    /// Of ours, on a line of its own.
    Note(String),
    /// The last word.
    End(String),
}

/// Finds the escapes in what is typed.
#[derive(Debug)]
pub struct Escapes {
    at: At,
    off: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    LineStart,
    Tilde,
    Within,
}

impl Escapes {
    /// Off where what is typed comes from a program.
    pub fn new(off: bool) -> Self {
        Self { at: At::LineStart, off }
    }

    pub fn read(&mut self, bytes: &[u8]) -> Vec<Key> {
        if self.off {
            return if bytes.is_empty() { Vec::new() } else { vec![Key::Bytes(bytes.to_vec())] };
        }
        let (mut keys, mut plain) = (Vec::new(), Vec::new());
        for byte in bytes {
            let special = match (self.at, byte) {
                (At::LineStart, b'~') => {
                    self.at = At::Tilde;
                    continue;
                }
                (At::Tilde, b'.') => Some(Key::Leave),
                (At::Tilde, b'B') => Some(Key::Break),
                (At::Tilde, b'?') => Some(Key::Help),
                (At::Tilde, b'~') => None,
                (At::Tilde, _) => {
                    plain.push(b'~');
                    None
                }
                _ => None,
            };
            match special {
                Some(key) => {
                    if !plain.is_empty() {
                        keys.push(Key::Bytes(std::mem::take(&mut plain)));
                    }
                    keys.push(key);
                    self.at = At::LineStart;
                }
                None => {
                    plain.push(*byte);
                    self.at = if matches!(byte, b'\r' | b'\n') { At::LineStart } else { At::Within };
                }
            }
        }
        if !plain.is_empty() {
            keys.push(Key::Bytes(plain));
        }
        keys
    }
}

/// How the terminal was before; taken by whoever restores it first.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// A terminal in raw mode. Dropped, also by a panic, it is as it was.
struct Raw;

impl Raw {
    /// `None` where standard input is no terminal.
    fn enter() -> Result<Option<Self>> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        tcsetattr(&stdin, SetArg::TCSADRAIN, &raw)?;
        Ok(Some(Self))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = tcsetattr(std::io::stdin(), SetArg::TCSADRAIN, &before);
        }
    }
}

/// What a console is shown and told for as long as it is on.
pub struct Show {
    pub screen: mpsc::Receiver<Shown>,
    /// None: only looked at.
    pub keys: Option<mpsc::Sender<Key>>,
    /// It ends after this by itself.
    pub limit: Option<Duration>,
}

/// Shows a console until one side ends it; the last word is why, where it was not the person.
pub async fn show(mut show: Show) -> Result<Option<String>> {
    let raw = Raw::enter()?;
    let mut typed = typed(raw.is_none());
    let mut signals = Vec::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        signals.push(signal(kind)?);
    }
    let [interrupt, terminate, hangup] = signals.as_mut_slice() else { return Ok(None) };
    let limit = tokio::time::sleep(show.limit.unwrap_or(Duration::from_secs(u32::MAX.into())));
    tokio::pin!(limit);
    let mut listens = true;
    loop {
        tokio::select! {
            shown = show.screen.recv() => match shown {
                // A reader that has seen enough ends it, as it ends other tools.
                Some(Shown::Bytes(bytes)) if !print(&bytes)? => return Ok(None),
                Some(Shown::Bytes(_)) => {}
                Some(Shown::Note(text)) => note(&text, raw.is_some()),
                Some(Shown::End(text)) => return Ok(Some(text)),
                None => return Ok(None),
            },
            key = typed.recv(), if listens => match key {
                Some(Key::Leave) => {
                    note("left", raw.is_some());
                    return Ok(None);
                }
                Some(Key::Help) => eprint!("{HELP}"),
                Some(key) => match &show.keys {
                    // What does not go out holds up only the keyboard.
                    Some(keys) => listens = tokio::time::timeout(Duration::from_secs(5), keys.send(key)).await.is_ok(),
                    None => note("you look on here: nothing is typed", raw.is_some()),
                },
                None => listens = false,
            },
            _ = interrupt.recv() => return Ok(None),
            _ = terminate.recv() => return Ok(None),
            _ = hangup.recv() => return Ok(None),
            () = &mut limit => return Ok(None),
        }
    }
}

/// False when nobody reads it any more.
fn print(bytes: &[u8]) -> std::io::Result<bool> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

/// On standard error, so that a file gets the machine's words alone.
fn note(text: &str, raw: bool) {
    let end = if raw { "\r\n" } else { "\n" };
    let before = if raw { "\r\n" } else { "" };
    eprint!("{before}[muster: {}]{end}", crate::table::plain_text(text));
}

/// Reads standard input on a thread of its own, which the process does not wait for at its end.
fn typed(off: bool) -> mpsc::Receiver<Key> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        let (mut escapes, mut buffer) = (Escapes::new(off), [0; 1024]);
        let mut stdin = std::io::stdin().lock();
        while let Ok(length @ 1..) = stdin.read(&mut buffer) {
            for key in escapes.read(buffer.get(..length).unwrap_or_default()) {
                if sender.blocking_send(key).is_err() {
                    return;
                }
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Key {
        Key::Bytes(text.as_bytes().to_vec())
    }

    fn read(pieces: &[&str]) -> Vec<Key> {
        let mut escapes = Escapes::new(false);
        pieces.iter().flat_map(|piece| escapes.read(piece.as_bytes())).collect()
    }

    #[test]
    fn an_escape_is_one_at_the_beginning_of_a_line_alone() {
        assert_eq!(read(&["~."]), [Key::Leave]);
        assert_eq!(read(&["ls\r~."]), [bytes("ls\r"), Key::Leave]);
        assert_eq!(read(&["ls ~.\r"]), [bytes("ls ~.\r")]);
        assert_eq!(read(&["~", "B", "x"]), [Key::Break, bytes("x")], "also one key at a time");
        assert_eq!(read(&["~?~."]), [Key::Help, Key::Leave]);
    }

    #[test]
    fn what_is_no_escape_is_typed_whole() {
        assert_eq!(read(&["~~.\r"]), [bytes("~.\r")], "two are one");
        assert_eq!(read(&["~/bin\r"]), [bytes("~/bin\r")]);
        assert_eq!(read(&["a~", "~b"]), [bytes("a~"), bytes("~b")]);
        let mut off = Escapes::new(true);
        assert_eq!(off.read(b"~.\n~B"), [bytes("~.\n~B")], "a program types what it types");
    }
}
