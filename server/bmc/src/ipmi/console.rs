//! A console over IPMI: Activate Payload, text both ways by [`super::sol`], and on every way out Deactivate Payload
//! and the session's end (IPMI 2.0, sections 15, 24 and 26).
//!
//! It has a session of its own, so that power is switched beside an open console. A BMC has one console: whoever has it
//! is named, and it is taken from them only where the caller says so. Nothing of the BMC's settings is changed.

use super::packet::{self, Reply, array};
use super::session::{Command, Session};
use super::sol::{Arrived, Due, Line, Terms};
use super::{APP, TRANSPORT, declined, rise};
use crate::console::{CHUNK, Heard, Mark, Order};
use crate::lane::Lane;
use crate::{ConsoleEnd, Fault, Inner, Quirk, Settings, Target};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Payload type 1, instance 1.
const WHICH: [u8; 2] = [packet::SOL, 1];
/// Encrypted, authenticated; alerts of a shared port wait meanwhile.
const ACTIVATE: [u8; 6] = [packet::SOL, 1, 0xc4, 0, 0, 0];
const DEACTIVATE: [u8; 6] = [packet::SOL, 1, 0, 0, 0, 0];
const TAKEN: u8 = 0x80;

const PARTING: Duration = Duration::from_secs(1);
const MOST_UNANSWERED: u32 = 3;

/// A console that stands. Dropped, it is given back with two datagrams that may be lost; [`Held::run`] waits.
pub struct Held {
    session: Option<Session>,
    line: Line,
    /// What the BMC calls the session that has the console, where it tells.
    ours: Option<u32>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(session) = &mut self.session {
            session.tell_now(Command::new(APP, 0x49, &DEACTIVATE));
        }
    }
}

/// Logs in and takes the machine's console, from another session only if `take_over`.
pub async fn open_console(engine: &Inner, lane: &Lane, target: &Target, take_over: bool) -> Result<Held, Fault> {
    let settings = &engine.settings;
    lane.is_current(target)?;
    let mut session = lane.log_in_apart(engine, target).await?;
    match begin(&mut session, settings, take_over).await {
        Ok(terms) => {
            // Told as the BMC tells it, whatever that is: only that it changes means something.
            let ours = holder_id(&mut session, settings).await.ok().flatten();
            let none_is_all = target.has(Quirk::ConsoleTakesAll);
            Ok(Held { session: Some(session), line: Line::new(Terms { none_is_all, ..terms }), ours })
        }
        Err(fault) => {
            session.close().await;
            Err(fault)
        }
    }
}

async fn begin(session: &mut Session, settings: &Settings, take_over: bool) -> Result<Terms, Fault> {
    rise(session, settings).await?;
    // What is not told is found out by activating.
    if parameter(session, settings, 1).await?.is_some_and(|enabled| enabled.first().is_some_and(|bits| bits & 1 == 0)) {
        return Err(Fault::NotOffered(
            "a console: serial over LAN is switched off in its settings; switch it on in its web page or with `ipmitool sol set enabled true`"
                .into(),
        ));
    }
    let pause = parameter(session, settings, 4).await?;
    let pause = pause.and_then(|retry| retry.get(1).copied()).map(Terms::pause);
    let mut reply = session.ask(settings, Command::new(APP, 0x48, &ACTIVATE)).await?;
    if reply.completion == TAKEN {
        // The answer to an earlier sending of ours may be lost: then it is we who have it.
        let (ours, unclear) = (session.managed(), session.unclear());
        let (holder, name) = holder(session, settings).await?;
        let mine = unclear && holder == Some(ours);
        if !take_over && !mine {
            return Err(Fault::ConsoleTaken(name));
        }
        let given = session.ask(settings, Command::new(APP, 0x49, &DEACTIVATE)).await?.completion;
        // 80h: it was given up in the meantime.
        if !matches!(given, 0x00 | 0x80) {
            return Err(declined(given, "to take the console from its other session"));
        }
        reply = session.ask(settings, Command::new(APP, 0x48, &ACTIVATE)).await?;
        if reply.completion == TAKEN {
            return Err(Fault::ConsoleTaken(format!("{name}, who has it again")));
        }
    }
    match reply.completion {
        0x00 => Ok(Terms::agreed(&reply.data, pause)),
        code => Err(refused(code)),
    }
}

/// The completion codes of Activate Payload (table 24-2).
fn refused(code: u8) -> Fault {
    let no = |why: &str| Fault::Declined(format!("its console is not given: {why} (completion code {code:02x}h)"));
    match code {
        0x81 => no(
            "serial over LAN is switched off there; switch it on in its web page, or with `ipmitool sol set enabled true`",
        ),
        0x82 => Fault::NoSlot,
        0x83 => no("it gives one without encryption alone, and we read none in the clear; update its firmware"),
        0x84 => no("it wants encryption and does not take ours; update its firmware"),
        0xd4 => no(
            "this user may have no console there; allow it to (`ipmitool sol payload enable CHANNEL USER`), or take another user",
        ),
        0xc1 => Fault::NotOffered("a console over IPMI".into()),
        _ => declined(code, "its console"),
    }
}

/// A SOL configuration parameter of this channel; `None` where the BMC does not tell.
async fn parameter(session: &mut Session, settings: &Settings, number: u8) -> Result<Option<Vec<u8>>, Fault> {
    let reply = session.ask(settings, Command::new(TRANSPORT, 0x22, &[0x0e, number, 0, 0])).await?;
    Ok((reply.completion == 0).then(|| reply.data.get(1..).unwrap_or_default().to_vec()))
}

/// The session that has the console.
async fn holder_id(session: &mut Session, settings: &Settings) -> Result<Option<u32>, Fault> {
    let info = session.ask(settings, Command::new(APP, 0x4b, &WHICH)).await?;
    Ok(array(&info.data, 0).map(u32::from_le_bytes).filter(|id| info.completion == 0 && *id != 0))
}

/// And its name for people, as far as the BMC tells them.
async fn holder(session: &mut Session, settings: &Settings) -> Result<(Option<u32>, String), Fault> {
    let nobody = "another session, of whom it tells nothing".to_string();
    let Some(id) = holder_id(session, settings).await? else { return Ok((None, nobody)) };
    let [a, b, c, d] = id.to_le_bytes();
    let told = session.ask(settings, Command::new(APP, 0x3d, &[0xff, a, b, c, d])).await?;
    let name = match (told.completion, told.data.as_slice()) {
        // Handle, slots, sessions, user, privilege, channel, address.
        (0, [_, _, _, user, _, _, a, b, c, d, ..]) => format!("user number {} from {a}.{b}.{c}.{d}", user & 0x3f),
        (0, [_, _, _, user, ..]) => format!("user number {}", user & 0x3f),
        _ => nobody,
    };
    Ok((Some(id), name))
}

impl Held {
    /// Carries text both ways until one side ends it, then gives everything back.
    pub async fn run(mut self, settings: Settings, mut orders: mpsc::Receiver<Order>, heard: mpsc::Sender<Heard>) {
        let Some(session) = &mut self.session else { return };
        let watch = Watch { every: settings.console_look, ours: self.ours };
        let end = carry(session, &mut self.line, watch, &mut orders, &heard).await;
        // Told before the BMC is asked, which may take seconds when it is gone.
        let gone = matches!(end, ConsoleEnd::Silent | ConsoleEnd::Unheard);
        let _ = heard.send(Heard::Ended(end)).await;
        drop(heard);
        let patience = Settings { sends: if gone { 1 } else { 2 }, answer: Duration::from_millis(500), ..settings };
        // Deactivated, it is taken from whoever has it, and that may be somebody else by now.
        let ours = match self.ours {
            _ if end == ConsoleEnd::TakenAway => false,
            Some(ours) => matches!(holder_id(session, &patience).await, Ok(Some(holder)) if holder == ours),
            None => true,
        };
        if ours {
            // Given back or not: the session's end frees it too.
            let _ = session.ask(&patience, Command::new(APP, 0x49, &DEACTIVATE)).await;
        }
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }
}

/// Whether the console is ours still is asked now and then: a quiet session ends after 60 s, some BMCs do not count
/// text, and some tell nobody that another session took the console.
#[derive(Clone, Copy)]
struct Watch {
    every: Duration,
    ours: Option<u32>,
}

impl Watch {
    fn question(self) -> Command<'static> {
        if self.ours.is_some() { Command::new(APP, 0x4b, &WHICH) } else { Command::new(APP, 0x01, &[]) }
    }

    /// Whether this reply says that somebody else has it.
    fn is_lost(self, reply: &[u8]) -> bool {
        let told = Reply::read(reply).filter(|reply| (reply.command, reply.completion) == (0x4b, 0));
        let holder = told.and_then(|reply| array(&reply.data, 0)).map(u32::from_le_bytes);
        holder.is_some_and(|holder| self.ours != Some(holder))
    }
}

async fn carry(
    session: &mut Session,
    line: &mut Line,
    watch: Watch,
    orders: &mut mpsc::Receiver<Order>,
    heard: &mpsc::Sender<Heard>,
) -> ConsoleEnd {
    let begun = Instant::now();
    let (mut next_word, mut unanswered) = (watch.every, 0);
    // Once it is left: what was typed last has so long to arrive.
    let mut parting: Option<Duration> = None;
    loop {
        let wake = loop {
            match line.due(begun.elapsed()) {
                Due::Send(packet) => {
                    if session.send(packet::SOL, &packet).await.is_err() {
                        return ConsoleEnd::Silent;
                    }
                }
                Due::Wait(until) => break until,
                Due::Unheard => return ConsoleEnd::Unheard,
            }
        };
        if parting.is_some_and(|until| wake.is_none() || begun.elapsed() >= until) {
            return ConsoleEnd::Closed;
        }
        let wake = begun + wake.unwrap_or(next_word).min(next_word).min(parting.unwrap_or(Duration::MAX));
        tokio::select! {
            (kind, payload) = session.next() => {
                unanswered = 0;
                if kind == packet::IPMI && watch.is_lost(&payload) {
                    return ConsoleEnd::TakenAway;
                }
                // Where there is no room, nothing was heard: the BMC says it again.
                let room = heard.is_closed() || heard.capacity() >= ROOM_FOR_ONE;
                if kind == packet::SOL && room && let Some(arrived) = line.arrived(&payload, begun.elapsed()) {
                    if let Some(ack) = arrived.ack && session.send(packet::SOL, &ack).await.is_err() {
                        return ConsoleEnd::Silent;
                    }
                    tell(heard, &arrived);
                    if arrived.over {
                        return ConsoleEnd::TakenAway;
                    }
                }
            }
            order = orders.recv(), if parting.is_none() && line.room() >= CHUNK => match order {
                Some(Order::Type(bytes)) => line.type_in(&bytes),
                Some(Order::Break) => line.type_break(),
                None => parting = Some(begun.elapsed() + PARTING),
            },
            () = tokio::time::sleep_until(wake) => {}
        }
        if begun.elapsed() >= next_word {
            if unanswered >= MOST_UNANSWERED || session.tell(watch.question()).await.is_err() {
                return ConsoleEnd::Silent;
            }
            unanswered += 1;
            next_word = begun.elapsed() + watch.every;
        }
    }
}

/// Text and three marks.
const ROOM_FOR_ONE: usize = 4;

/// To whoever listens; there is room for it.
fn tell(heard: &mpsc::Sender<Heard>, arrived: &Arrived<'_>) {
    let marks = [
        (arrived.overrun, Mark::Overrun),
        (arrived.broke, Mark::Break),
        (arrived.takes == Some(false), Mark::Away),
        (arrived.takes == Some(true), Mark::Back),
    ];
    let text = (!arrived.text.is_empty()).then(|| Heard::Text(arrived.text.to_vec()));
    let marks = marks.into_iter().filter(|(is, _)| *is).map(|(_, mark)| Heard::Mark(mark));
    for one in text.into_iter().chain(marks) {
        // Who has left hears no more.
        let _ = heard.try_send(one);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    #[test]
    fn every_way_to_be_refused_a_console_is_told_in_words_with_the_next_step() {
        for (code, kind, words) in [
            (0x81, Kind::Refused, "switch it on"),
            (0x82, Kind::Later, "slots"),
            (0x83, Kind::Refused, "without encryption"),
            (0x84, Kind::Refused, "wants encryption"),
            (0xd4, Kind::Refused, "another user"),
            (0xc1, Kind::Refused, "does not offer a console"),
            (0xc0, Kind::Later, "busy"),
            (0xff, Kind::Refused, "completion code ffh"),
        ] {
            let fault = refused(code);
            assert!(fault.to_string().contains(words) && fault.kind() == kind, "{code:02x}: {fault}");
        }
    }
}
