//! IPMI 2.0 over RMCP+: what is asked, and what the answers mean.
//!
//! Our own engine, since the published ones block a thread a BMC, speak suite 3 only, leak sessions or panic on the
//! wire's say-so. It is asynchronous, shares one socket, and closes what it opens.

mod accounts;
mod boot;
mod console;
mod convert;
mod crypto;
mod entity;
mod event;
mod field;
mod fru;
mod guid;
mod hail;
mod handshake;
mod inventory;
mod locate;
mod packet;
mod record;
mod sdr;
mod sel;
mod sensors;
mod session;
mod socket;
mod sol;
mod spd;
pub(crate) mod states;
mod visit;

pub use accounts::{password_limit, set_password};
pub use console::open_console;
pub use hail::hail;
pub use handshake::log_in;
pub use inventory::inspect;
pub use locate::{locate, reset_bmc, set_locate};
pub use sdr::{Alike, Kept};
pub use sel::event_log;
pub use sensors::sensors;
pub use session::Session;
pub use socket::Sockets;
pub use visit::Visit;

use crate::lane::{Lane, Sent};
use crate::{BootDevice, BootOrder, BootSet, Fault, Identity, Inner, PowerAction, PowerSet, Quirk, Settings, Target};
use muster_names::Power;
use session::Command;
use std::time::Duration;
use tokio::sync::MutexGuard;

const CHASSIS: u8 = 0x00;
const APP: u8 = 0x06;
const STORAGE: u8 = 0x0a;
const TRANSPORT: u8 = 0x0c;

const TIMED_OUT: u8 = 0xc3;
/// Busy, timed out, out of space, initialising.
const FOR_LATER: [u8; 4] = [0xc0, TIMED_OUT, 0xc4, 0xd2];
/// Invalid command or parameter, not present, not supported in this state.
const UNKNOWN_THERE: [u8; 6] = [0x80, 0xc1, 0xc9, 0xcc, 0xcd, 0xd5];
const BUSY_TRIES: u32 = 3;
const BUSY_PAUSE: Duration = Duration::from_secs(1);
/// A moment beyond the second that is known to be too short.
const SETTING_PAUSE: Duration = Duration::from_millis(1100);

/// The head of a BMC's queue: its session, opened when the first command needs it.
pub struct Turn<'a> {
    session: MutexGuard<'a, Option<Session>>,
    engine: &'a Inner,
    lane: &'a Lane,
    target: &'a Target,
    /// The last command may have been carried out before the reply that was read: an earlier sending got none, or a
    /// "timed out". A refusal that follows then denies nothing.
    unclear: bool,
}

impl<'a> Turn<'a> {
    pub fn new(
        session: MutexGuard<'a, Option<Session>>,
        engine: &'a Inner,
        lane: &'a Lane,
        target: &'a Target,
    ) -> Self {
        Self { session, engine, lane, target, unclear: false }
    }

    /// The session, and whether it was there before.
    async fn session(&mut self) -> Result<(&mut Session, bool), Fault> {
        if self.session.as_ref().is_some_and(|session| !session.fits(self.target)) {
            *self.session = None;
        }
        let known = self.session.is_some();
        if !known {
            let settings = &self.engine.settings;
            let mut fresh = handshake::log_in(self.engine, self.lane, self.target).await?;
            rise(&mut fresh, settings).await?;
            *self.session = Some(fresh);
        }
        match self.session.as_mut() {
            Some(session) => Ok((session, known)),
            None => Err(Fault::Broken("the session is gone".into())),
        }
    }

    /// Completion code and data. A session that has gone silent is closed; if it was an old one (the BMC may have
    /// restarted since) and the command may be repeated, a new one is tried once.
    async fn reply(&mut self, command: Command<'_>) -> Result<(u8, Vec<u8>), Fault> {
        let settings = &self.engine.settings;
        self.unclear = false;
        for tries in 0.. {
            let (session, known) = self.session().await?;
            let asked = tokio::time::Instant::now();
            let outcome = session.ask(settings, command).await;
            let again = session.unclear();
            if outcome.is_ok() {
                self.lane.hears();
                self.engine.pace.answered(asked.elapsed(), again);
            }
            let unclear = again || matches!(&outcome, Ok(reply) if reply.completion == TIMED_OUT);
            self.unclear |= unclear;
            match outcome {
                Ok(reply) if FOR_LATER.contains(&reply.completion) && command.repeatable && tries < BUSY_TRIES => {
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                Ok(reply) => return Ok((reply.completion, reply.data)),
                Err(fault) => {
                    *self.session = None;
                    if !(known && command.repeatable && tries == 0) {
                        return Err(fault);
                    }
                }
            }
        }
        Err(Fault::Broken("the tries ran out".into()))
    }

    /// [`Quirk::SlowSettings`]: after a command that has set something, before whatever comes next.
    async fn settle(&self) {
        if self.target.has(Quirk::SlowSettings) {
            tokio::time::sleep(SETTING_PAUSE).await;
        }
    }

    /// The data of a command that worked.
    async fn ask(&mut self, command: Command<'_>, what: &str) -> Result<Vec<u8>, Fault> {
        match self.reply(command).await? {
            (0x00, data) => Ok(data),
            (code, _) => Err(declined(code, what)),
        }
    }
}

/// A session begins as a user's; what we ask takes an administrator.
async fn rise(session: &mut Session, settings: &Settings) -> Result<(), Fault> {
    match session.ask(settings, Command::new(APP, 0x3b, &[0x04])).await?.completion {
        0x00 => Ok(()),
        code => Err(declined(code, "administrator privilege")),
    }
}

fn declined(code: u8, what: &str) -> Fault {
    match code {
        _ if FOR_LATER.contains(&code) => Fault::Busy(format!("completion code {code:02x}h to {what}")),
        0xd4 | 0x81 => Fault::Declined(format!("{what}: the user lacks the privilege (completion code {code:02x}h)")),
        0xc1 => Fault::NotOffered(what.into()),
        _ => Fault::Declined(format!("{what} (completion code {code:02x}h)")),
    }
}

/// Get Chassis Status, bit 0 of the first byte.
pub async fn power(turn: &mut Turn<'_>) -> Result<Power, Fault> {
    let status = turn.ask(Command::new(CHASSIS, 0x01, &[]), "the chassis status").await?;
    Ok(match status.as_slice() {
        // Current power state, last event, misc.: a shorter answer says nothing that one may act on.
        [state, _, _, ..] if state & 0x01 != 0 => Power::On,
        [_, _, _, ..] => Power::Off,
        _ => Power::Unknown,
    })
}

pub async fn set_power(turn: &mut Turn<'_>, action: PowerAction, sent: &Sent) -> Result<PowerSet, Fault> {
    let now = power(turn).await?;
    if action.ends_in() == Some(now) {
        return Ok(PowerSet::AlreadySo);
    }
    let (control, repeatable) = match action {
        PowerAction::Off => ([0x00], true),
        PowerAction::On => ([0x01], true),
        // A cycle of what is off is refused by some: it is to come on.
        PowerAction::Cycle if now == Power::Off => ([0x01], true),
        PowerAction::Cycle => ([0x02], false),
        PowerAction::Reset => ([0x03], false),
        PowerAction::Graceful => ([0x05], false),
    };
    sent.mark();
    let command = Command { repeatable, ..Command::new(CHASSIS, 0x02, &control) };
    match turn.reply(command).await? {
        (0x00, _) => Ok(PowerSet::Taken),
        (code, _) => {
            if !turn.unclear {
                sent.denied();
            }
            Err(declined(code, &format!("power {action}")))
        }
    }
}

pub async fn get_boot(turn: &mut Turn<'_>) -> Result<BootSet, Fault> {
    let answer = turn.ask(Command::new(CHASSIS, 0x09, &boot::FLAGS), "the boot flags").await?;
    boot::read(&answer, turn.target.has(Quirk::BootReadBackPartial))
        .ok_or_else(|| Fault::Garbled(format!("boot flags of {} bytes", answer.len())))
}

pub async fn set_boot(turn: &mut Turn<'_>, order: BootOrder, sent: &Sent) -> Result<BootSet, Fault> {
    let flags = boot::flags(order, turn.target.has(Quirk::UefiDiskAsRemote))?;
    if order.device != BootDevice::None && !turn.target.has(Quirk::NoBootTimeout) {
        let (code, _) = turn.reply(Command::new(CHASSIS, 0x08, &boot::KEEP_LONGER)).await?;
        if code != 0 && !UNKNOWN_THERE.contains(&code) {
            return Err(declined(code, "boot option 3"));
        }
        turn.settle().await;
    }
    sent.mark();
    if let (code @ 1.., _) = turn.reply(Command::new(CHASSIS, 0x08, &flags)).await? {
        if !turn.unclear {
            sent.denied();
        }
        return Err(declined(code, "the boot flags"));
    }
    turn.settle().await;
    let found = get_boot(turn).await?;
    let partial = turn.target.has(Quirk::BootReadBackPartial);
    let same = found.device == Some(order.device)
        && (partial
            || order.device == BootDevice::None
            || (found.mode == Some(order.mode) && found.once == Some(order.once)));
    if same {
        return Ok(found);
    }
    let [_, first, second, ..] = flags;
    Err(Fault::BootDiffers { wanted: format!("boot flags {first:02x}h {second:02x}h"), found: found.said })
}

/// Get Device ID, Get System GUID and the FRU inventory; what a BMC does not have is left out.
pub async fn identify(turn: &mut Turn<'_>) -> Result<Identity, Fault> {
    let device = turn.ask(Command::new(APP, 0x01, &[]), "its device id").await?;
    let mut identity = match device.as_slice() {
        [_, _, _, _, _, _, low, middle, high, ..] => Identity {
            firmware: inventory::version(&device),
            maker_number: Some(u32::from_le_bytes([*low, *middle, high & 0x0f, 0])),
            ..Identity::default()
        },
        _ => return Err(Fault::Garbled("a short device id".into())),
    };
    if let (0x00, guid) = turn.reply(Command::new(APP, 0x37, &[])).await?
        && let Some(guid) = packet::array::<16>(&guid, 0)
    {
        identity.uuids = guid::readings(guid);
    }
    if let fru::Store::Bytes(bytes) = fru::read(turn, 0x00, 0).await?
        && let Some(fru) = fru::Fru::read(&bytes)
    {
        fru.tell(&mut identity);
    }
    Ok(identity)
}

/// Every reader of this room on any bytes: for the fuzzer. It has no effect and cannot fail.
pub fn parse(bytes: &[u8]) {
    handshake::parse(bytes);
    hail::parse(bytes);
    let _ = session_reply(bytes);
    let _ = boot::read(bytes, true);
    let _ = (fru::Fru::read(bytes), spd::read(bytes), field::id_string(bytes));
    let _ = accounts::is_named(bytes, "admin");
    sdr::parse(bytes);
    sel::parse(bytes);
    sensors::parse(bytes);
    sol::parse(bytes);
}

fn session_reply(bytes: &[u8]) -> Option<()> {
    let message = match packet::parse(bytes)? {
        packet::Packet::Bare { message } => message.to_vec(),
        packet::Packet::Plus(plus) => {
            let keys = crypto::Keys::derive(crypto::Suite::Three, b"", &[0; 16], &[0; 16], 0, b"");
            let _ = plus.addressee();
            plus.open(&keys).or_else(|| keys.decrypt(plus.payload))?
        }
    };
    packet::Reply::read(&message).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use proptest::prelude::*;

    #[test]
    fn b8_1_busy_completion_codes_mean_later() {
        for code in FOR_LATER {
            assert_eq!(declined(code, "x").kind(), Kind::Later, "{code:02x}");
        }
        assert_eq!(declined(0xd4, "x").kind(), Kind::Refused);
        assert_eq!(declined(0xc1, "x").label(), "not-offered");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), framed: bool) {
            let bytes = if framed { [&[0x06, 0x00, 0xff, 0x07, 0x06], &bytes[..]].concat() } else { bytes };
            parse(&bytes);
        }
    }
}
